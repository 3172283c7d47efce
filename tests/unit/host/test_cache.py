"""Files are dropped from the page cache, and what stays there is seen."""

import mmap
import os
import tempfile
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.cache import Dropped, drop, files_below, resident
from harness.process import run

MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if run(["stat", "-f", "-c", "%T", tmp_path], Deadline.after(10)).stdout.strip() == "tmpfs":
        pytest.skip("a tmpfs is the page cache itself: nothing in it can be dropped")
    return tmp_path


def cached(path: Path) -> int:
    with path.open("rb") as file:
        return resident(file.fileno())


def test_what_was_read_or_not_even_written_yet_is_dropped(folder: Path) -> None:
    (folder / "below").mkdir()
    fresh, old = folder / "fresh", folder / "below" / "old"
    old.write_bytes(os.urandom(3 * MIB))
    os.sync()
    fresh.write_bytes(os.urandom(2 * MIB + 1))
    assert (cached(old), cached(fresh)) == (3 * MIB, 2 * MIB + mmap.PAGESIZE)
    dropped = drop([folder], Deadline.after(60))
    assert (dropped.before, dropped.after, dropped.stayed) == (5 * MIB + mmap.PAGESIZE, 0, 0.0)
    assert dropped.size >= 5 * MIB
    assert cached(old) == cached(fresh) == 0
    assert len(old.read_bytes()) == 3 * MIB
    assert cached(old) == 3 * MIB, "and it is read from the disk anew"


def test_what_a_process_has_mapped_stays_and_is_seen(folder: Path) -> None:
    path = folder / "mapped"
    path.write_bytes(os.urandom(MIB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) > 0
        dropped = drop([path], Deadline.after(60))
    assert dropped.stayed == 1.0 and dropped.after == MIB
    assert drop([path], Deadline.after(60)).stayed == 0.0


def test_each_file_counts_once_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").write_bytes(b"x")
    os.link(inside / "file", inside / "again")
    (inside / "link").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    assert [path.name in ("file", "again") for path in files_below([inside, inside / "file"])] == [True]


def test_nothing_cached_is_all_dropped_and_an_empty_file_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert drop([tmp_path / "empty"], Deadline.after(10)) == Dropped(size=0, before=0, after=0)
    assert Dropped(size=0, before=0, after=0).stayed == 0.0


def test_what_cannot_be_dropped_is_said(tmp_path: Path) -> None:
    with pytest.raises(TareError, match="cannot be dropped") as caught:
        drop([tmp_path / "missing"], Deadline.after(10))
    assert "missing" in caught.value.details
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DeadlineExceeded):
        drop([tmp_path], Deadline.after(-1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take up another user's id")
def test_a_folder_that_may_not_be_read_is_said_and_not_passed_over() -> None:
    # pytest's own folders let no other user through.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        hidden = Path(name, "hidden")
        hidden.mkdir(mode=0o700)
        (hidden / "file").write_bytes(b"x")
        os.seteuid(65534)
        try:
            with pytest.raises(TareError, match="cannot be dropped") as caught:
                drop([Path(name)], Deadline.after(10))
        finally:
            os.seteuid(0)
    assert "hidden" in caught.value.details
