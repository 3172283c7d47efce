"""Load the plug-ins of a group of entry points, each by itself, and contain the failures of each."""

import contextlib
import importlib.metadata
import importlib.util
import inspect
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from harness.errors import TareError, bad_input
from harness.model import Skip, is_name

T = TypeVar("T")
OWN = f"{__package__}."
"""How the modules of tare's own plug-ins begin. They are loaded first, so that no other plug-in takes their names."""
GROUPS = "tare."
"""How the groups of tare's entry points begin."""
ABSENT = "no module"
UNKNOWN = "an unknown distribution"
REPORT = "run the command again with -v and report its output"
SLOW_SECONDS = 2.0
"""A plug-in that takes longer to load is named in a warning."""
log = logging.getLogger(__name__)


class PluginError(TareError):
    """An exception in the code of a plug-in that is no TareError; see `contained`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins(Generic[T]):
    """The plug-ins of a group by entry-point name, and those that could not be loaded, with the reason."""

    found: Mapping[str, T]
    broken: tuple[Skip, ...] = ()

    def why_not(self, name: str) -> Skip | None:
        """Why the plug-in of that name cannot be used; None for one that can, and for an unknown one."""
        return None if name in self.found else next((skip for skip in self.broken if skip.what == name), None)

    def pick(self, name: str, kind: str) -> T:
        """The plug-in of that name; `kind` is what messages call it.

        Raises TareError for one that cannot be used, and (bad input) for an unknown one.
        """
        if name in self.found:
            return self.found[name]
        if skip := self.why_not(name):
            raise TareError(f"the {kind} {name} cannot be used", details=skip.reason, hint=skip.fix)
        raise bad_input(kind, f"there is no {kind} {name[:40]!r}", f"use one of: {', '.join(sorted(self.found))}")


def derived_from(base: type[T]) -> Callable[[str, Any], T]:
    """A `construct` for `load`: call the loaded class, which must be derived from `base` and lack no member of it."""
    known = f"{base.__module__}.{base.__qualname__}"

    def construct(name: str, kind: Any) -> T:
        if not isinstance(kind, type) or not issubclass(kind, base):
            fix = f"name a class derived from {known} in the entry point"
            raise TareError(f"{kind!r:.80} is not a class derived from {known}", hint=fix)
        if lacking := sorted(getattr(kind, "__abstractmethods__", ())):
            raise _lacks(kind, lacking, known)
        plugin: T = kind()
        if lacking := [member for member in inspect.get_annotations(base) if not hasattr(plugin, member)]:
            raise _lacks(kind, lacking, known)
        return plugin

    return construct


def _lacks(kind: type, members: list[str], known: str) -> TareError:
    lacking = ", ".join(members)
    return TareError(f"{kind.__name__} lacks {lacking}", hint=f"define {lacking} in {kind.__name__}; see {known}")


def load(group: str, construct: Callable[[str, Any], T]) -> Plugins[T]:
    """Load every entry point of `group`: tare's own first, then the others by name and distribution.

    `construct` makes the plug-in from the entry point's name and the loaded object, and checks it. Each exception of
    either becomes a Skip that names the object, its distribution and its file.
    """
    found: dict[str, T] = {}
    owners: dict[str, str] = {}
    broken: list[Skip] = []
    for point in sorted(importlib.metadata.entry_points(group=group), key=_order):
        began = time.monotonic()
        try:
            _check(point, owners)
            found[point.name] = construct(point.name, point.load())
            owners[point.name] = _distribution_of(point)
        except TareError as error:
            broken.append(_broken(point, _file(point.value), error.brief, error.hint))
        except (Exception, SystemExit) as error:
            log.debug("plug-in %s failed", point.value, exc_info=True)
            broken.append(_broken(point, _line_in(_file(point.value), error), _described(error)))
        took = time.monotonic() - began
        if took > SLOW_SECONDS and not point.value.startswith(OWN):
            what = f"plug-in {point.value} of {_distribution_of(point)}"
            log.warning("%s took %.1f s to load: import large libraries in the methods that use them", what, took)
    return Plugins(found=found, broken=tuple(broken))


@contextlib.contextmanager
def contained(what: str, plugin: object) -> Iterator[None]:
    """Raise every exception of the code of `plugin` as a PluginError: that it failed, whose it is, where, and a fix.

    A TareError passes unchanged. The code to correct is that of the innermost plug-in in the traceback, which another
    plug-in may have called; `plugin` where the traceback shows none.
    """
    try:
        yield
    except TareError:
        raise
    except (Exception, SystemExit) as error:
        log.debug("%s failed", what, exc_info=True)
        owners = _owners()
        module, where = type(plugin).__module__, _file(type(plugin).__module__)
        for frame, line in traceback.walk_tb(error.__traceback__):
            name = str(frame.f_globals.get("__name__"))
            if not name.startswith(OWN) and name.partition(".")[0] in owners:
                module, where = name, f"{frame.f_code.co_filename}, line {line}"
        distribution = owners.get(module.partition(".")[0], UNKNOWN)
        fix = REPORT if module.startswith(OWN) else _correct(distribution, where)
        raise PluginError(f"{what} failed in {distribution} ({where}): {_described(error)}", hint=fix) from error


def _order(point: importlib.metadata.EntryPoint) -> tuple[bool, str, str]:
    return not point.value.startswith(OWN), point.name, _distribution_of(point)


def _check(point: importlib.metadata.EntryPoint, owners: Mapping[str, str]) -> None:
    """Raise TareError unless the entry point is well formed and its name free; `owners` have the other names."""
    if not point.pattern.match(point.value):
        raise TareError(f"{point.value!r} is not an object in a module", hint=f"write {point.name} = module:Class")
    if not is_name(point.name):
        fix = "rename the entry point: use a-z, 0-9, . or -"
        raise TareError(f"{point.name!r:.60} is no name of a plug-in", hint=fix)
    if owner := owners.get(point.name):
        raise TareError(f"{owner} has an entry point {point.name} in {point.group}", hint="rename the entry point")


def _broken(point: importlib.metadata.EntryPoint, where: str, reason: str, fix: str = "") -> Skip:
    distribution = _distribution_of(point)
    why = f"plug-in {point.value} of {distribution} ({where}) cannot be used: {reason}"
    usual = "make setup" if point.value.startswith(OWN) else _correct(distribution, where)
    return Skip(what=point.name, reason=why, fix=fix or usual)


def _correct(distribution: str, where: str) -> str:
    repair = "install that module" if where.startswith(ABSENT) else "correct that file"
    return f"{repair}, or: pip uninstall {distribution}"


def _described(error: BaseException) -> str:
    with contextlib.suppress(Exception):  # its __str__ is a plug-in's code too
        if text := " ".join(str(error).split()):
            return f"{type(error).__name__}: {text[:300]}"
    return type(error).__name__


def _owners() -> dict[str, str]:
    """The distributions with plug-ins, by the top-level package that these are in."""
    points = (point for one in importlib.metadata.distributions() for point in one.entry_points)
    ours = (point for point in points if point.group.startswith(GROUPS))
    return {re.split(r"\W", point.value)[0]: _distribution_of(point) for point in ours}


def _distribution_of(point: importlib.metadata.EntryPoint) -> str:
    with contextlib.suppress(Exception):  # the metadata may be missing
        if point.dist and point.dist.name:
            return point.dist.name
    return UNKNOWN


def _line_in(file: str, error: BaseException) -> str:
    """`file` with the innermost line of it in the traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}, line {lines[-1]}" if lines else file


def _file(value: str) -> str:
    """The file of the module of an entry point's value, loaded or not."""
    module = value.partition(":")[0].strip()
    if (loaded := sys.modules.get(module)) and (file := getattr(loaded, "__file__", None)):
        return str(file)
    with contextlib.suppress(Exception, SystemExit):
        if (spec := importlib.util.find_spec(module)) and spec.origin:
            return spec.origin
    return f"{ABSENT} {module}"
