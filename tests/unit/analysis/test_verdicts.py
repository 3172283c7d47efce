"""Each word that a claim can get."""

import math

import numpy as np
import pytest

from harness.analysis.verdicts import Word, blocks_needed, counts, judge, judge_differences, verdicts
from tests.unit.analysis.claimed import Values, around, boot, claim, run, several, word_of


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.02, 0.03), "supported"), ((0.01, 0.05), "supported"), ((0.06, 0.07), "contradicted"),
        ((-0.02, 0.009), "contradicted"), ((0.04, 0.06), "inconclusive"), ((0.0, 0.06), "inconclusive"),
        ((0.05, 0.06), "inconclusive"),
    ],
)  # fmt: skip
def test_an_interval_is_inside_outside_or_neither(interval: tuple[float, float], word: Word) -> None:
    assert judge(*interval, 0.01, 0.05) == word


def test_an_open_range_has_one_end() -> None:
    assert judge(-5.0, 0.04, -math.inf, 0.05) == "supported"
    assert judge(0.01, 1e9, 0.0, math.inf) == "supported"
    assert judge(-0.02, -0.01, 0.0, math.inf) == "contradicted"


def test_differences_are_judged_as_overheads() -> None:
    d = [math.log(value) for value in around(1.03)]
    assert judge_differences(d, 0.01, 0.05) == "supported"
    assert judge_differences([one + 0.1 for one in d], 0.01, 0.05) == "contradicted"
    assert judge_differences(d, 0.01, 0.0301) == "inconclusive"
    assert judge_differences(d[:4], -1, math.inf) == "inconclusive"
    with pytest.raises(ValueError, match="no values"):
        judge_differences([], 0, 1)


@pytest.mark.parametrize("blocks", [10, 30])
def test_wrong_words_are_rare(blocks: int) -> None:
    """At an end of the range each word comes in at most 5 % of runs, half a point outside support in at most 1 %."""
    chance = np.random.default_rng(4)

    def share(truth: float, word: Word, runs: int = 500) -> float:
        said = [
            judge_differences(chance.normal(math.log1p(truth), 0.01, blocks).tolist(), 0.01, 0.05) for _ in range(runs)
        ]
        return said.count(word) / runs

    allowance = 3 * math.sqrt(0.05 * 0.95 / 500)
    for end in (0.01, 0.05):
        assert share(end, "supported") <= 0.05 + allowance
        assert share(end, "contradicted") <= 0.05 + allowance
    assert share(0.055, "supported") <= 0.01
    assert share(0.005, "supported") <= 0.01


def test_blocks_needed_are_the_fewest() -> None:
    low, high = math.log1p(0.01), math.log1p(0.05)
    mean = math.log1p(0.03)
    found = {sd: blocks_needed(mean, sd, low, high) for sd in (0.0, 0.01, 0.02, 0.03, 0.05)}
    assert found == {0.0: 5, 0.01: 5, 0.02: 5, 0.03: 9, 0.05: 21}
    assert blocks_needed(mean, 0.05, low, high, confidence=0.99) == 49
    assert blocks_needed(math.log1p(0.10), 0.05, low, high) == 6
    assert blocks_needed(low, 0.01, low, high) is None
    assert blocks_needed(low + 1e-6, 0.05, low, high) is None
    assert blocks_needed(mean, 0.01, -math.inf, high) == blocks_needed(mean, 0.01, low, high)


def test_supported_contradicted_inconclusive() -> None:
    native = around(100.0, seed=2)
    found = word_of(claim(), run({"native": native, "docker/bridge": around(98.0)}))
    assert (found.word, found.reason) == ("supported", "the interval is inside the range")
    (row,) = found.figures
    assert row.value == pytest.approx(100 / 98 - 1, abs=1e-9)
    assert row.low is not None
    assert row.high is not None
    assert row.low < row.value < row.high
    assert (row.n, row.variant, row.against, row.run) == (12, "docker/bridge", "native", "r1")
    found = word_of(claim(), run({"native": native, "docker/bridge": around(80.0)}))
    assert (found.word, found.reason) == ("contradicted", "cpu.x rate is above the range")
    found = word_of(claim(), run({"native": native, "docker/bridge": around(95.5, sd=0.1)}))
    assert found.word == "inconclusive"
    assert "blocks are needed in total, 12 exist" in found.reason
    assert found.figures[0].blocks is not None
    assert found.figures[0].blocks > 12


