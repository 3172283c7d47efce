"""Plug-ins: what a group of entry points offers, each loaded by itself so that a broken one does no harm to others."""

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from harness.errors import TareError
from harness.model import Skip

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins(Generic[T]):
    """The plug-ins of a group by entry-point name, and those that could not be loaded, with the reason."""

    found: Mapping[str, T]
    broken: tuple[Skip, ...] = ()


def load(group: str, construct: Callable[[str, Any], T]) -> Plugins[T]:
    """Load every entry point of `group`.

    `construct` makes the plug-in from the entry point's name and the loaded object, and checks it. Whatever either
    raises becomes a Skip that names the entry point and its distribution.
    """
    found: dict[str, T] = {}
    broken: list[Skip] = []
    for point in sorted(importlib.metadata.entry_points(group=group), key=lambda point: point.name):
        try:
            found[point.name] = construct(point.name, point.load())
        except TareError as error:
            broken.append(_broken(point, error.brief, error.hint))
        except Exception as error:
            broken.append(_broken(point, f"{type(error).__name__}: {error}"))
    return Plugins(found=found, broken=tuple(broken))


def _broken(point: importlib.metadata.EntryPoint, reason: str, fix: str = "") -> Skip:
    name = point.dist.name if point.dist else "an unknown distribution"
    why = f"plug-in {point.value} of {name} cannot be used: {reason}"
    return Skip(what=point.name, reason=why, fix=fix or f"correct or uninstall {name}")
