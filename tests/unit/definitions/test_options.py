"""Numbers on the command line are what they say, or refused with their flag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.definitions.options import parse_amount, parse_count, parse_duration, parse_looks, parse_percent
from harness.errors import ExitCode, TareError


@pytest.mark.parametrize(
    "text", ["1_000", "１２", "nan", "inf", "1e3", "0", "-1", "+1", " 1", "1 ", "", "0x10", "9" * 30]
)
def test_counts_that_are_refused(text: str) -> None:
    with pytest.raises(TareError, match="--blocks"):
        parse_count(text, "--blocks")


@pytest.mark.parametrize("text", ["30", "m", "1_0s", "-5m", "0s", "infs", "1e9h", "３0s", "1h30m", "30 m", "9999999h"])
def test_durations_that_are_refused(text: str) -> None:
    with pytest.raises(TareError, match="--time"):
        parse_duration(text, "--time")


def test_counts_and_durations() -> None:
    assert parse_count("6", "--blocks") == 6
    assert [parse_duration(text, "--time") for text in ("90s", "30m", "1.5h")] == [90.0, 1800.0, 5400.0]


@given(st.text())
def test_a_count_is_what_it_says_or_refused(text: str) -> None:
    try:
        assert str(parse_count(text, "--n", least=0)) == (text.lstrip("0") or "0")
    except TareError as error:
        assert error.code is ExitCode.BAD_INPUT


@pytest.mark.parametrize("text", ["1", "0%", "101%", "-1%", "1e1%", "nan%", "１%", "1 %", "", "%", "1%%"])
def test_percentages_that_are_refused(text: str) -> None:
    with pytest.raises(TareError, match="--precision"):
        parse_percent(text, "--precision")


@pytest.mark.parametrize("text", ["10", "", "10,", "20,10", "10,10", "1,2", "10;20", "5,6,7,8,9,10,11,12,13,14,15"])
def test_looks_that_are_refused(text: str) -> None:
    with pytest.raises(TareError, match="--looks"):
        parse_looks(text, "--looks")


def test_percentages_and_looks() -> None:
    assert [parse_percent(text, "-p") for text in ("1%", "0.5%", "100%")] == [0.01, 0.005, 1.0]
    assert parse_looks("10,20,40", "--looks") == (10, 20, 40)


@pytest.mark.parametrize(
    ("unit", "says", "fix"),
    [
        ("s", "'5kg' is not a duration", "use the unit ns, us, µs, ms, s or min, for example 5s"),
        ("bytes", "'5kg' is not a size", "for example 5MiB"),
        ("bytes/s", "'5kg' is not an amount in bytes/s", "for example 5MiB/s"),
        ("ops/s", "'5kg' is not an amount in ops/s", "use the unit ops/s, for example 5ops/s"),
    ],
)
def test_a_wrong_amount_is_refused_with_the_units_and_an_example_that_is_accepted(
    unit: str, says: str, fix: str
) -> None:
    with pytest.raises(TareError) as caught:
        parse_amount("5kg", unit, "--need start")
    assert says in caught.value.brief
    assert fix in caught.value.hint
    assert parse_amount(caught.value.hint.rpartition(" ")[2], unit, "--need start") > 0
