"""The host lock with real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import ExitCode, TareError
from harness.rig.lock import host_lock

HOLD = "import sys; from pathlib import Path; from harness.rig.lock import host_lock\n"
HOLD += "with host_lock(Path(sys.argv[1]), 'default', 'run1'): print('held', flush=True); sys.stdin.read()"


def test_second_run_is_told_who_holds_it_and_a_dead_holder_blocks_nobody(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", HOLD, str(tmp_path))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with pytest.raises(TareError) as refused, host_lock(tmp_path, "smoke"):
            pass
        holder.kill()
    said = str(refused.value)
    assert f"pid {holder.pid}, since 2" in said and "run: run1" in said and "purpose: default" in said
    assert f"kill -INT {holder.pid}" in refused.value.hint
    assert refused.value.code == ExitCode.HOST_NOT_FIT
    with host_lock(tmp_path, "smoke") as path:
        assert f'"pid": {os.getpid()}' in path.read_text()
    assert path.read_text() == ""


def test_a_holder_that_wrote_nonsense_is_still_an_error_for_users(tmp_path: Path) -> None:
    with host_lock(tmp_path, "one") as path:
        path.write_bytes(b'\x1b[2J{"pid"')
        with pytest.raises(TareError, match="pid unknown"), host_lock(tmp_path, "two"):
            pass


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("keep")
    (tmp_path / "tare.lock").symlink_to(target)
    with pytest.raises(TareError, match="cannot open"), host_lock(tmp_path, "one"):
        pass
    assert target.read_text() == "keep"
