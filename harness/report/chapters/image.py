"""Images: what each recipe weighs as what each variant starts from, and how it is made, carried and cloned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from harness.report import formatting, style
from harness.report.boot_phases import numbers
from harness.report.chapters.base import Chapter, Drawing
from harness.report.stored_run import Stored
from harness.report.table import Group, Section, Table

SIZES = {
    "disk": "on disk, shared by all instances",
    "transfer": "package for another host (zstd)",
    "growth": "added by each instance",
}
"""The metrics that are drawn, largest first, with what they are."""
SHADES = {"disk": 1.0, "transfer": 0.6, "growth": 0.3}
TIMES = {"build": "build", "export": "export", "import": "import", "first-start": "first start", "deploy": "deployed"}
CLONES = {
    "linked": ("linked clone", "s"),
    "linked-disk": ("it takes", "bytes"),
    "full": ("full copy", "s"),
    "full-disk": ("it takes", "bytes"),
    "growth": ("an instance adds", "bytes"),
    "written": ("its file adds", "bytes"),
}
BAR, GAP = 0.15, 0.14
ABOVE, BETWEEN, BELOW = 0.95, 0.34, 0.55
ROOT = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One variant of one recipe: its medians by metric, and how many blocks they are of."""

    recipe: str
    variant: str
    runtime: str
    emulated: bool
    values: Mapping[str, float]
    n: int


