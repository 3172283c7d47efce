"""What is derived from a journal: which rows count, where an interrupted run goes on, and when it may not."""

import dataclasses
from pathlib import Path

import pytest

from harness.errors import TareError
from harness.record import derive
from harness.record.journal import Journal, read
from tests.unit.record.test_csv_file import ROW

OPENED = {
    "run": "ab12cd",
    "suite": "smoke",
    "stopping": {"rule": "blocks", "blocks": 1, "precision": None, "looks": [], "seconds": None},
    "plan": [{"number": 0}, {"number": 1}],
    "shape": "1vcpu-1024MiB@1",
    "root": "sha256:1",
    "workloads": {},
    "host": {"fingerprint": "f00"},
}


def write(folder: Path, *, closed_first: bool = True, discarded: str = "") -> Path:
    """A journal of two blocks, of which the second was begun and not finished."""
    with Journal.create(folder) as journal:
        journal.append("run-opened", **OPENED)
        for block in (0, 1):
            journal.append("block-opened", block=block, attempt=1, load=0.25)
            row = dataclasses.replace(ROW, block=block, case=f"case-{block}")
            journal.append("sample", **row.as_data())
            if block == 0 and closed_first:
                journal.append("block-closed", block=0, attempt=1, discarded=discarded)
    return folder


def reasons(folder: Path) -> list[str]:
    return [row.reason for row in derive.rows(read(folder))]


def test_a_finished_block_counts_and_an_unfinished_one_does_not(tmp_path: Path) -> None:
    assert reasons(write(tmp_path)) == ["", "block discarded: the block was not finished"]


def test_a_void_block_is_void_whole_and_keeps_its_values(tmp_path: Path) -> None:
    first, _ = derive.rows(read(write(tmp_path, discarded="native: steal")))
    assert (first.valid, first.reason, first.value) == (False, "block discarded: native: steal", ROW.value)


def test_what_a_measure_observed_says_whether_its_block_is_void(tmp_path: Path) -> None:
    with Journal.reopen(write(tmp_path, discarded="native: steal")) as journal:
        for block in (0, 1):
            journal.append("case-opened", case=f"case-{block}", workload="density.launch", block=block, attempt=1)
            journal.append("observed", case=f"case-{block}", variant="native", what="density")
    told = derive.manifest(read(tmp_path))["observed"]
    assert [one["discarded"] for one in told] == ["native: steal", "the block was not finished"]
    assert {one["workload"] for one in told} == {"density.launch"}


def test_a_block_that_was_run_again_replaces_its_first_attempt(tmp_path: Path) -> None:
    with Journal.reopen(write(tmp_path)) as journal:
        journal.append("block-opened", block=1, attempt=2)
        journal.append("sample", **dataclasses.replace(ROW, block=1, attempt=2).as_data())
        journal.append("block-closed", block=1, attempt=2, discarded="")
    assert reasons(tmp_path) == ["", "block discarded: the block was run again", ""]


def test_a_resume_goes_on_at_the_unfinished_block(tmp_path: Path) -> None:
    earlier = derive.read(write(tmp_path))
    assert [earlier.attempt(0), earlier.attempt(1)] == [0, 2]
    assert earlier.run == "ab12cd"


@pytest.mark.parametrize("change", ["suite", "stopping", "shape", "root", "plan", "workloads"])
def test_a_resume_is_refused_where_something_has_changed(tmp_path: Path, change: str) -> None:
    earlier = derive.read(write(tmp_path))
    earlier.check(OPENED)
    with pytest.raises(TareError, match=change):
        earlier.check({**OPENED, change: "other"})


def test_a_resume_is_refused_on_another_host(tmp_path: Path) -> None:
    earlier = derive.read(write(tmp_path))
    with pytest.raises(TareError, match="another host"):
        earlier.check({**OPENED, "host": {"fingerprint": "beef"}})


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    with Journal.reopen(write(tmp_path)) as journal:
        journal.append("block-closed", block=1, attempt=1, discarded="")
        journal.append("run-closed", status="finished", failed=0)
    with pytest.raises(TareError, match="finished"):
        derive.read(tmp_path)


def test_the_manifest_says_what_was_void(tmp_path: Path) -> None:
    found = derive.manifest(read(write(tmp_path, discarded="native: steal")))
    assert found["discards"] == [{"block": 0, "reason": "native: steal"}]
    assert found["status"] == "interrupted"
    assert found["loads"] == {"0": 0.25, "1": 0.25}


def test_the_manifest_says_what_telling_cost_and_what_stayed_in_the_cache(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append("run-opened", **OPENED)
        journal.append("beacon", case="c1", variant="native", costs={}, failed="no agent")
        journal.append("beacon", case="c1", variant="native", costs={"ready": {"seconds": 1e-4}}, failed="")
        journal.append("case-opened", case="c1", workload="boot.cold", cast={"subject": "native"})
        for before, stayed in ((100, 0.0), (300, 0.5), (200, 0.25)):
            journal.append("cache", case="c1", variant="native", size=999, before=before, after=1, stayed=stayed)
    found = derive.manifest(read(tmp_path))
    assert found["beacon"] == {"native": {"costs": {"ready": {"seconds": 1e-4}}, "failed": ""}}
    assert found["cache"] == {"boot.cold": {"native": {"dropped": 200, "stayed": 0.5, "launches": 3}}}
