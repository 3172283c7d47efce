"""Reports of a stored run: files in its folder, and a table for the terminal.

Imports are lazy: pandas and matplotlib are slow to load.
"""

from collections.abc import Sequence
from pathlib import Path

FORMATS = ("html", "md", "png", "svg")


def render(run_directory: Path, *, formats: Sequence[str] = FORMATS, confidence: float = 0.95) -> list[Path]:
    """Write report.html, report.md and plots/*.png|svg into the run folder, each file at once or not at all.

    Returns the paths written, the pages first. Raises TareError for a bad format, confidence or run folder.
    """
    from harness.report.writing import write

    return write(run_directory, formats, confidence)


def summary(run_directory: Path, width: int = 100, *, confidence: float = 0.95) -> str:
    """The overhead table and what was skipped, failed or discarded, as text for a terminal `width` columns wide."""
    from harness.report.writing import overview

    return overview(run_directory, width, confidence)
