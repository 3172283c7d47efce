"""The real root, from real packages, booted by plain QEMU."""

import os
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import paths
from harness.deadline import Deadline
from harness.images import ensure, recipe, verify
from harness.model import RootForms

pytestmark = pytest.mark.integration
RECIPE = paths.data("images") / "root.toml"
MISSING = [program for program in ("mmdebstrap", "qemu-system-x86_64", "qemu-img", "cc") if not shutil.which(program)]


@pytest.fixture(scope="module")
def root() -> RootForms:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed")
    return ensure(RECIPE, paths.state() / "images", Deadline.after(600), print)


def test_what_packages_made_at_installation_is_not_in_it(root: RootForms) -> None:
    removed = recipe.read(RECIPE).removed
    assert removed
    assert not [place for place in removed if os.path.lexists(f"{root.directory}{place}")]


@pytest.fixture
def channels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, socket.socket]]]:
    folder = tmp_path_factory.mktemp("guest")
    listeners = {}
    for name in ("userspace", "channel"):
        listeners[name] = socket.socket(socket.AF_UNIX)
        listeners[name].bind(str(folder / name))
        listeners[name].listen(1)
    yield folder, listeners
    for listener in listeners.values():
        listener.close()


def guest(root: RootForms, folder: Path, parameters: str) -> list[str]:
    """Plain QEMU with the machine that tare's guests have, emulated."""
    overlay = folder / "root.qcow2"
    subprocess.run(["qemu-img", "create", "-qf", "qcow2", "-F", "raw", "-b", root.disk, overlay], check=True)
    with (folder / "scratch").open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, 64 * 2**20)
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(root.kernel), "-initrd", str(root.initramfs), "-append", f"console=ttyS0 quiet {parameters}"),
        *("-chardev", f"file,id=console,path={folder}/console", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=first,path={folder}/userspace", "-serial", "chardev:first"),
        *("-device", "virtio-serial-pci", "-chardev", f"socket,id=channel,path={folder}/channel"),
        *("-device", "virtserialport,chardev=channel,name=tare"),
        *("-drive", f"if=none,id=root,format=qcow2,file={overlay}", "-device", "virtio-blk-pci,drive=root"),
        *("-drive", f"if=none,id=data,format=raw,file={folder}/scratch", "-device", "virtio-blk-pci,drive=data"),
        *("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="),
    ]


def lines(listeners: dict[str, socket.socket], deadline: Deadline) -> dict[str, str]:
    """The first line that comes on each channel."""
    got: dict[str, bytes] = dict.fromkeys(listeners, b"")
    with selectors.DefaultSelector() as selector:
        for name, listener in listeners.items():
            selector.register(listener, selectors.EVENT_READ, name)
        while not all(text.endswith(b"\n") for text in got.values()):
            deadline.check(f"the guest's first lines: {got}")
            for key, _ in selector.select(deadline.left):
                assert isinstance(key.fileobj, socket.socket)
                selector.unregister(key.fileobj)
                if key.fileobj in listeners.values():
                    selector.register(key.fileobj.accept()[0], selectors.EVENT_READ, key.data)
                elif data := key.fileobj.recv(4096):
                    got[key.data] += data
                    selector.register(key.fileobj, selectors.EVENT_READ, key.data)
                else:
                    key.fileobj.close()
        for registered in list(selector.get_map().values()):
            if isinstance(registered.fileobj, socket.socket):
                registered.fileobj.close()
    return {name: text.decode() for name, text in got.items()}


def boot(root: RootForms, folder: Path, listeners: dict[str, socket.socket], parameters: str) -> dict[str, str]:
    """Boot, wait for the first line on each channel, end the guest; the console is shown when it fails."""
    child = subprocess.Popen(guest(root, folder, parameters), stdin=subprocess.DEVNULL)
    try:
        return lines(listeners, Deadline.after(90))
    finally:
        child.kill()
        child.wait()
        print((folder / "console").read_text(errors="replace")[-3000:])


def test_a_second_call_builds_nothing(root: RootForms) -> None:
    said: list[str] = []
    begun = time.monotonic()
    assert ensure(RECIPE, paths.state() / "images", Deadline.after(60), said.append) == root
    print(f"found again in {time.monotonic() - begun:.3f} s")
    assert said == []


def test_the_build_is_whole(root: RootForms) -> None:
    assert verify(root.tar.parent, full=True) == root


def test_a_guest_says_userspace_and_ready(root: RootForms, channels: tuple[Path, dict[str, socket.socket]]) -> None:
    said = boot(root, *channels, "tare.entry=beacon")
    first, second = said["userspace"].split(), said["channel"].split()
    assert [first[0], second[0]] == ["userspace", "ready"]
    assert float(first[1]) < float(second[1])


def test_a_guest_gets_scratch_and_address_and_runs_the_agent(
    root: RootForms, channels: tuple[Path, dict[str, socket.socket]]
) -> None:
    said = boot(root, *channels, "tare.entry=agent tare.scratch=/dev/vdb tare.address=10.0.2.15/24,10.0.2.2")
    assert '"hello"' in said["channel"]
    # The magic number of ext2 to ext4, at byte 56 of the superblock at 1024 (linux/Documentation/filesystems/ext4)
    assert (channels[0] / "scratch").read_bytes()[1080:1082] == b"\x53\xef"


def test_a_guest_without_its_disk_says_so_and_stops(
    root: RootForms, channels: tuple[Path, dict[str, socket.socket]]
) -> None:
    folder, _ = channels
    argv = guest(root, folder, "tare.entry=beacon tare.scratch=/dev/vdx")
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=90, check=False)
    assert done.returncode == 0
    assert "tare: no /dev/vdx" in (folder / "console").read_text(errors="replace")


def test_the_root_runs_its_tools(root: RootForms) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    for command in (["fio", "--version"], ["sysbench", "--version"], ["/usr/bin/python3", "-I", "-c", "import psutil"]):
        subprocess.run(["chroot", root.directory, *command], check=True)
    assert verify(root.tar.parent) == root
