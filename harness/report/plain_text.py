"""Tables as text by rich: cells aligned by terminal columns, styles on a terminal alone."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TextIO

from harness.report.table import Table

GAP, INDENT = 2, 4
LONGEST = 240
"""Characters of one cell that are shown; the pages and the CSV have all."""
NARROWEST, NARROWEST_CELL = 60, 16
Row = Sequence[str]


def on_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that understands escape sequences, and not a log of CI."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM", "dumb") != "dumb"


def text(table: Table, width: int) -> str:
    """The table with a header line, aligned; its last column is wrapped at `width` (at least 60)."""
    if table.empty:
        return ""
    width = max(width, NARROWEST)
    rows = [row for group in table.groups for section in group.sections for row in section.rows]
    sizes = _sizes([table.columns, *rows], width - INDENT - GAP)
    right = [name in table.numeric for name in table.columns]
    styled = on_terminal(sys.stdout)
    lines = [*_aligned([table.columns], sizes, right, INDENT, styled, "bold")]
    lines.append("─" * min(width, INDENT + _total(sizes)))
    for group in table.groups:
        if group.title:
            lines.append(group.title)
        for section in group.sections:
            if section.title:
                lines.append(f"  {section.title}")
            lines += _aligned(section.rows, sizes, right, INDENT, styled)
    return "\n".join(lines)


def columns(header: Row, rows: Sequence[Row], stream: TextIO) -> list[str]:
    """A table without indentation, for `stream`: wrapped at the width of a terminal, whole elsewhere."""
    styled = on_terminal(stream)
    sizes = _sizes([header, *rows], shutil.get_terminal_size().columns if styled else sys.maxsize)
    left = [False] * len(header)
    return [*_aligned([header], sizes, left, 0, styled, "bold"), *_aligned(rows, sizes, left, 0, styled)]


def _sizes(rows: Sequence[Row], width: int) -> list[int]:
    """The columns' widths, in terminal columns; the last one gets what is left of `width`."""
    from rich.cells import cell_len

    sizes = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    sizes[-1] = max(min(sizes[-1], width - _total([*sizes[:-1], 0])), NARROWEST_CELL)
    return sizes


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + GAP * (len(sizes) - 1)


def _aligned(
    rows: Sequence[Row], sizes: list[int], right: list[bool], indent: int, styled: bool, style: str = ""
) -> Iterator[str]:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, GAP, 0, 0))
    for at, (size, numeric) in enumerate(zip(sizes, right, strict=True), 1):
        grid.add_column(width=size, justify="right" if numeric else "left", overflow="fold", no_wrap=at < len(sizes))
    for row in rows:
        cells = [Text(cell, style) for cell in row]
        cells[-1].truncate(LONGEST, overflow="ellipsis")
        grid.add_row(*cells)
    console = Console(width=indent + _total(sizes), force_terminal=styled, legacy_windows=False)
    with console.capture() as printed:
        console.print(Padding(grid, (0, 0, 0, indent)))
    return (line.rstrip() for line in printed.get().removesuffix("\n").split("\n"))


def wrapped(sentences: Sequence[str], width: int) -> str:
    """Sentences as a list, wrapped at `width` (at least 60)."""
    lines = (
        textwrap.wrap(sentence, max(width, NARROWEST), initial_indent="- ", subsequent_indent="  ")
        for sentence in sentences
    )
    return "\n".join(line for one in lines for line in one)
