"""Comparing stored runs and foreign CSVs by the command, on the fake runtime."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Tare, opened

Row = dict[str, str]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The results folder of two runs of one suite, measured once."""
    with opened(tmp_path_factory.mktemp("measured")) as tare:
        for seed in ("1", "2"):
            tare.fake_seed = seed  # by chance, one family of comparisons in twenty differs
            tare.run("--suite", "smoke", "--blocks", "6", "--seed", seed, "--json")
        yield tare.results


@pytest.fixture
def pair(tare: Tare, measured: Path) -> list[Path]:
    """Copies of the two runs in the command's own results, oldest first."""
    shutil.copytree(measured, tare.results)
    return sorted(tare.results.iterdir())


def compare(tare: Tare, *words: str, code: int = 0) -> tuple[str, str]:
    done = tare("compare", "--out", str(tare.results), *words, code=code)
    return done.stdout, done.stderr


def rows(tare: Tare, *words: str) -> list[dict[str, Any]]:
    stdout, _ = compare(tare, *words, "--json")
    (found,) = json.loads(stdout)
    listed: list[dict[str, Any]] = found["rows"]
    return listed


def changed(source: Path, target: Path, change: Callable[[Row], None]) -> Path:
    """A copy of a CSV with every row passed through `change`."""
    with source.open(newline="") as file:
        read = list(csv.DictReader(file))
    for row in read:
        change(row)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, read[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(read)
    return target


def slow(row: Row) -> None:
    """One metric of one variant, slowed by 10 %."""
    if (row["workload"], row["metric"], row["variant"]) == ("cpu.steady", "rate", "fake/slow") and row["value"]:
        row["value"] = repr(float(row["value"]) / 1.1)


def test_two_runs_of_one_host_do_not_differ(tare: Tare, pair: list[Path]) -> None:
    found = rows(tare, pair[0].name, pair[1].name)
    judged = [row for row in found if row["adjusted"] is not None]
    assert {row["workload"] for row in judged} == {"cpu.steady", "memory.noisy", "boot.fake"}
    assert sum(row["verdict"] == "no difference found" for row in judged) >= 0.95 * len(judged)
    assert {row["basis"] for row in found} == {"within-run noise only"}
    assert {row["view"] for row in found} == {"normalized", "raw"}


def test_a_slowed_metric_in_a_copy_is_found_and_nothing_else(tare: Tare, pair: list[Path]) -> None:
    copy = changed(pair[0] / "samples.csv", tare.home / "copy.csv", slow)
    found = rows(tare, str(pair[0] / "samples.csv"), str(copy), "--against", "fake/baseline")
    different = [row for row in found if row["verdict"].startswith("costs")]
    assert {(row["workload"], row["metric"], row["variant"]) for row in different} == {
        ("cpu.steady", "rate", "fake/slow")
    }
    assert [row["difference"] for row in different] == [pytest.approx(0.1), pytest.approx(0.1)]


def test_the_gate_needs_to_know_the_noise_between_runs(tare: Tare, pair: list[Path]) -> None:
    def later(row: Row) -> None:
        slow(row)
        row["run"] = "ffffff"

    copy = changed(pair[0] / "samples.csv", tare.home / "later.csv", later)
    words = (str(copy), "--against", "fake/baseline", "--fail-on", "regression=5%")
    _, stderr = compare(tare, *words, "--baseline", pair[0].name)
    assert "not gated: cpu.steady · rate on fake/slow +" in stderr
    tare.run("--suite", "smoke", "--blocks", "6", "--seed", "3", "--json")
    stdout, stderr = compare(tare, *words, "--baseline", "last:3", code=3)
    assert "regression: cpu.steady · rate on fake/slow +" in stderr
    assert "last:3 (" in stdout
    assert compare(tare, "latest", *words[1:], "--baseline", "last:2")[1] == "no regression beyond +5.0 %\n"


def test_last_k_needs_as_many_fit_runs(tare: Tare, pair: list[Path]) -> None:
    _, stderr = compare(tare, "latest", "--baseline", "last:9", code=2)
    assert "results has 1\n" in stderr


def test_what_differs_is_warned_of_or_refused(tare: Tare, pair: list[Path]) -> None:
    def other(row: Row) -> None:
        row.update(run="eeeeee", host="0123456789ab", kernel="9.9", definition="0" * 12)

    copy = changed(pair[0] / "samples.csv", tare.home / "other.csv", other)
    words = (pair[0].name, str(copy), "--against", "fake/baseline")
    _, stderr = compare(tare, *words, code=2)
    assert "definition differs" in stderr
    assert "allow" in stderr
    stdout, _ = compare(tare, *words, "--allow", "definition")
    assert "different hosts" in stdout
    assert "kernel differs: fake and 9.9" in stdout
    assert "no manifest beside" in stdout


def test_an_emulated_host_is_not_compared_with_a_real_one(tare: Tare, pair: list[Path]) -> None:
    def emulated(row: Row) -> None:
        row.update(run="dddddd", host_virtualized="tcg")

    copy = changed(pair[0] / "samples.csv", tare.home / "lab.csv", emulated)
    words = (pair[0].name, str(copy), "--against", "fake/baseline")
    assert "emulated host" in compare(tare, *words, code=2)[1]
    compare(tare, *words, "--allow", "emulated")


def test_sides_of_several_runs_folders_and_parquet(tare: Tare, pair: list[Path]) -> None:
    (tare.home / "elsewhere").mkdir()
    for path in pair:
        shutil.copytree(path, tare.home / "elsewhere" / path.name)
    tare.run("--suite", "smoke", "--blocks", "6", "--seed", "4", "--json")
    newest = sorted(tare.results.iterdir())[-1]
    parquet = tare.home / "newest.parquet"
    tare("export", newest.name, "--parquet", str(parquet), "--out", str(tare.results))
    found = rows(tare, str(tare.home / "elsewhere"), str(parquet), "--against", "fake/baseline")
    primary = [row for row in found if row["primary"]]
    assert {tuple(row["runs"]) for row in primary} == {(2, 1)}
    both = [row for row in rows(tare, f"{pair[0].name},{pair[1].name}", "latest") if row["primary"]]
    assert [row["difference"] for row in both] == pytest.approx([row["difference"] for row in primary])


def test_a_run_on_both_sides_beside_another_is_refused(tare: Tare, pair: list[Path]) -> None:
    _, stderr = compare(tare, f"{pair[0].name},{pair[1].name}", pair[1].name, code=2)
    assert "both hold the run" in stderr
    _, stderr = compare(tare, f"{pair[0].name},{pair[0].name}", pair[1].name, code=2)
    assert "already on this side" in stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["latest"], "there is only one side"),
        (["latest", "nothing.csv"], "nothing.csv"),
        (["latest", "latest", "--fail-on", "speed=5%"], "there is no gate"),
        (["latest", "latest", "--fail-on", "regression=5"], "--fail-on regression"),
        (["latest", "--baseline", "last:0"], "--baseline last:K"),
    ],
)
def test_bad_words(tare: Tare, pair: list[Path], words: list[str], said: str) -> None:
    assert said in compare(tare, *words, code=2)[1]


def test_the_same_file_on_both_sides_is_warned_of(tare: Tare, pair: list[Path]) -> None:
    copy = shutil.copy(pair[0] / "samples.csv", tare.home / "same.csv")
    stdout, _ = compare(tare, str(copy), str(copy), "--against", "fake/baseline")
    assert "Warning: both sides are the same file." in stdout
    assert stdout.count("same.csv)") == 1


def test_markdown_and_a_page(tare: Tare, pair: list[Path]) -> None:
    page = tare.home / "page.html"
    stdout, _ = compare(tare, pair[0].name, pair[1].name, "--markdown", "--html", str(page))
    assert stdout.startswith("# ")
    assert "| cpu.steady" in stdout
    text = page.read_text()
    assert "<svg" in text
    assert "within-run noise only" in text.lower()
    assert "://" not in text
