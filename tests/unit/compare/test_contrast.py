"""Comparing sides against figures worked out by hand or by scipy."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.compare.contrast import Difference, RunMean, Versions, View, contrast, differences, same_run

Values = dict[View, dict[tuple[str, ...], dict[int, float]]]


def runs(*means: float, variance: float = 1e-4, n: int = 6) -> list[RunMean]:
    return [RunMean(mean=mean, variance=variance, n=n) for mean in means]


def row(run: str, mean: float, **changes: Any) -> dict[str, Any]:
    """A row of moments of one variant in one run."""
    return {
        "run": run, "workload": "cpu.test", "definition": "d1", "parameters": "{}", "metric": "rate", "unit": "1/s",
        "direction": "higher", "scale": "log", "summary": "median", "variant": "docker/bridge", "runtime": "docker",
        "accelerator": "none", "host": "h1", "host_virtualized": "none", "shape": "1vcpu-1024MiB@1", "kernel": "6.1",
        "image": "", "blocks": 6, "n": 6, "mean": mean, "variance": 1e-4, "own_n": 6, "own_mean": mean - 7.0,
        "own_variance": 1e-4,
    } | changes  # fmt: skip


def only(before: list[dict[str, Any]], after: list[dict[str, Any]], **options: Any) -> Difference:
    """The one difference in the normalized view."""
    found = differences(pd.DataFrame(before), pd.DataFrame(after), **options)
    (one,) = (difference for difference in found if difference.view == "normalized")
    return one


def test_three_runs_a_side_are_compared_as_so_many_figures() -> None:
    found = contrast(runs(0.01, 0.02, 0.04), runs(0.05, 0.07, 0.08))
    theirs = stats.ttest_ind([0.05, 0.07, 0.08], [0.01, 0.02, 0.04], equal_var=False)
    assert found.basis == "between runs"
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.interval() == pytest.approx(tuple(theirs.confidence_interval()))


def test_one_run_against_three_has_a_prediction_interval() -> None:
    found = contrast(runs(0.01, 0.02, 0.03), runs(0.05))
    half = stats.t.ppf(0.975, 2) * 0.01 * math.sqrt(1 / 3 + 1)
    assert found.basis == "between runs of one side"
    assert found.interval() == pytest.approx((0.03 - half, 0.03 + half))


def test_one_run_a_side_knows_only_the_noise_within() -> None:
    found = contrast(runs(0.0, n=6), runs(0.03, n=6))
    theirs = stats.ttest_ind_from_stats(0.03, 0.01, 6, 0.0, 0.01, 6, equal_var=False)
    assert found.basis == "within-run noise only"
    assert found.p == pytest.approx(theirs.pvalue)


def test_one_block_has_no_noise_to_compare_with() -> None:
    assert contrast(runs(0.0, n=1), runs(0.1)).interval() == (None, None)


def test_versions_of_one_run_are_paired() -> None:
    found = same_run([0.1, 0.1, 0.1])
    assert found.p == pytest.approx(0.0, abs=1e-9)
    assert found.interval() == pytest.approx((0.1, 0.1))
    assert same_run([0.0, 0.0]).p == 1.0


def test_the_normalized_view_is_signed_so_that_positive_costs() -> None:
    found = only([row("a", 0.0)], [row("b", math.log(1.1))])
    assert found.difference == pytest.approx(0.1)
    assert (found.before, found.after) == pytest.approx((0.0, 0.1))
    assert found.verdict() == "costs more"
    assert (found.runs, found.blocks) == ((1, 1), (6, 6))


def test_the_raw_view_shows_values_in_their_unit() -> None:
    found = differences(pd.DataFrame([row("a", 0.0)]), pd.DataFrame([row("b", math.log(1.1))]))
    (one,) = (difference for difference in found if difference.view == "raw")
    assert (one.before, one.after) == pytest.approx((math.exp(7.0), math.exp(7.0) / 1.1))
    assert one.difference == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["definition", "parameters", "shape"])
def test_unlike_figures_are_refused_unless_allowed(name: str) -> None:
    other = {"definition": "d2", "parameters": '{"seconds":2}', "shape": "2vcpu-1024MiB@2,3"}[name]
    found = only([row("a", 0.0)], [row("b", 0.0, **{name: other})])
    assert found.verdict() == "not compared"
    assert f"{name} differs" in found.why
    assert only([row("a", 0.0)], [row("b", 0.0, **{name: other})], allowed={name}).difference == 0.0


def test_other_units_are_refused_always() -> None:
    found = only([row("a", 0.0)], [row("b", 0.0, unit="1/min")], allowed={"unit", "definition"})
    assert "unit differs" in found.why


def test_the_same_shape_on_other_cpus_is_the_same_shape() -> None:
    assert only([row("a", 0.0)], [row("b", 0.0, shape="1vcpu-1024MiB@3")]).difference == 0.0


def test_an_accelerator_is_never_compared_with_another() -> None:
    assert not differences(pd.DataFrame([row("a", 0.0)]), pd.DataFrame([row("b", 0.0, accelerator="tcg")]))


def test_one_run_on_both_sides_is_paired_by_block() -> None:
    key = ("cpu.test", "rate", "docker/bridge", "none")
    before: Values = {"normalized": {key: {0: 0.01, 1: 0.30}}, "raw": {}}
    after: Values = {"normalized": {key: {0: 0.11, 1: 0.40}}, "raw": {}}
    found = only([row("a", 0.15)], [row("a", 0.25)], versions=Versions(before=before, after=after))
    assert found.difference == pytest.approx(math.expm1(0.1))
    assert found.contrast is not None
    assert found.contrast.p == pytest.approx(0.0, abs=1e-9)


def test_holm_and_simultaneous_intervals_are_per_family() -> None:
    chance = np.random.default_rng(3)
    names = [f"cpu.w{number}" for number in range(20)]
    before = [row("a", chance.normal(0, 0.004), workload=name) for name in names]
    after = [row("b", chance.normal(0, 0.004) + (0.1 if name == "cpu.w7" else 0.0), workload=name) for name in names]
    primary = {(name, "rate") for name in names[:10]}
    found = differences(pd.DataFrame(before), pd.DataFrame(after), primary=primary)
    assert [one.workload for one in found if one.verdict() == "costs more"] == ["cpu.w7"] * 2
    one = next(one for one in found if one.workload == "cpu.w7")
    assert one.contrast is not None
    assert one.contrast.p is not None
    assert one.adjusted == pytest.approx(one.contrast.p * 10)
    assert one.low is not None
    assert one.lowest is not None
    assert one.lowest < one.low
