"""The host's own kernel as the guests' kernel, so that both arms of a comparison run the same one."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import TareError
from harness.images import inventory
from harness.images.cpio import Archive
from harness.images.guest import load_order
from harness.images.recipe import Guest
from harness.model import RootForms

BOOT, MODULES = Path("/boot"), Path("/lib/modules")
NAMES = ("vmlinuz", "vmlinux", "bzImage", "kernel")


def adopt(
    root: RootForms,
    guest: Guest,
    epoch: int,
    store: Path,
    *,
    boot: Path = BOOT,
    libraries: Path = MODULES,
    release: str = "",
) -> tuple[RootForms, str]:
    """The root with the kernel that the host runs, and in words which kernel guests boot and why.

    The initramfs is the root's own with the host's modules behind it: the kernel unpacks both, and the later file of
    a name stays (linux/Documentation/driver-api/early-userspace/buffer-format.rst). Where the image cannot be read or
    lacks a module the root stays as it is. What is made goes to `store`.
    """
    release = release or os.uname().release
    image = _image(boot, libraries, release)
    if image is None:
        return root, _kept(root, f"the image of the host's {release} is not in {boot}")
    # By the build, not the root's digest: init and the list of modules are in the initramfs alone.
    folder = store / f"kernel-{release}-{root.initramfs.parent.name}"
    try:
        loaded = load_order(guest.modules, libraries / release, guest.also)
        if not (folder / inventory.INITRAMFS).is_file():
            _write(folder, image.read_bytes(), root.initramfs.read_bytes() + _further(loaded, epoch))
    except OSError as error:
        return root, _kept(root, f"the host's own cannot be read ({error})")
    except TareError as error:
        return root, _kept(root, f"the host's {release} cannot boot one: {error.brief}")
    changed = dataclasses.replace(
        root, kernel=folder / inventory.KERNEL, initramfs=folder / inventory.INITRAMFS, kernel_release=release
    )
    return changed, f"guests boot the host's own kernel, {release}"


def _kept(root: RootForms, why: str) -> str:
    return f"guests boot the distribution's kernel, {root.kernel_release}: {why}"


def _image(boot: Path, libraries: Path, release: str) -> Path | None:
    places = [*(boot / f"{name}-{release}" for name in NAMES), libraries / release / "vmlinuz"]
    return next((place for place in places if place.is_file()), None)


def _further(loaded: Sequence[tuple[str, bytes]], epoch: int) -> bytes:
    archive = Archive(epoch)
    for name, data in loaded:
        archive.file(f"modules/{name}.ko", data)
    archive.file("modules.list", "".join(f"{name}.ko\n" for name, _ in loaded).encode())
    return archive.finish()


def _write(folder: Path, kernel: bytes, initramfs: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    inventory.store(folder / inventory.KERNEL, kernel)
    inventory.store(folder / inventory.INITRAMFS, initramfs)
