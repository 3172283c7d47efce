"""Samples opened in DuckDB: every row is checked, and the rows are summarised by block. All readers of samples use it.

A CSV is scanned twice: once for the texts that rows share, once for what differs from row to row.
"""

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import duckdb

from harness.durable import sync_directory
from harness.errors import ExitCode, TareError, bad_input
from harness.record import checks
from harness.record.checks import Unfit, quoted
from harness.record.csv_file import refuse_first_bad_line
from harness.record.row import COLUMNS, Row, checked, frame, printable

if TYPE_CHECKING:
    import pandas as pd

LARGEST_SCAN = 64 * 2**30
LARGEST_SEARCH = 2 * 2**30
"""Bytes of a CSV up to which a line is searched in Python where DuckDB cannot name it."""
MEMORY_MIB = 240
"""Memory limit of DuckDB, which keeps the process below 500 MB. The rest goes to a temporary folder."""
THREADS = 4


@dataclass(frozen=True, slots=True)
class Source:
    """Checked samples. Use it before its `with` ends.

    `connection` has the view `samples` (the CSV's columns, typed) and the tables `series` and `cells` of
    `harness.record.checks`. `key` is the expression that gives `series.k` of a row of `samples`.
    """

    name: str
    connection: duckdb.DuckDBPyConnection
    key: str

    @property
    def relation(self) -> duckdb.DuckDBPyRelation:
        """Every sample once, with the CSV's 35 columns: integers BIGINT, floats DOUBLE, `valid` BOOLEAN, else text."""
        return self.connection.table("samples")


@contextmanager
def open_source(path: Path, *, largest: int = LARGEST_SCAN) -> Iterator[Source]:
    """The samples of a `.csv` or a `.parquet`, every one checked; a sample that occurs twice counts once.

    Raises a bad-input error with line (or row), column and fix for what docs/csv.md does not allow, and for a file of
    more than `largest` bytes.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise bad_input(str(path), "is neither .csv nor .parquet", "name a file that tare exported")
    with ExitStack() as stack:
        handle = stack.enter_context(os.fdopen(_open(path, largest), "rb"))
        connection = stack.enter_context(_database().cursor())
        # By its descriptor: a pattern in its name is not expanded, and nobody can replace the file.
        file = f"/proc/self/fd/{handle.fileno()}"
        try:
            scan = checks.scan_csv if path.suffix == ".csv" else checks.scan_parquet
            key = scan(connection, file)
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
            raise  # An error of this module, not of the file.
        except duckdb.Error as error:
            problem = printable(str(error).replace(file, str(path)).partition("\n\n")[0], 300)
            raise _refused(path, handle, Unfit(problem)) from None
        except Unfit as error:
            raise _refused(path, handle, error) from None
        yield Source(str(path), connection, key)


def read_samples(path: Path) -> list[Row]:
    """The samples of a `.csv` or a `.parquet`, each once, in the file's order. Raises as `open_source` does."""
    with open_source(path) as source:
        found = source.connection.table("typed").fetchall()
    return [Row(**dict(zip(COLUMNS, values, strict=True))) for values in dict.fromkeys(found)]


@contextmanager
def from_frame(samples: "pd.DataFrame", name: str = "samples") -> Iterator[Source]:
    """Samples in memory whose rows are checked already. Exact duplicates count; an absent column is empty."""
    with _database().cursor() as connection:
        connection.register("frame", samples)
        connection.execute(f"CREATE TEMP VIEW samples AS SELECT {checks.cast(set(samples.columns))} FROM frame")
        yield Source(name, connection, checks.scan_frame(connection))


def write_parquet(samples: Iterable[Row] | Source, path: Path) -> int:
    """Write samples as Parquet (zstd) with the CSV's columns, whole or not at all; returns the number of samples.

    Rows are checked as `write_csv` does. Raises TareError that names row and column for what the CSV does not allow,
    and when the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        if isinstance(samples, Source):
            connection = samples.connection
        else:
            connection = stack.enter_context(_database().cursor())
            connection.register("frame", frame(checked(samples, path)))
            connection.execute(f"CREATE TEMP VIEW samples AS SELECT {checks.cast()} FROM frame")
        try:
            # Created here, so that DuckDB does not follow a link of this name.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            stack.callback(os.close, descriptor)
            copy = f"COPY samples TO {quoted(str(temporary))} (FORMAT parquet, COMPRESSION zstd)"
            (count,) = connection.execute(copy).fetchall()[0]
            os.fsync(descriptor)
            temporary.replace(path)
            sync_directory(path.absolute().parent)
        except (OSError, duckdb.Error) as error:
            hint = "free disk space, or name another folder"
            raise TareError(
                f"cannot write {path}", details=str(error), hint=hint, code=ExitCode.HOST_NOT_FIT
            ) from error
    return int(count)


def _refused(path: Path, handle: BinaryIO, found: Unfit) -> TareError:
    """The error for a file; for a CSV it is raised by the line's own check, which has the best message."""
    if path.suffix == ".csv":
        line = found.row + 1
        if found.row or os.fstat(handle.fileno()).st_size <= LARGEST_SEARCH:
            refuse_first_bad_line(path, handle, max(line, 2))
        place = f"line {line}"
    else:
        place = f"row {found.row}"
    where = ", ".join(filter(None, (str(path), place if found.row else "", found.column)))
    fix = f"correct it, or export the run again: tare export RUN --{path.suffix[1:]} FILE"
    return bad_input(where, str(found), fix)


def _open(path: Path, largest: int) -> int:
    """A descriptor of the regular file."""
    fix = "name a file that tare exported"
    try:
        # Non-blocking: opening a fifo must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise bad_input(str(path), error.strerror or "cannot be read", fix) from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= largest:
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise bad_input(str(path), f"has {status.st_size} bytes, more than {largest}", "split it by run")
    raise bad_input(str(path), "is not a regular file", fix)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """The database in memory of this process: a new one takes longer than most files. It loads no extension.

    A source has a cursor of it, and its tables are temporary, so that they end with the cursor.
    """
    spill = tempfile.mkdtemp(prefix="tare-scan-")
    atexit.register(shutil.rmtree, spill, ignore_errors=True)
    return duckdb.connect(
        config={
            "threads": min(THREADS, len(os.sched_getaffinity(0))),
            "temp_directory": spill,
            "memory_limit": f"{MEMORY_MIB}MiB",
            # Files are named by descriptor, and another file may have the same number later.
            "enable_external_file_cache": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
