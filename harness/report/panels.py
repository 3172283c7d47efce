"""Plots made of panels below each other, and the marks that all plots share: names, figures, axes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import style

ACROSS: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
"""A text beside the axes at a line of theirs."""
LONGEST = 24
"""Characters of a variant's name that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One part of a figure, in inches: its axes' `height`, the space above and below them, and how far below the
    panel's upper edge the title stands."""

    height: float
    above: float = 0.0
    below: float = 0.0
    title: str = ""
    title_at: float = 0.18
    size: float = 9
    emulated: bool = False


def of(emulated: bool, height: float, *, below: float, above: float = 0.32, title_at: float = 0.18) -> Panel:
    """The panel of one part: emulated guests have a title, and `above` for it."""
    title, above = (style.APART, above) if emulated else ("", 0.0)
    return Panel(height=height, above=above, below=below, title=title, title_at=title_at, emulated=emulated)


def stack(
    title: str, note: str, panels: Sequence[Panel], *, head: float, left: float, right: float, foot: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A figure with axes below each other: `head` and `foot` in inches, `left` and `right` as parts of the width."""
    height = head + sum(one.above + one.height + one.below for one in panels) + foot
    figure = Figure(figsize=(style.WIDTH, height))
    style.head(figure, title, note)
    at, places = height - head, []
    for one in panels:
        if one.title:
            ink = style.ink(one.emulated)
            text: dict[str, Any] = {"fontweight": "bold", "fontsize": one.size, "va": "center"}
            figure.text(0.012, (at - one.title_at) / height, one.title, color=ink, **text)
        at -= one.above + one.height
        places.append(figure.add_axes((left, at / height, right - left, one.height / height)))
        at -= one.below
    return figure, places


def margin(names: Iterable[str], least: float = 0.25, each: float = 0.08, longest: int = LONGEST) -> float:
    """The part of the width that the longest of these names takes; `least` and `each` are inches."""
    return (least + each * max(len(style.short(name, longest)) for name in names)) / style.WIDTH


def name(axes: Axes, text: str, line: float, *, emulated: bool = False, **more: Any) -> None:
    """A variant's name left of its line."""
    ink = style.ink(emulated)
    axes.annotate(style.short(text, LONGEST), (0, line), xytext=(-6, 0), ha="right", color=ink, **ACROSS, **more)


def beside(axes: Axes, text: str, line: float, gap: float = 8, **more: Any) -> None:
    """A figure in words right of its line."""
    axes.annotate(text, (1, line), xytext=(gap, 0), **ACROSS, **more)


def bare(axes: Axes, grid: float = 0.7) -> None:
    """Leave the axis below and its grid (lines of `grid` points, 0 for none); hide all others."""
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    if grid:
        axes.grid(axis="x", color=style.GRID, lw=grid)
        axes.set_axisbelow(True)
