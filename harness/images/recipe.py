"""The recipe of the root (`images/root.toml`), and the keys that name its builds."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, Gt, Le, Len, Predicate
from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import bad_input

BUILDER = 1
"""Increment it when a change of packages.py or corpus.py changes the result of the same recipe."""

ASSEMBLY = ("cpio.py", "forms.py", "guest.py")
"""The modules of the fast part of a build; any change of their source makes a new build."""

INIT, AGENT, FIRST = "init.sh", "agent.py", "virtiofs.sh"
"""`FIRST` is the first program, after its own init, of a guest that mounts the root with virtio-fs."""
PROGRAMS = ("beacon", "gate", "probe")
"""The programs that are compiled from harness/inside/<name>.c to /opt/tare/<name>."""
INSIDE = Path(__file__).resolve().parent.parent / "inside"
_FORBID = ConfigDict(extra="forbid", strict=False)


def _is_package(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9+.-]{1,60}", text) is not None


def _is_module(text: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", text) is not None


def _is_place(text: str) -> bool:
    return re.fullmatch(r"(/[A-Za-z0-9][A-Za-z0-9._-]{0,40}){1,6}(/\*)?", text) is not None


Package = Annotated[str, Predicate(_is_package)]
Module = Annotated[str, Predicate(_is_module)]
PlaceInRoot = Annotated[str, Predicate(_is_place)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A file of mixed compressibility, generated at build time from `seed`."""

    __pydantic_config__ = _FORBID
    path: PlaceInRoot
    mib: Annotated[int, Gt(0), Le(4096)]
    seed: Annotated[str, Len(1, 100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The guest's part of a recipe: the packages of kernel and busybox, and the modules to load.

    `also` are optional modules, which the guests of some hypervisors need.
    """

    __pydantic_config__ = _FORBID
    kernel: Package
    busybox: Package
    modules: Annotated[tuple[Module, ...], Len(1, 100)]
    also: tuple[Module, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The recipe of a root. `epoch` is in seconds since 1970; `free_mib` is the free space on the guest's disk.

    Paths in `without` are not unpacked from packages; paths in `removed` are deleted after the installation.
    """

    __pydantic_config__ = _FORBID
    schema: Literal[1]
    suite: Annotated[str, Predicate(_is_module)]
    architecture: Literal["amd64", "arm64"]
    variant: Literal["minbase", "apt", "essential"]
    hostname: Annotated[str, Predicate(_is_module)]
    epoch: Annotated[int, Ge(0), Le(2**33)]
    packages: Annotated[tuple[Package, ...], Len(1, 500)]
    without: tuple[PlaceInRoot, ...] = ()
    removed: tuple[PlaceInRoot, ...] = ()
    mount_points: tuple[PlaceInRoot, ...] = ()
    free_mib: Annotated[int, Ge(16), Le(65536)]
    corpora: tuple[Corpus, ...] = ()
    guest: Guest


_ADAPTER = TypeAdapter(Recipe)
_Recipe = TypeVar("_Recipe")


def read(path: Path) -> Recipe:
    """Read the recipe in a TOML file. Raises a bad-input TareError with file and field."""
    return parsed(path, _ADAPTER)


def parsed(path: Path, adapter: TypeAdapter[_Recipe]) -> _Recipe:
    """Read a TOML file as one kind of recipe. Raises a bad-input TareError with file and field."""
    try:
        return adapter.validate_python(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise bad_input(str(path), str(error), f"correct the recipe, or: git checkout {path}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise bad_input(f"{path}: {field}", first["msg"], "correct this field of the recipe") from error


def base_key(recipe: Recipe) -> str:
    """The key of the slow part of a build, the one from packages."""
    return _short(json.dumps([BUILDER, asdict(recipe)], sort_keys=True).encode())


def build_key(recipe: Recipe, inside: Mapping[str, bytes]) -> str:
    """The key of a whole build: the base, the files of `read_inside` and the modules of ASSEMBLY."""
    package = Path(__file__).parent
    parts = {**inside, **{name: (package / name).read_bytes() for name in ASSEMBLY}}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    return _short(json.dumps([base_key(recipe), digests], sort_keys=True).encode())


def read_inside(folder: Path = INSIDE) -> dict[str, bytes]:
    """The files of harness/inside that become part of a build; read once, so that a build is consistent."""
    return {name: (folder / name).read_bytes() for name in (AGENT, FIRST, INIT, *(f"{p}.c" for p in PROGRAMS))}


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
