"""An interrupted run keeps its rows and can be finished; a second run on the host is told who measures."""

import csv
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Tare


def finished(folder: Path) -> list[dict[str, str]]:
    """The rates of finished blocks; that a busy host discards some of them by its rules is no matter here."""
    with (folder / "samples.csv").open(newline="") as file:
        rates = [row for row in csv.DictReader(file) if row["metric"] == "rate" and row["value"]]
    return [row for row in rates if "the block was" not in row["reason"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_rows_and_resume_finishes(tare: Tare, number: signal.Signals) -> None:
    child = tare.start(*tare.run_words("--suite", "slow", "--seed", "5"))
    tare.wait_for("block-closed", 2)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=20)
    assert child.returncode == 130, stderr
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    assert {row["block"] for row in finished(tare.only_run())} >= {"0", "1"}
    tare.run("--resume", "latest")
    whole = finished(tare.only_run())
    assert {row["block"] for row in whole} == {"0", "1", "2", "3"}
    assert len(whole) == 4 * 2 * 2
    tare.run("--resume", "latest", code=2)


def test_a_killed_run_can_be_finished(tare: Tare) -> None:
    child = tare.start(*tare.run_words("--suite", "slow", "--seed", "5"))
    tare.wait_for("block-closed", 1)
    child.kill()
    child.communicate()
    tare.run("--resume", "latest")
    whole = finished(tare.only_run())
    assert len(whole) == 4 * 2 * 2


def test_the_second_of_two_runs_is_told_who_holds_the_lock(tare: Tare) -> None:
    first = tare.start(*tare.run_words("--suite", "slow"))
    tare.wait_for("case-opened")
    done = tare.run("--suite", "smoke", code=4)
    assert f"pid {first.pid}" in done.stderr
    assert len(list(tare.results.iterdir())) == 1
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)
