"""Needs: the shipped terms are whole; bad ones are refused with file, line and field, or with their flag."""

import math
from pathlib import Path

import pytest

from harness.definitions.needs import Need, load_needs, load_terms, parse_needs
from harness.definitions.workloads import load_workloads
from harness.errors import ExitCode, TareError
from harness.host.confinement import SECCOMP
from harness.paths import data

WORKLOADS = load_workloads(data("workloads"))
TERMS = load_terms(data("workloads"), WORKLOADS)
GOOD = """\
[[needs]]
about = "own-kernel"

[[needs]]
about = "start"
at_most = "500 ms"

[[needs]]
about = "random-read"
at_least = 1000

[[needs]]
about = "cpu.sysbench:rate"
overhead = "5 %"

[[needs]]
about = "memory-latency"
"""
TERM = """\
[[terms]]
name = "start"
means = "ready"
factor = "Performance Needs"
about = "boot.ready:ready"

[[terms]]
name = "own-kernel"
means = "its own"
factor = "Security Requirements"
fact = "own-kernel"
accepts = ["yes"]
"""


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_file_becomes_needs_in_its_order(tmp_path: Path) -> None:
    kernel, start, read, cpu, latency = load_needs(written(tmp_path, GOOD), TERMS, WORKLOADS)
    assert (kernel.fact, kernel.accepts) == ("own-kernel", ("yes",))
    assert (start.workload, start.metric, start.unit, start.low, start.high) == (
        "boot.ready", "ready", "s", -math.inf, 0.5
    )  # fmt: skip
    assert (read.low, read.high, read.direction) == (1000.0, math.inf, "higher")
    assert (cpu.overhead, cpu.high, cpu.direction, cpu.unit) == (True, 0.05, "lower", "")
    assert not latency.limited


def test_flags_say_the_same(tmp_path: Path) -> None:
    flags = ["own-kernel", "start=500ms", "random-read=1000", "cpu.sysbench:rate=5%", "memory-latency"]
    assert parse_needs(flags, TERMS, WORKLOADS) == load_needs(written(tmp_path, GOOD), TERMS, WORKLOADS)


def test_amounts_have_units() -> None:
    def high(text: str) -> float:
        (need,) = parse_needs([text], TERMS, WORKLOADS)
        return need.high if need.high < math.inf else need.low

    assert high("start=2min") == 120
    assert high("start=5") == 5
    assert high("memory-bandwidth=2 GB/s") == 2e9
    assert high("memory-bandwidth=1KiB/s") == 1024
    assert high("cpu=250.5%") == 2.505


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ('about = "own-kernel"', 'abuot = "own-kernel"', ":2: needs[0].abuot", "unknown key"),
        ('about = "own-kernel"', 'about = "own-kernl"', ":2: needs[0].about", "not the name of a need"),
        ('about = "own-kernel"', 'about = "own-kernel"\nat_most = 1', ":3: needs[0].at_most", "is a fact"),
        ('at_most = "500 ms"', 'at_least = "500 ms"', ":6: needs[1].at_least", "lower is better"),
        ('at_most = "500 ms"', 'at_most = "500 MB"', ":6: needs[1].at_most", "not a duration"),
        ('at_most = "500 ms"', "at_most = -1", ":6: needs[1].at_most", "greater than or equal"),
        ('at_most = "500 ms"', "at_most = nan", ":6: needs[1].at_most", "nan"),
        ('at_most = "500 ms"', "at_most = true", ":6: needs[1].at_most", "True"),
        ('at_most = "500 ms"', 'at_most = 1\noverhead = "5 %"', ":7: needs[1].overhead", "it stands beside at_most"),
        ("at_least = 1000", "at_most = 1000", ":10: needs[2].at_most", "higher is better"),
        ('"cpu.sysbench:rate"', '"cpu.sysbnech:rate"', ":13: needs[3].about", "no workload"),
        ('"cpu.sysbench:rate"', '"cpu.sysbench:rat"', ":13: needs[3].about", "no metric"),
        ('"cpu.sysbench:rate"', '"network.tcp-in:retransmits"', ":14: needs[3].overhead", "linear scale"),
        ('"5 %"', '"5"', ":14: needs[3].overhead", "has no unit"),
        ('"5 %"', "0.05", ":14: needs[3].overhead", "valid string"),
        ('"memory-latency"', '"start"', ":17: needs[4].about", "stated twice"),
        ("[[needs]]", "[[need]]", ": need", "unknown key"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_field(tmp_path: Path, old: str, new: str, where: str, says: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new) if old == "[[needs]]" else GOOD.replace(old, new, 1))
    with pytest.raises(TareError) as caught:
        load_needs(path, TERMS, WORKLOADS)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert caught.value.hint
    assert caught.value.brief.startswith(f"{path}:")
    assert where in caught.value.brief
    assert says in caught.value.brief


@pytest.mark.parametrize(
    "text", ["", "=1s", "own-kernl", "own-kernel=1", "start=", "start=nan", "start=-1s", "start=１s", "x:y=1"],
)  # fmt: skip
def test_bad_flags_are_named(text: str) -> None:
    with pytest.raises(TareError, match="--need") as caught:
        parse_needs([text], TERMS, WORKLOADS)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("boot.ready:ready", "boot.ready:redy", ":5: terms[0].about", "no metric"),
        ('about = "boot.ready:ready"\n', "", ":1: terms[0].about", "a term is a measurement or a fact"),
        ('name = "own-kernel"', 'name = "start"', ":2: terms[0].name", "2 times"),
        ('accepts = ["yes"]\n', "", ":7: terms[1].accepts", "is needed for a fact"),
        ('means = "ready"', "", ":1: terms[0].means", "is missing"),
    ],
)
def test_bad_terms_are_refused(tmp_path: Path, old: str, new: str, where: str, says: str) -> None:
    path = written(tmp_path, TERM.replace(old, new), "needs.toml")
    with pytest.raises(TareError) as caught:
        load_terms(tmp_path, WORKLOADS)
    assert f"{path}{where}" in caught.value.brief
    assert says in caught.value.brief


def test_terms_are_no_workload_and_need_not_be_there(tmp_path: Path) -> None:
    assert "needs" not in WORKLOADS
    assert load_terms(tmp_path, WORKLOADS) == ()
    (only,) = parse_needs(["boot.ready:ready=1s"], (), WORKLOADS)
    assert isinstance(only, Need)


def test_every_factor_of_a_term_is_the_documents() -> None:
    factors = {
        "Security Requirements", "Performance Needs", "Application Architecture", "Operational Complexity",
        "Portability Requirements", "Resource Constraints", "Development Workflow",
    }  # fmt: skip
    assert {term.factor for term in TERMS} <= factors


def test_a_filter_is_known_by_the_kernels_number_and_by_the_word_for_it() -> None:
    term = next(one for one in TERMS if one.name == "seccomp")
    assert {number for number in (*SECCOMP, *SECCOMP.values()) if number in term.accepts} == {"2", SECCOMP["2"]}
