"""The host lock: allows one measuring run at a time; the error of a second run names the holder."""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import ExitCode, TareError

NAME = "tare.lock"
SHARED = Path("/run/lock")
WATCHDOG = "watchdog"
"""The purpose of a watchdog that removes a killed run's leftovers: the only holder that `host_lock` waits for."""
WATCHDOG_SECONDS = 120.0
LOOK_SECONDS = 0.1
HELD = "another run of tare is active on this host"
"""The beginning of the error of a second run."""


@contextlib.contextmanager
def host_lock(run_dir: Path, purpose: str, run: str = "") -> Iterator[Path]:
    """Hold the host lock, a flock on `run_dir`/tare.lock; writes the holder into the file and yields its path.

    With `run_dir` = SHARED (/run/lock) all users of the host share the lock. The kernel releases a flock when its
    process ends, so a killed holder does not block others; the lock of a watchdog is waited for. Raises TareError with
    HOST_NOT_FIT if another run holds the lock, because concurrent runs would distort each other's figures.
    """
    path = run_dir / NAME
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        descriptor = _open(path)
    except OSError as error:
        hint = f"run as the owner of {path}, or remove the file if no run of tare is active"
        raise TareError(f"cannot open the host lock {path}", details=str(error), hint=hint) from error
    try:
        _take(path, descriptor)
        _write(descriptor, {"pid": os.getpid(), "purpose": purpose, "run": run, "command": _command(), "since": _now()})
        yield path
        # The file stays: if it were removed, a third run could lock a new file while a second waits for the old one.
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open without O_CREAT first: in a sticky directory Linux refuses O_CREAT on another user's existing file."""
    flags = os.O_RDWR | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_CREAT, 0o666)
    if path.parent == SHARED:
        os.fchmod(descriptor, 0o666)  # regardless of the umask, since all users of the host share the lock
    return descriptor


def _take(path: Path, descriptor: int) -> None:
    until = time.monotonic() + WATCHDOG_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            if holder.get("purpose") != WATCHDOG or time.monotonic() > until:
                raise _held(path, holder) from None
        time.sleep(LOOK_SECONDS)


def _write(descriptor: int, holder: dict[str, object]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(holder) + "\n").encode(), 0)


def _holder(descriptor: int) -> dict[str, str]:
    try:
        found = json.loads(os.pread(descriptor, 65536, 0))
        return {str(key): "".join(filter(str.isprintable, str(value)))[:300] for key, value in found.items()}
    except (ValueError, AttributeError):
        return {}


def _held(path: Path, holder: dict[str, str]) -> TareError:
    pid = holder.get("pid", "unknown")
    since = holder.get("since", "an unknown time")
    return TareError(
        f"{HELD}: pid {pid}, since {since}",
        details="\n".join(f"{key}: {holder[key]}" for key in ("purpose", "run", "command") if holder.get(key))
        + f"\nlock: {path}",
        hint=f"wait for it, or end it with `kill -INT {pid}`",
        code=ExitCode.HOST_NOT_FIT,
    )


def _command() -> str:
    return " ".join(sys.argv)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
