"""Use the host's kernel as the guests' kernel, so that native instances and guests run the same kernel."""

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
    """The root with the host's kernel, and a note that names the guests' kernel and the reason.

    The host's modules are appended to the root's initramfs: the kernel unpacks both archives, and a later file replaces
    an earlier one (linux/Documentation/driver-api/early-userspace/buffer-format.rst). The result is written to `store`.
    The root is returned unchanged if the kernel image cannot be read or a module is missing.
    """
    release = release or os.uname().release
    image = _image(boot, libraries, release)
    if image is None:
        return root, _kept(root, f"the host's kernel image {release} is not in {boot}")
    # Named by the build and not by the root's digest, which does not cover the initramfs.
    folder = store / f"kernel-{release}-{root.initramfs.parent.name}"
    try:
        loaded = load_order(guest.modules, libraries / release, guest.also)
        if not (folder / inventory.INITRAMFS).is_file():
            _write(folder, image.read_bytes(), root.initramfs.read_bytes() + _further(loaded, epoch))
    except OSError as error:
        return root, _kept(root, f"the host's kernel cannot be read ({error})")
    except TareError as error:
        return root, _kept(root, f"the host's kernel {release} cannot boot a guest: {error.brief}")
    changed = dataclasses.replace(
        root, kernel=folder / inventory.KERNEL, initramfs=folder / inventory.INITRAMFS, kernel_release=release
    )
    return changed, f"guests boot the host's kernel {release}"


def _kept(root: RootForms, why: str) -> str:
    return f"guests boot the distribution's kernel {root.kernel_release}: {why}"


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
