"""The recipe of the root as data (`images/root.toml`), and the digest that names what is built from it."""

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
"""Raised when packages.py or corpus.py makes something else of the same recipe."""

ASSEMBLY = ("cpio.py", "forms.py", "guest.py")
"""The programs of the quick part of a build; any change in them makes another build."""

INIT, AGENT, FIRST = "init.sh", "agent.py", "virtiofs.sh"
"""`FIRST` is what a guest that finds the root by virtiofs runs first, after its own init."""
PROGRAMS = ("beacon", "gate", "probe")
"""What is compiled from `<name>.c` of harness/inside to /opt/tare/<name>."""
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
    """A file of mixed compressibility, made at build time from `seed`."""

    __pydantic_config__ = _FORBID
    path: PlaceInRoot
    mib: Annotated[int, Gt(0), Le(4096)]
    seed: Annotated[str, Len(1, 100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What boots the root in a guest: the kernel's and busybox's packages and the modules to load.

    `also` are modules that some hypervisor's guests need; a kernel may be without them.
    """

    __pydantic_config__ = _FORBID
    kernel: Package
    busybox: Package
    modules: Annotated[tuple[Module, ...], Len(1, 100)]
    also: tuple[Module, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the root is made of. `epoch` is in seconds since 1970, `free_mib` the guest disk's free space.

    `without` is never unpacked from packages; `removed` is taken away once they are installed.
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
    """The recipe in a TOML file; raises a bad-input TareError that names file and field."""
    return parsed(path, _ADAPTER)


def parsed(path: Path, adapter: TypeAdapter[_Recipe]) -> _Recipe:
    """A TOML file as one kind of recipe; raises a bad-input TareError that names file and field."""
    try:
        return adapter.validate_python(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise bad_input(str(path), str(error), "correct the recipe, or `git checkout` it") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise bad_input(f"{path}: {field}", first["msg"], "correct this field of the recipe") from error


def base_key(recipe: Recipe) -> str:
    """Names the slow part of a build: what comes from packages."""
    return _short(json.dumps([BUILDER, asdict(recipe)], sort_keys=True).encode())


def build_key(recipe: Recipe, inside: Mapping[str, bytes]) -> str:
    """Names a whole build: the base and the files that are put inside (of `read_inside`)."""
    room = Path(__file__).parent
    parts = {**inside, **{name: (room / name).read_bytes() for name in ASSEMBLY}}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    return _short(json.dumps([base_key(recipe), digests], sort_keys=True).encode())


def read_inside(folder: Path = INSIDE) -> dict[str, bytes]:
    """The files of harness/inside that become part of a build, read once: a build is of one moment."""
    return {name: (folder / name).read_bytes() for name in (AGENT, FIRST, INIT, *(f"{p}.c" for p in PROGRAMS))}


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
