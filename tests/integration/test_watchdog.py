"""A harness that is killed by kill -9 while a container lives: its watchdog removes all that carries its label, itself
last, and nobody has to call `tare clean`."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import paths
from harness.deadline import Deadline
from harness.rig.lock import NAME, host_lock
from harness.run.clean import clean_host
from harness.run.watchdog import LOG
from tests.integration.test_run import picture, unfit

RUN = ["run", "--suite", "smoke", "--workload", "cpu.sysbench", "--variant", "docker/bridge", "--blocks", "50"]
LONGEST = 240.0

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(unfit()), reason=unfit()),
    pytest.mark.timeout(2 * LONGEST),
]


def lives(out: Path) -> bool:
    """Whether the agent of a container has told its facts, and no container has ended yet."""
    texts = [path.read_text() for path in out.glob("*/journal.jsonl")]
    lines = [json.loads(line) for text in texts for line in text.splitlines(True) if line.endswith("\n")]
    told = [one["event"] for one in lines if one["data"].get("variant") == "docker/bridge"]
    return told[-1:] == ["facts"]


def watchdogs() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        found += [words] if "harness.run.watchdog" in words and str(paths.runtime()) in words else []
    return found


def wait_for(what: str, true: Callable[[], bool]) -> None:
    deadline = Deadline.after(LONGEST)
    while not true():
        deadline.check(what)
        time.sleep(0.1)


def test_what_a_killed_run_leaves_is_gone_by_itself(tmp_path: Path) -> None:
    before = picture()
    argv = [sys.executable, "-m", "harness", *RUN, "--out", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as harness:
        wait_for("a container's facts", lambda: lives(tmp_path))
        assert len(watchdogs()) == 1
        harness.send_signal(signal.SIGKILL)
        assert harness.wait() == -signal.SIGKILL
    wait_for("the end of the watchdog", lambda: not watchdogs())
    (log,) = (path.read_text() for path in tmp_path.glob(f"*/{LOG}"))
    with host_lock(paths.locks(), "a test"):
        done = clean_host(Deadline.after(120), lambda _: None)
    assert "removed docker-container tare-" in log, log
    assert "removed network-namespace" in log or "removed netns" in log, log
    assert done.removed == () and done.stuck == (), log
    assert picture() == before, log
    assert not (paths.locks() / NAME).read_text()
    assert not list(paths.runtime().glob("watchdog-*"))
