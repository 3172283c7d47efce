"""Labelled processes, real ones: found by program and label, killed by nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from harness.deadline import Deadline
from harness.runtimes.guests.labelled_processes import Labelled, find, kill, labels_for

PROGRAM = f"tare-test-{uuid4().hex[:8]}"
WAIT = "import sys\nprint('x', flush=True)\nsys.stdin.read()"


@contextmanager
def running(labels: Mapping[str, str], program: str = PROGRAM) -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen(
        [f"/somewhere/{program}", "-c", WAIT],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **labels},
    )
    assert child.stdout is not None
    child.stdout.readline()
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_process_is_ours_by_program_and_labels_together() -> None:
    ours = labels_for("tare-a", {"tare.run": "r1"})
    with running(ours) as child, running({}), running(ours, "another-program"), running({"tare.run": "r1"}):
        assert list(find(PROGRAM)) == [Labelled(child.pid, "tare-a", "r1")]


def test_only_the_named_one_is_killed_and_gone_already_is_fine() -> None:
    first, second = (labels_for(name, {"tare.run": "r1"}) for name in ("tare-a", "tare-b"))
    with running(first) as one, running(second) as other:
        assert kill("tare-a", Deadline.after(5), PROGRAM)
        assert one.wait(5) < 0 and other.poll() is None
        assert not kill("tare-a", Deadline.after(5), PROGRAM)
        assert [found.name for found in find(PROGRAM)] == ["tare-b"]
