"""What a table is: rows of text under headings, the same for terminal, Markdown and HTML."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows under one heading within a group (a metric, say); an empty title means no heading."""

    title: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Sections that belong together (a resource, or its emulated guests)."""

    title: str
    sections: tuple[Section, ...]
    emulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: `numeric` names the columns that are aligned to the right."""

    title: str
    columns: tuple[str, ...]
    numeric: frozenset[str]
    groups: tuple[Group, ...]

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return not any(section.rows for group in self.groups for section in group.sections)

    def only(self, title: str) -> "Table":
        """The same table with the groups whose title begins with `title`."""
        groups = tuple(group for group in self.groups if group.title.split(" · ")[0] == title)
        return Table(title=self.title, columns=self.columns, numeric=self.numeric, groups=groups)


def plain(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    """A table of words without headings."""
    section = Section(title="", rows=tuple(rows))
    return Table(title=title, columns=columns, numeric=frozenset(), groups=(Group(title="", sections=(section,)),))
