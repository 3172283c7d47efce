"""A comparison of two sides of runs, rendered: terminal, Markdown, JSON and one HTML page with plots."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from harness.analysis.overhead import Overhead
from harness.compare.comparison import Comparison, Gate
from harness.compare.contrast import Difference, View
from harness.durable import atomic_write
from harness.model import RESOURCES
from harness.report import number_format, plain_text, variants
from harness.report.stored_run import safe
from harness.report.table import Line, Table, grouped

COLUMNS = ("variant", "before", "after", "difference [95 %]", "simultaneous", "p (Holm)", "runs", "blocks", "verdict")
TITLES: dict[tuple[View, bool], str] = {
    ("normalized", True): "Each run against its own baseline: primary metrics",
    ("raw", True): "Raw values: primary metrics",
    ("normalized", False): "Each run against its own baseline: other metrics",
    ("raw", False): "Raw values: other metrics",
}


def sentences(found: Comparison) -> list[str]:
    """What was compared, what was found, and how certain that is."""
    said = [f"Before: {safe(found.before)}. After: {safe(found.after)}."]
    for view in get_args(View):
        rows = [row for row in found.rows if row.view == view and row.difference is not None]
        counts = Counter(row.verdict() for row in rows)
        if rows:
            more, less, none = (counts[word] for word in ("costs more", "costs less", "no difference found"))
            unclear = f", {rest} without an interval" if (rest := len(rows) - more - less - none) else ""
            said.append(
                f"{len(rows)} {view} figures: {_cost(more)} more and {_cost(less)} less (p below 0.05 after Holm), "
                f"{none} without a difference{unclear}."
            )
    bases = {row.contrast.basis for row in found.rows if row.contrast}
    if "within-run noise only" in bases:
        said.append(
            "Within-run noise only: with fewer than three runs on a side the noise between runs is unknown. A "
            "difference between runs then looks like an effect."
        )
    if "the same run, block by block" in bases:
        said.append("Both sides are samples of the same run. They are compared block by block.")
    return [*said, *(f"Warning: {safe(warning)}." for warning in found.warnings)]


def _cost(count: int) -> str:
    return f"{count} cost{'s' if count == 1 else ''}"


def tables(found: Comparison) -> list[Table]:
    """A table for each family that has rows."""
    return [
        _table(title, found.only(view, primary))
        for (view, primary), title in TITLES.items()
        if found.only(view, primary)
    ]


def as_overheads(rows: Iterable[Difference]) -> list[Overhead]:
    """The differences in the form that plots and figures take: `overhead` is the difference, before is its baseline."""
    return [
        Overhead(
            **{name: getattr(row, name) for name in ("workload", "metric", "unit", "direction", "scale", "variant")},
            runtime=row.runtime,
            accelerator=row.accelerator,
            baseline="before",
            n=min(row.blocks),
            planned=0,
            baseline_value=row.before if row.view == "raw" else None,
            variant_value=row.after,
            overhead=row.difference,
            low=row.low,
            high=row.high,
            change=None,
            p=row.contrast.p if row.contrast else None,
            flip=None,
            flags=(),
            verdict=True,
        )
        for row in rows
    ]


def as_json(found: Comparison) -> dict[str, Any]:
    """For a script: every row with its verdict and p."""
    rows = [
        {
            **{key: _finite(value) for key, value in dataclasses.asdict(row).items() if key != "contrast"},
            "p": row.contrast.p if row.contrast else None,
            "basis": row.contrast.basis if row.contrast else None,
            "verdict": row.verdict(),
        }
        for row in found.rows
    ]
    return {"before": found.before, "after": found.after, "warnings": list(found.warnings), "rows": rows}


def _finite(value: object) -> object:
    """An interval without an end has none in JSON either."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text(found: Comparison, width: int) -> str:
    """For a terminal: primary metrics in full, of the others only those that differ or could not be compared."""
    parts = [plain_text.wrapped(sentences(found), width)]
    for (view, primary), title in TITLES.items():
        rows = found.only(view, primary)
        shown = rows if primary else [row for row in rows if row.verdict() != "no difference found"]
        if shown:
            rest = f" ({len(rows) - len(shown)} more without a difference)" if len(shown) < len(rows) else ""
            parts.append(f"{title}{rest}\n{plain_text.text(_table(title, shown), width)}")
    parts.append(
        plain_text.wrapped(
            [
                "difference: positive costs more after than before; [95 % interval] of each figure; the simultaneous "
                "intervals hold for all figures of a table at once"
            ],
            width,
        )
    )
    return "\n\n".join(parts)


