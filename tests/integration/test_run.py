"""A real run of the smoke suite, interrupted and resumed: all resources and variants, and a host left as it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import paths
from harness.deadline import Deadline
from harness.host.daemons.network_state import Footprint, plain
from harness.host.daemons.private import missing_programs
from harness.process import have, run
from harness.record.columnar import read_samples
from harness.record.row import Row

CASES_BEFORE_INTERRUPT = 3
LONGEST = 900.0
NETWORK = {"native", "docker/bridge", "docker/host", "docker/nat"}
DISK = {"native", "docker/overlay", "docker/volume"}


def unfit() -> str:
    """Why the whole command cannot run for real here; empty where it can."""
    if os.geteuid() != 0:
        return "needs root for bridge and peer"
    missing = [*missing_programs(("docker", "libvirt")), *have("bwrap", "mmdebstrap", "qemu-system-x86_64")]
    return f"not installed: {', '.join(missing)} (make setup)" if missing else ""


pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(unfit()), reason=unfit()),
    pytest.mark.timeout(2 * LONGEST),
]


NETNS = " /run/netns "
"""What iproute2 mounts onto itself at its first namespace on a host, and keeps for all that follow."""


def picture() -> dict[str, object]:
    """What a run must leave as it found it."""
    deadline = Deadline.after(30)
    footprint = Footprint.take(deadline)
    commands = [" ".join(argv) for argv in _command_lines() if str(paths.runtime()) in " ".join(argv)]
    return {
        "namespaces": run(["ip", "netns", "list"], deadline).stdout,
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "rules": {tool: plain(text) for tool, text in footprint.rules.items()},
        "sysctls": footprint.sysctls,
        "bridges": footprint.bridges,
        "mounts": sorted(line for line in Path("/proc/self/mounts").read_text().splitlines() if NETNS not in line),
        "loops": run(["losetup", "--all"], deadline).stdout,
        "kvm": oct(Path("/dev/kvm").stat().st_mode) if Path("/dev/kvm").exists() else "none",
        "processes": commands,
        "scratch": sorted(path.name for path in (paths.state() / "scratch").glob("*")),
        "instances": sorted(path.name for path in paths.instances().glob("*")),
        "cgroups": sorted(map(str, Path("/sys/fs/cgroup").glob("*/tare*"))),
    }


def _command_lines() -> Iterator[list[str]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue


class Finished:
    """The run's folder and what was seen on the way."""

    def __init__(self, out: Path) -> None:
        self.before = picture()
        self.interrupted = self._interrupt(out)
        self.folder = next(out.iterdir())
        self.rows_then = read_samples(self.folder / "samples.csv")
        self.between = picture()
        self.resumed = self._tare("run", "--resume", str(self.folder), "--out", str(out))
        self.after = picture()
        self.rows = read_samples(self.folder / "samples.csv")
        self.manifest = json.loads((self.folder / "manifest.json").read_text())

    def _interrupt(self, out: Path) -> int:
        argv = [sys.executable, "-m", "harness", "run", "--suite", "smoke", "--blocks", "1", "--seed", "5"]
        with subprocess.Popen([*argv, "--out", str(out)], stdout=subprocess.DEVNULL) as child:
            until = time.monotonic() + LONGEST
            while child.poll() is None and time.monotonic() < until and _closed(out) < CASES_BEFORE_INTERRUPT:
                time.sleep(0.2)
            child.send_signal(signal.SIGTERM)
            return child.wait(timeout=120)

    @staticmethod
    def _tare(*words: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "harness", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST, check=False)

    def of(self, resource: str) -> list[Row]:
        return [row for row in self.rows if row.workload.startswith(f"{resource}.") and row.value is not None]


def _closed(out: Path) -> int:
    journals = list(out.glob("*/journal.jsonl"))
    return journals[0].read_text().count('"case-closed"') if journals else 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("results"))


def test_sigterm_keeps_the_rows_and_leaves_nothing(finished: Finished) -> None:
    assert finished.interrupted == 130
    assert len({row.case for row in finished.rows_then}) >= CASES_BEFORE_INTERRUPT
    assert finished.between == finished.before


def test_resume_finishes_the_run_and_leaves_nothing(finished: Finished) -> None:
    assert finished.resumed.returncode == 0, finished.resumed.stderr
    assert finished.manifest["status"] == "finished"
    assert finished.manifest["failures"] == []
    assert finished.after == finished.before


@pytest.mark.parametrize(
    ("resource", "variants"),
    [
        ("cpu", {"native", "docker/bridge"}),
        ("memory", {"native", "docker/bridge"}),
        ("network", NETWORK),
        ("disk", DISK),
        ("boot", {"native", "docker/bridge"}),
    ],
)
def test_every_resource_has_samples_of_every_variant(finished: Finished, resource: str, variants: set[str]) -> None:
    found = {row.variant for row in finished.of(resource)}
    guests = {name for name in found if name.startswith("libvirt/")}
    assert found - guests == variants
    assert guests


def test_guests_are_named_after_what_ran_them(finished: Finished) -> None:
    for row in finished.rows:
        if row.runtime == "libvirt" and row.value is not None:
            kind = row.variant.removeprefix("libvirt/").partition("-")[0]
            assert row.accelerator.startswith(kind)
            assert row.kernel != os.uname().release
        elif row.value is not None:
            assert (row.accelerator, row.kernel) == ("none", os.uname().release)


def test_one_shape_and_one_root_for_all(finished: Finished) -> None:
    assert len({row.shape for row in finished.rows}) == 1
    assert len({row.definition for row in finished.rows if row.workload == "cpu.sysbench"}) == 1
    facts = finished.manifest["instances"]
    cpus = finished.rows[0].cpus
    assert {facts[name]["cpus"] for name in ("native", "docker/bridge")} == {cpus}
    assert len({one["nofile"] for one in facts.values()}) == 1
    assert len({one["python"] for one in facts.values()}) == 1
    assert {one["cgroup_cpu_weight"] for one in facts.values()} == {"default"}
    assert all(word.endswith(":/") for word in facts["native"]["cgroup"].split())


def test_raw_output_and_both_clocks_are_kept(finished: Finished) -> None:
    raw = [json.loads(path.read_text()) for path in (finished.folder / "raw").glob("cpu.sysbench_native*.json")]
    assert raw
    for one in raw:
        assert "events per second" in one["stdout"]
        assert one["end"] - one["begin"] == pytest.approx(one["inner_end"] - one["inner_begin"], abs=0.2)
        assert one["counters"]["workload"] > 0


def test_the_report_keeps_emulated_guests_apart(finished: Finished) -> None:
    page = (finished.folder / "report.html").read_text()
    assert page.count("<svg") + page.count("data:image/") >= 5
    if any(row.accelerator == "tcg" for row in finished.rows):
        assert "emulated" in page
        assert "emulated (tcg)" in finished.resumed.stdout
    assert "overhead" in finished.resumed.stdout
