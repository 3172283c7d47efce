"""From the untuned guest to the tuned one, knob by knob: what each step changes, with its interval."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.overhead import Overhead, overheads
from harness.report import number_format, overhead_axis, panels, style
from harness.report.stored_run import Stored

LINE = 0.3
"""Inches per step."""
BETTER, WORSE = "#2a7f3f", "#b5402f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One variant of the ladder: `whole` is its overhead against the run's baseline, `turned` what its knob changed
    against the step before (None for the first), `words` names the knob."""

    words: str
    whole: Overhead
    turned: Overhead | None


def ladder(stored: Stored) -> Iterator[tuple[str, str, list[Step]]]:
    """Workload, metric and steps for each primary metric that at least two variants of the run's ladder have."""
    names = [str(name) for name in stored.entries("ladder")]
    wholes = {(row.workload, row.metric, row.variant): row for row in stored.overheads if row.overhead is not None}
    for workload, metric in dict.fromkeys((row.workload, row.metric) for row in stored.overheads):
        found = [name for name in names if (workload, metric, name) in wholes]
        declared = stored.metric(workload, metric)
        if len(found) < 2 or not declared.get("primary") or declared.get("scale", "log") != "log":
            continue
        steps = [Step(words=_short(found[0]), whole=wholes[workload, metric, found[0]], turned=None)]
        for before, after in pairwise(found):
            turned = _between(stored, workload, metric, before, after)
            words = _knob(stored.mapping("options"), before, after)
            steps.append(Step(words=words, whole=wholes[workload, metric, after], turned=turned))
        yield workload, metric, steps


def waterfall(workload: str, metric: str, steps: Sequence[Step], confidence: float) -> Figure:
    """The figure of one metric: a bar from 0 for the first and the last variant, floating bars for the steps."""
    lines, first = len(steps) + 1, steps[0].whole
    note = (
        f"overhead against {first.baseline}, n = {first.n}; whiskers: {100 * confidence:g} % interval of the one step"
    )
    title = f"{style.short(workload, 40)} · {metric}: from untuned to tuned{' (emulated)' if first.emulated else ''}"
    left = panels.margin((step.words for step in steps), 0.35, 0.075, longest=80)
    panel = panels.Panel(height=lines * LINE, below=0.62)
    figure, (axes,) = panels.stack(title, note, [panel], head=0.62, left=left, right=0.78)
    axes.set_ylim(lines - 0.5, -0.5)
    overhead_axis.draw(axes, *overhead_axis.span([step.whole for step in steps]))
    panels.bare(axes)
    axes.axvline(0, color=style.INK, lw=1.0)
    _total(axes, 0, steps[0].words, first)
    for line, (before, step) in enumerate(pairwise(steps), 1):
        _step(axes, line, before.whole, step)
    _total(axes, lines - 1, _short(steps[-1].whole.variant), steps[-1].whole)
    return figure


def _total(axes: Axes, line: int, words: str, whole: Overhead) -> None:
    colour = style.colour(whole.runtime, whole.accelerator)
    axes.barh(line, math.log1p(whole.overhead or 0.0), height=0.55, color=colour)
    _label(axes, line, words, number_format.overhead(whole), bold=True)


def _step(axes: Axes, line: int, before: Overhead, step: Step) -> None:
    start, end = (math.log1p(one.overhead or 0.0) for one in (before, step.whole))
    axes.plot([start, start], [line - 1, line + 0.28], color=style.MUTED, lw=0.6)
    axes.barh(line, end - start, left=start, height=0.55, color=BETTER if end < start else WORSE)
    turned = step.turned
    said = "–"
    if turned is not None and turned.overhead is not None:
        said = number_format.overhead(turned)
        if turned.low is not None and turned.high is not None:
            ends = [start + math.log1p(turned.low), start + math.log1p(turned.high)]
            axes.plot(ends, [line, line], color=style.INK, lw=1.2, marker="|", ms=6)
    _label(axes, line, step.words, said)


def _label(axes: Axes, line: int, words: str, said: str, *, bold: bool = False) -> None:
    weight = "bold" if bold else "normal"
    axes.annotate(words, (0, line), xytext=(-6, 0), ha="right", fontsize=8.5, fontweight=weight, **panels.ACROSS)
    panels.beside(axes, said, line, 10, fontsize=8.5, fontweight=weight)


def _between(stored: Stored, workload: str, metric: str, before: str, after: str) -> Overhead | None:
    """What `after` costs against `before`, from their common blocks."""
    rows = stored.samples
    own = rows[(rows["workload"] == workload) & (rows["metric"] == metric) & rows["variant"].isin([before, after])]
    return next(iter(overheads(own, before, stored.confidence, stored.declared)), None)


def _knob(options: Mapping[str, Any], before: str, after: str) -> str:
    """The one option in which two variants differ, in words; the later variant's name where they are not recorded."""
    old, new = options.get(before), options.get(after)
    if not isinstance(old, dict) or not isinstance(new, dict):
        return _short(after)
    turned = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name}: {old.get(name)} → {new.get(name)}" for name in turned) or _short(after)


def _short(variant: str) -> str:
    return style.short(variant, 28)
