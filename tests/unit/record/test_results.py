"""Runs are found by what is in their folder, and pruning takes only them."""

from pathlib import Path

import pytest

from harness.errors import ExitCode, TareError
from harness.record.results import find, prune, runs


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for name in ("20260101T000000Z-a-11", "20260102T000000Z-a-22", "20260103T000000Z-b-33"):
        (folder / name / "raw").mkdir(parents=True)
        (folder / name / "journal.jsonl").write_text("")
    (folder / "notes").mkdir()
    (folder / "file").write_text("")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "journal.jsonl").write_text("")
    (folder / "20200101T000000Z-link").symlink_to(outside)
    return folder


def test_runs_are_folders_with_a_journal_oldest_first(results: Path) -> None:
    assert [run.name[-2:] for run in runs(results)] == ["11", "22", "33"]
    assert runs(results / "nowhere") == []


@pytest.mark.parametrize(
    ("word", "end"), [("latest", "33"), ("22", "22"), ("20260101", "11"), ("20260102T000000Z-a-22", "22")]
)
def test_a_run_is_found_by_part_of_its_name(results: Path, word: str, end: str) -> None:
    assert find(results, word).name.endswith(end)


def test_a_run_is_found_by_its_folder(results: Path) -> None:
    assert find(Path("nowhere"), str(results / "20260101T000000Z-a-11")).name.endswith("11")


@pytest.mark.parametrize("word", ["", "2026", "44", "../outside", "/etc", "notes", "20200101T000000Z-link"])
def test_a_word_that_names_none_or_several_is_refused(results: Path, word: str) -> None:
    with pytest.raises(TareError) as caught:
        find(results, word)
    assert caught.value.code is ExitCode.BAD_INPUT


def test_prune_keeps_the_newest_and_all_that_is_not_ours(results: Path) -> None:
    assert [path.name[-2:] for path in prune(results, 1)] == ["11", "22"]
    assert {path.name for path in results.iterdir()} == {
        "20260103T000000Z-b-33",
        "notes",
        "file",
        "20200101T000000Z-link",
    }
    assert (results.parent / "outside" / "journal.jsonl").is_file()
    assert prune(results, 5) == []
