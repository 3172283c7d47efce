"""Memory that an instance holds and gives up on command: written by a process of its own, in every runtime alike."""

from harness.deadline import Deadline
from harness.errors import TareError
from harness.runtimes.base import Command, Instance

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
"""Reads so many MiB of the root's files, always the same ones, so that they are in a page cache, and writes so many MiB
of memory. No two pages are alike: merging (KSM) finds nothing. It ends once a child of it holds all that."""
FREE = 'kill -USR1 "$(cat "$0")" && while [ -e "$0" ]; do sleep 0.05; done'


def hold(instance: Instance, mib: int, read_mib: int, deadline: Deadline) -> None:
    """Return once `mib` MiB are written and `read_mib` MiB of files are read. Raises TareError where that fails."""
    _done(instance, ("python3", "-c", HOLD, str(mib), str(read_mib), FILE), deadline)


def free(instance: Instance, deadline: Deadline) -> None:
    """Return once what `hold` wrote is unmapped again. Raises TareError where nothing holds it any more."""
    _done(instance, ("sh", "-c", FREE, FILE), deadline)


def _done(instance: Instance, argv: tuple[str, ...], deadline: Deadline) -> None:
    output = instance.start(Command(argv=argv), deadline).wait(deadline)
    if output.status != 0:
        said = (output.stderr.strip() or output.stdout.strip())[-500:]
        raise TareError(f"{instance.name} could not hold and free memory", details=said)
