"""Durable writes: after a crash a file has either its old or its new content."""

import errno
import os
from pathlib import Path

from harness.errors import ExitCode, TareError


def atomic_write(path: Path, data: bytes) -> None:
    """Replace a file atomically: write a temporary file, fsync it, rename it, fsync the directory.

    Raises TareError if that fails; the old file is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, with as many calls of write(2) as necessary. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """fsync a directory, so that created and renamed entries survive a crash. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> TareError:
    """The error for a file of a run that cannot be written, with a fix."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    first = "free disk space" if full else "check the disk (dmesg)"
    hint = f"{first}, then: tare run --resume latest"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        hint = "choose a writable folder with --out"
    details = f"{error.strerror}; earlier files of the run stay readable"
    return TareError(f"cannot write {path}", details=details, hint=hint, code=ExitCode.HOST_NOT_FIT)
