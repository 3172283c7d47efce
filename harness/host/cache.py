"""The host's page cache: count the cached bytes of given files, and drop these files from it.

Only the given files are dropped; /proc/sys/vm/drop_caches would drop the files of every process on the host.
Only file contents are dropped: dentries, inodes and pages that a running process has mapped stay in memory.
"""

import ctypes
import mmap
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_FAILED = ctypes.c_void_p(-1).value


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The result of dropping files: their `size` on disk and their cached bytes `before` and `after`, all in bytes."""

    size: int
    before: int
    after: int

    @property
    def stayed(self) -> float:
        """The share (0 to 1) of the cached bytes that could not be dropped."""
        return self.after / self.before if self.before else 0.0


def drop(paths: Iterable[Path], deadline: Deadline) -> Dropped:
    """Drop files, and all files below folders, from the page cache; symbolic links are not followed.

    Dirty pages cannot be dropped: a file that still has cached pages is synced and dropped a second time.
    Raises TareError when a path cannot be read, and DeadlineExceeded.
    """
    size = before = after = 0
    try:
        for path in files_below(paths):
            deadline.check("dropping files from the page cache")
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                size += os.fstat(descriptor).st_blocks * 512
                held, stayed = _drop(descriptor)
            finally:
                os.close(descriptor)
            before, after = before + held, after + stayed
    except OSError as error:
        raise TareError("a file cannot be dropped from the page cache", details=str(error)) from error
    return Dropped(size=size, before=before, after=after)


def _drop(descriptor: int) -> tuple[int, int]:
    """Drop an open file; return its cached bytes before and after."""
    before = after = resident(descriptor)
    for unwritten in (False, True):
        if after:
            if unwritten:
                os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            after = resident(descriptor)
    return before, after


def resident(descriptor: int) -> int:
    """The bytes of an open file that are in the page cache, in whole pages (mincore(2)). Raises OSError."""
    length = os.fstat(descriptor).st_size
    if length == 0:
        return 0
    address = _LIBC.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    try:
        pages = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
        if _LIBC.mincore(address, length, pages) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
        return pages.raw.count(1) * mmap.PAGESIZE
    finally:
        _LIBC.munmap(address, length)


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """The regular files in `paths` and below its folders, one per inode. Raises OSError."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        walk = os.walk(path, onerror=_refuse)
        found = (Path(folder, name) for folder, _, names in walk for name in names) if path.is_dir() else [path]
        for one in found:
            status = one.lstat()
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield one


def _refuse(error: OSError) -> None:
    raise error