class Image(Chapter):
    """The chapter of the resource `image`."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """Sizes by recipe and variant on one logarithmic axis; guests that were emulated below the others."""
        if found := [row for row in rows(stored) if SIZES.keys() & row.values]:
            alt = "; ".join(
                f"{row.recipe}, {row.variant}: "
                + ", ".join(
                    f"{name} {formatting.humane(row.values[name], 'bytes')}" for name in SIZES if name in row.values
                )
                for row in found
            )
            yield Drawing(topic="sizes", alt=alt, figure=_figure(found))

    def tables(self, stored: Stored) -> Iterator[Table]:
        """Sizes and times by recipe; clones and what instances add."""
        found = rows(stored)
        sized = [row for row in found if "disk" in row.values]
        columns = ("recipe", "variant", "on disk", "transfer", *TIMES.values(), "n")
        sizes = [
            (row, (*_said(row, ("disk", "transfer"), "bytes"), *_said(row, tuple(TIMES), "s"), str(row.n)))
            for row in sized
        ]
        yield _table("Sizes and times, by recipe (medians)", columns, sizes)
        cloned = [row for row in found if CLONES.keys() & row.values]
        cells = [
            (row, tuple(formatting.humane(row.values.get(name), unit) for name, (_, unit) in CLONES.items()))
            for row in cloned
        ]
        yield _table(
            "Clones, and what an instance adds (medians)", ("recipe", "variant", *_clone_columns(stored)), cells
        )

    def notes(self, stored: Stored) -> Iterator[str]:
        """What the recipes are, and what sizes depend on."""
        found = rows(stored)
        if not found:
            return
        known: dict[str, str] = {}
        for one in stored.observed("image"):
            if one.get("what") == "root" and (told := numbers(one, "packages", "tar")):
                size = formatting.humane(told[1], "bytes")
                known[_recipe(stored, str(one.get("workload")))] = f"{told[0]:.0f} packages, {size} as a plain tar"
        if known:
            yield f"Recipes: {'; '.join(f'{name} has {words}' for name, words in sorted(known.items()))}."
        yield (
            "Recipes show what is possible, not what is typical: an image holds what its builder puts in, in a guest "
            "and in a container alike. A full system has kernel, systemd and GRUB above the recipe's root; other "
            "guests' kernels are loaded directly and are in their size."
        )
        if any(row.emulated for row in found):
            yield (
                "Who executes a guest is nothing to its disk: sizes of emulated guests are those of the same guests on "
                "KVM. Their times to start are emulation's."
            )


def rows(stored: Stored) -> list[Row]:
    """Every recipe's variants, in the order of figures; the run's own root comes first."""
    values = stored.values
    values = values[values["workload"].str.startswith("image.").astype(bool)]
    recipes = {name: _recipe(stored, str(name)) for name in values["workload"].unique()}
    found = []
    keyed = values.assign(recipe=values["workload"].map(recipes))
    for (recipe, variant, runtime, accelerator), own in keyed.groupby(
        ["recipe", "variant", "runtime", "accelerator"], sort=False
    ):
        rank = (recipe != ROOT, str(recipe), formatting.order(str(variant), str(accelerator), stored.baseline))
        row = Row(
            recipe=str(recipe),
            variant=str(variant),
            runtime=str(runtime),
            emulated=formatting.emulated(str(accelerator)),
            values=_medians(own),
            n=int(own.groupby("metric")["block"].nunique().max()),
        )
        found.append((rank, row))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _medians(own: pd.DataFrame) -> dict[str, float]:
    """By metric; several workloads of one recipe measure different metrics."""
    medians = own.groupby("metric")["value"].median()
    return {str(name): float(value) for name, value in medians.items()}


def _recipe(stored: Stored, workload: str) -> str:
    """The recipe that a workload is about: by the manifest, without one by its name."""
    definition = stored.mapping("workloads").get(workload)
    parameters = definition.get("parameters") if isinstance(definition, dict) else None
    known = parameters.get("recipe") if isinstance(parameters, dict) else None
    return str(known or workload.partition("-")[2] or ROOT)


def _clone_columns(stored: Stored) -> tuple[str, ...]:
    definition = stored.mapping("workloads").get("image.growth")
    parameters = definition.get("parameters") if isinstance(definition, dict) else None
    mib = parameters.get("write_mib") if isinstance(parameters, dict) else None
    heads = {name: head for name, (head, _) in CLONES.items()}
    heads |= {"linked-disk": "linked takes", "full-disk": "full takes"}
    heads |= {"written": f"{mib:g} MiB add"} if isinstance(mib, int | float) else {}
    return tuple(heads.values())


def _said(row: Row, names: Sequence[str], unit: str) -> tuple[str, ...]:
    return tuple(formatting.humane(row.values.get(name), unit) for name in names)


def _table(title: str, columns: tuple[str, ...], cells: Sequence[tuple[Row, tuple[str, ...]]]) -> Table:
    """A section for each recipe; emulated guests are a group of their own."""
    groups = []
    for apart in (False, True):
        sections: dict[str, list[tuple[str, ...]]] = {}
        for row, own in cells:
            if row.emulated == apart:
                kept = sections.setdefault(row.recipe, [])
                kept.append(("" if kept else row.recipe, row.variant, *own))
        made = tuple(Section(title="", rows=tuple(kept)) for kept in sections.values())
        if made:
            groups.append(Group(title="emulated (tcg)" if apart else "", sections=made, emulated=apart))
    return Table(title=title, columns=columns, numeric=frozenset(columns[2:]), groups=tuple(groups))


def _panels(found: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """By title: each recipe, then each with its emulated guests."""
    panels: dict[tuple[bool, str], list[Row]] = {}
    for row in found:
        panels.setdefault((row.emulated, row.recipe), []).append(row)
    ranked = sorted(panels.items(), key=lambda item: item[0][0])
    return [(f"recipe {recipe}{' · emulated (tcg)' if apart else ''}", own) for (apart, recipe), own in ranked]


def _height(row: Row) -> float:
    return BAR * len(SIZES.keys() & row.values) + GAP


def _figure(found: Sequence[Row]) -> Figure:
    panels = _panels(found)
    height = ABOVE + BELOW + sum(BETWEEN + sum(map(_height, own)) for _, own in panels)
    figure = Figure(figsize=(style.WIDTH, height))
    note = "left is better; medians over blocks; the axis is logarithmic and the same for all"
    style.head(figure, "image: sizes of what instances start from", note)
    shades = [Patch(fc=style.NATIVE, alpha=SHADES[name], label=words) for name, words in SIZES.items()]
    figure.legend(handles=shades, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.55 / height), ncols=3, frameon=False)
    longest = max(len(style.short(row.variant, 24)) for row in found)
    left, at = (0.25 + 0.08 * longest) / style.WIDTH, height - ABOVE
    sizes = [row.values[name] for row in found for name in SIZES if name in row.values]
    for number, (title, own) in enumerate(panels, 1):
        tall = sum(map(_height, own))
        ink = style.EMULATED if own[0].emulated else style.INK
        figure.text(0.012, (at - 0.14) / height, title, color=ink, fontweight="bold", va="center")
        at -= BETWEEN + tall
        axes = figure.add_axes((left, at / height, 0.84 - left, tall / height))
        _bars(axes, own, (min(sizes) / 2, max(sizes) * 1.5), last=number == len(panels))
    return figure


def _bars(axes: Axes, own: Sequence[Row], limits: tuple[float, float], *, last: bool) -> None:
    text: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    at = 0.0
    for row in own:
        names = [name for name in SIZES if name in row.values]
        colour = style.colour(row.runtime, "tcg" if row.emulated else "")
        middle = at + (_height(row) - GAP) / 2
        ink = style.EMULATED if row.emulated else style.INK
        axes.annotate(style.short(row.variant, 24), (0, middle), xytext=(-6, 0), ha="right", color=ink, **text)
        for name in names:
            value, line = row.values[name], at + BAR / 2
            hatch = "////" if row.emulated else None
            axes.barh(
                line, value, height=BAR * 0.9, color=colour, alpha=SHADES[name], hatch=hatch, ec=style.PAPER, lw=0.4
            )
            said = formatting.humane(value, "bytes")
            axes.annotate(said, (value, line), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
            at += BAR
        at += GAP
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(at, -GAP / 2)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(
        lambda value, _: formatting.humane(value, "bytes").replace(".000", "").replace(".00", "").replace(".0", "")
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelbottom=last, length=3 if last else 0)
    axes.grid(axis="x", color=style.GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["left", "right", "top"]].set_visible(False)
