"""Copies of images: tar and zstd as streams, sizes on a disk, and copies of the root's directory."""

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.images import forms
from harness.process import kill_group, run, spawn
from harness.runtimes.base import Prepared, Stream

SECTOR = 512
"""The unit of st_blocks, in bytes, on every file system (stat(2))."""


def allocated(paths: Iterable[Path]) -> int:
    """Bytes that files and whole folders take on a disk: without holes, hard links once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path in paths:
        for status in _statuses(path):
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * SECTOR
    return total


def _statuses(path: Path) -> Iterator[os.stat_result]:
    try:
        yield path.lstat()
        entries = sorted(path.iterdir()) if path.is_dir() and not path.is_symlink() else []
    except FileNotFoundError:  # a running instance may remove its files
        return
    for entry in entries:
        yield from _statuses(entry)


@contextmanager
def packing(target: Path, level: int, deadline: Deadline) -> Iterator[Stream]:
    """A stream that zstd compresses into `target`, in one thread: comparable between hosts of any size."""
    argv = ["zstd", "-q", "-f", f"-{level}", "-T1", "-o", str(target)]
    with _child(argv, deadline, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        try:
            yield child.stdin
            child.stdin.close()
        except BrokenPipeError:
            raise TareError("zstd ended too early", details=_errors(child), hint="free some disk space") from None


@contextmanager
def unpacking(source: Path, deadline: Deadline) -> Iterator[Stream]:
    """The content of a file that zstd has compressed."""
    with _child(["zstd", "-q", "-d", "-c", str(source)], deadline, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield child.stdout
        # tar leaves the padding after its archive's end
        while child.stdout.read(2**16):
            deadline.check(f"unpacking {source}")


@contextmanager
def _child(
    argv: list[str], deadline: Deadline, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> "Iterator[subprocess.Popen[bytes]]":
    """A command that runs beside the context and never outlives it. Raises TareError when it fails."""
    with spawn(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE) as child:
        try:
            yield child
            child.wait(deadline.left)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded("a command did not end in time", details=" ".join(argv)) from None
        finally:
            if child.poll() is None:
                kill_group(child)
        if child.returncode != 0:
            raise TareError(f"{argv[0]} exited {child.returncode}", details=_errors(child))


def _errors(child: "subprocess.Popen[bytes]") -> str:
    assert child.stderr is not None
    return child.stderr.read()[-500:].decode("utf-8", "replace")


def write_tar(words: list[str], sink: Stream, deadline: Deadline) -> None:
    """Write tar's archive of `words` (`-C folder name …`) to the stream; holes of files stay holes."""
    sink.flush()
    with _child(["tar", "-c", "--sparse", "--numeric-owner", *words], deadline, stdout=sink.fileno()):
        pass


def read_tar(source: Stream, folder: Path, deadline: Deadline) -> None:
    """Unpack the stream's archive into the folder, with owners and modes where this user may set them."""
    owner = "--same-owner" if os.geteuid() == 0 else "--no-same-owner"
    with _child(["tar", "-x", "-p", "--numeric-owner", owner, "-C", str(folder)], deadline, stdin=source.fileno()):
        pass


class TreeCopies:
    """Copies of the root's directory."""

    def __init__(self, image: Prepared, folder: Path) -> None:
        self.image, self.folder = image, folder

    @contextmanager
    def built(self, deadline: Deadline) -> Iterator[Prepared]:
        """The root's tar, unpacked."""
        with self._private() as root:
            root.mkdir()
            forms.extract(self.image.root.tar, root, deadline)
            yield self._copy(root)

    def save(self, copy: Prepared, sink: Stream, deadline: Deadline) -> None:
        """A tar of the directory."""
        write_tar(["-C", str(copy.root.directory), "."], sink, deadline)

    @contextmanager
    def loaded(self, source: Stream, deadline: Deadline) -> Iterator[Prepared]:
        """The directory from its tar."""
        with self._private() as root:
            root.mkdir()
            read_tar(source, root, deadline)
            yield self._copy(root)

    def linked(self, deadline: Deadline) -> None:
        """None: a process of the host uses the directory itself, read-only."""

    @contextmanager
    def full(self, deadline: Deadline) -> Iterator[Collection[Path]]:
        """A second directory."""
        with self._private() as root:
            run(["cp", "-a", "--reflink=never", self.image.root.directory, root], deadline)
            yield [root]

    def _copy(self, root: Path) -> Prepared:
        return dataclasses.replace(self.image, root=dataclasses.replace(self.image.root, directory=root))

    @contextmanager
    def _private(self) -> Iterator[Path]:
        """A path in a folder that only root can enter: the root's set-uid programs get no security updates."""
        folder = self.folder / "tree"
        folder.mkdir(mode=0o700)
        try:
            yield folder / "root"
        finally:
            shutil.rmtree(folder)
