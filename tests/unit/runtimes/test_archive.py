"""Packages and sizes: what goes in comes out, and a size is what the disk gives."""

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.runtimes.archive import allocated, packing, read_tar, unpacking, write_tar

MIB = 2**20


def test_a_tree_comes_out_of_its_package_as_it_was(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    (tree / "folder").mkdir(parents=True)
    out.mkdir()
    (tree / "folder/file").write_bytes(b"words " * MIB)
    (tree / "folder/file").chmod(0o640)
    (tree / "link").symlink_to("folder/file")
    with packing(tmp_path / "package", 3, Deadline.after(30)) as sink:
        write_tar(["-C", str(tree), "."], sink, Deadline.after(30))
    assert (tmp_path / "package").stat().st_size < MIB
    with unpacking(tmp_path / "package", Deadline.after(30)) as source:
        read_tar(source, out, Deadline.after(30))
    assert (out / "link").read_bytes() == b"words " * MIB
    assert (out / "folder/file").stat().st_mode & 0o777 == 0o640


def test_a_hole_is_neither_counted_nor_filled(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(32 * MIB)
        file.write(b"x" * MIB)
    (tmp_path / "again").hardlink_to(sparse)
    assert MIB <= allocated([sparse, tmp_path / "again"]) < 2 * MIB
    with packing(tmp_path / "package", 3, Deadline.after(30)) as sink:
        write_tar(["-C", str(tmp_path), "sparse"], sink, Deadline.after(30))
    (tmp_path / "out").mkdir()
    with unpacking(tmp_path / "package", Deadline.after(30)) as source:
        read_tar(source, tmp_path / "out", Deadline.after(30))
    assert (tmp_path / "out/sparse").stat().st_size == 64 * MIB
    assert allocated([tmp_path / "out/sparse"]) < 2 * MIB


def test_a_package_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "package").write_bytes(b"no zstd")
    with (
        pytest.raises(TareError, match="tar exited"),
        unpacking(tmp_path / "package", Deadline.after(30)) as source,
    ):
        read_tar(source, tmp_path, Deadline.after(30))


def test_a_package_that_has_no_room_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(TareError, match="zstd"),
        packing(tmp_path / "no folder/package", 3, Deadline.after(30)) as sink,
    ):
        for _ in range(64):
            sink.write(b"x" * MIB)
