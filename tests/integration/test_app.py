"""Applications for real: a database that needs preparing, and a chain, natively and in Docker, and nothing left."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.record.columnar import read_samples
from harness.record.row import Row
from tests.integration.test_run import LONGEST, picture, unfit

VARIANTS = ("native", "docker/bridge")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(unfit()), reason=unfit()),
    pytest.mark.timeout(LONGEST),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """One block of each, by the whole command."""
    out = tmp_path_factory.mktemp("results")
    before = picture() | {"shared memory": segments()}
    argv = [sys.executable, "-m", "harness", "run", "--suite", "full", "--blocks", "1", "--seed", "1"]
    argv += ["--workload", "app.pgbench", "--workload", "app.chain", "--out", str(out)]
    argv += [word for name in VARIANTS for word in ("--variant", name)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert picture() | {"shared memory": segments()} == before
    return list(read_samples(next(out.iterdir()) / "samples.csv"))


def segments() -> int:
    """System V shared memory on the host: a killed PostgreSQL would leave one."""
    return len(Path("/proc/sysvipc/shm").read_text().splitlines())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_database_answers_and_waits_are_in_order(rows: list[Row], variant: str) -> None:
    own = [row for row in rows if (row.workload, row.variant) == ("app.pgbench", variant)]
    for iteration in {row.iteration for row in own}:
        by_name = {row.metric: row.value or 0.0 for row in own if row.iteration == iteration}
        assert by_name["rate"] > 0
        assert 0 < by_name["latency-p50"] <= by_name["latency-p95"] <= by_name["latency-p99"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_request_goes_through_the_chain(rows: list[Row], variant: str) -> None:
    own = [row for row in rows if (row.workload, row.variant) == ("app.chain", variant)]
    assert own
    assert all("512MiB" in row.shape for row in own)
    assert all(row.value for row in own if row.metric == "latency-p50")
