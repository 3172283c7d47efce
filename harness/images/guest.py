"""The guest's kernel and initramfs, made from downloaded packages without installing them."""

import lzma
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.images.cpio import Archive
from harness.images.recipe import Guest

APPLETS = (
    *("sh", "mount", "umount", "mkdir", "insmod", "usleep", "chroot", "hostname", "ip", "ln", "env"),
    *("switch_root", "poweroff"),
)
FOLDERS = ("bin", "dev", "proc", "sys", "mnt", "modules")
DEVICES = {"dev/console": (5, 1), "dev/null": (1, 3), "dev/ttyS1": (4, 65), "dev/hvc1": (229, 1)}
"""Major and minor numbers (linux/Documentation/admin-guide/devices.txt). The beacon writes its first line to ttyS1, or
to hvc1 under Xen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """The content of the packages: the kernel's image and release, the folder of its modules, and busybox."""

    kernel: Path
    release: str
    modules: Path
    busybox: Path


def unpack(packages: Path, into: Path, deadline: Deadline) -> Unpacked:
    """Extract all packages of the folder `packages`. Raises TareError if a part is missing or not unique."""
    for package in sorted(packages.glob("*.deb")):
        process.run(["dpkg-deb", "-x", package, into], deadline)
    kernel = _one(into, "boot/vmlinu?-*")
    release = kernel.name.partition("-")[2]
    modules = next((folder for folder in (into / "lib/modules", into / "usr/lib/modules") if folder.is_dir()), into)
    busybox = next((file for file in (into / "bin/busybox", into / "usr/bin/busybox") if file.is_file()), None)
    if busybox is None:
        hint = "correct [guest] busybox in images/root.toml"
        raise TareError("the busybox package contains no busybox", details=str(packages), hint=hint)
    return Unpacked(kernel=kernel, release=release, modules=modules / release, busybox=busybox)


def initramfs(guest: Guest, unpacked: Unpacked, beacon: bytes, script: bytes, epoch: int) -> bytes:
    """The initramfs, uncompressed: the loader copies it faster than an emulated guest can decompress it."""
    archive = Archive(epoch)
    for folder in FOLDERS:
        archive.directory(folder)
    for name, (major, minor) in DEVICES.items():
        archive.device(name, major, minor)
    archive.file("init", beacon, 0o755)
    archive.file("init.sh", script, 0o755)
    archive.file("bin/busybox", unpacked.busybox.read_bytes(), 0o755)
    for applet in APPLETS:
        archive.link(f"bin/{applet}", "busybox")
    loaded = load_order(guest.modules, unpacked.modules, guest.also)
    for name, data in loaded:
        archive.file(f"modules/{name}.ko", data)
    archive.file("modules.list", "".join(f"{name}.ko\n" for name, _ in loaded).encode())
    return archive.finish()


def load_order(wanted: Sequence[str], folder: Path, also: Sequence[str] = ()) -> list[tuple[str, bytes]]:
    """Modules (name, ELF) of `folder` in an order in which `insmod` can load them, without built-in modules.

    Raises TareError if a wanted module is neither a file nor built in. Modules in `also` may be missing.
    """
    files = {_plain(file.name.partition(".ko")[0]): file for file in folder.rglob("*.ko*")}
    builtin_list = folder / "modules.builtin"
    names = builtin_list.read_text().split() if builtin_list.is_file() else []
    builtin = {_plain(Path(line).name.partition(".ko")[0]) for line in names}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in order or (name in builtin and name not in files):
            return
        if name not in files:
            hint = "correct [guest] modules in images/root.toml"
            raise TareError(f"the guest's kernel has no module {name}", details=str(folder), hint=hint)
        data = _module(files[name])
        for needed in dependencies(data):
            add(needed)
        order[name] = data

    for name in (*wanted, *(one for one in also if _plain(one) in files)):
        add(_plain(name))
    return list(order.items())


def _module(file: Path) -> bytes:
    """A module's ELF file, decompressed if it is an .xz or .zst file."""
    if file.suffix == ".xz":
        return lzma.decompress(file.read_bytes())
    if file.suffix == ".zst":
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "module.ko"
            process.run(["zstd", "-q", "-d", file, "-o", plain], Deadline.after(10))
            return plain.read_bytes()
    return file.read_bytes()


def dependencies(module: bytes) -> list[str]:
    """The modules that an ELF module depends on, from its .modinfo section."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [_plain(name) for name in found[1].decode().split(",") if name] if found else []


def compiled(source: bytes, scratch: Path, deadline: Deadline) -> bytes:
    """Compile a C source to a static program. Raises TareError with the compiler's output."""
    program = scratch / "program"
    program.with_suffix(".c").write_bytes(source)
    flags = ("-static", "-O2", "-s", "-Wall", "-Wl,--build-id=none")
    process.run(["cc", *flags, "-o", program, program.with_suffix(".c")], deadline)
    return program.read_bytes()


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _one(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise TareError(f"expected one {pattern} in the guest's packages, found {len(found)}", hint="make images")
    return found[0]
