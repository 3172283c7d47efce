"""The validation's own arithmetic: how twins become arms, how windows are cut, when a bound is missed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.definitions.suites import load_suite
from harness.definitions.workloads import load_workloads
from tests.validation import engine, injected, live
from tests.validation.checks import Absent, bad, judged, seed_of
from tests.validation.page import Part, lines
from tests.validation.rounds import allowed, compare, drawn, paired, rejects, sequential_rejects, windows

ARMS = {"cpu.aa-one": "one", "cpu.aa-two": "two"}


def rows_of(rounds: int, values: Mapping[str, float], metric: str = "rate") -> pd.DataFrame:
    """Samples as a run gives them: each workload once a round, their order alternating."""
    rows = []
    for number in range(rounds):
        names = list(values) if number % 2 else list(values)[::-1]
        for place, name in enumerate(names):
            rows.append({"workload": name, "block": 2 * number + place, "value": values[name]})
    constant: dict[str, Any] = {
        "metric": metric, "unit": "1/s", "direction": "higher", "scale": "log", "summary": "median",
        "variant": "native", "runtime": "native", "accelerator": "none", "role": "subject", "phase": "measured",
        "attempt": 1, "iteration": 1, "valid": True, "reason": "", "mhz": None, "steal": 0.0, "elapsed": 0.1,
        "cpus": "1",
    }  # fmt: skip
    return pd.DataFrame(rows).assign(**constant)


def printed(rounds: int) -> pd.DataFrame:
    """What the two jobs print of a dose of 3 %."""
    elapsed = rows_of(rounds, {"cpu.aa-plain": 0.2, "cpu.aa-slowed": 0.206}, "elapsed")
    return pd.concat([elapsed, rows_of(rounds, {"cpu.aa-plain": 0.0, "cpu.aa-slowed": 0.006}, "dragged")])


TWINS = {"cpu.aa-one": 100.0, "cpu.aa-two": 100.0}


def test_twins_of_a_round_become_the_arms_of_a_block() -> None:
    rows = paired(rows_of(4, TWINS), "rate", ARMS)
    assert set(rows["workload"]) == {"cpu.twins"}
    assert rows.groupby("block")["variant"].apply(sorted).tolist() == [["one", "two"]] * 4


def test_a_round_with_a_void_arm_is_left_out_whole() -> None:
    samples = rows_of(4, TWINS)
    samples.loc[samples["block"] == 3, "valid"] = False
    samples.loc[samples["block"] == 6, "value"] = np.nan
    rows = paired(samples, "rate", ARMS)
    assert sorted(rows["block"].unique()) == [0, 1]
    assert len(rows) == 4


def test_other_metrics_are_not_compared() -> None:
    samples = pd.concat([rows_of(2, TWINS), rows_of(2, TWINS, "host-cpu")])
    assert set(paired(samples, "rate", ARMS)["metric"]) == {"rate"}


def test_windows_share_no_round_and_drop_the_rest() -> None:
    rows = paired(rows_of(8, TWINS), "rate", ARMS)
    assert [sorted(window["block"].unique()) for window in windows(rows, 3)] == [[0, 1, 2], [3, 4, 5]]


def test_drawn_windows_swap_arms_within_rounds_only() -> None:
    rows = paired(rows_of(6, {"cpu.aa-one": 100.0, "cpu.aa-two": 200.0}), "rate", ARMS)
    found = list(drawn(rows, 5, 40, np.random.default_rng(1)))
    assert {window["block"].min() for window in found} == {0, 1}
    swapped = [(window[window["variant"] == "one"]["value"] > 150).mean() for window in found]
    assert 0.3 < float(np.mean(swapped)) < 0.7
    for window in found:
        assert window.groupby("block")["variant"].nunique().eq(2).all()


def test_an_effect_is_found_and_twins_are_not() -> None:
    same = paired(rows_of(5, TWINS), "rate", ARMS)
    noisy = same.assign(value=same["value"] * np.random.default_rng(2).normal(1, 0.01, len(same)))
    assert not rejects(compare(noisy, "one"))
    slower = noisy.assign(value=noisy["value"].where(noisy["variant"] == "one", noisy["value"] * 0.9))
    found = compare(slower, "one")
    assert rejects(found)
    assert found.overhead == pytest.approx(0.11, abs=0.03)


def test_the_sequential_practice_takes_a_drift_for_an_effect() -> None:
    drifting = paired(rows_of(8, TWINS), "rate", ARMS)
    drifting = drifting.assign(value=100.0 + np.arange(len(drifting)))
    assert sequential_rejects(drifting)
    assert not rejects(compare(drifting, "one"))


@pytest.mark.parametrize(("comparisons", "most"), [(200, 16), (20, 5), (1, 1)])
def test_how_many_false_alarms_are_allowed(comparisons: int, most: int) -> None:
    assert allowed(comparisons) == most


def test_the_dose_is_what_the_job_printed() -> None:
    assert injected.doses(printed(3)).tolist() == pytest.approx([0.03] * 3)


def test_an_injected_dose_is_judged() -> None:
    generator = np.random.default_rng(3)
    slow = rows_of(60, {"cpu.aa-plain": 1.03e3, "cpu.aa-slowed": 1e3})
    slow["value"] *= np.exp(generator.normal(0, 0.005, len(slow)))
    results = list(injected.judge(pd.concat([slow, printed(60)]), "injected", 1))
    assert [result.status for result in results] == ["ok", "ok", "ok"]


def test_bounds_are_widened_only_where_said() -> None:
    hits = [True] * 93 + [False] * 7
    assert judged("a", hits, 1, least=0.94).passed is False
    assert judged("a", hits, 1, least=0.94, widen=2.0).passed is True
    assert judged("a", hits, 1).passed is None
    assert "widened by 2" in judged("a", hits, 1, least=0.94, widen=2.0).line()


def test_what_should_have_run_and_did_not_is_a_miss() -> None:
    assert bad(Absent(name="A/A", reason="the run exited 4", failed=True))
    assert not bad(Absent(name="A/A", reason="needs root"))


def test_each_check_has_its_own_seed() -> None:
    assert seed_of(1, "a") == seed_of(1, "a")
    assert len({seed_of(1, "a"), seed_of(1, "b"), seed_of(2, "a")}) == 3


def test_the_page_has_every_figure() -> None:
    results = (judged("coverage", [True, False], 7, least=0.9), Absent(name="A/A, docker", reason="no dockerd"))
    text = "\n".join(lines(["a host"], {"qemu": "7.2"}, [Part(name="simulated", results=results, seconds=1.0)]))
    assert "| MISSED | coverage | 0.5000 |" in text
    assert "| skipped | A/A, docker |" in text
    assert "1 missed" in text


@pytest.mark.parametrize(("suite", "arms"), [(live.SUITE, live.ARMS), (injected.SUITE, injected.ARMS)])
def test_the_two_workloads_of_a_suite_differ_only_in_name_and_drag(suite: str, arms: Mapping[str, str]) -> None:
    known = load_workloads(engine.WORKLOADS)
    first, second = (known[name] for name in load_suite(suite, engine.WORKLOADS).workloads)
    assert {first.name, second.name} == set(arms)
    assert (first.argv, first.metrics, first.warmup, first.iterations) == (
        second.argv, second.metrics, second.warmup, second.iterations,
    )  # fmt: skip
    changed = {name for name in first.parameters if first.parameters[name] != second.parameters[name]}
    assert changed == (set() if suite == live.SUITE else {"drag"})
