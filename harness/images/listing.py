"""List the content of a directory tree, and compare a tree with its listing to detect changes."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def write_listing(root: Path, target: Path) -> None:
    """Write the listing of the tree `root`: one line per entry with path, metadata and digest, separated by tabs."""
    with target.open("w", encoding="utf-8", errors="surrogateescape") as stream:
        for path, status in _walk(str(root)):
            stream.write(f"{_name(root, path)}\t{_metadata(status)}\t{_content(path, status)}\n")


def difference(root: Path, listing: Path, *, full: bool) -> str:
    """The first difference between a tree and its listing; "" if there is none.

    Compares type, mode, owner, size and time; with `full` also link targets and file contents.
    """
    try:
        lines = listing.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        return str(error)
    expected = iter(lines)
    for path, status in _walk(str(root)):
        name = _name(root, path)
        line = next(expected, "")
        listed, metadata, content = [*line.split("\t"), "", "", ""][:3]
        if listed != name:
            return f"{listed} is missing" if listed and not (root / listed).exists() else f"{name} was added"
        if metadata != _metadata(status):
            return f"{name} has {_metadata(status)} instead of {metadata} (mode, owner, group, size, time)"
        if full and content != _content(path, status):
            return f"the content of {name} differs"
    rest = next(expected, "")
    return f"{rest.partition(chr(9))[0]} is missing" if rest else ""


def size(root: Path) -> int:
    """The bytes that a tree needs on a file system with 4 KiB blocks and 256-byte inodes."""
    return sum(256 + -(-status.st_size // 4096) * 4096 for _, status in _walk(str(root)))


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        yield entry.path, entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)


def _name(root: Path, path: str) -> str:
    return path[len(str(root)) + 1 :].replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _metadata(status: os.stat_result) -> str:
    head = f"{status.st_mode:o} {status.st_uid} {status.st_gid}"
    # The size and time of a directory depend on the file system; its entries are listed anyway.
    return head if stat.S_ISDIR(status.st_mode) else f"{head} {status.st_size} {status.st_mtime_ns}"


def _content(path: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return hashlib.sha256(os.fsencode(Path(path).readlink())).hexdigest()
    if stat.S_ISREG(status.st_mode):
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    return "-"
