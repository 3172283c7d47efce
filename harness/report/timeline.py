"""Boot milestones as a timeline: a bar per variant, a segment per phase, the last milestone's interval as a whisker."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from harness.analysis.intervals import geometric
from harness.report import formatting, style
from harness.report.boot_phases import last_milestone, phases, until_last

LINE = 0.42
LEGEND_COLUMNS, LEGEND_LINE = 6, 0.2


def timeline(workload: str, rows: pd.DataFrame, baseline: str, confidence: float) -> Figure | None:
    """A figure of one workload's boot values (see harness.report.boot_phases), or None without any."""
    if rows.empty:
        return None
    seen = list(rows[["variant", "accelerator"]].drop_duplicates().itertuples(index=False, name=None))
    seen.sort(key=lambda pair: formatting.order(pair[0], pair[1], baseline))
    split = ([pair for pair in seen if formatting.emulated(pair[1]) == apart] for apart in (False, True))
    parts = [part for part in split if part]
    rows = until_last(rows)
    milestones = [milestone for milestone in style.PHASES if milestone in set(rows["milestone"])]
    above, axis, top = 0.98 + LEGEND_LINE * ((len(milestones) - 1) // LEGEND_COLUMNS), 0.6, 0.32
    apart = [top if formatting.emulated(part[0][1]) else 0.0 for part in parts]
    height = above + sum(len(part) * LINE + axis + extra for part, extra in zip(parts, apart, strict=True))
    figure = Figure(figsize=(style.WIDTH, height))
    note = f"segments: median phases; whisker: {100 * confidence:g} % interval of the last milestone over n blocks"
    style.head(figure, f"{style.short(workload, 50)}: seconds from requested to each milestone", note)
    _legend(figure, milestones, 1 - 0.55 / height)
    left = (0.25 + 0.08 * max(len(style.short(variant, 24)) for variant, _ in seen)) / style.WIDTH
    at = height - above
    for part, extra in zip(parts, apart, strict=True):
        if extra:
            where = (at - 0.18) / height
            figure.text(0.012, where, style.APART, color=style.EMULATED, fontweight="bold", va="center")
        at -= extra + len(part) * LINE
        axes = figure.add_axes((left, at / height, 0.70 - left, len(part) * LINE / height))
        _bars(axes, rows, part, confidence)
        at -= axis
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


def _bars(axes: Axes, rows: pd.DataFrame, part: list[tuple[str, str]], confidence: float) -> None:
    widest = 0.0
    text: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    for line, (variant, accelerator) in enumerate(part):
        own = rows[(rows["variant"] == variant) & (rows["accelerator"] == accelerator)]
        begin = 0.0
        hatch = "////" if formatting.emulated(accelerator) else None
        for milestone, seconds in phases(own).items():
            edge = style.PAPER if hatch else style.INK
            axes.barh(
                line, seconds, left=begin, height=0.5, color=style.PHASES[milestone], hatch=hatch, ec=edge, lw=0.4
            )
            begin += seconds
        last = own[own["milestone"] == last_milestone(own)]
        whole = geometric(last["value"].astype(float).tolist(), confidence)
        end = whole.high if whole and whole.high is not None else begin
        if whole and whole.low is not None:
            light = [withStroke(linewidth=3.2, foreground=style.PAPER)]
            axes.plot([whole.low, end], [line, line], color=style.INK, lw=1.4, marker="|", ms=8, path_effects=light)
        widest = max(widest, begin, end)
        ink = style.EMULATED if hatch else style.INK
        axes.annotate(style.short(variant, 24), (0, line), xytext=(-6, 0), ha="right", color=ink, **text)
        said = f"{formatting.estimated(whole, 's')}  n={whole.n if whole else 0}"
        axes.annotate(said, (1, line), xytext=(8, 0), fontsize=8, **text)
    axes.set_xlim(0, widest * 1.03 or 1)
    axes.set_ylim(len(part) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(axis="x", color=style.GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("seconds since requested", color=style.MUTED)
    axes.spines[["left", "right", "top"]].set_visible(False)
