"""The CPU time of a native tree, while its processes come and go."""

import subprocess
from collections.abc import Iterator

import psutil
import pytest

from harness.errors import TareError
from harness.runtimes.agent.process_tree import cpu_seconds


def ended() -> psutil.Process:
    """A process that was there when it was looked for, and is gone."""
    with subprocess.Popen(["sleep", "60"]) as child:
        found = psutil.Process(child.pid)
        child.kill()
    return found


def test_a_process_that_ends_while_its_tree_is_read_makes_it_read_again() -> None:
    looks: Iterator[list[psutil.Process]] = iter([[psutil.Process(), ended()], [psutil.Process()]])
    assert cpu_seconds(lambda: next(looks)) > 0
    assert next(looks, None) is None


def test_reading_ends() -> None:
    gone = ended()
    with pytest.raises(TareError, match="faster than"):
        cpu_seconds(lambda: [gone])
