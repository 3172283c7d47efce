"""The base class of chapters."""

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.report.stored_run import Stored
from harness.report.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture of a chapter: `topic` names it in the file's name, `alt` describes it in words."""

    topic: str
    alt: str
    figure: Figure


class Chapter:
    """A resource's part of a report. A chapter without pictures, tables and notes is not shown."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """Its pictures, drawn under harness.report.style."""
        yield from ()

    def tables(self, stored: Stored) -> Iterator[Table]:
        """Its tables; empty ones are not shown."""
        yield from ()

    def notes(self, stored: Stored) -> Iterator[str]:
        """Sentences below them."""
        yield from ()
