"""Writing so that a crash leaves what was there or what was written, and nothing in between."""

import errno
import os
from pathlib import Path

from harness.errors import ExitCode, TareError


def atomic_write(path: Path, data: bytes) -> None:
    """Write a derived file so that readers see the old one or the whole new one: temp, fsync, rename, directory fsync.

    Raises TareError when it cannot; the old file is then still there.
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
    """Write all of it, however much of it one call takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Have what was made or renamed in a folder outlive a crash. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> TareError:
    """The error for a file of a run that cannot be written, with what may help."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free disk space, then `tare run --resume`" if full else "look at the disk (dmesg), then `tare run --resume`"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        hint = "choose a folder of your own with --out"
    details = f"{error.strerror}; what was written before stays readable"
    return TareError(f"cannot write {path}", details=details, hint=hint, code=ExitCode.HOST_NOT_FIT)