def test_the_boundary_itself_needs_endless_blocks() -> None:
    even = run({"native": around(105.0, seed=2), "docker/bridge": around(100.0)})
    found = word_of(claim(), even)
    assert found.word == "inconclusive"
    assert "more than 10,000 blocks are needed in total" in found.reason
    assert found.figures[0].blocks is None


def test_too_many_missing_blocks_decide_nothing() -> None:
    native, own = around(100.0, 20, seed=2), around(98.0, 20)
    two: Values = [None, None, *own[2:]]
    three: Values = [None, None, None, *own[3:]]
    assert word_of(claim(), run({"native": native, "docker/bridge": two})).word == "supported"
    found = word_of(claim(), run({"native": native, "docker/bridge": three}))
    assert found.word == "inconclusive"
    assert "more than a tenth of the blocks missing" in found.reason
    found = word_of(claim(), run({"native": native, "docker/bridge": own}, planned=30))
    assert found.word == "inconclusive"


def test_few_blocks_decide_nothing() -> None:
    values = {"native": around(100.0, 4, seed=2), "docker/bridge": around(50.0, 4)}
    found = word_of(claim(), run(values))
    assert found.word == "inconclusive"
    assert found.reason.startswith("few blocks: 4, at least 5 needed")


def test_several_rows_must_all_be_inside() -> None:
    both = claim(about=("cpu.x:rate", "cpu.y:rate"))
    assert word_of(both, several(99.0, 98.0)).word == "supported"
    found = word_of(both, several(99.0, 80.0))
    assert (found.word, found.reason) == ("contradicted", "cpu.y rate is above the range")
    assert [row.word for row in found.figures] == ["supported", "contradicted"]
    third = claim(about=("cpu.x:rate", "cpu.y:rate", "cpu.z:rate"))
    found = word_of(third, several(99.0, 98.0))
    assert (found.word, found.reason) == ("inconclusive", "not measured yet: cpu.z:rate")


def test_one_row_of_several_contradicts_only_after_bonferroni() -> None:
    """With n = 12 the 90 % interval is ±1.80 standard errors, with two rows ±2.20: 2 lie between."""
    sd = 0.02
    value = 100 / math.exp(math.log(1.05) + 2.0 * sd / math.sqrt(12))
    found = word_of(claim(about=("cpu.x:rate", "cpu.y:rate")), several(99.0, value, sd))
    assert found.word == "inconclusive"
    assert found.figures[1].word == "contradicted"
    assert "not after adjusting for 2 rows" in found.reason
    assert word_of(claim(about=("cpu.y:rate",)), several(99.0, value, sd)).word == "contradicted"


def test_absolute_claims_are_about_the_variants_own_values() -> None:
    start = claim(kind="absolute", about=("boot.ready:ready",), against="", low=1, high=5, unit="s")
    found = word_of(start, boot(2.0))
    assert (found.word, found.figures[0].unit) == ("supported", "s")
    assert found.figures[0].value == pytest.approx(2.0)
    found = word_of(start, boot(0.3))
    assert (found.word, found.reason) == ("contradicted", "boot.ready ready is below the range")
    assert word_of(start, boot(5.01)).figures[0].blocks is not None
    assert word_of(start, boot(2.0, variant="native")).word == "not measured here"
    assert word_of(start, boot(2.0, planned=14)).word == "inconclusive"
    nested = boot(2.0, variant="libvirt/kvm", accelerators={"libvirt/kvm": "kvm-nested"})
    assert (
        word_of(
            claim(kind="absolute", about=("boot.ready:ready",), subjects=("libvirt/kvm",), against="", unit="s"), nested
        ).figures
        == ()
    )
    assert (
        word_of(claim(kind="absolute", about=("boot.ready:ready",), against="", unit="bytes"), boot(2.0)).figures == ()
    )


def test_words_are_counted() -> None:
    found = verdicts([claim(id="a"), claim(id="b", kind="fact", reason="by design")], [])
    assert counts(found) == {
        "supported": 0, "contradicted": 0, "inconclusive": 0, "not measured here": 1, "by design": 1,
        "untestable": 0,
    }  # fmt: skip
