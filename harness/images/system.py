"""Build a full system from the root: its tar plus kernel, systemd and GRUB, on a disk that firmware can boot.

Packages are added to the root's tar and none is replaced, so every file of the root is unchanged. The full system is
built only if a variant boots it, and is stored beside the root's builds.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.deadline import Deadline
from harness.errors import TareError
from harness.images import forms, inventory, packages, partitions, recipe, store
from harness.images.cpio import Archive
from harness.images.inventory import MANIFEST, Form
from harness.images.recipe import INSIDE, Package, Recipe
from harness.model import RootForms, SystemForm

Notify = Callable[[str], None]
BUILDER = 1
"""Increment it when a change of this file changes the result of the same recipe."""
LABEL = "tare-system"
DISK = "system.raw"
FOLDER = INSIDE / "system"
LOADER = "loader.cfg"
"""GRUB's first script, built into its image. It prints a line on the second serial port, which the host stamps, and
then loads grub.cfg from the disk. GRUB's parser supports no comments in it."""
PLACES: Mapping[str, str] = {
    "90-tare.rules": "etc/udev/rules.d",
    "fstab": "etc",
    "grub.cfg": "boot/grub",
    "patience.conf": "etc/systemd/system.conf.d",
    "start.sh": "opt/tare/system",
    "tare-reached.service": "etc/systemd/system",
    "tare.service": "etc/systemd/system",
}
"""The target folders of the files in harness/inside/system; multi-user.target wants the units."""
MODULES = ("part_gpt", "ext2", "search", "search_label", "serial", "terminfo", "terminal", "echo", "normal", "linux")
"""The modules in GRUB's image, in addition to those for disk access."""
DISKS: Mapping[str, tuple[str, ...]] = {"i386-pc": ("biosdisk",), "x86_64-efi": ()}
IMAGES: Mapping[str, str] = {"i386-pc": "boot/grub/core.img", "x86_64-efi": "boot/grub/core.efi"}
COME_WITH_SYSTEMD = ("libsystemd0", "libudev1")
"""Libraries with the version of systemd, which may be newer than the root's; no workload uses them."""
CODE = "usr/lib/grub/i386-pc/boot.img"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRecipe:
    """The recipe of a full system: the packages to add to the `root` recipe in the same folder. Sizes are in MiB."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    schema: Literal[1]
    root: Literal["root.toml"]
    packages: Annotated[tuple[Package, ...], Len(1, 500)]
    loader: Annotated[tuple[Package, ...], Len(1, 10)]
    esp_mib: Annotated[int, Ge(8), Le(512)]
    free_mib: Annotated[int, Ge(16), Le(65536)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemManifest:
    """The manifest of a build: the digest of its `root`, its kernel, its `disk` and the versions of its packages."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    schema: Literal[1] = 1
    root: str
    kernel_release: str
    seconds: float
    disk: Form
    packages: Mapping[str, str]


_RECIPE = TypeAdapter(SystemRecipe)
_MANIFEST = TypeAdapter(SystemManifest)


def read(path: Path) -> SystemRecipe:
    """Read the recipe in a TOML file. Raises a bad-input TareError with file and field."""
    return recipe.parsed(path, _RECIPE)


def with_system(
    root: RootForms, recipe_file: Path, folder: Path, deadline: Deadline, notify: Notify, *, base: Path | None = None
) -> RootForms:
    """The root's forms including its full system; builds the latter in the store `folder` if it does not exist.

    `base` is the recipe of the root, if it is not the one that the system's recipe names. Raises TareError as `ensure`
    does.
    """
    wanted = read(recipe_file)
    beneath = recipe.read(base or recipe_file.with_name(wanted.root))
    inside = {name: (FOLDER / name).read_bytes() for name in (*PLACES, LOADER)}
    key = build_key(wanted, root, inside)
    build = folder / f"system-{key}"
    if not (build / MANIFEST).is_file():
        with store.locked(folder, deadline, notify):
            if not (build / MANIFEST).is_file():
                packages.check_tools({**packages.NEEDED, **partitions.NEEDED})
                with store.partial(folder) as work:
                    _build(wanted, beneath, root, inside, key, work, deadline, notify)
                    store.install(work, build)
                store.prune(folder)
                notify(f"system: built {build}")
    return replace(root, system=_use(build))


