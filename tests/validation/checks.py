"""A figure with its bound, and the comparison of a simulated share with a bound."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

ERRORS = 2.0
"""The number of standard errors of the simulation by which some bounds are widened; printed with the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The size of the simulation.

    With 8,000 `repetitions` the standard error of a share near .95 is .0024, with 1,000 it is .0069. `widen` is the
    number of standard errors by which every bound is widened: 0 in the full run, ERRORS in the quick run.
    """

    repetitions: int
    widen: float = 0.0


FULL = Effort(repetitions=8_000)
QUICK = Effort(repetitions=1_000, widen=ERRORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A figure and whether it meets its bound; `passed` is None for a figure without bound.

    `error` is the figure's standard error (None if unknown). `n` is the number of repetitions, comparisons or blocks.
    `unit` is the unit of figure and error: a share, or percentage points of overhead.
    """

    name: str
    figure: float
    error: float | None
    bound: str
    passed: bool | None
    n: int
    seed: int
    unit: Literal["share", "points"] = "share"
    note: str = ""

    @property
    def status(self) -> str:
        """The result in one word."""
        return {True: "ok", False: "MISSED", None: "info"}[self.passed]

    @property
    def shown(self) -> str:
        """The formatted figure."""
        return f"{self.figure:.4f}" if self.unit == "share" else f"{self.figure:+.3f} points"

    def line(self) -> str:
        """One line for the terminal."""
        error = "" if self.error is None else f" ± {self.error:.4f}"
        note = f"; {self.note}" if self.note else ""
        return (
            f"  {self.status:8} {self.name}: {self.shown}{error} ({self.bound}; n {self.n:,}, seed {self.seed}{note})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A check without a figure: it cannot run on this host, or (`failed`) its run failed."""

    name: str
    reason: str
    failed: bool = False

    @property
    def status(self) -> str:
        """The result in one word."""
        return "FAILED" if self.failed else "skipped"

    def line(self) -> str:
        """One line for the terminal."""
        return f"  {self.status:8} {self.name}: {self.reason}"


Result = Check | Absent


def bad(result: Result) -> bool:
    """Whether this result makes the validation fail."""
    return result.failed if isinstance(result, Absent) else result.passed is False


def seed_of(seed: int, name: str) -> int:
    """The seed of one check; it does not depend on which other checks run."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big")


def standard_error(share: float, n: int) -> float:
    """The standard error of a share of `n` independent repetitions; 0 and 1 are moved inward by half a repetition."""
    inside = min(max(share, 0.5 / n), 1 - 0.5 / n)
    return math.sqrt(inside * (1 - inside) / n)


def judged(
    name: str,
    hits: Iterable[bool],
    seed: int,
    *,
    least: float | None = None,
    most: float | None = None,
    widen: float = 0.0,
    note: str = "",
) -> Check:
    """Compare the share of hits with its bounds, widened by `widen` standard errors of the simulation.

    Without bounds the figure is informational. Raises ValueError if `hits` is empty.
    """
    seen = list(hits)
    if not seen:
        raise ValueError(f"{name}: no repetitions")
    share = sum(seen) / len(seen)
    error = standard_error(share, len(seen))
    slack = widen * error
    passed = (least is None or share >= least - slack) and (most is None or share <= most + slack)
    return Check(
        name=name,
        figure=share,
        error=error,
        bound=_words(least, most, widen),
        passed=None if least is None and most is None else passed,
        n=len(seen),
        seed=seed,
        note=note,
    )


def _words(least: float | None, most: float | None, widen: float) -> str:
    if least is None and most is None:
        return "no bound"
    if least is not None and most is not None:
        words = f"{least:g} to {most:g}"
    else:
        words = f"at least {least:g}" if least is not None else f"at most {most:g}"
    return f"{words}, widened by {widen:g} standard errors" if widen else words
