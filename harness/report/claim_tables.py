"""The claims and their verdicts as tables, and as text for a terminal."""

import dataclasses
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from harness.analysis.verdicts import Figure, Verdict, counts
from harness.definitions.claims import Claim
from harness.report import number_format
from harness.report.table import Line, Table, grouped

JUDGED = ("supported", "contradicted", "inconclusive")
"""The words of claims that were measured."""
INTERVAL = "[90 %]"


def count_words(found: Sequence[Verdict]) -> str:
    """How many claims got which word, as a sentence."""
    said = [f"{count} {word}" for word, count in counts(found).items() if count]
    return f"{len(found)} claims: {', '.join(said)}."


def judged_table(found: Sequence[Verdict]) -> Table:
    """The claims that were measured, with one row per figure, under the document's headings."""
    columns = ("verdict", "sentence", "range", "measured", f"figure {INTERVAL}", "n", "why")
    return _table("Claims", columns, [one for one in found if one.word in JUDGED], columns[4:6])


def open_table(found: Sequence[Verdict]) -> Table:
    """The other claims, and why there is no verdict on them."""
    columns = ("verdict", "sentence", "range", "why")
    return _table("Claims without a verdict", columns, [one for one in found if one.word not in JUDGED])


def text(found: Sequence[Verdict], width: int) -> str:
    """The verdicts under the document's headings, wrapped at `width` (at least 60)."""
    lines: list[str] = []
    for where in dict.fromkeys(one.claim.where for one in found):
        lines += ["", where] if lines else [where]
        for one in found:
            if one.claim.where == where:
                lines += _entry(one, max(width, 60))
    return "\n".join(lines)


def as_dict(found: Sequence[Verdict], runs: Sequence[str], host: str) -> dict[str, Any]:
    """For a script."""
    return {
        "host": host,
        "runs": list(runs),
        "counts": counts(found),
        "claims": [
            {
                **dataclasses.asdict(one.claim),
                "verdict": one.word,
                "why": one.reason,
                "figures": [dataclasses.asdict(row) for row in one.figures],
            }
            for one in found
        ],
    }


def range_words(claim: Claim) -> str:
    """The claim's range, and whether it is our reading; empty where it has none."""
    low, high = (None if end is None else _amount(end, claim) for end in (claim.low, claim.high))
    if low is None and high is None:
        return ""
    least = "more than" if claim.kind == "order" else "at least"
    said = f"at most {high}" if low is None else f"{least} {low}" if high is None else f"{low} to {high}"
    against = f" against {claim.against}" if claim.against else ""
    return f"{said}{against}{' (our reading)' if claim.reading == 'ours' else ''}"


def _amount(end: float, claim: Claim) -> str:
    if claim.kind != "absolute":
        return number_format.minus(f"{100 * end:+.4g} %" if end else "0 %")
    number, _, unit = number_format.humane(end, claim.unit).partition(" ")
    return f"{re.sub(r'[.]0+$', '', number)} {unit}"


def _table(title: str, columns: Sequence[str], found: Sequence[Verdict], numeric: Sequence[str] = ()) -> Table:
    lines = (Line(cells, group=one.claim.where) for one in found for cells in _rows(one))
    return grouped(title, columns, lines, numeric=numeric)


def _rows(one: Verdict) -> Iterator[tuple[str, ...]]:
    head = (one.word, f"“{one.claim.text}”", range_words(one.claim))
    if one.word not in JUDGED:
        yield (*head, one.reason)
    for number, row in enumerate(one.figures):
        measured = f"{row.variant} {row.workload} {row.metric}"
        first = (*head, measured, _figure(row), str(row.n), one.reason)
        yield first if number == 0 else ("", "", "", measured, _figure(row), str(row.n), "")


def _figure(row: Figure) -> str:
    return number_format.figure(row.value, row.low, row.high, None if row.against else row.unit)


def _entry(one: Verdict, width: int) -> Iterator[str]:
    """One claim: its verdict and sentence, its range, its figures, and why."""
    indent = " " * 6
    head = f"  {one.word}: {one.claim.id}"
    parts = [f"“{one.claim.text}”", range_words(one.claim)]
    parts += [
        f"{row.variant} {row.workload} {row.metric}: {_figure(row)}, n = {row.n}, run {row.run}" for row in one.figures
    ]
    yield head
    for part in [*parts, one.reason]:
        if part:
            yield from textwrap.wrap(part, width, initial_indent=indent, subsequent_indent=f"{indent}  ")
