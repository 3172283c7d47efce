"""The look of plots: fonts, sizes, and colours for light and dark pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from harness.report.variants import emulated

INK, MUTED, GRID, PAPER = "#1b1f24", "#5b6470", "#d5d9df", "#fefefe"
"""Text, secondary text, grid and page; the HTML page replaces these four by its own variables."""

NATIVE, EMULATED, OTHER = "#6f7782", "#b07a12", "#a565bd"
FAMILIES = {
    "native": NATIVE,
    "docker": "#2f7fc2",
    "libvirt": "#cf5c26",
    "podman": "#1c9a74",
    "qemu": "#c2528b",
    "uml": "#7a6bd1",
}
"""One colour per runtime family, at least 3:1 against white and against the dark page (WCAG 1.4.11). People with
colour-vision deficiency can distinguish them too, and every mark also has its variant's name."""

PHASES = {
    "created": "#dde6ef",
    "network": "#cfdeed",
    "container": "#c4d5e7",
    "loader": "#b6cce3",
    "loaded": "#a9c4e0",
    "kernel": "#84acd4",
    "userspace": "#689ac9",
    "task": "#4f86bd",
    "started": "#376ba0",
    "ready": "#1f4e82",
    "service": "#12304f",
}
"""Boot phases by the milestone that ends them: one hue, later is darker."""

APART = "emulated (tcg): software emulation, does not apply to KVM guests; own axis"

WIDTH = 8.4
"""Inches; at 96 dots a comfortable column, and wide enough for the numbers beside the marks."""

SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.8,
    "hatch.linewidth": 0.7,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "tare",
}


@contextmanager
def drawing() -> Iterator[None]:
    """These settings, and no window system, while plots are made; the caller's own settings come back."""
    matplotlib.use("Agg", force=False)
    with matplotlib.rc_context(SETTINGS):
        yield


def colour(runtime: str, accelerator: str) -> str:
    """The colour of a variant's family."""
    return EMULATED if emulated(accelerator) else FAMILIES.get(runtime, OTHER)


def ink(is_emulated: bool) -> str:
    """The colour of words about a variant."""
    return EMULATED if is_emulated else INK


def short(text: str, limit: int) -> str:
    """`text`, its middle left out where it is longer than `limit`."""
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-half:]}"


def head(figure: Figure, title: str, note: str) -> None:
    """A title and one line of explanation at the top left of a figure."""
    height = figure.get_figheight()
    figure.text(0.012, 1 - 0.2 / height, title, fontsize=12, fontweight="bold", va="center")
    figure.text(0.012, 1 - 0.43 / height, note, color=MUTED, va="center")
