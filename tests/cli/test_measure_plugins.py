"""Measures, readers and exporters of other distributions: good ones work, and bad ones leave all others usable."""

import json
import re
from pathlib import Path

import pytest

from harness.record.columnar import read_samples
from tests.cli.conftest import Tare

DOCS = (Path(__file__).parents[2] / "docs/plugins.md").read_text().partition("## Measures, readers and exporters")[2]
MODULE, ENTRY_POINTS, EXAMPLE = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS, re.DOTALL)
POINTS = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", ENTRY_POINTS).replace('"', "")
FAKE = 'argv = ["fake", "rate=1000", "noise=0.01", "sleep=0.01"]'
WORKLOAD = EXAMPLE.replace('argv = ["gpu-bench"]', FAKE)


@pytest.fixture
def gpu(tare: Tare) -> Tare:
    """The command beside a distribution with a measure and a reader, and a workload of the resource `gpu`."""
    tare.python_path = tare.home / "site"
    install(tare.python_path, MODULE, POINTS)
    (tare.workloads / "gpu.burst.toml").write_text(WORKLOAD)
    suite = (tare.workloads / "suites" / "smoke.toml").read_text()
    suite = suite.replace('["cpu.steady", "memory.noisy", "boot.fake"]', '["cpu.steady", "gpu.burst"]')
    suite = suite.replace("[variants]", '[variants]\ngpu = ["fake/baseline", "fake/slow"]')
    (tare.workloads / "suites" / "smoke.toml").write_text(suite)
    return tare


def install(folder: Path, module: str, points: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "tare_burst.py").write_text(module)
    info = folder / "tare_burst-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tare-burst\nVersion: 1\n")
    (info / "entry_points.txt").write_text(points)


def words(tare: Tare, command: str, *more: str) -> list[str]:
    folder = ("--workloads-dir", str(tare.workloads))
    return [command, *folder, *more]


def plan_words(tare: Tare) -> list[str]:
    return words(tare, "plan", "--suite", "smoke", "--baseline", "fake/baseline", "--blocks", "2")


def test_a_measure_and_a_reader_of_another_distribution_measure_a_resource_of_their_own(gpu: Tare) -> None:
    planned = json.loads(gpu(*plan_words(gpu), "--json").stdout)
    assert planned["cases"] == 8 and 4 <= planned["estimate_seconds"] < 30
    done = gpu.run("--suite", "smoke", "--blocks", "2")
    rows = [row for row in read_samples(gpu.only_run() / "samples.csv") if row.workload == "gpu.burst"]
    assert {row.metric for row in rows} == {"total"} and len(rows) == 8
    assert {1500 < row.value < 2500 for row in rows if row.variant == "fake/baseline" and row.value} == {True}
    sections = [line.strip() for line in done.stdout.splitlines()]
    assert "gpu" in sections and sections.index("gpu") > sections.index("cpu")


@pytest.mark.parametrize(
    ("old", "new", "says", "fix"),
    [
        ('source = "total"', 'source = "totla"', "source: the measure burst has no source 'totla'", "mean total?"),
        ("instances = 2", "instances = 9", "instances: 9 is not a whole number from 1 to 4", "give a whole number"),
        ('measure = "burst"', 'measure = "brust"', ":3: measure: there is no measure 'brust'", "did you mean burst?"),
        ('reader = "words"', 'reader = "word"', ":5: reader: there is no reader 'word'", "did you mean words?"),
        ('measure = "burst"', "", "metrics[0].source: the reader words has no field 'total'", "use one of: speed"),
    ],
)
def test_a_workload_is_checked_by_them(gpu: Tare, old: str, new: str, says: str, fix: str) -> None:
    text = WORKLOAD.replace(old, new, 1).replace("[parameters]\ninstances = 2\n\n" if not new else "\0", "")
    (gpu.workloads / "gpu.burst.toml").write_text(text)
    done = gpu(*plan_words(gpu), code=2)
    assert "gpu.burst.toml" in done.stderr and says in done.stderr
    assert fix in done.stderr


