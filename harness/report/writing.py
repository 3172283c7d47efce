"""Writing a report's files into the run folder, and the overview for the terminal."""

from collections.abc import Sequence
from pathlib import Path

from harness.durable import atomic_write
from harness.errors import bad_input
from harness.report import FORMATS, boot, claims, html, markdown, plots, tables, terminal
from harness.report.headline import sentences
from harness.report.stored import load


def write(run_directory: Path, formats: Sequence[str], confidence: float) -> list[Path]:
    """See harness.report.render."""
    if unknown := [name for name in formats if name not in FORMATS]:
        raise bad_input("formats", f"there is no format {unknown[0]!r}", f"use some of: {', '.join(FORMATS)}")
    stored = load(run_directory, confidence)
    drawn = plots.draw(stored, png="png" in formats, vector="svg" in formats or "html" in formats)
    files: dict[Path, bytes] = {}
    verdicts = claims.of_run(stored) if {"html", "md"} & {*formats} else []
    if "html" in formats:
        files[run_directory / "report.html"] = html.page(stored, drawn, verdicts).encode()
    if "md" in formats:
        picture = next((name for name in ("png", "svg") if name in formats), "")
        files[run_directory / "report.md"] = markdown.page(stored, drawn, verdicts, picture).encode()
    for plot in drawn:
        for ending, content in (("png", plot.png), ("svg", plot.svg.encode())):
            if ending in formats:
                files[run_directory / "plots" / f"{plot.name}.{ending}"] = content
    # Plots before the pages that link to them.
    for path in sorted(files, key=lambda path: path.parent == run_directory):
        path.parent.mkdir(exist_ok=True)
        atomic_write(path, files[path])
    return list(files)


def overview(run_directory: Path, width: int, confidence: float) -> str:
    """See harness.report.summary."""
    stored = load(run_directory, confidence)
    verdicts = claims.of_run(stored)
    parts = [
        terminal.wrapped(sentences(stored), width),
        terminal.text(tables.overhead_table(stored), width),
        terminal.text(tables.boot_table(stored), width),
        terminal.wrapped(boot.notes(stored), width),
        terminal.text(tables.skips_table(stored), width),
        terminal.text(tables.voids_table(stored), width),
        claims.text([one for one in verdicts if one.word in claims.JUDGED], width),
        terminal.wrapped([claims.count_words(verdicts)], width),
        terminal.wrapped(
            [
                f"overhead: positive costs the user; [{100 * confidence:g} % Student-t interval], n blocks; "
                f"plain change = variant / {stored.baseline} − 1"
            ],
            width,
        ),
    ]
    return "\n\n".join(part for part in parts if part)
