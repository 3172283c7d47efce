"""Distributions: every block value and iteration as its deviation from the variant's own median, as strip plots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import formatting, style

LINE = 0.27
POINTS = ["workload", "metric", "variant", "accelerator"]


def spread(title: str, values: pd.DataFrame, iterations: pd.DataFrame, baseline: str) -> Figure | None:
    """One panel per workload and metric. Both frames are of the same metrics; None where there is no value.

    Deviations and not values, so that variants twenty times apart show their noise on one axis.
    """
    groups = [(key, rows) for key, rows in values.groupby(["workload", "metric"], sort=False) if len(rows)]
    if not groups:
        return None
    counts = [rows[["variant", "accelerator"]].drop_duplicates().shape[0] for _, rows in groups]
    head, axis, above = 0.3, 0.36, 0.68
    height = above + sum(count * LINE + head + axis for count in counts) + 0.2
    figure = Figure(figsize=(style.WIDTH, height))
    note = "deviation from the variant's own median; filled: block values, darker is later; grey: iterations"
    style.head(figure, title, note)
    left = (0.25 + 0.078 * max(len(style.short(str(name), 24)) for name in values["variant"].unique())) / style.WIDTH
    at = height - above
    points = {key: own.tolist() for key, own in iterations.groupby(POINTS, sort=False)["value"]}
    for ((workload, metric), rows), count in zip(groups, counts, strict=True):
        where = (at - head * 0.5) / height
        words = style.short(f"{workload} · {metric}", 80)
        figure.text(0.012, where, words, fontweight="bold", fontsize=8.5, va="center")
        at -= head + count * LINE
        axes = figure.add_axes((left, at / height, 0.78 - left, count * LINE / height))
        _panel(axes, rows, points, baseline)
        at -= axis
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, points: Mapping[Any, list[float]], baseline: str) -> None:
    """One workload's metric; `points` are the iterations' values by POINTS."""
    seen = list(rows[["variant", "runtime", "accelerator"]].drop_duplicates().itertuples(index=False, name=None))
    seen.sort(key=lambda who: formatting.order(who[0], who[2], baseline))
    panel = (rows["workload"].iloc[0], rows["metric"].iloc[0])
    by_who = dict(iter(rows.groupby(["variant", "accelerator"], sort=False)))
    reach = 2.0
    across = ("axes fraction", "data")
    text: dict[str, Any] = {"va": "center", "fontsize": 8.5, "textcoords": "offset points", "xycoords": across}
    for line, (variant, runtime, accelerator) in enumerate(seen):
        own = by_who[variant, accelerator].sort_values("block")
        middle = float(own["value"].median())
        dots = _deviation(own["value"].tolist(), middle)
        small = _deviation(points.get((*panel, variant, accelerator), []), middle)
        axes.plot(small, _jitter(line, len(small)), ls="", marker="o", ms=2.2, color=style.MUTED, alpha=0.45, mew=0)
        marker = "D" if formatting.emulated(accelerator) else "o"
        colour = style.colour(runtime, accelerator)
        ink = colour if formatting.emulated(accelerator) else style.INK
        for number, dot in enumerate(dots):
            strength = 0.35 + 0.65 * (number + 1) / len(dots)
            axes.plot([dot], [line], ls="", marker=marker, ms=6, color=colour, alpha=strength, mew=0)
        reach = max([reach, *(abs(dot) for dot in [*dots, *small])])
        axes.annotate(style.short(variant, 24), (0, line), xytext=(-6, 0), ha="right", color=ink, **text)
        said = f"{formatting.humane(middle, str(own['unit'].iloc[0]))}  n={len(own)}"
        axes.annotate(said, (1, line), xytext=(10, 0), **text)
    axes.set_xlim(-1.08 * reach, 1.08 * reach)
    axes.set_ylim(len(seen) - 0.4, -0.6)
    axes.set_yticks([])
    axes.axvline(0, color=style.MUTED, lw=0.8, zorder=0)
    axes.grid(axis="x", color=style.GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda value, _: formatting.minus(f"{value:+g} %") if value else "0")
    axes.tick_params(labelsize=8)
    axes.spines[["left", "right", "top"]].set_visible(False)


def _deviation(values: Sequence[float], middle: float) -> list[float]:
    """Percent from `middle`; zero where `middle` is zero."""
    return [100 * (float(value) / middle - 1) if middle else 0.0 for value in values]


def _jitter(line: int, count: int) -> Sequence[float]:
    """Fixed small offsets, so that a picture is the same every time."""
    return list(line + np.resize(np.array([-0.16, 0.12, -0.06, 0.18]), count)) if count else []
