"""Tables: rows of text under headings, the same for terminal, Markdown and HTML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


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

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """All rows, without their headings."""
        return [row for group in self.groups for section in group.sections for row in section.rows]

    def only(self, title: str) -> "Table":
        """The same table with the groups whose title begins with `title`."""
        groups = tuple(group for group in self.groups if group.title.split(" · ")[0] == title)
        return Table(title=self.title, columns=self.columns, numeric=self.numeric, groups=groups)


class Line(NamedTuple):
    """A row and where it stands: in which group (a resource), in which section (a metric); and whether the guest of it
    was emulated."""

    cells: tuple[str, ...]
    emulated: bool = False
    group: str = ""
    section: str = ""


def grouped(
    title: str,
    columns: Sequence[str],
    lines: Iterable[Line],
    *,
    numeric: Iterable[str] = (),
    once: bool = False,
    apart: str = "emulated (tcg)",
) -> Table:
    """A table of lines: groups and sections in the order in which they first come, emulated guests in groups of their
    own. With `once`, a first cell that repeats the one above it is left empty."""
    groups: dict[tuple[str, bool], dict[str, list[tuple[str, ...]]]] = {}
    last: dict[tuple[str, bool, str], str] = {}
    for line in lines:
        sections = groups.setdefault((line.group, line.emulated), {})
        key, head = (line.group, line.emulated, line.section), line.cells[0]
        repeated = once and last.get(key) == head
        sections.setdefault(line.section, []).append(("", *line.cells[1:]) if repeated else line.cells)
        last[key] = head
    names = list(dict.fromkeys(name for name, _ in groups))
    return Table(
        title=title,
        columns=tuple(columns),
        numeric=frozenset(numeric),
        groups=tuple(
            Group(
                title=" · ".join(filter(None, (name, apart if emulated else ""))),
                sections=tuple(Section(title=head, rows=tuple(rows)) for head, rows in groups[name, emulated].items()),
                emulated=emulated,
            )
            for name, emulated in sorted(groups, key=lambda key: (names.index(key[0]), key[1]))
        ),
    )


def plain(title: str, columns: Sequence[str], rows: Iterable[tuple[str, ...]], *, once: bool = False) -> Table:
    """A table of words without headings."""
    return grouped(title, columns, map(Line, rows), once=once)
