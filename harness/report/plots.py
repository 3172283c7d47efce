"""The plots of a stored run by name, and how they become PNG and SVG bytes."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.analysis.blocks import usable
from harness.analysis.overhead import Overhead
from harness.model import HOST_COSTS, SOFTWARE
from harness.report import number_format, published_figures, style, variants
from harness.report.boot_phases import boot_values
from harness.report.chapters import CHAPTERS
from harness.report.distribution_plot import spread
from harness.report.efficiency_table import COSTS
from harness.report.forest_plot import forest
from harness.report.stored_run import Stored
from harness.report.timeline_plot import timeline
from harness.report.waterfall_plot import ladder, waterfall

EMULATED_HOST = "the host itself is emulated: no verdict uses these figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One drawn plot: `kind` is overhead, distribution, boot, ladder, published, host-cost or the resource whose
    chapter has it; `topic` the resource, workload or published comparison.

    `alt` describes the picture in words.
    """

    kind: str
    topic: str
    alt: str
    png: bytes
    svg: str

    @property
    def name(self) -> str:
        """A file name without its ending; only characters that are safe in one."""
        flat = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in self.topic)
        return f"{self.kind}-{flat[:60].strip('.') or 'x'}" if self.topic else self.kind


def draw(stored: Stored, *, png: bool = True, vector: bool = True) -> list[Plot]:
    """Every plot that the run has values for; `png` or the vector form is left empty where it is not asked for."""
    with style.drawing():
        return [
            Plot(kind=kind, topic=topic, alt=alt, png=_png(figure) if png else b"", svg=svg(figure) if vector else "")
            for kind, topic, alt, figure in _marked(stored)
        ]


def _all(stored: Stored) -> Iterator[tuple[str, str, str, Figure | None]]:
    own = [row for row in stored.overheads if not number_format.is_host_cost(row.metric)]
    values, iterations = stored.values, usable(stored.samples)
    for resource in dict.fromkeys(str(name).partition(".")[0] for name in values["workload"]):
        if resource == "boot":
            continue
        title = f"{resource}: overhead"
        rows = _sorted(stored, [row for row in own if row.workload.partition(".")[0] == resource])
        yield "overhead", resource, _words(rows), forest(title, rows, stored.confidence)
        mine, all_mine = (
            frame[
                (frame["workload"].str.partition(".")[0] == resource)
                & ~frame["metric"].map(number_format.is_host_cost).astype(bool)
            ]
            for frame in (values, iterations)
        )
        alt = f"{resource}: block values and iterations as deviations from each variant's median"
        yield "distribution", resource, alt, spread(f"{resource}: distributions", mine, all_mine, stored.baseline)
    for workload, milestones in boot_values(stored).groupby("workload", sort=False):
        figure = timeline(str(workload), milestones, stored.baseline, stored.confidence)
        yield "boot", str(workload), f"{workload}: seconds from requested to each milestone, per variant", figure
    for workload, metric, steps in ladder(stored):
        alt = f"{workload} {metric}, knob by knob: {_words([step.whole for step in steps])}"
        yield "ladder", f"{workload}-{metric}", alt, waterfall(workload, metric, steps, stored.confidence)
    for resource, chapter in CHAPTERS.items():
        for one in chapter.drawings(stored):
            yield resource, one.topic, one.alt, one.figure
    for found in published_figures.shown(stored):
        yield "published", found.name, published_figures.alt(stored, found), published_figures.drawing(stored, found)
    cost = _sorted(stored, _cost(stored.overheads))
    yield (
        "host-cost",
        "",
        _words(cost),
        forest("host cost: CPU time of the whole host, and energy where it is counted", cost, stored.confidence),
    )


def _marked(stored: Stored) -> Iterator[tuple[str, str, str, Figure]]:
    """Every figure, marked where the host itself was emulated: a picture is also shown without its report."""
    emulated = stored.fact("host_virtualized") in SOFTWARE
    for kind, topic, alt, figure in _all(stored):
        if figure is None:
            continue
        if emulated:
            top = 1 - 0.2 / figure.get_figheight()
            figure.text(0.988, top, EMULATED_HOST, ha="right", va="center", color=style.MUTED)
        yield kind, topic, alt, figure


def _cost(rows: list[Overhead]) -> list[Overhead]:
    """Host cost per operation; per iteration only for workloads that have nothing else."""
    per_operation = [row for row in rows if row.metric in COSTS]
    covered = {(row.workload, row.metric.removesuffix("-per-op")) for row in per_operation}
    return [*per_operation, *(r for r in rows if r.metric in HOST_COSTS and (r.workload, r.metric) not in covered)]


def _sorted(stored: Stored, rows: list[Overhead]) -> list[Overhead]:
    """By workload and metric as they come, variants in their order."""
    heads = list(dict.fromkeys((row.workload, row.metric) for row in rows))
    return sorted(
        rows,
        key=lambda row: (
            heads.index((row.workload, row.metric)),
            *variants.order(row.variant, row.accelerator, stored.baseline),
        ),
    )


def _words(rows: list[Overhead]) -> str:
    return "; ".join(
        f"{row.workload} {row.metric}, {variants.label(row.variant, row.emulated)}: "
        f"{number_format.overhead(row)} n = {row.n}"
        for row in rows
        if row.overhead is not None
    )


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160, metadata={"Software": "tare"})
    return stream.getvalue()


def svg(figure: Figure) -> str:
    """A figure as SVG, the same each time."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "tare"})
    return stream.getvalue()
