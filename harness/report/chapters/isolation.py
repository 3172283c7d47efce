"""Isolation: the facts and the overheads of each variant in one table, and counts as bars."""

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import number_format, panels, style, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.foreign_input import all_numbers, table
from harness.report.stored_run import Stored
from harness.report.table import Table, plain

RESOURCE = "isolation"
PANELS = {
    "host-syscalls": "different system calls of the host's kernel that one small job reaches",
    "host-functions": "different functions of the host's kernel that it reaches",
    "syscalls-allowed": "system calls that pass (hatched: to its own kernel)",
    "capabilities": "capabilities (hatched: over its own kernel)",
}
OWN_KERNEL = frozenset({"syscalls-allowed", "capabilities"})
"""Counts that are about a guest's own kernel, where it has one."""
BAR = 0.25
COSTS = ("cpu", "memory", "network", "disk")
"""Resources whose primary metrics stand beside the facts."""


class Isolation(Chapter):
    """Bars, the table of facts, and how they were gathered."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """The counts of every variant as bars, a panel for each kind that the run has."""
        seen = latest(stored)
        shown = {name: title for name, title in PANELS.items() if any(name in _counts(one) for one in seen.values())}
        if shown:
            words = "; ".join(
                f"{title}: "
                + ", ".join(f"{who} {_counts(one)[name]:.0f}" for who, one in seen.items() if name in _counts(one))
                for name, title in shown.items()
            )
            yield Drawing(topic="counts", alt=words, figure=bars(stored, seen, shown))

    def tables(self, stored: Stored) -> Iterator[Table]:
        """Facts as rows, variants as columns; below them what the variant costs in this run."""
        seen = latest(stored)
        labels = list(dict.fromkeys(label for one in seen.values() for label in _facts(one)))
        rows = [(label, *(_facts(one).get(label, "–") for one in seen.values())) for label in labels]
        rows += list(_costs(stored, list(seen)))
        columns = ("fact", *(_name(stored, variant) for variant in seen))
        yield plain("What separates each variant from the host", columns, rows)

    def notes(self, stored: Stored) -> Iterator[str]:
        """How each fact came about."""
        if not latest(stored):
            return
        yield (
            "These are facts of this host, not grades. “System calls that pass”: each number was called once, in a "
            "process of its own, with arguments that have no effect. Refused is EPERM (by a filter or a missing "
            "capability), absent ENOSYS, killed SIGSYS. In a guest, system calls, capabilities and devices are those "
            "of its own kernel. The rows “on the host” show what the processes that serve it may do there."
        )
        yield (
            "The host kernel's tracer counted what is reached there while one small job ran in the instance: files, a "
            "synchronous write, compression, an interpreter, sockets, and the command channel. It traced the processes "
            "that serve the instance and their children, without a container's daemons. No kernel module was loaded."
        )


def latest(stored: Stored) -> dict[str, dict[str, Any]]:
    """What was gathered of each variant in its last block, in the report's order of variants."""
    found = {str(one.get("variant")): one for one in stored.observed(RESOURCE) if one.get("what") == "isolation"}
    return dict(sorted(found.items(), key=lambda item: stored.order(item[0])))


def bars(stored: Stored, seen: dict[str, dict[str, Any]], shown: dict[str, str]) -> Figure:
    """A panel for each kind of count, a bar for each variant; emulated guests in their own colour."""
    note = "of one instance each; facts of this host, not grades"
    drawn = [
        panels.Panel(height=BAR * len(seen), above=0.3, below=0.2, title=title, title_at=0.15, size=8.5)
        for title in shown.values()
    ]
    left = panels.margin((_name(stored, name) for name in seen), 0.35, 0.078, longest=34)
    figure, places = panels.stack("isolation: counts", note, drawn, head=0.65, left=left, right=0.9, foot=0.1)
    for kind, axes in zip(shown, places, strict=True):
        _panel(axes, stored, seen, kind)
    return figure


def _panel(axes: Axes, stored: Stored, seen: dict[str, dict[str, Any]], kind: str) -> None:
    for line, (variant, one) in enumerate(seen.items()):
        colour = style.colour(variant.partition("/")[0], "tcg" if stored.emulated(variant) else "")
        value = _counts(one).get(kind)
        own = kind in OWN_KERNEL and one.get("shared_kernel") is False
        face, hatch = ("none", "////") if own else (colour, None)
        axes.barh(line, value or 0, height=0.66, facecolor=face, edgecolor=colour, hatch=hatch, lw=1.0 if value else 0)
        said = "not known" if value is None else f"{value:,.0f}"
        axes.annotate(said, (value or 0, line), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
    names = [style.short(_name(stored, name), 34) for name in seen]
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=style.INK)
    axes.set_xticks([])
    axes.set_xlim(left=0)
    axes.set_ylim(len(seen) - 0.5, -0.5)
    axes.spines[["right", "top", "bottom"]].set_visible(False)


def _costs(stored: Stored, variants: list[str]) -> Iterator[tuple[str, ...]]:
    """A row for each primary metric of the run that costs something to compare with."""
    own = [one for one in stored.overheads if one.primary and one.workload.partition(".")[0] in COSTS]
    for workload, metric in dict.fromkeys((one.workload, one.metric) for one in own):
        cells = {
            one.variant: number_format.overhead(one)
            for one in own
            if (one.workload, one.metric) == (workload, metric) and one.overhead is not None
        }
        if any(variant in cells for variant in variants):
            base = {stored.baseline: "baseline"}
            row = ((base | cells).get(variant, "–") for variant in variants)
            yield (f"overhead of {workload} · {metric}", *row)


def _name(stored: Stored, variant: str) -> str:
    return variants.label(variant, stored.emulated(variant))


def _facts(one: dict[str, Any]) -> dict[str, str]:
    return {label: str(text) for label, text in table(one.get("told")).items()}


def _counts(one: dict[str, Any]) -> dict[str, float]:
    return {name: count for name, count in all_numbers(one.get("counts")).items() if count < 1e9}
