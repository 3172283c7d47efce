"""The gate as a program, and what is read of it: which calls pass, and output that is not whole."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.images import guest
from harness.images.recipe import INSIDE
from harness.measures.isolation import INIT_MODULE
from harness.readers.gate import Gate

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: apt-get install gcc libc6-dev")
GETPID, MOUNT, UNUSED, SYNC, REBOOT = 39, 165, 400, 162, 169


def test_answers_are_counted_by_what_they_mean() -> None:
    told = "0 E14\n1 0\n2 E1\n3 E38\n4 S31\n5 S14\n6 -\n"
    assert Gate().read(told, {}) == {"allowed": 3, "refused": 1, "absent": 1, "killed": 1, "skipped": 1}


@pytest.mark.parametrize("told", ["", "0 0\n2 0\n", "0 0\n1 X\n", "0 0\n1 E1", "1 0\n", "0 0\nkernel: hello\n"])
def test_what_is_not_whole_is_no_answer(told: str) -> None:
    with pytest.raises(TareError):
        Gate().read(told, {})


@needs_cc
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are x86-64's")
def test_it_calls_everything_and_changes_nothing(tmp_path: Path) -> None:
    program = tmp_path / "gate"
    program.write_bytes(guest.compiled((INSIDE / "gate.c").read_bytes(), tmp_path, Deadline.after(30)))
    program.chmod(0o755)
    before = platform.node(), Path("/proc/mounts").read_text()
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=True)
    assert (platform.node(), Path("/proc/mounts").read_text()) == before
    found = Gate().answers(done.stdout)
    assert (found[GETPID], found[UNUSED], found[SYNC]) == ("0", "E38", "-")
    assert found[MOUNT].startswith("E") and found[REBOOT].startswith("E") and found[INIT_MODULE].startswith("E")
    counts = Gate().read(done.stdout, {})
    assert counts["allowed"] > 200 and sum(counts.values()) == len(found)
