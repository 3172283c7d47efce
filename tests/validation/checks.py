"""One figure with its bound, and the rule by which a simulated share is held against a bound."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

ERRORS = 2.0
"""Standard errors of the simulation by which a bound is widened, where it is; the printed bound says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is simulated. `repetitions` give a share near .95 its standard error: 8,000 → .0024, 1,000 → .0069.

    `widen` is the standard errors that every bound is widened by: none in the full run, ERRORS in the quick one.
    """

    repetitions: int
    widen: float = 0.0


FULL = Effort(repetitions=8_000)
QUICK = Effort(repetitions=1_000, widen=ERRORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A figure and whether it keeps its bound; `passed` is None where it is only for show.

    `error` is the figure's standard error (None: not known), `n` what it rests on (repetitions, comparisons, blocks),
    `unit` of figure and error: a share, or points of overhead.
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
        """In one word."""
        return {True: "ok", False: "MISSED", None: "for show"}[self.passed]

    @property
    def shown(self) -> str:
        """The figure as printed."""
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
    """What could not be checked, and why: it cannot run here, or (`failed`) it should have run and did not."""

    name: str
    reason: str
    failed: bool = False

    @property
    def status(self) -> str:
        """In one word."""
        return "FAILED" if self.failed else "skipped"

    def line(self) -> str:
        """One line for the terminal."""
        return f"  {self.status:8} {self.name}: {self.reason}"


Result = Check | Absent


def bad(result: Result) -> bool:
    """Whether the validation fails by it."""
    return result.failed if isinstance(result, Absent) else result.passed is False


def seed_of(seed: int, name: str) -> int:
    """The seed of one check: its own, so that it gives the same figure whichever others run."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big")


def standard_error(share: float, n: int) -> float:
    """Of a share of `n` independent repetitions; a share of 0 or 1 counts as half a repetition away from it."""
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
    """The share of hits against its bounds, which are widened by `widen` standard errors of the simulation.

    Without bounds the figure is for show. Raises ValueError without any repetition.
    """
    seen = list(hits)
    if not seen:
        raise ValueError(f"{name}: nothing was repeated")
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
