"""The four stopping rules, from the flag to the interval, on the fake runtime."""

import json
import signal
from collections import Counter
from typing import Any

import pytest

from tests.cli.conftest import Tare

ONE = ("--suite", "smoke", "--workload", "cpu.steady", "--variant", "fake/slow", "--seed", "5")


def manifest(tare: Tare) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tare.only_run() / "manifest.json").read_text())
    return found


def blocks(tare: Tare) -> Counter[str]:
    return Counter(block["workload"] for block in manifest(tare)["plan"])


def test_precision_asks_for_what_the_pilots_spread_needs(tare: Tare) -> None:
    done = tare.run(*ONE, "--precision", "0.3%")
    assert "blocks for ±0.30%" in done.stderr
    (count,) = blocks(tare).values()
    assert count > 10
    assert manifest(tare)["stopping"]["second_stage"] == 10
    assert Counter(event["event"] for event in tare.events())["block-closed"] == count
    assert f"n = {count}" in done.stdout


def test_a_precision_that_the_pilot_reached_needs_no_more(tare: Tare) -> None:
    tare.run(*ONE, "--precision", "20%", "--json")
    assert blocks(tare) == {"cpu.steady": 10}


def test_a_workload_ends_at_the_look_that_decides_it(tare: Tare) -> None:
    done = tare.run(
        "--suite", "smoke", "--workload", "cpu.steady", "--workload", "memory.noisy", "--looks", "5,10,15", "--json"
    )
    assert "cpu.steady: ends at interim analysis 1, after 5 blocks" in done.stderr
    found = manifest(tare)["stopping"]
    assert blocks(tare)["cpu.steady"] == 5
    assert found["shares"]["cpu.steady"] == pytest.approx(1 / 3)


def test_a_time_is_allocated_after_the_pilot(tare: Tare) -> None:
    tare.run(*ONE, "--time", "20s", "--json")
    (count,) = blocks(tare).values()
    assert count > manifest(tare)["stopping"]["second_stage"] >= 1


def test_a_run_that_was_interrupted_in_its_second_stage_is_finished(tare: Tare) -> None:
    child = tare.start(*tare.run_words(*ONE, "--precision", "0.4%"))
    tare.wait_for("stage-closed")
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 130
    planned = len(manifest(tare)["plan"])
    tare.run("--resume", "latest", "--json")
    assert manifest(tare)["status"] == "finished"
    assert len(manifest(tare)["plan"]) == planned
    closed = Counter(event["data"]["block"] for event in tare.events() if event["event"] == "block-closed")
    assert set(closed) == set(range(planned))
    assert set(closed.values()) == {1}


def test_two_stopping_rules_are_one_too_many(tare: Tare) -> None:
    done = tare.run(*ONE, "--precision", "1%", "--blocks", "3", code=2)
    assert "--blocks, --precision: two stopping rules given" in done.stderr


def test_a_plan_tells_blocks_and_time_from_the_hosts_own_noise(tare: Tare) -> None:
    words = ["plan", "--workloads-dir", str(tare.workloads), "--out", str(tare.results), "--baseline", "fake/baseline"]
    assert "the time is a guess" in tare(*words, *ONE).stdout
    tare.run(*ONE, "--blocks", "12", "--json")
    (steady,) = json.loads(tare(*words, *ONE, "--precision", "0.5%", "--json").stdout)["expected"]
    assert steady["workload"] == "cpu.steady"
    assert steady["half_width"] <= 0.005
    assert steady["blocks"] >= 10
    assert steady["seconds"] > 0
    assert "by this host's noise" in tare(*words, *ONE, "--precision", "0.3%").stdout
