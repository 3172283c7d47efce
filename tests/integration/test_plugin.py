"""The example runtime of another distribution, installed by pip, in a real run of the smoke suite."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.definitions.suites import load_suite
from harness.model import HOST_COSTS
from harness.paths import data
from harness.record.columnar import read_samples
from harness.record.row import Row
from tests.integration.test_run import LONGEST, picture, unfit

EXAMPLE = Path(__file__).parents[1] / "plugin"
PROGRAMS = Path(sys.executable).parent
VARIANT = "bwrap/pid-uts"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(unfit()), reason=unfit()),
    pytest.mark.timeout(2 * LONGEST),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the example from a wheel; nothing is fetched for either."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    _run(str(PROGRAMS / "uv"), "build", "--offline", "--wheel", "--out-dir", str(wheels), str(EXAMPLE))
    (wheel,) = wheels.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(folder), str(wheel))
    _run(*pip)
    return folder


def measured(site: Path, out: Path, *words: str) -> Path:
    """The folder of a run of the smoke suite with the example's only variant, which no suite lists."""
    before = picture()
    _tare(site, "run", "--suite", "smoke", "--blocks", "1", "--variant", "bwrap", "--out", str(out), *words)
    assert picture() == before
    (folder,) = out.iterdir()
    return folder


@pytest.fixture(scope="module")
def rows(site: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The rows of the whole suite."""
    return read_samples(measured(site, tmp_path_factory.mktemp("results")) / "samples.csv")


def test_the_example_is_listed(site: Path) -> None:
    found: dict[str, Any] = json.loads(_tare(site, "list", "--json"))
    assert found["broken"] == []
    assert VARIANT in {one["name"] for one in found["variants"] if one["available"]}


def test_it_runs_every_workload_of_the_suite_beside_native(rows: list[Row]) -> None:
    workloads = load_suite("smoke", data("workloads")).workloads
    assert {(row.workload, row.variant) for row in rows} == {
        (workload, variant) for workload in workloads for variant in ("native", VARIANT)
    }
    assert [(row.workload, row.metric, row.reason) for row in rows if row.value is None] == []


def test_its_rows_have_the_metrics_of_native(rows: list[Row]) -> None:
    """But for the host's cost, which has no row where it is within the noise of the idle window."""
    native, own = (
        {
            (row.workload, row.metric, row.unit)
            for row in rows
            if row.variant == variant and not row.metric.startswith(HOST_COSTS)
        }
        for variant in ("native", VARIANT)
    )
    assert own == native
    assert {(row.runtime, row.accelerator) for row in rows if row.variant == VARIANT} == {("bwrap", "none")}


def test_its_namespaces_are_its_own(site: Path, tmp_path: Path) -> None:
    """Measured by a workload whose resource the suite does not have."""
    folder = measured(site, tmp_path, "--workload", "isolation.facts")
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    seen = [line["data"] for line in lines if line["event"] == "observed"]
    apart = {one["variant"]: one["told"]["namespaces apart from the host's"] for one in seen if "told" in one}
    assert apart == {"native": "ipc mnt", VARIANT: "ipc mnt pid uts"}


def _tare(site: Path, *words: str) -> str:
    return _run(str(PROGRAMS / "tare"), *words, PYTHONPATH=str(site))


def _run(*argv: str, **environment: str) -> str:
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
