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
        ('source = "total"', 'source = "totla"', "metrics[0].source: the measure burst has no 'totla'", "mean total?"),
        ("instances = 2", "instances = 9", "instances: 9 is not a whole number from 1 to 4", "give a whole number"),
        ('measure = "burst"', 'measure = "brust"', ":3: measure: there is no measure brust", "did you mean burst?"),
        ('reader = "words"', 'reader = "word"', ":5: reader: there is no reader word", "did you mean words?"),
        ('measure = "burst"', "", "metrics[0].source: the reader words has no 'total'", "use one of: speed"),
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
    assert "gpu.burst.toml:3: measure: the measure burst fails on this workload: KeyError: 'instnces'" in done.stderr
    assert "fix: correct tare_burst" in done.stderr


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
        MODULE.replace("Words(BaseReader)", "Words"),
        "reader words",
        "is not a class derived from harness.readers.base.BaseReader",
        "tare-burst",
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
    tare("export", run, "--csv", str(copy), *out)
