"""One self-contained HTML page of a run: inline SVG, no script, nothing fetched."""

import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from harness.analysis.intervals import LEAST_RESAMPLED
from harness.analysis.overhead import FEW_BLOCKS
from harness.analysis.verdicts import Verdict
from harness.report import boot_phases, published_figures, run_tables, style
from harness.report import claim_tables as ledger
from harness.report.chapters import CHAPTERS
from harness.report.efficiency_table import efficiency_table
from harness.report.headline import sentences
from harness.report.plots import Plot
from harness.report.stored_run import Stored

# What a drawing program adds and a page does not want: prolog, metadata with links, ids that double, global styles.
PROLOG = re.compile(r"^.*?(?=<svg)", re.DOTALL)
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
GLOBAL_STYLE = re.compile(r"<style type=\"text/css\">.*?</style>", re.DOTALL)
DOUBLED_ID = re.compile(r' id="[A-Za-z0-9.]+_\d+"')
ROOT = re.compile(r"<svg [^>]*?viewBox=\"(?P<box>[0-9. ]+)\"[^>]*>")
COLOURS = {style.INK: "ink", style.MUTED: "muted", style.GRID: "grid", style.PAPER: "paper"}


def page(stored: Stored, plots: Sequence[Plot], verdicts: Sequence[Verdict]) -> str:
    """The page's text; `verdicts` are those on the run's claims."""
    overhead = run_tables.overhead_table(stored)
    compared = [group.title.split(" · ")[0] for group in overhead.groups]
    # Where every block was discarded nothing is compared, and what was observed is still there.
    resources = list(dict.fromkeys([*compared, *(name for name in CHAPTERS if stored.observed(name))]))
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            stored=stored,
            manifest=stored.manifest,
            title=f"tare: {stored.fact('suite') or 'run'} on {stored.fact('host') or 'unknown host'}",
            headlines=sentences(stored),
            resources=[(name, overhead.only(name)) for name in resources if name != "boot"],
            chapters={name: chapter for name, chapter in CHAPTERS.items() if name in resources},
            boot_ratios=overhead.only("boot"),
            plots=plots,
            picture=inline,
            boot=run_tables.boot_table(stored),
            boot_notes=boot_phases.notes(stored),
            together=run_tables.together_table(stored),
            claims=ledger.judged_table(verdicts),
            open_claims=ledger.open_table(verdicts),
            claims_counts=ledger.count_words(verdicts),
            published=[
                (one, published_figures.table(stored, one), published_figures.notes(one))
                for one in published_figures.shown(stored)
            ],
            cost=run_tables.host_cost_table(stored),
            efficiency=efficiency_table(stored),
            parity=run_tables.parity_table(stored),
            parity_notes=run_tables.parity_notes(stored),
            lone=run_tables.parity_table(stored, shared=False),
            skips=run_tables.skips_table(stored),
            discards=run_tables.discards_table(stored),
            workloads=run_tables.workloads_table(stored),
            host=run_tables.host_table(stored),
            command=command_line(stored),
            level=f"{100 * stored.confidence:g}",
            bootstrap_from=LEAST_RESAMPLED,
            few_blocks=FEW_BLOCKS,
        )
    )


def environment() -> Environment:
    """Jinja with this folder's templates; everything is escaped."""
    return Environment(
        loader=PackageLoader("harness.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def inline(plot: Plot) -> Markup:
    """A plot's SVG as part of a page: its colours follow the page, its words are its label.

    The SVG's own text was escaped when it was drawn; the label is escaped here.
    """
    text = PROLOG.sub("", plot.svg, count=1)
    for pattern in (METADATA, GLOBAL_STYLE, DOUBLED_ID):
        text = pattern.sub("", text)
    for colour, name in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    root = Markup('<svg viewBox="{}" role="img" aria-label="{}">')
    return Markup(ROOT.sub(lambda match: root.format(match["box"], plot.alt), text, count=1))


def command_line(stored: Stored) -> str:
    """How the run was started, as one line."""
    found = stored.manifest.get("command_line") or stored.manifest.get("command") or ""
    return " ".join(map(str, found)) if isinstance(found, list) else str(found)
