"""The manifest of a build, and the check that its files are unaltered."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Len, Predicate
from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import TareError
from harness.images import listing
from harness.model import RootForms

MANIFEST = "manifest.json"
SEAL = "seal.json"
LISTING = "directory.list"
DIRECTORY = "native/root"
TAR, DISK, KERNEL, INITRAMFS = "root.tar", "disk.raw", "kernel", "initramfs"
FILES = (TAR, DISK, KERNEL, INITRAMFS, LISTING)
REBUILD = "make images"


def _is_digest(text: str) -> bool:
    return len(text) in {16, 64} and set(text) <= set("0123456789abcdef")


Digest = Annotated[str, Predicate(_is_digest)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One file of a build; `size` in bytes."""

    sha256: Digest
    size: Annotated[int, Ge(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of a build. `digest` is the sha256 of its tar; `packages` and `tools` are versions by name."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    schema: Literal[1] = 1
    key: Digest
    recipe: Digest
    digest: Digest
    kernel_release: Annotated[str, Len(1, 100), Predicate(lambda text: "/" not in text)]
    kernel_package: Annotated[str, Len(1, 200)]
    seconds: float
    forms: Mapping[str, Form]
    packages: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


_ADAPTER = TypeAdapter(Manifest)


def parse(text: str | bytes, where: str) -> Manifest:
    """Parse a manifest from JSON. Raises TareError with `where` and the invalid field."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise TareError(f"{where} is damaged", details=problem, hint=REBUILD) from error


def read(folder: Path) -> Manifest:
    """Read the manifest of a build. Raises TareError."""
    try:
        return parse((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
    except OSError as error:
        raise TareError(f"{folder} contains no complete build", details=str(error), hint=REBUILD) from error


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and the seal of a build; all its files must be in place."""
    store(folder / MANIFEST, encode(manifest))
    seal(folder, FILES)


def encode(manifest: Manifest) -> bytes:
    """The manifest as JSON; the inverse of `parse`."""
    return json.dumps(asdict(manifest), indent=1, sort_keys=True).encode()


def forms(folder: Path, manifest: Manifest) -> RootForms:
    """The paths of the forms of a build."""
    return RootForms(
        digest=manifest.digest,
        directory=folder / DIRECTORY,
        tar=folder / TAR,
        disk=folder / DISK,
        kernel=folder / KERNEL,
        initramfs=folder / INITRAMFS,
        kernel_release=manifest.kernel_release,
    )


def verify(folder: Path, *, full: bool = False) -> RootForms:
    """The forms of an unaltered build. Raises TareError with the first difference if the build was altered.

    A file with the sealed size, time and inode counts as unaltered; otherwise, or with `full`, it is hashed. In the
    directory every file's metadata is compared, with `full` also its content.
    """
    manifest = read(folder)
    unaltered(folder, {name: manifest.forms[name] for name in FILES}, full=full)
    if difference := listing.difference(folder / DIRECTORY, folder / LISTING, full=full):
        raise _altered(folder / DIRECTORY, difference)
    return forms(folder, manifest)


def unaltered(folder: Path, built: Mapping[str, Form], *, full: bool = False) -> None:
    """Raise TareError if one of the named files of `folder` was altered; see `verify`."""
    sealed = _read_seal(folder)
    moved = [name for name in built if full or sealed.get(name) != _identity(folder / name)]
    for name in moved:
        _compare(folder / name, built[name])
    if moved:
        seal(folder, built)


def measure_forms(folder: Path, names: tuple[str, ...] = FILES) -> dict[str, Form]:
    """The digest and size of each named file of a build."""
    return {name: Form(sha256=sha256(folder / name), size=(folder / name).stat().st_size) for name in names}


def sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def store(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)


def _compare(path: Path, built: Form) -> None:
    if not path.is_file():
        raise _altered(path, "the file is missing")
    size = path.stat().st_size
    if size != built.size:
        raise _altered(path, f"{size} bytes instead of {built.size}")
    if (found := sha256(path)) != built.sha256:
        raise _altered(path, f"sha256 {found} instead of {built.sha256}")


def _altered(path: Path, difference: str) -> TareError:
    return TareError(f"{path} was altered after the build", details=difference, hint=f"{REBUILD} (rebuilds it)")


def seal(folder: Path, names: Iterable[str]) -> None:
    """Store the size, time and inode of the named files of `folder` for `unaltered`."""
    store(folder / SEAL, json.dumps({name: _identity(folder / name) for name in names}).encode())


def _read_seal(folder: Path) -> dict[str, list[int]]:
    try:
        found = json.loads((folder / SEAL).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _identity(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ino]