def build_key(wanted: SystemRecipe, root: RootForms, inside: Mapping[str, bytes]) -> str:
    """The key of a build: its recipe, its root, the files that are put inside and the modules that build it."""
    package = Path(__file__).parent
    parts = {**inside, **{name: (package / name).read_bytes() for name in ("cpio.py", "forms.py", "partitions.py")}}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    whole = [BUILDER, asdict(wanted), root.digest, root.kernel_release, digests]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _use(build: Path) -> SystemForm:
    try:
        made = _MANIFEST.validate_json((build / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise TareError(f"{build / MANIFEST} is damaged", details=str(error), hint=f"rm -r {build}") from error
    inventory.unaltered(build, {DISK: made.disk})
    with contextlib.suppress(OSError):
        os.utime(build)  # the oldest builds are removed first
    return SystemForm(digest=made.disk.sha256, disk=build / DISK, kernel_release=made.kernel_release)


def _build(
    wanted: SystemRecipe,
    base: Recipe,
    root: RootForms,
    inside: Mapping[str, bytes],
    key: str,
    work: Path,
    deadline: Deadline,
    notify: Notify,
) -> None:
    begun = time.monotonic()
    # Only root may access the tree on the host: its set-uid programs get no security updates.
    private = work / "private"
    private.mkdir(mode=0o700)
    tree = private / "tree"
    tree.mkdir()
    notify("system: adding kernel, systemd and GRUB to the root (about a minute)")
    added = (*wanted.packages, *wanted.loader, f"linux-image-{root.kernel_release}")
    tar = packages.extend(base, root.tar, added, _hooks(), work, deadline)
    forms.extract(tar, tree, deadline)
    tar.unlink()
    furnish(tree, inside, key, base.epoch)
    found = store.installed(tree, Deadline.after(30))
    check_packages(inventory.read(root.tar.parent).packages, found)
    notify("system: writing its disk")
    _write_disk(tree, wanted, key, base.epoch, work, deadline)
    shutil.rmtree(private)
    disk = work / DISK
    disk.chmod(0o444)
    made = SystemManifest(
        root=root.digest,
        kernel_release=root.kernel_release,
        seconds=round(time.monotonic() - begun, 1),
        disk=Form(sha256=inventory.sha256(disk), size=disk.stat().st_size),
        packages=found,
    )
    inventory.store(work / MANIFEST, json.dumps(asdict(made), indent=1, sort_keys=True).encode())
    inventory.seal(work, [DISK])


def _hooks() -> list[str]:
    """The hooks that create GRUB's images with the GRUB inside the system, so that the host needs no GRUB."""
    hooks = ['mkdir -p "$1/boot/grub"', f"copy-in {FOLDER / LOADER} /boot/grub"]
    for target, disks in DISKS.items():
        words = f"-O {target} -c /boot/grub/{LOADER} -p /boot/grub -o /{IMAGES[target]}"
        hooks.append(f'chroot "$1" grub-mkimage {words} {" ".join((*disks, *MODULES))}')
    return hooks


def furnish(tree: Path, inside: Mapping[str, bytes], key: str, epoch: int) -> None:
    """Add tare's files to the unpacked system, and mark it as already booted."""
    for name, place in PLACES.items():
        folder = tree / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(inside[name])
        if name.endswith(".service"):
            wants = folder / "multi-user.target.wants"
            wants.mkdir(exist_ok=True)
            (wants / name).symlink_to(f"../{name}")
    # The beacon is the first program of the guest, and ttyS1 the port that it writes to, as in the root's initramfs.
    archive = Archive(epoch)
    archive.directory("dev")
    archive.device("dev/console", 5, 1)
    archive.device("dev/ttyS1", 4, 65)
    archive.file("beacon", (tree / "opt/tare/beacon").read_bytes(), 0o755)
    (tree / "boot/beacon.cpio").write_bytes(archive.finish())
    # Otherwise every instance would do first-boot work: create ids and rebuild caches.
    (tree / "etc/machine-id").write_text(f"{uuid.uuid5(uuid.NAMESPACE_URL, f'tare:{key}:machine').hex}\n")
    for name in ("etc/.updated", "var/.updated"):
        (tree / name).touch()


def check_packages(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise TareError if a package of the root is missing or has another version; systemd's libraries may differ."""
    if moved := [name for name in before if after.get(name) != before[name] and name not in COME_WITH_SYSTEMD]:
        details = "\n".join(f"{name}: {before[name]}, now {after.get(name, 'missing')}" for name in sorted(moved)[:10])
        raise TareError("the full system differs from the root's packages", details=details, hint=packages.ANEW)


def _write_disk(tree: Path, wanted: SystemRecipe, key: str, epoch: int, work: Path, deadline: Deadline) -> None:
    disk = work / DISK
    mib = forms.ext4_mib(tree, wanted.free_mib)
    plan = partitions.layout(wanted.esp_mib, mib)
    partitions.make_table(disk, plan, key, deadline)
    partitions.write_bios(disk, plan, (tree / CODE).read_bytes(), (tree / IMAGES["i386-pc"]).read_bytes())
    partitions.write_esp(disk, plan, tree / IMAGES["x86_64-efi"], work, deadline)
    forms.make_ext4(tree, disk, LABEL, key, epoch, mib, deadline, offset=plan.system.offset)
