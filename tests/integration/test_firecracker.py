"""Firecracker for real where it can be had; elsewhere what can be tried of it: the guest's side, under QEMU."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import paths, process
from harness.deadline import Deadline
from harness.host.links import remove_namespace
from harness.images import ensure
from harness.model import Milestone, RootForms, Shape
from harness.process import kill_group, spawn
from harness.rig.network import open_network
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Command, Place
from harness.runtimes.firecracker import Firecracker
from harness.runtimes.firecracker.specification import SERIAL
from harness.runtimes.guests.boot_arguments import command_line
from harness.runtimes.guests.tsc import counter_khz
from harness.runtimes.guests.vmlinux import keep_unpacked

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="a bridge of our own needs root: sudo make test"),
    pytest.mark.skipif(
        bool(process.have("ip", "nsenter", "qemu-system-x86_64", "mmdebstrap", "lz4")),
        reason="system packages: make doctor",
    ),
]

NAME = "fctest"
PORT = 5305
LABELS = {"tare.install": NAME, "tare.run": f"{NAME}-run", "tare.boot": "b"}
SHAPE = Shape(cpus=(max(os.sched_getaffinity(0)),), memory_mib=512)
BOOT_SECONDS = 60.0


@pytest.fixture(scope="module")
def root() -> RootForms:
    return ensure(paths.data("images") / "root.toml", paths.state() / "images", Deadline.after(600), print)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = paths.state() / NAME
    made.mkdir(mode=0o711, parents=True)
    yield made
    shutil.rmtree(made)


def test_the_unpacked_kernel_and_the_agent_on_a_serial_port_work(root: RootForms, folder: Path) -> None:
    """With the boot arguments of Firecracker's guests, but on QEMU's microvm: no virtio-serial, a read-only root."""
    kernel = keep_unpacked(root.kernel, folder, Deadline.after(60))
    channel = Channel(folder)
    told = command_line("agent", False, None, f"tsc_early_khz={counter_khz()}", channel=SERIAL)
    argv = [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "microvm,acpi=on", "-accel", "tcg", "-cpu", "max,-la57", "-m", "512M"),
        *("-global", "virtio-mmio.force-legacy=off"),
        *("-kernel", str(kernel), "-initrd", str(root.initramfs), "-append", told),
        *("-drive", f"if=none,id=root,file={root.disk},format=raw,readonly=on"),
        *("-device", "virtio-blk-device,drive=root"),
        *("-chardev", f"socket,id=line,path={channel.path}", "-serial", "chardev:line"),
    ]
    child = spawn(argv, stderr=subprocess.PIPE)
    try:
        channel.wait_ready(Deadline.after(BOOT_SECONDS), lambda: None if child.poll() is None else "QEMU ended")
        job = channel.start(Command(argv=("seq", "20000")), Deadline.after(30))
        said = job.wait(Deadline.after(60))
        assert (said.status, said.stdout.splitlines()[-1]) == (0, "20000")
    finally:
        kill_group(child)
        channel.close()


@pytest.mark.skipif(bool(process.have("firecracker")), reason="firecracker is not on PATH; it is in no registry")
def test_a_guest_of_firecracker_works_and_goes(root: RootForms, folder: Path) -> None:
    runtime = Firecracker()
    runtime.prove(root, Deadline.after(60))
    can = runtime.available(runtime.variants[0])
    if not can.ok:
        pytest.skip(can.reason)
    deadline = Deadline.after(300)
    with ExitStack() as stack:
        process.run(["ip", "netns", "add", NAME], deadline)
        stack.callback(remove_namespace, NAME)
        network = stack.enter_context(open_network(NAME, LABELS["tare.run"], None, deadline, peer=f"{NAME}-peer"))
        prepared = runtime.prepare(runtime.variants[0], SHAPE, root, deadline)
        place = Place(
            name=f"tare-{NAME}-1",
            directory=folder,
            entry="agent",
            shape=SHAPE,
            network=network.place("one"),
            port=PORT,
            scratch_mib=96,
            scratch_directory=folder,
        )
        with runtime.launch(prepared, place, LABELS, deadline) as guest:
            guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
            assert [one.name for one in runtime.leftovers() if one.run == LABELS["tare.run"]] == [guest.name]
            written = guest.start(Command(argv=("dd", "if=/dev/zero", "of=/scratch/x", "bs=1M", "count=16")), deadline)
            assert written.wait(deadline).status == 0
            assert guest.counters()["vcpu"] > 0
        assert not [one for one in runtime.leftovers() if one.run == LABELS["tare.run"]]
