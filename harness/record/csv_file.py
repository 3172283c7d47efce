"""Writing samples as CSV, and the strict reader of CSVs that other tools, hosts and people have touched."""

import csv
import io
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from harness.durable import atomic_write
from harness.errors import TareError, bad_input
from harness.record.journal import Event
from harness.record.row import (
    COLUMNS,
    FLOATS,
    INTEGERS,
    SCHEMA,
    FieldError,
    Row,
    check,
    frame,
    number,
    parameters_text,
    printable,
    shown,
)

__all__ = ["COLUMNS", "FieldError", "Row", "frame", "parameters_text", "printable", "read_csv", "rows_of", "write_csv"]


LARGEST_FILE = 2 * 2**30
LONGEST_LINE = 64 * 1024
_NUMBERS = INTEGERS | FLOATS | {"valid"}
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\xef\xbb\xbf": "UTF-8 with a byte-order mark"}
_IDENTITY = ("run", "workload", "variant", "block", "attempt", "instance", "role", "metric", "phase", "iteration")
_MEANING = ("unit", "direction", "scale")


class _Reader(Protocol):
    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Write the rows as UTF-8 CSV with its header, whole or not at all; floats as `repr` has them.

    `reason` is made printable first. Raises TareError, naming row and column, for what the CSV does not allow, and
    when the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, row in enumerate(rows, 1):
        cells = {name: getattr(row, name) for name in COLUMNS} | {"reason": printable(row.reason)}
        try:
            check(Row(**cells))
        except FieldError as error:
            raise TareError(f"{path}: row {place}, {error.column}: {error.problem}", hint=error.fix) from None
        writer.writerow(map(_cell, cells.values()))
    atomic_write(path, text.getvalue().encode("utf-8"))


def read_csv(path: Path, *, largest: int = LARGEST_FILE) -> list[Row]:
    """The rows of a CSV, each field checked. A row that is there twice, alike in every field, counts once.

    Raises a bad-input error with file, line, column and fix for anything that `docs/csv.md` does not allow.
    """
    with _open(path, largest) as handle:
        reader = csv.reader(_lines(path, handle), strict=True)
        try:
            return _rows(path, reader)
        except csv.Error as error:
            # The module's own words: an unclosed quote, text after a quote, a bare carriage return.
            raise bad_input(
                f"{path}, line {reader.line_num}", str(error), "close the quote, or export it anew"
            ) from None


def rows_of(events: Iterable[Event], where: str = "journal.jsonl") -> list[Row]:
    """The rows of a journal's `sample` events. Raises a bad-input error that names event and field."""
    rows = []
    for event in events:
        if event.event == "sample":
            try:
                rows.append(Row.from_data(event.data))
            except FieldError as error:
                raise bad_input(f"{where}, line {event.seq}, {error.column}", error.problem, error.fix) from None
    return rows


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


def _open(path: Path, largest: int) -> BinaryIO:
    try:
        # Non-blocking: a fifo in place of the file must not hang the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise bad_input(str(path), error.strerror or "cannot be read", "name a CSV that tare exported") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        problem = bad_input(str(path), "is not a plain file", "name a CSV that tare exported")
    elif status.st_size > largest:
        problem = bad_input(str(path), f"has {status.st_size} bytes, more than {largest}", "split it by run")
    elif status.st_size == 0:
        problem = bad_input(f"{path}, line 1", "is empty: even the header is missing", "export it anew")
    else:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise problem


def _lines(path: Path, handle: BinaryIO) -> Iterator[str]:
    place = 0
    while line := handle.readline(LONGEST_LINE + 1):
        place += 1
        where = f"{path}, line {place}"
        if place == 1:
            for mark, name in _BOMS.items():
                if line.startswith(mark):
                    raise bad_input(where, f"the file is {name}", "save it as UTF-8 without a byte-order mark")
        if len(line) > LONGEST_LINE:
            raise bad_input(where, f"is longer than {LONGEST_LINE} bytes", "export it anew; a quote may be unclosed")
        if b"\0" in line:
            raise bad_input(where, "holds a NUL byte", "save it as UTF-8, or export it anew")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            problem = f"byte {error.start + 1} is not UTF-8"
            raise bad_input(where, problem, "save it as UTF-8, or export it anew") from None


def _rows(path: Path, reader: _Reader) -> list[Row]:
    header: list[str] = next(reader, [])
    first = True
    seen: dict[tuple[object, ...], Row] = {}
    meanings: dict[tuple[str, str], Row] = {}
    line = reader.line_num + 1
    for cells in reader:
        if first:
            _check_schema(path, header, cells)
            _check_header(path, header)
            first = False
        row = _row(path, line, cells)
        # The row of a failure says that no more came; it may stand beside what was measured before.
        same = seen.setdefault((row.value is None, *(getattr(row, name) for name in _IDENTITY)), row)
        if same != row:
            other = next(name for name in COLUMNS if getattr(same, name) != getattr(row, name))
            _refuse(path, line, other, "contradicts an earlier row of the same sample", "keep the row that is right")
        meant = meanings.setdefault((row.workload, row.metric), row)
        for name in _MEANING:
            if getattr(meant, name) != getattr(row, name):
                change = f"of {row.metric} changes from {getattr(meant, name)} to {getattr(row, name)}"
                _refuse(path, line, name, change, "give every row of a metric the same, or keep the runs apart")
        line = reader.line_num + 1
    if first:
        _check_header(path, header)
    return list(seen.values())


def _check_schema(path: Path, header: Sequence[str], cells: Sequence[str]) -> None:
    """A newer schema has other columns: say that it is newer, not that the columns are wrong."""
    text = cells[0] if header[:1] == ["schema"] and cells else ""
    if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > SCHEMA:
        problem = f"{text} is newer than {SCHEMA}, which this version reads"
        _refuse(path, 2, "schema", problem, "pip install --upgrade tare-bench")


def _check_header(path: Path, header: Sequence[str]) -> None:
    if tuple(header) == COLUMNS:
        return
    for name in header:
        if header.count(name) > 1:
            _refuse(path, 1, shown(name), "stands twice in the header", "keep one")
    if missing := [name for name in COLUMNS if name not in header]:
        _refuse(path, 1, missing[0], "is missing from the header", f"the columns are {', '.join(COLUMNS)}")
    if unknown := [name for name in header if name not in COLUMNS]:
        _refuse(path, 1, shown(unknown[0]), "is not a column", "take it out")
    _refuse(path, 1, "header", "has the columns in another order", f"the order is {', '.join(COLUMNS)}")


def _row(path: Path, line: int, cells: Sequence[str]) -> Row:
    if len(cells) != len(COLUMNS):
        problem = f"has {len(cells)} fields, the header {len(COLUMNS)}"
        raise bad_input(f"{path}, line {line}", problem, "complete the row, or quote a field that holds a comma")
    try:
        named = zip(COLUMNS, cells, strict=True)
        values = {name: number(name, text) if name in _NUMBERS else text for name, text in named}
        row = Row(**values)  # type: ignore[arg-type]
        check(row)
    except FieldError as error:
        _refuse(path, line, error.column, error.problem, error.fix)
    return row


def _refuse(path: Path, line: int, column: str, problem: str, fix: str) -> NoReturn:
    raise bad_input(f"{path}, line {line}, {column}", problem, fix)
