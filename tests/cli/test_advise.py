"""`tare advise` on runs of the fake runtime: opposite needs, opposite answers, and what it refuses."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Tare, opened
from tests.cli.test_bad_input import refused
from tests.cli.test_claims import unvoid

TERMS = """\
[[terms]]
name = "own-kernel"
means = "a kernel of its own"
factor = "Security Requirements"
fact = "own-kernel"
accepts = ["yes"]

[[terms]]
name = "start"
means = "from requested to ready"
factor = "Performance Needs"
about = "boot.fake:ready"
"""
NEEDS = """\
[[needs]]
about = "own-kernel"

[[needs]]
about = "start"
at_most = "1 s"
"""


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tare]:
    """One run, made once for all tests here."""
    with opened(tmp_path_factory.mktemp("advise")) as command:
        words = ["--workload", "cpu.steady", "--workload", "boot.fake", "--blocks", "6", "--json"]
        command.run("--suite", "smoke", *words)
        unvoid(command.only_run() / "samples.csv")
        yield command


@pytest.fixture
def measured(once: Tare, tare: Tare) -> Tare:
    """With a copy of it whose slow variant is made a guest, and its baseline what runs on the host's kernel."""
    (tare.workloads / "needs.toml").write_text(TERMS)
    shutil.copytree(once.results, tare.results)
    edit(tare.only_run() / "samples.csv", "fake/slow", accelerator="kvm", kernel="6.1-guest")
    path = tare.only_run() / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["host"]["kernel"] = "fake"
    path.write_text(json.dumps(manifest))
    return tare


def edit(path: Path, variant: str, **columns: str) -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update(columns if row["variant"] == variant else {})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def words(tare: Tare, *more: str) -> list[str]:
    """Both variants may be advised, the baseline too."""
    return ["advise", "--workloads-dir", str(tare.workloads), "--out", str(tare.results), "--variant", "fake", *more]


def test_opposite_needs_get_different_reasoned_answers(measured: Tare) -> None:
    alone = measured(*words(measured, "--need", "own-kernel", "--need", "start=1s")).stdout
    assert "fake/slow meets all 2 needs." in alone
    assert "a guest's, 6.1-guest on kvm" in alone
    assert "fake/slow ranks before fake/baseline: own-kernel is missed on fake/baseline." in alone
    quick = measured(*words(measured, "--need", "start=115ms", "--need", "own-kernel")).stdout
    assert "No variant is known to meet all needs." in quick
    fast = measured(*words(measured, "--need", "start=115ms")).stdout
    assert "fake/baseline meets the need." in fast
    assert "boot.fake ready, n = 6, run " in fast


def test_json_and_markdown_of_a_file(measured: Tare) -> None:
    path = measured.home / "mine.toml"
    path.write_text(NEEDS)
    found = json.loads(measured(*words(measured, str(path), "--json")).stdout)
    assert found["chosen"] == "fake/slow"
    assert [need["name"] for need in found["needs"]] == ["own-kernel", "start"]
    first, second = found["ranking"]
    assert (first["variant"], first["verdict"]) == ("fake/slow", "met")
    reason = first["reasons"][1]
    assert (reason["n"], reason["run"], reason["word"]) == (6, found["runs"][0], "met")
    assert reason["low"] < reason["value"] < reason["high"] < 1
    assert second["verdict"] == "missed"
    markdown = measured(*words(measured, str(path), "--markdown")).stdout
    assert "**fake/slow meets all 2 needs.**" in markdown
    assert "fake/slow: meets all\n" in markdown
    assert "boot.fake ready, n = 6, run" in markdown


def test_an_emulated_guest_is_shown_and_never_advised(measured: Tare) -> None:
    edit(measured.only_run() / "samples.csv", "fake/slow", accelerator="tcg")
    found = json.loads(measured(*words(measured, "--need", "own-kernel", "--need", "start=1s", "--json")).stdout)
    assert found["chosen"] is None
    assert [one["variant"] for one in found["ranking"]] == ["fake/baseline"]
    (apart,) = found["apart"]
    assert (apart["variant"], apart["verdict"]) == ("fake/slow", "emulated (tcg)")
    assert {reason["word"] for reason in apart["reasons"]} == {"emulated (tcg)"}
    assert apart["reasons"][1]["value"] > 0


def test_what_nobody_measured_is_named(measured: Tare) -> None:
    text = measured(*words(measured, "--need", "start=1s", "--need", "memory.noisy:rate")).stdout
    assert "memory.noisy:rate: higher is better: not measured; no run measured it" in text
    assert "tare run --suite full --workload memory.noisy" in text


def test_the_names_are_listed(tare: Tare) -> None:
    assert json.loads(tare("advise", "--list", "--json").stdout)[0]["factor"] == "Security Requirements"
    lines = tare("advise", "--list").stdout.splitlines()
    assert "Security Requirements" in lines
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "the needs are missing"),
        (["--need", "own-kernl"], "did you mean own-kernel?"),
        (["no.toml"], "does not exist"),
        (["no.toml", "--need", "start"], "and --need are both given"),
    ],
)
def test_bad_input_is_refused(tare: Tare, more: list[str], says: str) -> None:
    assert says in refused(tare, "advise", "--out", str(tare.results), *more)


def test_without_a_run_there_is_no_advice(tare: Tare) -> None:
    assert "there are no runs" in tare("advise", "--out", str(tare.results), "--need", "start", code=2).stderr


def test_a_variant_that_was_not_measured_is_refused(measured: Tare) -> None:
    done = measured(*words(measured, "--need", "start=1s", "--variant", "fake/slwo"), code=2)
    assert "no run of this host measured fake/slwo" in done.stderr
    assert "did you mean fake/slow?" in done.stderr
