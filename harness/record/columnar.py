"""Samples of any number, opened for DuckDB: every row is checked as the CSV's reader does, and summed up by block.

A CSV is read twice: once for what its texts say, once for its figures. What DuckDB cannot vouch for goes to
`harness.record.csv_file.read_csv`, which has the last word and the error messages.
"""

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from harness.errors import ExitCode, TareError, bad_input
from harness.record import row as rules
from harness.record.csv_file import LARGEST_FILE, read_csv
from harness.record.row import FieldError, Row
from harness.record.vetting import Unfit, cast, quoted, scan_csv, scan_parquet, take

if TYPE_CHECKING:
    import pandas as pd

SMALL_FILE = 8 * 2**20
"""Bytes up to which a CSV goes through the reader in Python, which is quicker than it takes to notice."""
LARGEST_SCAN = 64 * 2**30
MEMORY_MIB = 240
"""What DuckDB may hold, so that the process stays below 500 MB; what is more goes to a temporary folder."""
THREADS = 4


@dataclass(frozen=True, slots=True)
class Source:
    """Checked samples. `connection` has the view `samples` (the CSV's columns, typed), and `series` and `cells`.

    Use it before its `with` ends; `harness.analysis.blocks` has the statements.
    """

    name: str
    connection: duckdb.DuckDBPyConnection

    @property
    def relation(self) -> duckdb.DuckDBPyRelation:
        """Every sample once, with the CSV's 35 columns: integers BIGINT, floats DOUBLE, `valid` BOOLEAN, else text."""
        return self.connection.table("samples")


@contextmanager
def open_source(path: Path, *, small: int = SMALL_FILE, largest: int = LARGEST_SCAN) -> Iterator[Source]:
    """The samples of a `.csv` or a `.parquet`, every one checked; a sample that is there twice counts once.

    A CSV of up to `small` bytes is read into memory. Raises a bad-input error for all that docs/csv.md does not
    allow: of a CSV up to 2 GiB with line, column and fix, otherwise with what was found first.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise bad_input(str(path), "is neither .csv nor .parquet", "name a file that tare exported")
    with ExitStack() as stack:
        descriptor, size = _open(path, largest)
        stack.callback(os.close, descriptor)
        if path.suffix == ".parquet" or size > small:
            connection = stack.enter_context(_connect())
            # By its descriptor: no pattern in its name is expanded, and nobody can put another file in its place.
            file = f"/proc/self/fd/{descriptor}"
            try:
                (scan_csv if path.suffix == ".csv" else scan_parquet)(connection, file)
                source = Source(str(path), connection)
            except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
                raise  # Our own fault, not the file's.
            except (Unfit, FieldError, duckdb.Error) as error:
                if path.suffix == ".parquet" or size > LARGEST_FILE:
                    raise _refused(path, file, error) from None
                source = None
        else:
            source = None
        yield source or stack.enter_context(from_frame(rules.frame(read_csv(path)), str(path)))


@contextmanager
def from_frame(samples: "pd.DataFrame", name: str = "samples") -> Iterator[Source]:
    """Samples in memory, as `harness.record.row.frame` makes them of rows that were checked. Exact duplicates stay."""
    with _connect() as connection:
        connection.register("frame", samples)
        connection.execute(f"CREATE TEMP VIEW samples AS SELECT {cast()} FROM frame")
        take(connection)
        yield Source(name, connection)


def write_parquet(samples: Iterable[Row] | Source, path: Path) -> int:
    """Write samples as Parquet (zstd) with the CSV's columns, whole or not at all; returns how many.

    Rows are checked as `write_csv` does. Raises TareError for what the CSV does not allow, naming row and column, and
    when the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        if isinstance(samples, Source):
            connection = samples.connection
        else:
            connection = stack.enter_context(_connect())
            connection.register("frame", rules.frame(_checked(samples, path)))
            connection.execute(f"CREATE TEMP VIEW samples AS SELECT {cast()} FROM frame")
        try:
            # Made here, so that DuckDB follows no link that somebody has laid in its way.
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
            copy = f"COPY samples TO {quoted(str(temporary))} (FORMAT parquet, COMPRESSION zstd)"
            (count,) = connection.execute(copy).fetchall()[0]
            for synced, after in ((temporary, temporary.replace), (path.absolute().parent, None)):
                descriptor = os.open(synced, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
                if after:
                    after(path)
        except (OSError, duckdb.Error) as error:
            hint = "free disk space, or name another folder"
            raise TareError(
                f"cannot write {path}", details=str(error), hint=hint, code=ExitCode.HOST_NOT_FIT
            ) from error
    return int(count)


def _checked(samples: Iterable[Row], path: Path) -> Iterator[Row]:
    for place, sample in enumerate(samples, 1):
        row = replace(sample, reason=rules.printable(sample.reason))
        try:
            rules.check(row)
        except FieldError as error:
            raise TareError(f"{path}: row {place}, {error.column}: {error.problem}", hint=error.fix) from None
        yield row


def _refused(path: Path, file: str, error: Exception) -> TareError:
    if isinstance(error, FieldError):
        return bad_input(f"{path}, {error.column}", error.problem, error.fix)
    problem = rules.printable(str(error).replace(file, str(path)).partition("\n\n")[0], 300)
    return bad_input(str(path), problem, "export it anew, or split it by run to learn the line")


def _open(path: Path, largest: int) -> tuple[int, int]:
    """A descriptor of the plain file and its size in bytes."""
    try:
        # Non-blocking: a fifo in place of the file must not hang the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise bad_input(str(path), error.strerror or "cannot be read", "name a file that tare exported") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        problem = bad_input(str(path), "is not a plain file", "name a file that tare exported")
    elif status.st_size > largest:
        problem = bad_input(str(path), f"has {status.st_size} bytes, more than {largest}", "split it by run")
    else:
        return descriptor, status.st_size
    os.close(descriptor)
    raise problem


@contextmanager
def _connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that spills into a folder of its own, and loads nothing from elsewhere."""
    with tempfile.TemporaryDirectory(prefix="tare-scan-") as spill, duckdb.connect() as connection:
        for name, value in (
            ("temp_directory", spill),
            ("memory_limit", f"{MEMORY_MIB}MiB"),
            ("threads", min(THREADS, len(os.sched_getaffinity(0)))),
            ("preserve_insertion_order", False),
            ("autoinstall_known_extensions", False),
            ("autoload_known_extensions", False),
            ("enable_progress_bar", False),
        ):
            connection.execute(f"SET {name} = {quoted(str(value))}")
        yield connection