def test_a_measure_that_fails_on_a_workload_is_named_with_its_module(gpu: Tare) -> None:
    install(gpu.home / "site", MODULE.replace('["instances"])', '["instnces"])', 1), POINTS)
    done = gpu(*plan_words(gpu), code=2)
    assert "gpu.burst.toml:3: measure: the measure burst failed in tare-burst (" in done.stderr
    assert ", line 24): KeyError: 'instnces'" in done.stderr
    assert "fix: correct that file, or: pip uninstall tare-burst" in done.stderr


BROKEN = {
    "a measure without measure": (
        MODULE.replace("def measure(", "def measured("),
        "measure burst",
        "Burst lacks measure",
        "define measure in Burst",
    ),
    "a measure that raises": (
        MODULE.replace("needs = (", "needs = 1 / 0, (", 1),
        "measure burst",
        "ZeroDivisionError: division by zero",
        "tare-burst",
    ),
    "a reader without parse": (
        MODULE.replace("def parse(", "def parsed("),
        "reader words",
        "Words lacks parse",
        "define parse in Words",
    ),
    "a reader of another class": (
        MODULE.replace("Words(Reader)", "Words"),
        "reader words",
        "is not a class derived from harness.readers.base.Reader",
        "name a class derived from harness.readers.base.Reader in the entry point",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_skips_its_workloads_and_nothing_else(gpu: Tare, name: str) -> None:
    module, what, says, fix = BROKEN[name]
    install(gpu.home / "site", module, POINTS)
    listed = gpu(*words(gpu, "list")).stdout
    assert says in listed and fix in listed
    assert all(one in listed for one in ("fake/baseline", "cpu.steady", "gpu.burst", "smoke"))
    planned = json.loads(gpu(*plan_words(gpu), "--json").stdout)
    assert {block["workload"] for block in planned["blocks"]} == {"cpu.steady"}
    (skip,) = (one for one in planned["skips"] if one["what"] == "gpu.burst")
    assert skip["reason"].startswith(f"{what}: plug-in tare_burst:") and says in skip["reason"] and fix in skip["fix"]


YIELD = 'yield from samples({"total": total}, number, workload, cost, "")'
READ = 'return {"speed": self.figure(float(found[1]), "rate")}'
FAILING = {
    "a measure that raises": (YIELD, 'raise KeyError("boom")', "the measure burst", "line 38): KeyError: 'boom'"),
    "a measure that exits": (YIELD, "raise SystemExit(0)", "the measure burst", "line 38): SystemExit: 0"),
    "a measure that yields no sample": (YIELD, "yield total", "the measure burst", "has no attribute 'role'"),
    "a measure of no number": (YIELD, YIELD.replace(": total", ": 'much'"), "the measure burst", "value 'much' is not"),
    "a measure that repeats itself": (
        YIELD,
        f"{YIELD}\n            {YIELD}",
        "the measure burst",
        "FieldError: iteration 0 of total is there twice",
    ),
    "a measure of another unit": (
        YIELD,
        YIELD.replace("yield from", "yield from (replace(one, unit='kg') for one in") + ")",
        "the measure burst",
        "FieldError: unit of total changes from 1/s to kg",
    ),
    "a reader of no number": (
        READ,
        'return {"speed": float("nan")}',
        "the reader of the words",
        "= nan is not a",
    ),
    "a reader of text": (READ, 'return {"speed": found[1]}', "the reader of the words", "is not a finite number"),
    "a reader of another field": (READ, 'return {"speed": 1.0, "x": 2.0}', "the reader of the words", "x is not among"),
    "a reader of nothing": (READ, "return None", "the reader of the words", "parse returned None, not figures"),
    "a reader that raises": (READ, "return [][1]", "the reader of the words", "line 49): IndexError"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failing_one_fails_its_cases_and_all_others_go_on(gpu: Tare, name: str) -> None:
    old, new, what, problem = FAILING[name]
    module = MODULE.replace(old, new)
    install(gpu.home / "site", module.replace("ExitStack\n", "ExitStack; from dataclasses import replace\n", 1), POINTS)
    done = gpu.run("--suite", "smoke", "--blocks", "1", code=1)
    assert f": {what} failed in tare-burst ({gpu.home / 'site' / 'tare_burst.py'}" in done.stderr
    rows = read_samples(gpu.only_run() / "samples.csv")
    failed = [row for row in rows if row.workload == "gpu.burst" and row.value is None]
    assert [row.variant for row in sorted(failed, key=lambda row: row.variant)] == ["fake/baseline", "fake/slow"]
    assert all(problem in row.reason for row in failed)
    assert {row.variant for row in rows if row.workload == "cpu.steady" and row.value} == {"fake/baseline", "fake/slow"}


def test_a_plugin_cannot_take_the_name_of_one_of_tares(tare: Tare) -> None:
    """Nor does it skip the workloads that use that name."""
    points = "[tare.readers]\npairs = tare_burst:Words\n[tare.measures]\ncommand = tare_burst:Burst\n"
    tare.python_path = tare.home / "site"
    install(tare.python_path, MODULE, f"{points}[tare.exporters]\ncsv = tare_burst:Lines\n")
    listed = json.loads(tare(*words(tare, "list"), "--json").stdout)
    reasons = {one["runtime"]: one["reason"] for one in listed["broken"]}
    for name, group in (("pairs", "readers"), ("command", "measures"), ("csv", "exporters")):
        assert reasons[name].endswith(f"tare-bench has an entry point {name} in tare.{group}")
    tare.run("--suite", "smoke", "--blocks", "1", "--workload", "cpu.steady")
    assert {row.workload for row in read_samples(tare.only_run() / "samples.csv")} == {"cpu.steady"}


def test_an_exporter_of_another_distribution_writes_its_own_format(tare: Tare) -> None:
    tare.python_path = tare.home / "site"
    install(tare.python_path, MODULE, POINTS)
    tare.run("--suite", "smoke", "--blocks", "1", "--workload", "cpu.steady")
    run, lines, copy = tare.only_run().name, tare.home / "x.txt", tare.home / "x.csv"
    out = ("--out", str(tare.results))
    done = tare("export", run, "--to", "lines", str(lines), "--to", "csv", str(copy), *out)
    count = len(read_samples(tare.only_run() / "samples.csv"))
    assert f"{count} samples written to {lines}" in done.stdout and len(lines.read_text().splitlines()) == count > 0
    assert copy.read_bytes() == (tare.only_run() / "samples.csv").read_bytes()
    wrong = tare("export", run, "--to", "line", str(lines), *out, code=2).stderr
    assert "there is no exporter 'line'" in wrong and "use one of: csv, lines, parquet" in wrong
    install(tare.python_path, MODULE.replace("def write(", "def written("), POINTS)
    broken = tare("export", run, "--to", "lines", str(lines), *out, code=1).stderr
    assert "the exporter lines cannot be used" in broken and "Lines lacks write" in broken
    assert "Lines lacks write" in tare(*words(tare, "list")).stdout
    tare("export", run, "--csv", str(copy), *out)


def test_an_exporter_that_raises_is_named_and_the_others_write(tare: Tare) -> None:
    tare.python_path = tare.home / "site"
    install(tare.python_path, MODULE.replace("path.write_text(", "1 / 0, path.write_text("), POINTS)
    tare.run("--suite", "smoke", "--blocks", "1", "--workload", "cpu.steady")
    run, lines, copy = tare.only_run().name, tare.home / "x.txt", tare.home / "x.csv"
    words = ("--to", "lines", str(lines), "--to", "csv", str(copy), "--out", str(tare.results))
    done = tare("export", run, *words, code=1)
    module = tare.python_path / "tare_burst.py"
    assert f"the exporter lines failed in tare-burst ({module}, line 56): ZeroDivisionError" in done.stderr
    assert "fix: correct that file, or: pip uninstall tare-burst" in done.stderr
    assert copy.read_bytes() == (tare.only_run() / "samples.csv").read_bytes()
