"""The root as a full system: the root's own tar with kernel, systemd and GRUB added, on a disk that firmware boots.

Every file of the root stays as it is: packages are added to its tar, none is replaced. Built only when a variant boots
it, and kept beside the root's builds.
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
"""Raised when this file makes something else of the same recipe."""
LABEL = "tare-system"
DISK = "system.raw"
FOLDER = INSIDE / "system"
LOADER = "loader.cfg"
"""What GRUB runs first, built into its image; there its parser knows no comments. Its first act is to say on the second
serial port that it runs: the host stamps that line. Then it finds the disk's own grub.cfg."""
PLACES: Mapping[str, str] = {
    "90-tare.rules": "etc/udev/rules.d",
    "fstab": "etc",
    "grub.cfg": "boot/grub",
    "patience.conf": "etc/systemd/system.conf.d",
    "start.sh": "opt/tare/system",
    "tare-reached.service": "etc/systemd/system",
    "tare.service": "etc/systemd/system",
}
"""Where the files of harness/inside/system go; systemd's units are wanted by multi-user.target."""
MODULES = ("part_gpt", "ext2", "search", "search_label", "serial", "terminfo", "terminal", "echo", "normal", "linux")
"""What of GRUB is in its image, besides the access to disks."""
DISKS: Mapping[str, tuple[str, ...]] = {"i386-pc": ("biosdisk",), "x86_64-efi": ()}
IMAGES: Mapping[str, str] = {"i386-pc": "boot/grub/core.img", "x86_64-efi": "boot/grub/core.efi"}
COME_WITH_SYSTEMD = ("libsystemd0", "libudev1")
"""Libraries of one version with systemd, which may be newer than the root; nothing that is measured uses them."""
CODE = "usr/lib/grub/i386-pc/boot.img"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRecipe:
    """What a full system has above the `root` whose recipe stands beside it. Sizes in MiB."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    schema: Literal[1]
    root: Literal["root.toml"]
    packages: Annotated[tuple[Package, ...], Len(1, 500)]
    loader: Annotated[tuple[Package, ...], Len(1, 10)]
    esp_mib: Annotated[int, Ge(8), Le(512)]
    free_mib: Annotated[int, Ge(16), Le(65536)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemManifest:
    """A build: of which root, what it is called by (`digest` of its disk), its kernel and packages with versions."""

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
    """The recipe in a TOML file; raises a bad-input TareError that names file and field."""
    return recipe.parsed(path, _RECIPE)


def with_system(
    root: RootForms, recipe_file: Path, folder: Path, deadline: Deadline, notify: Notify, *, base: Path | None = None
) -> RootForms:
    """The root's forms with the full system made of it, built in the store `folder` where it has none yet.

    `base` is the recipe of the root, where that is another than the one that the system's recipe names. Raises
    TareError as `ensure` does.
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
    """Names a build: by its recipe, the root that it is made of, what is put inside and the programs that do it."""
    room = Path(__file__).parent
    parts = {**inside, **{name: (room / name).read_bytes() for name in ("cpio.py", "forms.py", "partitions.py")}}
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
    # Its set-uid programs get no security updates: nobody but root may reach them on the host.
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
    """GRUB's images, made by the system's own GRUB: the host needs none."""
    hooks = ['mkdir -p "$1/boot/grub"', f"copy-in {FOLDER / LOADER} /boot/grub"]
    for target, disks in DISKS.items():
        words = f"-O {target} -c /boot/grub/{LOADER} -p /boot/grub -o /{IMAGES[target]}"
        hooks.append(f'chroot "$1" grub-mkimage {words} {" ".join((*disks, *MODULES))}')
    return hooks


def furnish(tree: Path, inside: Mapping[str, bytes], key: str, epoch: int) -> None:
    """Put what is ours into the unpacked system, and make it one that has been booted before."""
    for name, place in PLACES.items():
        folder = tree / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(inside[name])
        if name.endswith(".service"):
            wants = folder / "multi-user.target.wants"
            wants.mkdir(exist_ok=True)
            (wants / name).symlink_to(f"../{name}")
    # The first program of the guest, with the port that it writes to, as in a guest that is only the root.
    archive = Archive(epoch)
    archive.directory("dev")
    archive.device("dev/console", 5, 1)
    archive.device("dev/ttyS1", 4, 65)
    archive.file("beacon", (tree / "opt/tare/beacon").read_bytes(), 0o755)
    (tree / "boot/beacon.cpio").write_bytes(archive.finish())
    # Else each instance's first boot would be its system's first: with new ids and rebuilt caches.
    (tree / "etc/machine-id").write_text(f"{uuid.uuid5(uuid.NAMESPACE_URL, f'tare:{key}:machine').hex}\n")
    for name in ("etc/.updated", "var/.updated"):
        (tree / name).touch()


def check_packages(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise TareError unless every package of the root is still there as it was, but for systemd's own libraries."""
    if moved := [name for name in before if after.get(name) != before[name] and name not in COME_WITH_SYSTEMD]:
        details = "\n".join(f"{name}: {before[name]}, now {after.get(name, 'gone')}" for name in sorted(moved)[:10])
        raise TareError("the full system would have other packages than the root", details=details, hint=packages.ANEW)


def _write_disk(tree: Path, wanted: SystemRecipe, key: str, epoch: int, work: Path, deadline: Deadline) -> None:
    disk = work / DISK
    mib = forms.ext4_mib(tree, wanted.free_mib)
    plan = partitions.layout(wanted.esp_mib, mib)
    partitions.make_table(disk, plan, key, deadline)
    partitions.write_bios(disk, plan, (tree / CODE).read_bytes(), (tree / IMAGES["i386-pc"]).read_bytes())
    partitions.write_esp(disk, plan, tree / IMAGES["x86_64-efi"], work, deadline)
    forms.make_ext4(tree, disk, LABEL, key, epoch, mib, deadline, offset=plan.system.offset)
