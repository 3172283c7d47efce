"""The append-only record of a run, from which the CSV and the state for `--resume` are derived.

One event per line, `{"seq":…,"time":…,"event":…,"data":{…},"crc":"…"}`. docs/journal.md has the format.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

from harness.durable import atomic_write, cannot_write, sync_directory, write_all
from harness.errors import ExitCode, TareError, bad_input
from harness.model import is_name

log = logging.getLogger(__name__)
NAME = "journal.jsonl"
LONGEST_LINE = 32 * 2**20
_CRC = re.compile(rb',"crc":"([0-9a-f]{8})"}\n\Z')
_TWO = re.compile(rb'"crc":"[0-9a-f]{8}"\}.\{"seq":', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a run; `time` is RFC 3339 UTC, `seq` counts from 1 without gaps."""

    seq: int
    time: str
    event: str
    data: dict[str, Any] = field(default_factory=dict)


class Journal:
    """The one writer of a run's journal; a context manager. Use `create` or `reopen`."""

    def __init__(self, path: Path, descriptor: int, seq: int, length: int) -> None:
        self.path = path
        self._descriptor = descriptor
        # One tuple, so that an interrupt cannot separate two assignments.
        self._end = (seq, length)
        self._tried = self._end
        self._broken: TareError | None = None
        self._writing = threading.Lock()

    @classmethod
    def create(cls, directory: Path) -> Self:
        """Create a journal in `directory`, and the directory where it is missing.

        Raises TareError when the directory has a journal already or cannot be written.
        """
        path = directory / NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            _lock(path, descriptor)
            sync_directory(directory)
        except FileExistsError:
            hint = f"tare run --resume {directory}, or choose another --out"
            raise TareError(f"{path} exists already", hint=hint, code=ExitCode.BAD_INPUT) from None
        except OSError as error:
            raise cannot_write(path, error) from error
        return cls(path, descriptor, 0, 0)

    @classmethod
    def reopen(cls, directory: Path) -> Self:
        """Continue the journal of `directory`; a torn last line is moved to journal.torn-N first.

        Raises TareError when another process writes it, and a bad-input error when a line before its last is damaged.
        """
        path = directory / NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise _absent(path) from None
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            _lock(path, descriptor)
            seq = length = 0
            for event, end in _scan(path):
                seq, length = event.seq, end
            _quarantine(path, descriptor, length)
        except OSError as error:
            os.close(descriptor)
            raise cannot_write(path, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, seq, length)

    def append(self, event: str, /, **data: Any) -> Event:
        """Write one event and return it once it is on stable storage (fdatasync). Threads take turns.

        Raises TareError when the file cannot be written (full, or an I/O error); earlier events then stay readable, and
        this journal accepts no more. Raises ValueError for NaN or infinity, TypeError for data that is not JSON.
        """
        if not is_name(event):
            raise ValueError(f"{event!r} cannot name an event")
        with self._writing:
            return self._append(event, data)

    def _append(self, event: str, data: dict[str, Any]) -> Event:
        if self._broken:
            raise self._broken
        try:
            seq, length = self._settle()
            made = Event(seq=seq + 1, time=now(), event=event, data=data)
            line = _line(made)
            os.lseek(self._descriptor, length, os.SEEK_SET)
            self._tried = (made.seq, length + len(line))
            write_all(self._descriptor, line)
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._broken = cannot_write(self.path, error)
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end[1])
            raise self._broken from error
        self._end = self._tried
        return made

    def close(self) -> None:
        """Close the file and release its lock; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _settle(self) -> tuple[int, int]:
        """The number and the end of the last event that counts.

        The event of an interrupted append counts when its line is whole; otherwise it is removed. Raises OSError for a
        file that another process shortened.
        """
        size = os.fstat(self._descriptor).st_size
        if size == self._tried[1]:
            self._end = self._tried
        if size < self._end[1]:
            raise OSError(errno.EIO, "another process shortened the file")
        if size > self._end[1]:
            os.ftruncate(self._descriptor, self._end[1])
        return self._end


def read(directory: Path) -> list[Event]:
    """All events of the journal in `directory`; a torn last line is left out with a warning. The file is not changed.

    Raises a bad-input error that names file and line when the journal is absent or a line before its last is damaged.
    """
    path = directory / NAME
    events, length = [], 0
    for event, end in _scan(path):
        events.append(event)
        length = end
    if torn := path.stat().st_size - length:
        log.warning("%s: the last %d bytes are torn and left out; `tare run --resume` moves them to a file", path, torn)
    return events


def now() -> str:
    """The current time, RFC 3339 UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _line(event: Event) -> bytes:
    body = json.dumps(
        {"seq": event.seq, "time": event.time, "event": event.event, "data": event.data},
        allow_nan=False,
        separators=(",", ":"),
    ).encode("ascii")
    line = b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))
    if len(line) > LONGEST_LINE:
        raise ValueError(f"an event of {len(line)} bytes is too long for the journal: write it to a separate file")
    return line


def _scan(path: Path) -> Iterator[tuple[Event, int]]:
    """Each good event with the offset at which it ends; stops before a bad last line."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        raise _absent(path) from None
    with handle:
        end = number = 0
        while line := handle.readline(LONGEST_LINE + 1):
            number += 1
            try:
                event = _event(line)
            except (ValueError, RecursionError) as error:
                # Only one event is written at a time, so a torn write is one line with nothing after it. Two events in
                # a line are damage at the end of the first, not a torn write.
                if handle.read(1) or _TWO.search(line):
                    _damaged(path, number, str(error))
                return
            if event.seq != number:
                _damaged(path, number, f"event {event.seq} is in the place of {number}: lines are missing or moved")
            end += len(line)
            yield event, end


def _event(line: bytes) -> Event:
    found = _CRC.search(line)
    if found is None:
        raise ValueError("the line has no checksum at its end")
    body = line[: found.start()] + b"}"
    if zlib.crc32(body) != int(found[1], 16):
        raise ValueError("the checksum does not match the line")
    values = json.loads(body.decode("ascii"), parse_constant=_no_constant)
    match values:
        case {"seq": int(seq), "time": str(time), "event": str(event), "data": dict(data)} if len(values) == 4:
            return Event(seq=seq, time=time, event=event, data=data)
    raise ValueError("the line is not an event (seq, time, event, data, crc)")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed in a journal")


def _damaged(path: Path, number: int, problem: str) -> NoReturn:
    raise bad_input(
        f"{path}, line {number}", problem, "restore the file from a copy, or start a new run with another --out"
    )


def _quarantine(path: Path, descriptor: int, length: int) -> None:
    """Move the bytes after `length` to journal.torn-N: saved first, cut off then, so that a kill loses none."""
    size = os.fstat(descriptor).st_size
    if size == length:
        return
    number = 1
    while (aside := path.with_name(f"journal.torn-{number}")).exists():
        number += 1
    atomic_write(aside, os.pread(descriptor, size - length, length))
    os.ftruncate(descriptor, length)
    os.fsync(descriptor)
    log.warning("%s: the last line was torn; its %d bytes were moved to %s", path, size - length, aside)


def _lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        hint = "wait for that run to end"
        raise TareError(f"{path} is being written by another process", hint=hint, code=ExitCode.HOST_NOT_FIT) from None


def _absent(path: Path) -> TareError:
    return bad_input(str(path), "there is no journal", "name the folder of a run, such as results/<run>")
