"""Comparing two sides of runs: what differs, what makes them unlike, and whether a gate is passed."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from harness.compare import comparability, history
from harness.compare.contrast import Difference, View, differences
from harness.compare.sides import Side, open_side, shared_run
from harness.definitions.options import parse_last
from harness.errors import bad_input

EMULATED = "emulated"
"""The word of `--allow` that lets an emulated host stand against a real one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides by their names, what differs between them, and what makes them unlike, in words."""

    before: str
    after: str
    rows: tuple[Difference, ...]
    warnings: tuple[str, ...]

    def only(self, view: View, primary: bool) -> list[Difference]:
        """The rows of one family."""
        return [row for row in self.rows if row.view == view and row.primary == primary]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Primary metrics whose whole interval is beyond a threshold: `failed` where the noise between runs is known,
    `unjudged` where it is not."""

    failed: tuple[Difference, ...]
    unjudged: tuple[Difference, ...]


def compare(
    before: Side, after: Side, *, against: str | None = None, allowed: AbstractSet[str] = frozenset()
) -> Comparison:
    """Compare two sides. Raises TareError (bad input) where nothing in them may be compared."""
    comparability.check(before, after, EMULATED in allowed)
    rows = differences(
        before.moments,
        after.moments,
        primary=before.primary() | after.primary() or None,
        allowed=allowed,
        versions=shared_run(before, after, against),
    )
    sides = f"{before.label} and {after.label}"
    if not rows:
        raise bad_input(sides, "have no figure in common", "compare runs of the same workloads and variants")
    if all(row.difference is None for row in rows):
        raise bad_input(sides, f"nothing may be compared: {rows[0].why}", "measure both sides alike, or --allow it")
    return Comparison(
        before=before.label, after=after.label, rows=tuple(rows), warnings=tuple(comparability.warnings(before, after))
    )


def baseline_side(word: str, candidate: Side, results: Path, against: str | None = None) -> Side:
    """The side that `--baseline` names: any side's words, or `last:K` for the host's last K fit runs but this one.

    Raises TareError (bad input) where there are fewer, or the candidate is of several hosts.
    """
    if not word.startswith("last:"):
        return open_side(word.split(","), results, against, "--baseline")
    hosts = sorted(set(map(str, candidate.moments["host"])))
    if len(hosts) != 1:
        raise bad_input("--baseline last:K", f"{candidate.label} is of {len(hosts)} hosts", "name the baseline's runs")
    folders = history.last(parse_last(word, "--baseline"), results, hosts[0], candidate.runs)
    side = open_side([f"{folder.parent}/{folder.name}" for folder in folders], results, against)
    return Side(
        label=f"{word} ({', '.join(folder.name for folder in folders)})", files=side.files, moments=side.moments
    )


def gate(rows: Sequence[Difference], threshold: float) -> Gate:
    """Regressions of primary metrics, each run against its own baseline, by more than `threshold` (0.05 is 5 %)."""
    beyond = [
        row
        for row in rows
        if row.view == "normalized" and row.primary and row.scale == "log" and (row.low or 0.0) > threshold
    ]
    known = [row.contrast is not None and row.contrast.basis.startswith("between runs") for row in beyond]
    return Gate(
        failed=tuple(row for row, sure in zip(beyond, known, strict=True) if sure),
        unjudged=tuple(row for row, sure in zip(beyond, known, strict=True) if not sure),
    )
