"""Variants in a report: in which order they stand, in which family, and emulated guests apart from all others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, TypeVar

import pandas as pd

EMULATED = frozenset({"tcg"})
HARDWARE_GUEST = frozenset({"kvm", "kvm-nested", "xen-pv", "xen-pvh"})
T = TypeVar("T")


class Subject(NamedTuple):
    """A variant as it was measured."""

    variant: str
    runtime: str
    accelerator: str

    @property
    def emulated(self) -> bool:
        """Whether it ran on software emulation."""
        return emulated(self.accelerator)

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Its own of these rows."""
        return rows[(rows["variant"] == self.variant) & (rows["accelerator"] == self.accelerator)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSubject:
    """What belongs to one variant."""

    subject: Subject

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.subject.variant

    @property
    def emulated(self) -> bool:
        """Whether it ran on software emulation."""
        return self.subject.emulated


def subjects(rows: pd.DataFrame, baseline: str) -> list[Subject]:
    """Every variant that has a row, in the report's order."""
    seen = rows[[*Subject._fields]].drop_duplicates().itertuples(index=False, name=None)
    found = [Subject(*map(str, one)) for one in seen]
    return sorted(found, key=lambda one: order(one.variant, one.accelerator, baseline))


def parts(items: Iterable[T], is_emulated: Callable[[T], bool] = attrgetter("emulated")) -> list[list[T]]:
    """The items in their order, in two parts: those of emulated guests come last. A part without any is left out."""
    listed = list(items)
    split = ([one for one in listed if is_emulated(one) == apart] for apart in (False, True))
    return [part for part in split if part]


def label(variant: str, is_emulated: bool) -> str:
    """A variant's name in a plot's description."""
    return f"{variant} (emulated)" if is_emulated else variant


def emulated(accelerator: str) -> bool:
    """Whether a variant with this accelerator runs on software emulation."""
    return accelerator in EMULATED


def family(runtime: str, accelerator: str) -> str:
    """The family that shares a colour and a name in every plot; emulated guests are one of their own."""
    if emulated(accelerator):
        return f"emulated ({accelerator})"
    return f"{runtime} ({accelerator})" if accelerator in HARDWARE_GUEST else runtime


def order(variant: str, accelerator: str, baseline: str) -> tuple[int, str]:
    """Sort key: the baseline, then native and containers, then guests on hardware, then emulated ones."""
    if variant == baseline:
        return 0, variant
    if emulated(accelerator):
        return 9, variant
    return 5 if accelerator in HARDWARE_GUEST else 1 if variant.startswith("native") else 2, variant
