"""The scratch directory on a real filesystem."""

from pathlib import Path

import pytest

from harness.errors import ExitCode, TareError
from harness.model import Leftover
from harness.rig import scratch
from harness.rig.scratch import LABEL, missing_space, open_scratch


def test_scratch_is_made_described_and_removed(tmp_path: Path) -> None:
    parent = tmp_path / "scratch"
    with open_scratch(parent, "run1", 1, beside={"docker": tmp_path / "not" / "there", "proc": Path("/proc")}) as made:
        assert made.directory == parent / "run1" and made.directory.stat().st_mode & 0o777 == 0o711
        assert made.facts["o-direct"] in ("yes", "no") and made.facts["filesystem"] != "unknown"
        assert (made.facts["same-as-docker"], made.facts["same-as-proc"]) == ("yes", "no")
        (made.directory / "deep" / "er").mkdir(parents=True)
        (made.directory / "deep" / "link").symlink_to(tmp_path)
        assert scratch.leftovers(parent) == [Leftover(kind="scratch", name=str(made.directory), run="run1")]
    assert tmp_path.exists() and list(parent.iterdir()) == []


def test_too_little_space_is_a_skip_with_reason_and_fix(tmp_path: Path) -> None:
    skip = missing_space(tmp_path / "later", 10**9, "disk.fio")
    assert skip and skip.what == "disk.fio" and "MiB" in skip.reason and "TARE_STATE" in skip.fix
    assert missing_space(tmp_path, 1) is None
    with pytest.raises(TareError) as refused, open_scratch(tmp_path / "later", "run1", 10**9):
        pass
    assert refused.value.code == ExitCode.HOST_NOT_FIT and not (tmp_path / "later").exists()


@pytest.mark.parametrize("run", ["../up", "/etc", "", "a/b", "-x"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, run: str) -> None:
    with pytest.raises(TareError), open_scratch(tmp_path, run):
        pass
    assert list(tmp_path.iterdir()) == []


def test_links_and_strangers_are_refused_and_kept(tmp_path: Path) -> None:
    parent = tmp_path / "scratch"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / LABEL).write_text('{"run": "theirs"}')
    parent.mkdir()
    (parent / "link").symlink_to(tmp_path / "theirs")
    (parent / "unlabelled" / "data").mkdir(parents=True)
    (parent / "renamed").mkdir()
    (parent / "renamed" / LABEL).write_text('{"run": "other"}')
    assert scratch.leftovers(parent) == []
    with pytest.raises(TareError, match="symbolic link"), open_scratch(parent, "link"):
        pass
    with pytest.raises(TareError, match="cannot create") as refused, open_scratch(parent, "unlabelled"):
        pass
    assert "tare clean" in refused.value.hint
    with pytest.raises(TareError, match="not a scratch directory"):
        scratch.remove(Leftover(kind="scratch", name=str(tmp_path / "theirs"), run="theirs"), parent)
    assert (tmp_path / "theirs" / LABEL).exists() and (parent / "unlabelled").exists()


def test_leftover_is_removed(tmp_path: Path) -> None:
    (tmp_path / "dead" / "data").mkdir(parents=True)
    (tmp_path / "dead" / LABEL).write_text('{"run": "dead", "pid": 1}')
    (found,) = scratch.leftovers(tmp_path)
    scratch.remove(found, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_finds_its_scratch_empty(tmp_path: Path) -> None:
    (tmp_path / "run1" / "data").mkdir(parents=True)
    (tmp_path / "run1" / LABEL).write_text('{"run": "run1", "pid": 1}')
    (tmp_path / "run2").mkdir()
    for run in ("run1", "run2"):
        with open_scratch(tmp_path, run) as made:
            assert [entry.name for entry in made.directory.iterdir()] == [LABEL]
    assert list(tmp_path.iterdir()) == []
