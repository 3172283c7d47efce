"""The kernel's tracer for real, where there is one: what a process reaches, and nothing left of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.host import tracing
from harness.host.tracing import TracerSweep, Untraceable, traced
from harness.process import run

GETPPID = "110"
LOOP = "import os; [os.getppid() for _ in range(500)]"


@pytest.mark.skipif(bool(tracing.missing()), reason=tracing.missing())
def test_what_a_process_and_its_children_call_is_seen_and_nobody_elses() -> None:
    mounts = Path("/proc/mounts").read_text()
    with subprocess.Popen(["sh", "-c", f'read _; python3 -c "{LOOP}"; :'], stdin=subprocess.PIPE) as child:
        try:
            with traced("syscalls", [child.pid]) as reached:
                child.communicate(b"\n", timeout=60)
        except Untraceable as error:
            child.kill()
            pytest.skip(str(error))
    assert 500 <= reached.found[GETPPID] < 600, "a shell that starts Python asks a few times too"
    assert 10 < len(reached.found) < 120
    assert Path("/proc/mounts").read_text() == mounts


def test_without_a_process_there_is_nothing_to_trace() -> None:
    with pytest.raises(Untraceable), traced("syscalls", [2**22 + 1]):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root: sudo make test")
def test_in_a_pid_namespace_nothing_is_traced_since_the_tracer_has_other_numbers() -> None:
    said = "from harness.host import tracing; print(tracing.missing())"
    inside = run(["unshare", "--pid", "--fork", sys.executable, "-c", said], Deadline.after(60))
    assert "PID namespace" in inside.stdout


def test_lines_of_both_tracers_are_told_apart() -> None:
    call = b"           <...>-4242    [001] .....  1234.567890: sys_enter: NR 74 (3, 7ffd0, 1, 0, 0, 0)"
    function = b"              dd-4242    [001] ...1.  1234.567890: ext4_sync_file <-vfs_fsync_range"
    for kind, line, name in (("syscalls", call, b"74"), ("functions", function, b"ext4_sync_file")):
        (other,) = {"syscalls", "functions"} - {kind}
        found = tracing.LINES[kind].search(line)  # type: ignore[index]
        assert found is not None and found[1] == name
        assert tracing.LINES[other].search(line) is None  # type: ignore[index]


@pytest.mark.skipif(bool(tracing.missing()), reason=tracing.missing())
def test_what_a_killed_run_left_is_found_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARE_RUNTIME", str(tmp_path))
    monkeypatch.setattr(tracing, "SYSTEM", tmp_path / "none")
    monkeypatch.setattr(tracing, "missing", lambda: "")
    folder = tracing.own_mount()
    folder.mkdir()
    deadline = Deadline.after(20)
    run(["mount", "-t", "tracefs", "tare", folder], deadline)
    left = folder / tracing.INSTANCES / "tare-left-by-test"
    left.mkdir()
    sweep = TracerSweep()
    found = [one for one in sweep.leftovers() if one.name in (str(left), str(folder))]
    assert [one.kind for one in found] == ["tracer", "tracer-mount"]
    for one in found:
        sweep.remove(one, deadline)
    assert not folder.exists()
    assert not list(TracerSweep().leftovers())
