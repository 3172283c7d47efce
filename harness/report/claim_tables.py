"""The claims and their verdicts as tables, and as text for a terminal."""

import dataclasses
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.analysis.trials import Evidence
from harness.analysis.verdicts import Figure, Verdict, counts, verdicts
from harness.definitions.claims import Claim, load_claims
from harness.errors import TareError, bad_input
from harness.model import SOFTWARE
from harness.paths import data
from harness.report import formatting
from harness.report.stored_run import Stored, load
from harness.report.table import Group, Section, Table

JUDGED = ("supported", "contradicted", "inconclusive")
"""The words of claims that were measured."""
INTERVAL = "[90 %]"


def evidence(stored: Stored) -> Evidence:
    """What a stored run measured, for verdicts."""
    natures = [
        *map(str, stored.samples["host_virtualized"].unique()),
        str(stored.mapping("host").get("host_virtualized")),
    ]
    skips = [one for one in stored.entries("skips") if isinstance(one, dict)]
    return Evidence(
        run=stored.fact("run"),
        samples=stored.samples,
        declared=stored.declared,
        host_virtualized=next((nature for nature in natures if nature in SOFTWARE), natures[0]),
        skips=tuple((str(one.get("what", "")), str(one.get("reason", ""))) for one in skips),
        baseline=stored.baseline,
        facts=proved(stored),
        unable=_unable(stored),
        host_kernel=str(stored.mapping("host").get("kernel") or ""),
    )


def proved(stored: Stored) -> dict[str, dict[str, str]]:
    """What instances told of themselves, by variant: their facts, and what a measure of isolation observed."""
    found: dict[str, dict[str, str]] = {}
    seen = [{"variant": name, "facts": facts} for name, facts in stored.mapping("instances").items()]
    for one in [*seen, *stored.observed("isolation")]:
        parts = [one, *(part for part in one.values() if isinstance(part, dict))]
        plain = {str(key): value for part in parts for key, value in part.items()}
        told = {key: str(value) for key, value in plain.items() if isinstance(value, str | int | float)}
        found.setdefault(str(one.get("variant")), {}).update(told)
    return found


def _unable(stored: Stored) -> dict[tuple[str, str], str]:
    """By workload and variant, why a measure has no such operation there."""
    entries = (one for one in stored.entries("observed") if isinstance(one, dict))
    return {
        (str(one.get("workload")), str(one.get("variant"))): str(one.get("reason"))
        for one in entries
        if one.get("what") == "unsupported"
    }


def of_run(stored: Stored) -> list[Verdict]:
    """The checkout's claims judged on this run alone. Raises TareError (bad input) for a wrong ledger."""
    return verdicts(load_claims(data("workloads")), [evidence(stored)])


def load_named(directories: Sequence[Path]) -> list[Stored]:
    """The runs that a user named. Raises TareError (bad input) for a damaged one, and for runs of several hosts."""
    found = [load(directory) for directory in directories]
    hosts = sorted({stored.fact("host") for stored in found})
    if len(hosts) > 1:
        raise bad_input("RUN", f"the runs are of {len(hosts)} hosts: {', '.join(hosts)}", "name runs of one host")
    return found


def load_newest_host(directories: Sequence[Path]) -> tuple[list[Stored], list[str]]:
    """Of all runs (newest first) those of the newest one's host; and why others that are damaged were left out."""
    found: list[Stored] = []
    damaged = []
    for directory in directories:
        try:
            stored = load(directory)
            # Asked for here, so that a metric whose unit changes damages this run and not the verdicts.
            _ = stored.values
        except TareError as error:
            damaged.append(f"left out: {error.brief}")
            continue
        if not found or stored.fact("host") == found[0].fact("host"):
            found.append(stored)
    return found, damaged


def count_words(found: Sequence[Verdict]) -> str:
    """How many claims got which word, as a sentence."""
    said = [f"{count} {word}" for word, count in counts(found).items() if count]
    return f"{len(found)} claims: {', '.join(said)}."


def judged_table(found: Sequence[Verdict]) -> Table:
    """The claims that were measured, with one row per figure, under the document's headings."""
    columns = ("verdict", "sentence", "range", "measured", f"figure {INTERVAL}", "n", "why")
    return _table("Claims", columns, frozenset(columns[4:6]), [one for one in found if one.word in JUDGED])


def open_table(found: Sequence[Verdict]) -> Table:
    """The other claims, and why there is no verdict on them."""
    columns = ("verdict", "sentence", "range", "why")
    return _table("Claims without a verdict", columns, frozenset(), [one for one in found if one.word not in JUDGED])


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
        return formatting.minus(f"{100 * end:+.4g} %" if end else "0 %")
    number, _, unit = formatting.humane(end, claim.unit).partition(" ")
    return f"{re.sub(r'[.]0+$', '', number)} {unit}"


def _table(title: str, columns: tuple[str, ...], numeric: frozenset[str], found: Sequence[Verdict]) -> Table:
    groups = []
    for where in dict.fromkeys(one.claim.where for one in found):
        own = [one for one in found if one.claim.where == where]
        sections = tuple(Section(title="", rows=tuple(_rows(one))) for one in own)
        groups.append(Group(title=where, sections=sections))
    return Table(title=title, columns=columns, numeric=numeric, groups=tuple(groups))


def _rows(one: Verdict) -> Iterator[tuple[str, ...]]:
    head = (one.word, f"“{one.claim.text}”", range_words(one.claim))
    if one.word not in JUDGED:
        yield (*head, one.reason)
    for number, row in enumerate(one.figures):
        measured = f"{row.variant} {row.workload} {row.metric}"
        first = (*head, measured, _figure(row), str(row.n), one.reason)
        yield first if number == 0 else ("", "", "", measured, _figure(row), str(row.n), "")


def _figure(row: Figure) -> str:
    if row.against:
        ends = [formatting.percent(end, factor=row.value >= formatting.FACTOR_FROM) for end in (row.low, row.high)]
        value = formatting.percent(row.value)
    else:
        ends = [formatting.humane(end, row.unit) for end in (row.low, row.high)]
        value = formatting.humane(row.value, row.unit)
    if row.low is None or row.high is None:
        return f"{value} [no interval]"
    return f"{value} [{ends[0].removesuffix(' %')}, {ends[1].removesuffix(' %')}]"


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
