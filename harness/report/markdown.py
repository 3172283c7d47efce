"""The report condensed as Markdown: sentences, tables, links to the plots."""

import re
from collections.abc import Iterator, Sequence

from harness.analysis.intervals import LEAST_RESAMPLED
from harness.analysis.overhead import FEW_BLOCKS
from harness.analysis.verdicts import Verdict
from harness.report import boot_phases, published_figures, run_tables
from harness.report import claim_tables as ledger
from harness.report.chapters import CHAPTERS, Chapter
from harness.report.efficiency_table import efficiency_table
from harness.report.headline import sentences
from harness.report.html import command_line
from harness.report.plots import Plot
from harness.report.stored_run import Stored
from harness.report.table import Table

SPECIAL = re.compile(r"([\\`*_\[\]|~#!{}])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}


def escape(text: str) -> str:
    """`text` such that Markdown shows it as it is: no markup, HTML, link, mention or table cell comes of it."""
    text = SPECIAL.sub(r"\\\1", text)
    for plain, entity in ENTITIES.items():
        text = text.replace(plain, entity)
    return re.sub(r"^(\s*|\s*\d+)([-+=.)])(?=\s|$)", r"\1\\\2", text)


def page(stored: Stored, plots: Sequence[Plot], verdicts: Sequence[Verdict], picture: str) -> str:
    """The page's text; `verdicts` are those on the run's claims, `picture` is the ending of the plots' files (`png`,
    `svg`), empty for none."""
    return "\n".join(_lines(stored, plots, verdicts, picture)) + "\n"


def claims(found: Sequence[Verdict]) -> Iterator[str]:
    """Lines: how many claims got which word, those that were measured, and the others with the reason."""
    yield f"{escape(ledger.count_words(found))}\n"
    if any(one.word in ledger.JUDGED for one in found):
        yield from table(ledger.judged_table(found))
    yield "Claims without a verdict, and the reason:\n"
    yield from table(ledger.open_table(found))


def _lines(stored: Stored, plots: Sequence[Plot], verdicts: Sequence[Verdict], picture: str) -> Iterator[str]:
    yield f"# tare: {escape(stored.fact('suite'))} on {escape(stored.fact('host'))}\n"
    yield from (f"- {escape(sentence)}" for sentence in sentences(stored))
    yield "\n## Overhead\n"
    level = f"{100 * stored.confidence:g} %"
    base = escape(stored.baseline)
    yield (
        f"Overhead = exp(mean d) − 1, with d = ±log(variant ÷ {base}) in each block; positive costs more. "
        f"Brackets show the {level} interval of each figure (Student's t; bootstrap-t for percentiles from "
        f"{LEAST_RESAMPLED} blocks on). Change = variant ÷ {base} − 1. From +100 % on, the ratio is shown instead, "
        f"with ×: exp(mean d), or variant ÷ {base}. n counts blocks; no verdict uses a figure with n below "
        f"{FEW_BLOCKS} or with more than a tenth of the blocks missing. Values are medians of the paired blocks.\n"
    )
    yield from _pictures(plots, "overhead", picture)
    yield from table(run_tables.overhead_table(stored))
    yield "\n## Primary metrics, adjusted for multiple comparisons\n"
    yield from table(run_tables.together_table(stored))
    yield "\n## Claims\n"
    yield from claims(verdicts)
    if any(plot.kind == "ladder" for plot in plots):
        yield "\n## From untuned to tuned\n"
        yield from _pictures(plots, "ladder", picture)
    for resource, chapter in CHAPTERS.items():
        yield from _chapter(resource, chapter, stored, plots, picture)
    yield from _published(stored, plots, picture)
    beside = {"boot": boot_phases.notes, "parity": run_tables.parity_notes}
    for title, kind, one in (
        ("Boot", "boot", run_tables.boot_table(stored)),
        ("Host cost", "host-cost", run_tables.host_cost_table(stored)),
        ("Efficiency: work per CPU second of the host", "", efficiency_table(stored)),
        ("Parity: facts that differ between the variants", "parity", run_tables.parity_table(stored)),
        ("Skipped", "", run_tables.skips_table(stored)),
        ("Failed and discarded", "", run_tables.discards_table(stored)),
        ("Host and versions", "", run_tables.host_table(stored)),
    ):
        if not one.empty:
            yield f"\n## {title}\n"
            yield from _pictures(plots, kind, picture)
            yield from table(one)
            yield from (f"{escape(note)}\n" for note in (beside[kind](stored) if kind in beside else ()))
    yield ""
    yield from (f"- {escape(str(note))}" for note in stored.entries("notes"))
    if command := command_line(stored):
        yield f"\nCommand: {escape(command)}; seed {escape(str(stored.manifest.get('seed', 'unknown')))}."


def _chapter(resource: str, chapter: Chapter, stored: Stored, plots: Sequence[Plot], picture: str) -> Iterator[str]:
    lines = [*_pictures(plots, resource, picture)]
    for one in chapter.tables(stored):
        if not one.empty:
            lines += [f"### {escape(one.title)}\n", *table(one)]
    lines += [f"{escape(note)}\n" for note in chapter.notes(stored)]
    if lines:
        yield f"\n## {resource.capitalize()}\n"
        yield from lines


def _published(stored: Stored, plots: Sequence[Plot], picture: str) -> Iterator[str]:
    for one in published_figures.shown(stored):
        yield f"\n## Published and measured: {escape(one.title)}\n"
        yield from _pictures([plot for plot in plots if plot.topic == one.name], "published", picture)
        yield from table(published_figures.table(stored, one))
        yield from (f"{escape(note)}\n" for note in published_figures.notes(one))


def _pictures(plots: Sequence[Plot], kind: str, ending: str) -> Iterator[str]:
    for plot in plots if ending else ():
        if plot.kind == kind:
            yield f"![{escape(plot.topic or kind)}](plots/{plot.name}.{ending})\n"


def table(one: Table) -> Iterator[str]:
    """A table's lines."""
    if one.empty:
        yield "Nothing to show.\n"
        return
    headed = any(section.title for group in one.groups for section in group.sections)
    for group in one.groups:
        if group.title and (headed or len(one.groups) > 1):
            yield f"### {escape(group.title)}\n"
        columns = ("metric", *one.columns) if headed else one.columns
        yield f"| {' | '.join(map(escape, columns))} |"
        yield f"|{'|'.join('--:' if name in one.numeric else '---' for name in columns)}|"
        for section in group.sections:
            for number, row in enumerate(section.rows):
                cells = ("" if number else section.title, *row) if headed else row
                yield f"| {' | '.join(map(escape, cells))} |"
        yield ""
