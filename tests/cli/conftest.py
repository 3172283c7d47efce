"""The whole command as a subprocess, on the fake runtime, with folders of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WORKLOADS = Path(__file__).parent / "workloads"
TARE = Path(sys.executable).with_name("tare")


@dataclass
class Tare:
    """The command `tare` with private state, results and workloads."""

    home: Path
    children: list["subprocess.Popen[str]"] = field(default_factory=list)
    fake_seed: str = ""
    python_path: Path | None = None
    """A folder of further distributions."""

    @property
    def results(self) -> Path:
        """The results folder; it is not there until a run made it."""
        return self.home / "results"

    @property
    def workloads(self) -> Path:
        """A copy of the workloads, which a test may spoil."""
        return self.home / "workloads"

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start it; ended with the test."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TARE_FAKE": "1",
            **({"TARE_FAKE_SEED": self.fake_seed} if self.fake_seed else {}),
            **({"PYTHONPATH": str(self.python_path)} if self.python_path else {}),
            "TARE_STATE": str(self.home / "state"),
            "TARE_RUNTIME": str(self.home / "run"),
            "CI": "1",
        }
        child = subprocess.Popen(
            [str(TARE), *words],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.children.append(child)
        return child

    def __call__(self, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run it to its end and check the exit code."""
        child = self.start(*words)
        stdout, stderr = child.communicate(timeout=300)  # for what hangs: a busy host takes minutes
        assert child.returncode == code, f"exit code {child.returncode}\n{stdout}\n{stderr}"
        assert "Traceback" not in stderr
        return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)

    def run_words(self, *words: str) -> list[str]:
        """The words of `tare run` on this home."""
        return [
            *("run", "--workloads-dir", str(self.workloads), "--out", str(self.results)),
            *("--baseline", "fake/baseline", *words),
        ]

    def run(self, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """`tare run` to its end."""
        return self(*self.run_words(*words), code=code)

    def only_run(self) -> Path:
        """The folder of the only run."""
        (found,) = self.results.iterdir()
        return found

    def events(self) -> list[dict[str, Any]]:
        """The journal of the only run."""
        return [json.loads(line) for line in (self.only_run() / "journal.jsonl").read_text().splitlines()]

    def wait_for(self, event: str, times: int = 1, seconds: float = 30) -> None:
        """Wait until the only run's journal has an event that often."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.results.is_dir() and any(self.results.glob("*/journal.jsonl")):
                text = next(self.results.glob("*/journal.jsonl")).read_text()
                if text.count(f'"{event}"') >= times:
                    return
            time.sleep(0.02)
        raise AssertionError(f"no {event} within {seconds} s")


@contextmanager
def opened(home: Path) -> Iterator[Tare]:
    """The command in a home of its own; what it started ends with it."""
    shutil.copytree(WORKLOADS, home / "workloads")
    command = Tare(home)
    yield command
    for child in command.children:
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            child.communicate()


@pytest.fixture
def tare(tmp_path: Path) -> Iterator[Tare]:
    """The command, in a home of its own."""
    with opened(tmp_path) as command:
        yield command
