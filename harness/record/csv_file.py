"""Writing samples as CSV, and naming the first line of a CSV that is not as docs/csv.md requires.

`harness.record.columnar` reads CSVs. This module does not import DuckDB: a run writes CSVs, but reads none.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from harness.durable import atomic_write
from harness.errors import bad_input
from harness.record.journal import Event
from harness.record.row import COLUMNS, RULES, SCHEMA, FieldError, Row, check, checked, parse, shown

LONGEST_LINE = 64 * 1024
AGAIN = "export the run again: tare export RUN --csv FILE (docs/csv.md lists the columns)"
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\xef\xbb\xbf": "UTF-8 with a byte-order mark"}


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Write the rows as UTF-8 CSV with a header, whole or not at all; floats are written by `repr`.

    `reason` is made printable first. Raises TareError that names row and column for what the CSV does not allow, and
    when the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in checked(rows, path):
        writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
    atomic_write(path, text.getvalue().encode("utf-8"))


def rows_of(events: Iterable[Event], where: str = "journal.jsonl") -> list[Row]:
    """The rows of a journal's `sample` events. Raises a bad-input error that names line and field."""
    rows = []
    for event in events:
        if event.event == "sample":
            try:
                rows.append(Row.from_data(event.data))
            except FieldError as error:
                raise bad_input(f"{where}, line {event.seq}, {error.column}", error.problem, error.fix) from None
    return rows


def refuse_first_bad_line(path: Path, handle: BinaryIO, start: int = 2) -> None:
    """Raise a bad-input error with line, column and fix for the first bad line; do nothing where all are good.

    Checks the header, then every row from line `start` on: encoding, quotes, number of fields, and each field.
    """
    handle.seek(0)
    _check_header(path, csv.reader(_lines(path, handle), strict=True))
    handle.seek(0)
    for _ in range(start - 1):
        handle.readline(LONGEST_LINE + 1)
    reader = csv.reader(_lines(path, handle, start), strict=True)
    before = start
    try:
        for cells in reader:
            _check_cells(f"{path}, line {before}", cells)
            before = start + reader.line_num
    except csv.Error as error:
        # The csv module's own messages: an unclosed quote, text after a quote, a bare carriage return.
        _refuse(f"{path}, line {start - 1 + reader.line_num}", str(error), "close the quote, or export the CSV again")


def row_of(cells: Sequence[str]) -> Row:
    """The row of a line's cells. Raises FieldError for the first cell that is not allowed."""
    row = Row(**{name: parse(name, text) for name, text in zip(COLUMNS, cells, strict=True)})
    check(row)
    return row


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case _:
            return str(value)


def _lines(path: Path, handle: BinaryIO, start: int = 1) -> Iterator[str]:
    place = start
    while line := handle.readline(LONGEST_LINE + 1):
        where = f"{path}, line {place}"
        for mark, name in _BOMS.items():
            if place == 1 and line.startswith(mark):
                _refuse(where, f"the file is {name}", "save it as UTF-8 without a byte-order mark")
        if len(line) > LONGEST_LINE:
            _refuse(where, f"is longer than {LONGEST_LINE} bytes", "export the CSV again, or close the quote")
        if b"\0" in line:
            _refuse(where, "holds a NUL byte", "save it as UTF-8, or export it again")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            _refuse(where, f"byte {error.start + 1} is not UTF-8", "save it as UTF-8, or export it again")
        place += 1


def _check_header(path: Path, reader: Iterator[list[str]]) -> None:
    where = f"{path}, line 1"
    try:
        header = next(reader, [])
        if tuple(header) == COLUMNS:
            return
        first = next(reader, [])
    except csv.Error as error:
        _refuse(where, str(error), AGAIN)
    if not header:
        _refuse(where, "is empty: the header is missing", AGAIN)
    # A newer schema has other columns, so its number comes first.
    text = first[0] if header[0] == "schema" and first else ""
    if RULES["schema"].allows(text) and int(text) > SCHEMA:
        problem = f"{text} is newer than {SCHEMA}, the schema that this version reads"
        _refuse(f"{path}, line 2, schema", problem, RULES["schema"].fix)
    for name in header:
        if header.count(name) > 1:
            _refuse(f"{where}, {shown(name)}", "occurs twice in the header", "keep one")
    if missing := [name for name in COLUMNS if name not in header]:
        _refuse(where, f"the column {missing[0]} is missing", AGAIN)
    if unknown := [name for name in header if name not in COLUMNS]:
        _refuse(f"{where}, {shown(unknown[0])}", "is not a column", "remove it")
    _refuse(f"{where}, header", "has the columns in another order", AGAIN)


def _check_cells(where: str, cells: Sequence[str]) -> None:
    if tuple(cells) == COLUMNS:
        fix = "export each run to a file of its own, and compare them as one side: tare compare a.csv,b.csv c.csv"
        _refuse(where, "the header is repeated", fix)
    if len(cells) != len(COLUMNS):
        problem = f"has {len(cells)} fields, the header {len(COLUMNS)}"
        _refuse(where, problem, "complete the row, or quote a field that holds a comma")
    try:
        row_of(cells)
    except FieldError as error:
        _refuse(f"{where}, {error.column}", error.problem, error.fix)


def _refuse(where: str, problem: str, fix: str) -> NoReturn:
    raise bad_input(where, problem, fix)
