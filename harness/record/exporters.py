"""Exporters: the samples of a stored run → a file in another format.

Each is an entry point of the group `tare.exporters`, which names a class derived from Exporter.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from harness.plugins import Plugins, derived_from, load
from harness.record.row import Row

GROUP = "tare.exporters"


class Exporter(ABC):
    """A file format; a new one gives `write`."""

    @abstractmethod
    def write(self, rows: Sequence[Row], path: Path) -> None:
        """Write the samples to a file, whole or not at all. Raises TareError when that fails."""


class Csv(Exporter):
    """The CSV of docs/csv.md."""

    def write(self, rows: Sequence[Row], path: Path) -> None:
        from harness.record.csv_file import write_csv

        write_csv(rows, path)


class Parquet(Exporter):
    """The CSV's columns as Parquet."""

    def write(self, rows: Sequence[Row], path: Path) -> None:
        from harness.record.columnar import write_parquet

        write_parquet(rows, path)


def exporters() -> Plugins[Exporter]:
    """The exporters by name, and those that cannot be used, each with the reason."""
    return load(GROUP, derived_from(Exporter))  # type: ignore[type-abstract]


def exporter(name: str) -> Exporter:
    """The exporter of that name. Raises TareError for one that cannot be used, and (bad input) for an unknown one."""
    return exporters().pick(name, "exporter")
