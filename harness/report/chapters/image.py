"""Images: the size of each recipe for each variant, and the times to build, transfer and clone it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from harness.report import number_format, panels, style, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.foreign_input import number, numbers, table
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped
from harness.report.variants import OfSubject

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
class Row(OfSubject):
    """One variant of one recipe: its medians by metric, and how many blocks they are of."""

    recipe: str
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
                    f"{name} {number_format.humane(row.values[name], 'bytes')}" for name in SIZES if name in row.values
                )
                for row in found
            )
            yield Drawing(topic="sizes", alt=alt, figure=_figure(found))

    def tables(self, stored: Stored) -> Iterator[Table]:
        """Sizes and times by recipe; clones and what instances add."""
        found = rows(stored)
        sized = [row for row in found if "disk" in row.values]
        columns = ("recipe", "variant", "on disk", "transfer", *TIMES.values(), "n")
        units = {"disk": "bytes", "transfer": "bytes", **dict.fromkeys(TIMES, "s")}
        lines = [_line(row, units, str(row.n)) for row in sized]
        yield _table("Sizes and times, by recipe (medians)", columns, lines)
        units = {name: unit for name, (_, unit) in CLONES.items()}
        lines = [_line(row, units) for row in found if CLONES.keys() & row.values]
        columns = ("recipe", "variant", *_clone_columns(stored))
        yield _table("Clones, and what an instance adds (medians)", columns, lines)

    def notes(self, stored: Stored) -> Iterator[str]:
        """What the recipes are, and what sizes depend on."""
        found = rows(stored)
        if not found:
            return
        known: dict[str, str] = {}
        for one in stored.observed("image"):
            if one.get("what") == "root" and (told := numbers(one, "packages", "tar")):
                size = number_format.humane(told[1], "bytes")
                known[_recipe(stored, str(one.get("workload")))] = f"{told[0]:.0f} packages, {size} as a plain tar"
        if known:
            yield f"Recipes: {'; '.join(f'{name} has {words}' for name, words in sorted(known.items()))}."
        yield (
            "Recipes show what is possible, not what is typical: an image holds what its builder puts in, for a guest "
            "as for a container. A full system adds kernel, systemd and GRUB to the recipe's root. Other guests load "
            "their kernel directly, and their size includes it."
        )
        if any(row.emulated for row in found):
            yield (
                "A guest's disk does not depend on the accelerator: sizes of emulated guests are those of the same "
                "guests on KVM. Their start times are those of emulation."
            )


def rows(stored: Stored) -> list[Row]:
    """Every recipe's variants, in the order of figures; the run's own root comes first."""
    values = stored.of_resource("image")
    recipes = {name: _recipe(stored, str(name)) for name in values["workload"].unique()}
    keyed = values.assign(recipe=values["workload"].map(recipes))
    return [
        Row(
            recipe=recipe,
            subject=who,
            values=_medians(own),
            n=int(own.groupby("metric")["block"].nunique().max()),
        )
        for recipe in sorted(set(recipes.values()), key=lambda name: (name != ROOT, name))
        for who in variants.subjects(keyed[keyed["recipe"] == recipe], stored.baseline)
        for own in [who.of(keyed[keyed["recipe"] == recipe])]
    ]


def _medians(own: pd.DataFrame) -> dict[str, float]:
    """By metric; several workloads of one recipe measure different metrics."""
    medians = own.groupby("metric")["value"].median()
    return {str(name): float(value) for name, value in medians.items()}


def _recipe(stored: Stored, workload: str) -> str:
    """The recipe that a workload is about: by the manifest, without one by its name."""
    return str(_parameters(stored, workload).get("recipe") or workload.partition("-")[2] or ROOT)


def _parameters(stored: Stored, workload: str) -> dict[str, Any]:
    return table(table(stored.mapping("workloads").get(workload)).get("parameters"))


def _clone_columns(stored: Stored) -> tuple[str, ...]:
    mib = number(_parameters(stored, "image.growth").get("write_mib"))
    heads = {name: head for name, (head, _) in CLONES.items()}
    heads |= {"linked-disk": "linked takes", "full-disk": "full takes"}
    heads |= {"written": f"{mib:g} MiB add"} if mib is not None else {}
    return tuple(heads.values())


def _line(row: Row, units: Mapping[str, str], *more: str) -> Line:
    """A row's figures, each in its unit."""
    cells = (number_format.humane(row.values.get(name), unit) for name, unit in units.items())
    return Line((row.recipe, row.variant, *cells, *more), row.emulated)


def _table(title: str, columns: tuple[str, ...], lines: Sequence[Line]) -> Table:
    return grouped(title, columns, lines, numeric=columns[2:], once=True)


def _height(row: Row) -> float:
    return BAR * len(SIZES.keys() & row.values) + GAP


def _figure(found: Sequence[Row]) -> Figure:
    drawn: dict[tuple[bool, str], list[Row]] = {}
    for row in found:
        drawn.setdefault((row.emulated, row.recipe), []).append(row)
    drawn = dict(sorted(drawn.items(), key=lambda item: item[0][0]))
    note = "left is better; medians over blocks; one logarithmic axis for all"
    figure, places = panels.stack(
        "image: sizes of what instances start from",
        note,
        [_place(*key, own) for key, own in drawn.items()],
        head=ABOVE,
        left=panels.margin(row.variant for row in found),
        right=0.84,
        foot=BELOW,
    )
    shades = [Patch(fc=style.NATIVE, alpha=SHADES[name], label=words) for name, words in SIZES.items()]
    top = 1 - 0.55 / figure.get_figheight()
    figure.legend(handles=shades, loc="upper left", bbox_to_anchor=(0.0, top), ncols=3, frameon=False)
    sizes = [row.values[name] for row in found for name in SIZES if name in row.values]
    for axes, own in zip(places, drawn.values(), strict=True):
        _bars(axes, own, (min(sizes) / 2, max(sizes) * 1.5), last=axes is places[-1])
    return figure


def _place(emulated: bool, recipe: str, own: Sequence[Row]) -> panels.Panel:
    title = f"recipe {recipe}{' · emulated (tcg)' if emulated else ''}"
    return panels.Panel(height=sum(map(_height, own)), above=BETWEEN, title=title, title_at=0.14, emulated=emulated)


def _bars(axes: Axes, own: Sequence[Row], limits: tuple[float, float], *, last: bool) -> None:
    at = 0.0
    for row in own:
        names = [name for name in SIZES if name in row.values]
        colour = style.colour(row.subject.runtime, row.subject.accelerator)
        panels.name(axes, row.variant, at + (_height(row) - GAP) / 2, emulated=row.emulated)
        for name in names:
            value, line = row.values[name], at + BAR / 2
            hatch = "////" if row.emulated else None
            axes.barh(
                line, value, height=BAR * 0.9, color=colour, alpha=SHADES[name], hatch=hatch, ec=style.PAPER, lw=0.4
            )
            said = number_format.humane(value, "bytes")
            axes.annotate(said, (value, line), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
            at += BAR
        at += GAP
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(at, -GAP / 2)
    panels.bare(axes)
    axes.xaxis.set_major_formatter(
        lambda value, _: number_format.humane(value, "bytes").replace(".000", "").replace(".00", "").replace(".0", "")
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelbottom=last, length=3 if last else 0)
