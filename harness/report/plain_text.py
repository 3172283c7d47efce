"""Tables as plain text for a terminal of a given width."""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from harness.report.table import Table

GAP = "  "
LONGEST = 240
"""Characters of one cell that are shown; the pages and the CSV have all."""


def text(table: Table, width: int) -> str:
    """The table with a header line, aligned; its last column is wrapped at `width` (at least 60)."""
    if table.empty:
        return ""
    rows = [row for group in table.groups for section in group.sections for row in section.rows]
    columns = [(name, *(row[at] for row in rows)) for at, name in enumerate(table.columns)]
    sizes = [max(_columns(cell) for cell in column) for column in columns]
    sizes[-1] = max(min(sizes[-1], max(width, 60) - sum(sizes[:-1]) - len(GAP) * len(sizes) - 4), 16)
    lines = list(_row(table, table.columns, sizes, "    "))
    lines.append("─" * min(max(width, 60), 4 + sum(sizes) + len(GAP) * (len(sizes) - 1)))
    for group in table.groups:
        if group.title:
            lines.append(f"{group.title}")
        for section in group.sections:
            if section.title:
                lines.append(f"  {section.title}")
            for row in section.rows:
                lines.extend(_row(table, row, sizes, "    "))
    return "\n".join(lines)


def _row(table: Table, cells: tuple[str, ...], sizes: list[int], indent: str) -> Iterator[str]:
    head = [
        _fill(cell, size, name in table.numeric)
        for cell, size, name in zip(cells[:-1], sizes[:-1], table.columns[:-1], strict=True)
    ]
    first, *rest = textwrap.wrap(_cut(cells[-1]), sizes[-1]) or [""]
    last = _fill(first, sizes[-1], table.columns[-1] in table.numeric)
    yield (indent + GAP.join([*head, last])).rstrip()
    margin = indent + " " * (sum(sizes[:-1]) + len(GAP) * (len(sizes) - 1))
    yield from (margin + line for line in rest)


def _cut(cell: str) -> str:
    return cell if len(cell) <= LONGEST else f"{cell[: LONGEST - 1]}…"


def _fill(cell: str, size: int, right: bool) -> str:
    space = " " * (size - _columns(cell))
    return space + cell if right else cell + space


def _columns(cell: str) -> int:
    """Terminal columns, counting wide characters twice and combining ones not at all."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in cell)


def wrapped(sentences: Sequence[str], width: int) -> str:
    """Sentences as a list, wrapped at `width` (at least 60)."""
    lines = (
        textwrap.wrap(sentence, max(width, 60), initial_indent="- ", subsequent_indent="  ") for sentence in sentences
    )
    return "\n".join(line for one in lines for line in one)