def markdown(found: Comparison) -> str:
    """The whole comparison as Markdown."""
    from harness.report.markdown import escape, table

    lines = [f"# {escape(safe(found.after))} against {escape(safe(found.before))}\n"]
    lines += [f"- {escape(sentence)}" for sentence in sentences(found)]
    for one in tables(found):
        lines += [f"\n## {escape(one.title)}\n", *table(one)]
    return "\n".join(lines)


def write_page(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write one self-contained HTML page. Raises TareError when it cannot be written."""
    from harness.report import style
    from harness.report.html import environment, inline

    with style.drawing():
        shown = [
            {"before": one.before, "after": one.after, "sentences": sentences(one), "families": list(_families(one))}
            for one in comparisons
        ]
    text = environment().get_template("compare.html.j2").render(comparisons=shown, picture=inline)
    atomic_write(path, text.encode())


def _families(found: Comparison) -> Iterator[dict[str, Any]]:
    """Each family's table with its plot; emulated guests have a panel of their own."""
    from harness.report.forest_plot import forest
    from harness.report.plots import Plot, svg

    for (view, primary), title in TITLES.items():
        if rows := found.only(view, primary):
            figure = forest(title, as_overheads(sorted(rows, key=_place)), 0.95, "difference") if primary else None
            alt = "; ".join(map(_named, rows))
            plot = Plot(kind="comparison", topic=view, alt=alt, png=b"", svg=svg(figure)) if figure else None
            yield {"table": _table(title, rows), "plot": plot}


def gate_lines(gate: Gate, threshold: float) -> list[str]:
    """A gate's outcome, as lines for a terminal."""
    beyond = f"whole interval beyond {number_format.percent(threshold)}"
    lines = [f"regression: {_named(row)}: {beyond}" for row in gate.failed]
    lines += [
        f"not gated: {_named(row)}: {beyond}, but the noise between runs is unknown; compare with --baseline last:3"
        for row in gate.unjudged
    ]
    return [safe(line) for line in lines] or [f"no regression beyond {number_format.percent(threshold)}"]


def _named(row: Difference) -> str:
    (shown,) = as_overheads([row])
    return f"{row.workload} · {row.metric} on {row.variant} {number_format.overhead(shown)}"


def _table(title: str, rows: Sequence[Difference]) -> Table:
    lines = (
        Line(
            _cells(row),
            variants.emulated(row.accelerator),
            row.workload.partition(".")[0],
            safe(f"{row.workload} · {row.metric} ({number_format.direction_words(row.direction)})"),
        )
        for row in sorted(rows, key=_place)
    )
    return grouped(title, COLUMNS, lines, numeric=COLUMNS[1:-1])


def _cells(row: Difference) -> tuple[str, ...]:
    (shown,) = as_overheads([row])
    (wide,) = as_overheads([dataclasses.replace(row, low=row.lowest, high=row.highest)])
    sides = [
        number_format.humane(value, row.unit) if row.view == "raw" else number_format.difference(value, shown)
        for value in (row.before, row.after)
    ]
    verdict = row.verdict() + (f": {row.why}" if row.why else "")
    return (
        safe(row.variant),
        *sides,
        number_format.overhead(shown),
        number_format.interval(wide),
        number_format.probability(row.adjusted),
        f"{row.runs[0]} / {row.runs[1]}",
        f"{row.blocks[0]} / {row.blocks[1]}",
        safe(verdict),
    )


def _place(row: Difference) -> tuple[int, str, str, tuple[int, str]]:
    resource = row.workload.partition(".")[0]
    rank = RESOURCES.index(resource) if resource in RESOURCES else len(RESOURCES)
    return rank, row.workload, row.metric, variants.order(row.variant, row.accelerator, "")
