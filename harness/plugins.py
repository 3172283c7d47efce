"""Load the plug-ins of a group of entry points, each by itself: a broken one does not affect the others."""

import contextlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from harness.errors import TareError, bad_input
from harness.model import Skip

T = TypeVar("T")
OWN = f"{__package__}."
"""How the modules of tare's own plug-ins begin. They are loaded first, so that no other plug-in takes their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins(Generic[T]):
    """The plug-ins of a group by entry-point name, and those that could not be loaded, with the reason."""

    found: Mapping[str, T]
    broken: tuple[Skip, ...] = ()

    def pick(self, name: str, kind: str) -> T:
        """The plug-in of that name; `kind` is what messages call it.

        Raises TareError for one that cannot be used, and (bad input) for an unknown one.
        """
        if name in self.found:
            return self.found[name]
        for skip in self.broken:
            if skip.what == name:
                raise TareError(f"the {kind} {name} cannot be used", details=skip.reason, hint=skip.fix)
        raise bad_input(kind, f"there is no {kind} {name[:40]!r}", f"use one of: {', '.join(sorted(self.found))}")


def derived_from(base: type[T]) -> Callable[[str, Any], T]:
    """A `construct` for `load`: call the loaded class, which must be derived from `base` and lack no method of it."""

    def construct(name: str, kind: Any) -> T:
        known = f"{base.__module__}.{base.__qualname__}"
        if not isinstance(kind, type) or not issubclass(kind, base):
            raise TareError(f"{kind!r} is not a class derived from {known}")
        if lacking := ", ".join(sorted(getattr(kind, "__abstractmethods__", ()))):
            raise TareError(
                f"{kind.__name__} lacks {lacking}", hint=f"define {lacking} in {kind.__name__}; see {known}"
            )
        plugin: T = kind()
        return plugin

    return construct


def load(group: str, construct: Callable[[str, Any], T]) -> Plugins[T]:
    """Load every entry point of `group`: tare's own first, then the others by name.

    `construct` makes the plug-in from the entry point's name and the loaded object, and checks it. Each exception of
    either becomes a Skip that names the object, its distribution and its file.
    """
    found: dict[str, T] = {}
    broken: list[Skip] = []
    points = importlib.metadata.entry_points(group=group)
    for point in sorted(points, key=lambda point: (not point.module.startswith(OWN), point.name)):
        try:
            if point.name in found:
                raise TareError(f"{group} already has an entry point {point.name}", hint="rename the entry point")
            found[point.name] = construct(point.name, point.load())
        except TareError as error:
            broken.append(_broken(point, _file(point), error.brief, error.hint))
        except (Exception, SystemExit) as error:
            file = _file(point)
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
            where = f"{file}, line {lines[-1]}" if lines else file
            broken.append(_broken(point, where, f"{type(error).__name__}: {error}"))
    return Plugins(found=found, broken=tuple(broken))


def _broken(point: importlib.metadata.EntryPoint, where: str, reason: str, fix: str = "") -> Skip:
    distribution = point.dist.name if point.dist else "an unknown distribution"
    why = f"plug-in {point.value} of {distribution} ({where}) cannot be used: {reason}"
    usual = "make setup" if point.module.startswith(OWN) else f"correct that file, or: pip uninstall {distribution}"
    return Skip(what=point.name, reason=why, fix=fix or usual)


def _file(point: importlib.metadata.EntryPoint) -> str:
    """The file of an entry point's module, loaded or not."""
    if (module := sys.modules.get(point.module)) and (file := getattr(module, "__file__", None)):
        return str(file)
    with contextlib.suppress(Exception):
        if (spec := importlib.util.find_spec(point.module)) and spec.origin:
            return spec.origin
    return f"no module {point.module}"
