"""Short-lived jobs: how many a minute, and how long each takes, by variant."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from harness.analysis.intervals import Estimate, geometric
from harness.report import formatting, style
from harness.report.boot_phases import numbers
from harness.report.chapters.base import Chapter, Drawing
from harness.report.stored_run import Stored
from harness.report.table import Group, Section, Table

RATE = "rate"
LINE = 0.36
COLUMNS = ("workload", "variant", "median", "95th percentile", "longest", "jobs")


class Churn(Chapter):
    """The chapter of the resource `churn`."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """Jobs per minute of each variant, a panel for each workload; emulated guests in panels of their own."""
        rows = _rates(stored)
        if not rows.empty:
            yield Drawing(topic="rate", alt=_words(stored, rows), figure=_figure(stored, rows))

    def tables(self, stored: Stored) -> Iterator[Table]:
        """Percentiles of a job's time over the jobs of all blocks."""
        groups = []
        for apart in (False, True):
            sections = [Section(title="", rows=rows) for rows in _latencies(stored, apart=apart)]
            title = "emulated (tcg)" if apart else ""
            groups.append(Group(title=title, sections=tuple(sections), emulated=apart))
        kept = tuple(group for group in groups if group.sections)
        yield Table(title="A job's time", columns=COLUMNS, numeric=frozenset(COLUMNS[2:]), groups=kept)

    def notes(self, stored: Stored) -> Iterator[str]:
        """What a job is, and what else is in the figures."""
        if _rates(stored).empty:
            return
        yield (
            "A job is asked for, gets an instance of its own with the run's shape, does its work (a static program "
            "that says one line), and is over when nothing of its instance is left. Percentiles are over the jobs of "
            "all blocks together: they describe, and have no interval."
        )
        there: dict[tuple[str, str], list[float]] = {}
        for one in stored.observed("churn"):
            key = str(one.get("workload")), str(one.get("variant"))
            shares = [sum(_seconds(one)) / elapsed for elapsed in numbers(one, "elapsed") if elapsed > 0]
            there.setdefault(key, []).extend(shares)
        known = [f"{' on '.join(key)} {np.median(shares):.2f}" for key, shares in sorted(there.items()) if shares]
        if known:
            yield (
                "The rate is jobs at once ÷ mean time of a job: what the harness does between two jobs is left out. On "
                f"average there were at once: {'; '.join(known)}."
            )


def _rates(stored: Stored) -> pd.DataFrame:
    values = stored.values
    churn = values["workload"].str.startswith("churn.").astype(bool)
    return values[churn & (values["metric"] == RATE)]


def _parts(stored: Stored, rows: pd.DataFrame) -> Iterator[tuple[str, bool, list[tuple[str, str, Estimate]]]]:
    """By workload and whether emulated: each variant with its runtime and estimate, in their order."""
    for apart in (False, True):
        for workload, own in rows.groupby("workload", sort=False):
            found = []
            for (variant, runtime, accelerator), one in own.groupby(["variant", "runtime", "accelerator"], sort=False):
                estimate = geometric(one["value"].astype(float).tolist(), stored.confidence)
                if estimate is not None and formatting.emulated(str(accelerator)) == apart:
                    rank = formatting.order(str(variant), str(accelerator), stored.baseline)
                    found.append((rank, (str(variant), str(runtime), estimate)))
            if found:
                yield str(workload), apart, [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _words(stored: Stored, rows: pd.DataFrame) -> str:
    return "; ".join(
        f"{workload}, {variant}{' (emulated)' if apart else ''}: {formatting.estimated(one, 'job/min')} n={one.n}"
        for workload, apart, found in _parts(stored, rows)
        for variant, _, one in found
    )


def _figure(stored: Stored, rows: pd.DataFrame) -> Figure:
    parts = list(_parts(stored, rows))
    above, between, below = 0.62, 0.62, 0.1
    height = above + below + sum(len(found) * LINE + between for _, _, found in parts)
    figure = Figure(figsize=(style.WIDTH, height))
    note = f"further right is better; {100 * stored.confidence:g} % intervals over n blocks; logarithmic axes"
    style.head(figure, "churn: short-lived jobs per minute", note)
    longest = max(len(style.short(variant, 24)) for _, _, found in parts for variant, _, _ in found)
    left, at = (0.25 + 0.08 * longest) / style.WIDTH, height - above
    ends = [
        end for _, apart, found in parts if not apart for _, _, one in found for end in (one.low, one.high, one.value)
    ]
    slow = [end for _, apart, found in parts if apart for _, _, one in found for end in (one.low, one.high, one.value)]
    for workload, apart, found in parts:
        title = f"{style.short(workload, 40)}{': ' + style.APART if apart else ''}"
        ink = style.EMULATED if apart else style.INK
        figure.text(0.012, (at - 0.08) / height, title, color=ink, fontweight="bold", va="center")
        at -= 0.2 + len(found) * LINE
        axes = figure.add_axes((left, at / height, 0.62 - left, len(found) * LINE / height))
        _draw(axes, found, apart, [end for end in (slow if apart else ends) if end is not None and end > 0])
        at -= between - 0.2
    return figure


def _draw(axes: Axes, found: Sequence[tuple[str, str, Estimate]], apart: bool, ends: Sequence[float]) -> None:
    text: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    for line, (variant, runtime, one) in enumerate(found):
        colour = style.colour(runtime, "tcg" if apart else "")
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [line, line], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot([one.value], [line], marker="D" if apart else "o", ms=7, color=colour)
        ink = style.EMULATED if apart else style.INK
        axes.annotate(style.short(variant, 24), (0, line), xytext=(-6, 0), ha="right", color=ink, **text)
        said = f"{formatting.estimated(one, 'job/min')}  n={one.n}"
        axes.annotate(said, (1, line), xytext=(8, 0), fontsize=8, **text)
    axes.set_xscale("log")
    axes.set_xlim(min(ends) / 1.3, max(ends) * 1.3)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_yticks([])
    # A span of less than a decade has ticks too
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color=style.GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["left", "right", "top"]].set_visible(False)


def _latencies(stored: Stored, *, apart: bool) -> Iterator[tuple[tuple[str, ...], ...]]:
    """A section's rows for each workload."""
    emulated = set(stored.samples[stored.samples["accelerator"].isin(formatting.EMULATED)]["variant"])
    pooled: dict[str, dict[str, list[float]]] = {}
    for one in stored.observed("churn"):
        variant = str(one.get("variant"))
        if (variant in emulated) == apart and (seconds := _seconds(one)):
            pooled.setdefault(str(one.get("workload")), {}).setdefault(variant, []).extend(seconds)
    for workload, by_variant in sorted(pooled.items()):
        rows: list[tuple[str, ...]] = []
        for variant in sorted(by_variant, key=lambda name: formatting.order(name, "", stored.baseline)):
            taken = by_variant[variant]
            cells = [float(np.median(taken)), float(np.quantile(taken, 0.95, method="inverted_cdf")), max(taken)]
            said = [formatting.humane(value, "s") for value in cells]
            rows.append(("" if rows else workload, variant, *said, str(len(taken))))
        yield tuple(rows)


def _seconds(one: dict[str, Any]) -> list[float]:
    """The jobs' times of what was recorded, which anybody may have written."""
    found = one.get("seconds")
    listed = found if isinstance(found, list) else []
    return [float(value) for value in listed if isinstance(value, int | float) and 0 < value < 1e9]
