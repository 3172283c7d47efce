"""Times from launch to ready and gone of a guest: tare's runtimes and a manually started QEMU with the same machine."""

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.model import Accelerator, Milestone
from harness.process import kill_group, run, spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Place, Prepared, Runtime
from harness.runtimes.guests.instance import MILESTONES
from harness.runtimes.guests.tsc import counter_khz
from harness.runtimes.libvirt.specification import describe
from harness.runtimes.qemu import specification
from tests.perf.bench import LABELS, Bench
from tests.perf.pairs import Times, alternate, table

BOOT_SECONDS = 120.0
STEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A variant that is ready to launch, and the QEMU command line of the same machine for a place and a tap."""

    runtime: Runtime
    prepared: Prepared
    by_hand: Callable[[Prepared, Place, str], list[str]]


def compare(bench: Bench, pairs: int) -> str:
    """A table for each runtime, or the reason for a skip."""
    if bench.daemons.libvirt_uri is None:
        return f"guest: skipped, {bench.daemons.reasons.get('libvirt')}"
    bench.guests.connect(bench.daemons.libvirt_uri)
    kind = "tcg" if bench.accelerator is Accelerator.TCG else "kvm"
    subjects = [
        _subject(bench, bench.guests, f"libvirt/{kind}", _libvirt_machine),
        _subject(bench, bench.microvms, f"qemu/microvm-{kind}", _microvm),
    ]
    return "\n".join(_compare(bench, subject, pairs) for subject in subjects)


def _subject(
    bench: Bench, runtime: Runtime, name: str, by_hand: Callable[[Prepared, Place, str], list[str]]
) -> Subject:
    variant = next(one for one in runtime.variants if one.name == name)
    return Subject(runtime, runtime.prepare(variant, bench.shape, bench.root, Deadline.after(60)), by_hand)


def _compare(bench: Bench, subject: Subject, pairs: int) -> str:
    rounds = alternate(lambda: _by_tare(bench, subject), lambda: _by_hand(bench, subject), pairs)
    title = f"{subject.prepared.variant.name} on {bench.accelerator}: launch to ready to gone"
    return table(title, ("tare", "plain QEMU"), rounds)


def _by_tare(bench: Bench, subject: Subject) -> Times:
    deadline = Deadline.after(BOOT_SECONDS)
    with bench.place() as place:
        begin = time.monotonic()
        with subject.runtime.launch(subject.prepared, place, LABELS, deadline) as guest:
            ready = guest.wait(Milestone.READY, deadline)
            early = guest.milestones[Milestone.USERSPACE]
        return {"userspace": early - begin, "ready": ready - begin, "gone": time.monotonic() - begin}


def _by_hand(bench: Bench, subject: Subject) -> Times:
    """The times of a manual launch. They include the overlay, as tare's do, but not the tap, which favours QEMU."""
    deadline = Deadline.after(BOOT_SECONDS)
    with bench.place() as place, _tap(place) as tap:
        channel = Channel(place.directory)
        channel.watch(MILESTONES)
        overlay, root = specification.root_disk(place), subject.prepared.root.disk
        argv = subject.by_hand(subject.prepared, place, tap)
        try:
            begin = time.monotonic()
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", root, "-F", "raw", overlay], deadline)
            child = spawn(argv, stderr=subprocess.PIPE)
            try:
                ready = channel.wait_ready(deadline, lambda: _ended(child))
            finally:
                kill_group(child)
            overlay.unlink()
            early, _ = channel.stamps["userspace"]
            return {"userspace": early - begin, "ready": ready - begin, "gone": time.monotonic() - begin}
        finally:
            channel.close()


def _microvm(prepared: Prepared, place: Place, tap: str) -> list[str]:
    """The runtime's command line without the monitor, to which nothing connects here."""
    emulated = prepared.accelerator is Accelerator.TCG
    khz = counter_khz() if emulated else 0
    argv = specification.command(prepared, place, str(uuid.uuid4()), tap, vhost=False, counter_khz=khz)
    monitored = [number for number, word in enumerate(argv) if "monitor" in word]
    return [word for number, word in enumerate(argv) if number not in monitored and number + 1 not in monitored]


def _libvirt_machine(prepared: Prepared, place: Place, tap: str) -> list[str]:
    """The QEMU command line of the machine in vm-templates/guest.xml.j2."""
    domain = describe(prepared, place, LABELS)
    assert place.network is not None and domain.boot.firmware == "none"
    without = "".join(f",{name}=off" for name in domain.cpu_without)
    enter = ["nsenter", f"--net=/run/netns/{place.network.netns}"] if place.network.netns else []
    return [
        *(*enter, "taskset", "--cpu-list", place.shape.cpu_list, "qemu-system-x86_64"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", f"{domain.machine},usb=off,hpet=off", "-accel", "kvm" if domain.type == "kvm" else "tcg"),
        *("-cpu", ("host" if domain.type == "kvm" else "max") + without),
        *("-m", f"{domain.memory_mib}M", "-smp", f"{len(domain.cpus)},sockets=1,cores={len(domain.cpus)},threads=1"),
        *("-rtc", "base=utc,driftfix=slew", "-global", "kvm-pit.lost_tick_policy=delay"),
        *("-kernel", str(domain.boot.kernel), "-initrd", str(domain.boot.initramfs)),
        *("-append", domain.boot.command_line),
        *("-drive", f"file={domain.disks[0].path},format=qcow2,if=none,id=root,cache={domain.disks[0].cache}"),
        *("-device", "virtio-blk-pci,drive=root,addr=3"),
        *("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=net,mac={domain.mac},romfile=,addr=7"),
        *("-chardev", f"file,id=console,path={domain.console}", "-device", "isa-serial,chardev=console,index=0"),
        *("-chardev", f"socket,id=early,path={domain.milestones}", "-device", "isa-serial,chardev=early,index=1"),
        *("-device", "virtio-serial-pci,id=ports,addr=2", "-chardev", f"socket,id=tare,path={domain.channel}"),
        *("-device", "virtserialport,bus=ports.0,chardev=tare,name=tare"),
    ]


@contextmanager
def _tap(place: Place) -> Iterator[str]:
    """Yield the name of a tap on the bridge."""
    assert place.network is not None
    name = f"perf-{place.name.rpartition('-')[2]}"
    ip = ["ip", *(("-netns", place.network.netns) if place.network.netns else ())]
    run([*ip, "tuntap", "add", "dev", name, "mode", "tap"], Deadline.after(STEP_SECONDS))
    try:
        run([*ip, "link", "set", "dev", name, "master", place.network.bridge, "up"], Deadline.after(STEP_SECONDS))
        yield name
    finally:
        run([*ip, "link", "delete", "dev", name], Deadline.after(STEP_SECONDS))


def _ended(child: "subprocess.Popen[bytes]") -> str | None:
    if child.poll() is None:
        return None
    assert child.stderr is not None
    return f"QEMU exited with status {child.returncode}: {child.stderr.read().decode('utf-8', 'replace')[-1000:]}"
