"""Data disks and the view of a QEMU process, on real files and a real process."""

import platform
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.process import have
from harness.runtimes.guests.disks import MIB, make_data, make_overlay
from harness.runtimes.guests.tsc import counter_khz
from harness.runtimes.guests.vmm_process import VmmProcess

BURN = "import sys, time\nwhile time.process_time() < 0.2: pass\nprint('x', flush=True)\nsys.stdin.read()"
needs_qemu_img = pytest.mark.skipif(bool(have("qemu-img")), reason="qemu-img is not installed")


def test_a_raw_data_disk_is_written_in_full(tmp_path: Path) -> None:
    path = tmp_path / "data.raw"
    make_data(path, 9, "raw", Deadline.after(30))
    assert path.stat().st_size == 9 * MIB
    assert path.stat().st_blocks * 512 >= 9 * MIB
    assert len(set(path.read_bytes()[:4096])) > 200, "it should not compress"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_data_disk_that_does_not_fit_or_is_late_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TareError, match="free"):
        make_data(tmp_path / "big", 2**40, "raw", Deadline.after(5))
    with pytest.raises(DeadlineExceeded):
        make_data(tmp_path / "late", 16, "raw", Deadline.after(0))
    assert list(tmp_path.iterdir()) == []


@needs_qemu_img
def test_overlay_and_qcow2_disk(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(bytes(MIB))
    make_overlay(base, tmp_path / "root.qcow2", Deadline.after(30))
    make_data(tmp_path / "data.qcow2", 16, "qcow2", Deadline.after(30))
    for name in ("root.qcow2", "data.qcow2"):
        assert (tmp_path / name).read_bytes()[:4] == b"QFI\xfb"


@pytest.mark.parametrize("option", ["-uuid", "-xen-domid"])
def test_a_process_is_found_by_its_identity_alone_and_its_cpu_time_adds_up(option: str) -> None:
    identity = str(uuid.uuid4())
    argv = ["qemu-pretender", "-c", BURN, "-name", "tare-x", option, identity]
    assert VmmProcess.find(identity, option) is None
    child = subprocess.Popen(argv, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    try:
        child.stdout.readline()
        found = VmmProcess.find(identity, option)
        assert found is not None and found.pid == child.pid and not found.gone()
        assert 0.15 < sum(found.counters().values()) < 5
        assert not found.uses_vhost()
        child.stdin.close()
        assert found.gone(5.0)
        found.close()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert VmmProcess.find(identity, option) is None


@pytest.mark.skipif(platform.machine() != "x86_64", reason="another processor has another counter")
def test_the_counters_speed_is_the_same_each_time_it_is_told() -> None:
    counter_khz.cache_clear()
    first = counter_khz()
    counter_khz.cache_clear()
    assert 100_000 < first < 10_000_000
    assert counter_khz() == pytest.approx(first, rel=1e-4)
