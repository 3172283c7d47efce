"""Memory that an instance holds and frees on command: a process of its own writes it, alike in every runtime."""

from harness.deadline import Deadline
from harness.measures.command import succeed
from harness.runtimes.base import Instance

FILE = "/tmp/tare-holder"
HOLD = """\
import mmap, os, signal, sys
mib, left, file = int(sys.argv[1]), int(sys.argv[2]) << 20, sys.argv[3]
told, tell = os.pipe()
child = os.fork()
if child:
    os.close(tell)
    held = os.read(told, 1)
    sys.exit(0 if held else f"it ended with {os.waitstatus_to_exitcode(os.wait()[1])} before it held {mib} MiB")
quiet = os.open("/dev/null", os.O_RDWR)
os.dup2(quiet, 1)
os.dup2(quiet, 2)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for folder, below, names in os.walk("/usr"):
    below.sort()
    for name in sorted(names):
        path = os.path.join(folder, name)
        if left > 0 and os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb", buffering=0) as data:
                while left > 0 and (piece := data.read(min(left, 1 << 20))):
                    left -= len(piece)
area = mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(area), mmap.PAGESIZE):
    area[at:at + 16] = os.urandom(16)
with open(file, "w") as note:
    note.write(str(os.getpid()))
os.write(tell, b"1")
os.close(tell)
signal.sigwait([signal.SIGUSR1])
area.close()
os.unlink(file)
while True:
    signal.pause()
"""
"""Reads MiB of the root's files, always the same ones, into a page cache, and writes MiB of memory. No two pages are
alike, so that merging (KSM) finds nothing. It ends once a child process holds all of this."""
FREE = 'kill -USR1 "$(cat "$0")" && while [ -e "$0" ]; do sleep 0.05; done'


def hold(instance: Instance, mib: int, read_mib: int, deadline: Deadline) -> None:
    """Write `mib` MiB of memory and read `read_mib` MiB of files, and hold them. Raises TareError when that fails."""
    succeed(instance, ("python3", "-c", HOLD, str(mib), str(read_mib), FILE), deadline)


def free(instance: Instance, deadline: Deadline) -> None:
    """Unmap what `hold` wrote. Raises TareError when nothing holds it any more."""
    succeed(instance, ("sh", "-c", FREE, FILE), deadline)
