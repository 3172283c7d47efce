"""Memory of real processes, and of the host."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness.host import memory

MIB = 2**20
HOLDER = """
import mmap, sys
area = mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, 24 << 20, 4096): area[at] = 1
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[int]:
    """A process that has written 24 of 32 MiB in a mapping of its own."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        yield child.pid
        child.kill()


def test_what_a_process_holds_is_resident(holder: int) -> None:
    found = memory.resident([holder])
    assert 24 * MIB <= found.anonymous <= found.pss <= found.rss
    assert memory.resident([holder, holder]).anonymous >= 2 * 24 * MIB, "of many it is the sum"


def test_a_guests_ram_is_the_mapping_of_its_size(holder: int) -> None:
    ram = memory.guest_ram(holder, 32 * MIB)
    assert ram is not None
    assert 24 * MIB <= ram <= 32 * MIB
    assert memory.guest_ram(holder, 64 * MIB) is None


def test_what_is_gone_or_has_no_memory_holds_nothing() -> None:
    assert memory.resident([2**22 + 1]) == memory.Resident()
    assert memory.cpu_seconds([2**22 + 1]) == 0.0
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert memory.resident([ended.pid]) == memory.Resident(), "nobody has waited for it: it is a zombie"


def test_cpu_time_of_our_own_process_grows() -> None:
    before = memory.cpu_seconds([os.getpid()])
    sum(range(200_000))
    assert memory.cpu_seconds([os.getpid()]) > before


def test_the_host_tells_its_memory() -> None:
    found = memory.meminfo()
    assert 0 < found["MemAvailable"] < found["MemTotal"]
    assert {"Slab", "PageTables", "KernelStack"} <= found.keys()
