"""Overheads against figures worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from harness.analysis.blocks import block_values
from harness.analysis.intervals import estimate, geometric, sign_flip
from harness.analysis.overhead import Declared, Overhead, overheads
from harness.errors import TareError

T_975_2 = 4.302652729911275
"""Student's t, 97.5 %, two degrees of freedom (any printed table)."""


def frame(values: dict[str, list[float | None]], **columns: object) -> pd.DataFrame:
    """One measured iteration per block and variant; None is a failed case."""
    rows = [
        {
            "workload": "cpu.test", "metric": "rate", "unit": "1/s", "direction": "higher", "scale": "log",
            "summary": "median", "variant": variant, "runtime": variant.partition("/")[0], "role": "subject",
            "accelerator": "tcg" if "tcg" in variant else "none", "block": block, "attempt": 1, "iteration": 1,
            "phase": "measured", "value": value, "valid": value is not None, "reason": "", "elapsed": 1.0, "steal": 0.0,
            "mhz": None, "cpus": "1",
        } | columns
        for variant, series in values.items()
        for block, value in enumerate(series, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def only(samples: pd.DataFrame, **options: float) -> Overhead:
    """The one overhead of these samples."""
    (found,) = overheads(samples, **options)  # type: ignore[arg-type]
    return found


def test_lower_throughput_is_a_positive_overhead_and_a_negative_change() -> None:
    found = only(frame({"native": [100.0] * 3, "docker": [50.0] * 3}))
    assert found.overhead == pytest.approx(1.0)
    assert found.change == pytest.approx(-0.5)
    assert "no variation between blocks" in found.flags


def test_higher_latency_is_a_positive_overhead_and_a_positive_change() -> None:
    found = only(frame({"native": [100.0] * 3, "docker": [150.0] * 3}, direction="lower"))
    assert found.overhead == pytest.approx(0.5)
    assert found.change == pytest.approx(0.5)


def test_interval_by_hand() -> None:
    found = only(frame({"native": [100, 100, 100], "docker": [100, 110, 121]}, direction="lower"))
    step = math.log(1.1)
    half = T_975_2 * step / math.sqrt(3)
    assert found.overhead == pytest.approx(0.1)
    assert found.low == pytest.approx(math.exp(step - half) - 1)
    assert found.high == pytest.approx(math.exp(step + half) - 1)
    assert (found.n, found.planned, found.baseline_value, found.variant_value) == (3, 3, 100, 110)
    assert found.flags == ("few blocks",)


def test_linear_scale_takes_differences_in_the_unit() -> None:
    found = only(frame({"native": [10, 12], "docker": [7, 8]}, scale="linear"))
    assert found.overhead == pytest.approx(3.5)
    assert found.change == pytest.approx(-3.5)


def test_one_block_has_no_interval_and_says_so() -> None:
    found = only(frame({"native": [10], "docker": [9]}))
    assert found.overhead == pytest.approx(10 / 9 - 1)
    assert found.low is None
    assert found.p is None
    assert "one block: no interval" in found.flags


@pytest.mark.parametrize("bad", [0.0, -3.0])
def test_no_ratio_of_a_value_that_is_not_positive(bad: float) -> None:
    found = only(frame({"native": [10, 10], "docker": [9, bad]}))
    assert found.overhead is None
    assert not found.verdict
    assert "zero or negative value on a log scale: no ratio" in found.flags


def test_missing_blocks_are_counted_by_cause_and_end_the_verdict() -> None:
    samples = frame({"native": [10.0] * 6, "docker": [9, 9, 9, 9, 9, None]})
    samples.loc[samples["block"] == 2, "valid"] = False
    found = only(samples)
    assert (found.n, found.planned, found.verdict) == (4, 6, False)
    assert {"discarded 1 of 6", "failed 1 of 6", "more than a tenth of the blocks missing: no verdict"} <= set(
        found.flags
    )


def test_one_of_ten_missing_keeps_the_verdict() -> None:
    assert only(frame({"native": [10.0] * 10, "docker": [9.0] * 9 + [None]})).verdict


def test_planned_blocks_that_never_ran_are_missing() -> None:
    (found,) = overheads(frame({"native": [10.0] * 3, "docker": [9.0] * 3}), declared=Declared(planned={"cpu.test": 6}))
    assert (found.planned, found.verdict) == (6, False)


def test_without_a_baseline_there_are_words_and_no_figure() -> None:
    found = only(frame({"docker": [9, 9]}))
    assert found.overhead is None
    assert found.variant_value == 9
    assert "no baseline value" in found.flags


def test_a_variant_that_always_failed_is_listed() -> None:
    found = only(frame({"native": [9, 9], "docker": [None, None]}))
    assert found.overhead is None
    assert {"no value", "failed 2 of 2"} <= set(found.flags)


def test_emulated_guests_are_flagged() -> None:
    assert only(frame({"native": [9, 9], "libvirt/tcg": [1, 1]})).flags[0] == "emulated (tcg)"


def test_only_measured_valid_iterations_of_the_subject_count() -> None:
    good = frame({"native": [10.0], "docker": [8.0]})
    noise = [good.assign(value=99.0, **{key: value}) for key, value in
             (("phase", "warmup"), ("role", "peer"), ("valid", False))]  # fmt: skip
    assert only(pd.concat([good, *noise], ignore_index=True)).overhead == pytest.approx(0.25)


@pytest.mark.parametrize(("summary", "expected"), [("median", 2), ("mean", 4), ("min", 1), ("max", 9)])
def test_the_block_value_is_the_declared_summary(summary: str, expected: float) -> None:
    parts = [frame({"native": [value]}, summary=summary, iteration=i) for i, value in enumerate((1.0, 2.0, 9.0))]
    values = block_values(pd.concat(parts, ignore_index=True))
    assert values["value"].tolist() == [expected]
    assert values["iterations"].tolist() == [3]


def test_a_block_that_was_run_again_counts_by_its_last_attempt() -> None:
    again = pd.concat([frame({"native": [10], "docker": [1]}), frame({"native": [10], "docker": [5]}, attempt=2)])
    assert only(again).overhead == pytest.approx(1.0)


def test_what_a_failed_case_measured_before_it_failed_does_not_count() -> None:
    good = frame({"native": [10.0, 10.0], "docker": [5.0, 5.0]})
    crash = frame({"docker": [None]}, iteration=2)
    found = only(pd.concat([good, crash], ignore_index=True))
    assert (found.n, found.verdict) == (1, False)
    assert "failed 1 of 2" in found.flags


def test_a_unit_that_changes_is_refused() -> None:
    with pytest.raises(TareError, match="unit changes"):
        overheads(pd.concat([frame({"native": [1.0]}), frame({"docker": [1.0]}, unit="s")]))


def test_sign_flip_is_exact_for_few_blocks() -> None:
    assert sign_flip([1.0, 1.1, 0.9, 1.2, 0.8, 1.3]) == pytest.approx(2 / 64)
    assert sign_flip([1.0]) is None


def test_geometric_mean() -> None:
    found = geometric([1.0, 100.0])
    assert found is not None
    assert found.value == pytest.approx(10.0)
    assert geometric([1.0, 0.0]) is None


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    chance = np.random.default_rng(11)
    hits = 0
    for draw in chance.normal(0.05, 0.03, size=(2000, 6)):
        found = estimate(draw.tolist())
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.05 <= found.high
    assert 0.935 <= hits / 2000 <= 0.965
