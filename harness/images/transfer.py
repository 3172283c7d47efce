"""Export and import a root, so that several hosts measure the same files."""

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from harness import process
from harness.deadline import Deadline
from harness.errors import TareError, bad_input
from harness.images import forms, inventory, recipe
from harness.images.inventory import DIRECTORY, INITRAMFS, KERNEL, MANIFEST, TAR, Manifest
from harness.images.store import finish, install, installed, locked, partial
from harness.model import RootForms

CARRIED = (TAR, KERNEL, INITRAMFS)
"""The files of an export besides the manifest; the directory and the disk are built from the tar again."""
LARGEST = 16 * 2**30
LARGEST_MANIFEST = 2**20
AGAIN = "export the root again on the other host: tare image export FILE"


def export_root(root: RootForms, path: Path, deadline: Deadline) -> None:
    """Write the root to `path` as a tar; compresses it if the name ends in `.zst`.

    Verifies the content first. Raises TareError if the root was altered or the file cannot be written.
    """
    folder = root.tar.parent
    inventory.verify(folder, full=True)
    plain = path.with_name(f".{path.name}.tar")
    packed = path.with_name(f".{path.name}.new")
    try:
        with tarfile.open(plain, "w", format=tarfile.GNU_FORMAT) as archive:
            for name in (MANIFEST, *CARRIED):
                archive.add(folder / name, name, recursive=False, filter=_nobodys)
        if path.name.endswith(".zst"):
            process.run(["zstd", "-q", "-f", "-3", "-T0", plain, "-o", packed], deadline)
        else:
            plain.rename(packed)
        with packed.open("rb") as stream:
            os.fsync(stream.fileno())
        packed.rename(path)
    except OSError as error:
        hint = "choose a file in a writable folder"
        raise TareError(f"cannot write {path}", details=str(error), hint=hint) from error
    finally:
        plain.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)


def import_root(
    path: Path, store: Path, recipe_file: Path, deadline: Deadline, notify: Callable[[str], None]
) -> RootForms:
    """Install an exported root as the build of this recipe, and return its forms; `ensure` then uses it.

    Raises TareError if the file is not an export, is damaged, or contains a path outside the root. The same if it was
    made by a version of tare with another recipe or agent. Nothing is changed then.
    """
    if not path.is_file():
        problem = "is not a file" if path.exists() else "there is no such file"
        raise bad_input(str(path), problem, "check the path; tare image export FILE makes such a file")
    wanted = recipe.read(recipe_file)
    key = recipe.build_key(wanted, recipe.read_inside())
    with locked(store, deadline, notify), partial(store) as work:
        notify(f"root: reading {path}")
        plain = path
        if path.name.endswith(".zst"):
            plain = work / "export.tar"
            process.run(["zstd", "-q", "-d", f"--memory={128}MB", path, "-o", plain], deadline)
        carried = _unpack(plain, path, work)
        if plain != path:
            plain.unlink()
        if carried.key != key:
            raise bad_input(
                str(path),
                f"contains root {carried.key}, but this version of tare uses {key}",
                "use the same version of tare on both hosts",
            )
        _check_members(work / TAR, path)
        forms.derive(work, key, wanted.epoch, wanted.free_mib, deadline, notify)
        finish(work, _described(carried, work))
        install(work, store / key)
    return inventory.verify(store / key)


def _unpack(plain: Path, path: Path, work: Path) -> Manifest:
    """Extract the expected members and compare each with the manifest; other members are an error."""
    try:
        with tarfile.open(plain, "r:") as archive:
            carried = inventory.parse(_member(archive, MANIFEST, LARGEST_MANIFEST, path), f"{path}: {MANIFEST}")
            for name in CARRIED:
                with (work / name).open("wb") as target:
                    _copy(archive, name, path, target.fileno())
            if extra := set(archive.getnames()) - {MANIFEST, *CARRIED}:
                raise bad_input(str(path), f"contains the unexpected member {min(extra)!r}", AGAIN)
    except (tarfile.TarError, EOFError, OSError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise bad_input(str(path), f"is not an export of a root: {why}", AGAIN) from error
    found = inventory.measure_forms(work, CARRIED)
    for name in CARRIED:
        if carried.forms.get(name) != found[name]:
            raise bad_input(str(path), f"{name} does not match the manifest", AGAIN)
    if carried.digest != found[TAR].sha256:
        raise bad_input(str(path), "the root's digest does not match its tar", AGAIN)
    return carried


def _regular(archive: tarfile.TarFile, name: str, largest: int, path: Path) -> tarfile.TarInfo:
    try:
        member = archive.getmember(name)
    except KeyError:
        raise bad_input(str(path), f"has no {name}", AGAIN) from None
    if not member.isreg() or member.size > largest:
        raise bad_input(str(path), f"{name} is not a regular file of at most {largest} bytes", AGAIN)
    return member


def _member(archive: tarfile.TarFile, name: str, largest: int, path: Path) -> bytes:
    stream = archive.extractfile(_regular(archive, name, largest, path))
    return stream.read() if stream else b""


def _copy(archive: tarfile.TarFile, name: str, path: Path, target: int) -> None:
    stream = archive.extractfile(_regular(archive, name, LARGEST, path))
    if stream is not None:
        with os.fdopen(os.dup(target), "wb") as out:
            shutil.copyfileobj(stream, out, 2**20)


def _check_members(tar: Path, path: Path) -> None:
    """Raise TareError if a member of the root's tar would be written outside of the root or through a link."""
    links: set[PurePosixPath] = set()
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            names = [member.name, member.linkname] if member.islnk() else [member.name]
            for name in names:
                place = PurePosixPath(name)
                if place.is_absolute() or ".." in place.parts or links.intersection(place.parents):
                    raise bad_input(str(path), f"the root contains {name!r}, a path outside of it", AGAIN)
            if member.issym():
                links.add(PurePosixPath(member.name))
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk() or _in_dev(member.name)):
                raise bad_input(str(path), f"the root contains the device {member.name!r} outside of /dev", AGAIN)


def _in_dev(name: str) -> bool:
    return PurePosixPath(name).parts[:1] == ("dev",)


def _described(carried: Manifest, work: Path) -> Manifest:
    return Manifest(
        key=carried.key,
        recipe=carried.recipe,
        digest=carried.digest,
        kernel_release=carried.kernel_release,
        kernel_package=carried.kernel_package,
        seconds=carried.seconds,
        forms=inventory.measure_forms(work),
        packages=installed(work / DIRECTORY, Deadline.after(30)),
        tools=carried.tools,
    )


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
