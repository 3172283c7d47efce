"""The frequency of this host's time stamp counter, which QEMU's emulation passes through to its guests.

A microvm has none of the timers that a kernel calibrates with (no PIT that Linux uses with ACPI, no HPET, no PM timer).
KVM provides the frequency. An emulated guest needs it on its command line, or it waits for the first tick forever.
"""

import ctypes
import mmap
import time
from functools import cache

from harness.errors import TareError

# rdtsc; shl rdx, 32; or rax, rdx; ret  (Intel SDM, volume 2)
READ_COUNTER = bytes.fromhex("0f3148c1e2204809d0c3")
APART_SECONDS = 0.2
TRIES = 20
MOST_PPM = 20.0


@cache
def counter_khz() -> int:
    """The counter's frequency in kHz by CLOCK_MONOTONIC, accurate to some millionths; takes 0.2 s once.

    Raises TareError where this process may not execute memory that it wrote, or the two readings are too uncertain.
    """
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError as error:
        raise TareError(
            "the time stamp counter cannot be read", details=str(error), hint="use libvirt/tcg instead"
        ) from error
    page.write(READ_COUNTER)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def both() -> tuple[int, int, int]:
        """Width of the window in which both were read, the clock at its middle, in ns, and the counter."""
        windows = []
        for _ in range(TRIES):
            before, counter, after = time.monotonic_ns(), read(), time.monotonic_ns()
            windows.append((after - before, (before + after) // 2, counter))
        return min(windows)

    first = both()
    time.sleep(APART_SECONDS)
    last = both()
    elapsed = last[1] - first[1]
    if (first[0] + last[0]) / elapsed * 1e6 > MOST_PPM or last[2] <= first[2]:
        raise TareError("the time stamp counter's frequency is too uncertain", hint="repeat it on a less busy host")
    return round((last[2] - first[2]) / elapsed * 1e6)
