"""Boot milestones as a timeline: a bar per variant, a segment per phase, the last milestone's interval as a whisker."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from harness.analysis.intervals import geometric
from harness.report import number_format, panels, style, variants
from harness.report.boot_phases import last_milestone, phases, until_last
from harness.report.variants import Subject

LINE = 0.42
LEGEND_COLUMNS, LEGEND_LINE = 6, 0.2


def timeline(workload: str, rows: pd.DataFrame, baseline: str, confidence: float) -> Figure | None:
    """A figure of one workload's boot values (see harness.report.boot_phases), or None without any."""
    if rows.empty:
        return None
    parts = variants.parts(variants.subjects(rows, baseline))
    rows = until_last(rows)
    milestones = [milestone for milestone in style.PHASES if milestone in set(rows["milestone"])]
    head = 0.98 + LEGEND_LINE * ((len(milestones) - 1) // LEGEND_COLUMNS)
    note = f"segments: median phases; whisker: {100 * confidence:g} % interval of the last milestone over n blocks"
    title = f"{style.short(workload, 50)}: seconds from requested to each milestone"
    left = panels.margin(one.variant for part in parts for one in part)
    drawn = [panels.of(part[0].emulated, len(part) * LINE, below=0.6) for part in parts]
    figure, places = panels.stack(title, note, drawn, head=head, left=left, right=0.70)
    _legend(figure, milestones, 1 - 0.55 / figure.get_figheight())
    for part, axes in zip(parts, places, strict=True):
        _bars(axes, rows, part, confidence)
    return figure


def _legend(figure: Figure, milestones: list[str], top: float) -> None:
    patches = [
        Patch(fc=style.PHASES[milestone], ec=style.INK, lw=0.4, label=f"until {milestone}") for milestone in milestones
    ]
    # A legend fills its columns one by one, and is read line by line.
    patches = [one for column in range(LEGEND_COLUMNS) for one in patches[column::LEGEND_COLUMNS]]
    figure.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(0.0, top),
        ncols=max(min(len(patches), LEGEND_COLUMNS), 1),
        frameon=False,
        handlelength=1.2,
        columnspacing=1.4,
    )


def _bars(axes: Axes, rows: pd.DataFrame, part: Sequence[Subject], confidence: float) -> None:
    widest = 0.0
    for line, subject in enumerate(part):
        own = subject.of(rows)
        begin = 0.0
        hatch, edge = ("////", style.PAPER) if subject.emulated else (None, style.INK)
        for milestone, seconds in phases(own).items():
            colour = style.PHASES[milestone]
            axes.barh(line, seconds, left=begin, height=0.5, color=colour, hatch=hatch, ec=edge, lw=0.4)
            begin += seconds
        last = own[own["milestone"] == last_milestone(own)]
        whole = geometric(last["value"].astype(float).tolist(), confidence)
        end = whole.high if whole and whole.high is not None else begin
        if whole and whole.low is not None:
            light = [withStroke(linewidth=3.2, foreground=style.PAPER)]
            axes.plot([whole.low, end], [line, line], color=style.INK, lw=1.4, marker="|", ms=8, path_effects=light)
        widest = max(widest, begin, end)
        panels.name(axes, subject.variant, line, emulated=subject.emulated)
        panels.beside(axes, number_format.with_n(whole, "s"), line, fontsize=8)
    axes.set_xlim(0, widest * 1.03 or 1)
    axes.set_ylim(len(part) - 0.5, -0.5)
    axes.set_xlabel("seconds since requested", color=style.MUTED)
    panels.bare(axes)
