"""Writing a report's files into the run folder, and the overview for the terminal."""

from collections.abc import Sequence
from pathlib import Path

from harness.durable import atomic_write
from harness.errors import bad_input
from harness.report import (
    FORMATS,
    boot_phases,
    claim_tables,
    html,
    markdown,
    plain_text,
    plots,
    run_tables,
    stored_evidence,
)
from harness.report.headline import sentences
from harness.report.stored_run import load


def write(run_directory: Path, formats: Sequence[str], confidence: float) -> list[Path]:
    """See harness.report.render."""
    if unknown := [name for name in formats if name not in FORMATS]:
        raise bad_input("formats", f"there is no format {unknown[0]!r}", f"use some of: {', '.join(FORMATS)}")
    stored = load(run_directory, confidence)
    drawn = plots.draw(stored, png="png" in formats, vector="svg" in formats or "html" in formats)
    files: dict[Path, bytes] = {}
    verdicts = stored_evidence.of_run(stored) if {"html", "md"} & {*formats} else []
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
    verdicts = stored_evidence.of_run(stored)
    parts = [
        plain_text.wrapped(sentences(stored), width),
        plain_text.text(run_tables.overhead_table(stored), width),
        plain_text.text(run_tables.boot_table(stored), width),
        plain_text.wrapped(boot_phases.notes(stored), width),
        plain_text.text(run_tables.skips_table(stored), width),
        plain_text.text(run_tables.discards_table(stored), width),
        claim_tables.text([one for one in verdicts if one.word in claim_tables.JUDGED], width),
        plain_text.wrapped([claim_tables.count_words(verdicts)], width),
        plain_text.wrapped(
            [
                f"overhead: positive costs more; [{100 * confidence:g} % Student-t interval]; n counts blocks; "
                f"change = variant ÷ {stored.baseline} − 1"
            ],
            width,
        ),
    ]
    return "\n\n".join(part for part in parts if part)
