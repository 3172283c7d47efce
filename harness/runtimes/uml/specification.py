"""What one guest of User Mode Linux is made of, and the command line that starts it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import NetworkPlace
from harness.process import run
from harness.runtimes.base import Entry
from harness.runtimes.guests.boot_arguments import told

KERNELS = ("linux.uml", "linux")
"""Debian's name of the kernel's program, and the one that it has from its own build."""
SHARED_MEMORY = Path("/dev/shm")
MIB = 2**20
DATA_DEVICE = "/dev/ubdb"
SCRIPT_UNIT = 16 * 2**10
"""What a script's disk is filled up to: the kernel looks for partitions in its first sectors."""
SEPARATORS = frozenset(",: \t\n")
"""What cannot be in a path: the kernel's command line splits at blanks, a disk's description at the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One guest.

    `kernel` is the program, `cow` keeps what is written over the shared raw `root`, `script` what the guest's shell
    reads first, `data` the data disk. `cpu_list` are the host's CPUs for all of its processes, `memory` the directory
    of the file that is its memory. `tap` and `mac` are "" without a network.
    """

    name: str
    kernel: Path
    directory: Path
    cpu_list: str
    memory: Path
    memory_mib: int
    cow: Path
    root: Path
    script: Path
    data: Path | None
    entry: Entry
    network: NetworkPlace | None
    tap: str
    mac: str


def argv(guest: Description, channel: int, userspace: int) -> list[str]:
    """The command that starts a guest whose serial lines are the descriptors `channel` and `userspace`.

    bubblewrap gives it a process namespace and nothing else: User Mode Linux runs every process of the guest as one of
    the host, traced by its kernel's. Were that kernel killed alone, they would go on as programs of the host.
    Raises TareError when a path holds what the kernel would split at.
    """
    for path in (guest.directory, guest.cow, guest.root, guest.script, *((guest.data,) if guest.data else ())):
        if SEPARATORS & set(str(path)):
            raise TareError(
                f"User Mode Linux cannot open {path}: it splits names at blanks, commas and colons",
                hint="set TARE_STATE and TARE_RUNTIME to other folders",
            )
    netns = guest.network.netns if guest.network else ""
    disks = [f"ubd0={guest.cow},{guest.root}", f"ubd2r={guest.script}"]
    if guest.data is not None:
        disks.append(f"ubd1={guest.data}")
    if guest.tap:
        disks.append(f"vec0:transport=tap,ifname={guest.tap},depth=128,gro=1,mac={guest.mac}")
    return [
        *(["nsenter", f"--net=/run/netns/{netns}"] if netns else []),
        # A kernel that panics aborts: no core file of a guest's whole memory.
        *("prlimit", "--core=0", "taskset", "--cpu-list", guest.cpu_list),
        *("bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--die-with-parent", "--chdir", str(guest.directory), "--"),
        *(str(guest.kernel), f"umid={guest.name}", f"uml_dir={guest.directory}/", f"mem={guest.memory_mib}M"),
        *disks,
        *("con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{channel}", f"ssl1=fd:{userspace}"),
        # Debian's other kernels have none of the old terminals either: making 512 of them is a quarter of the boot.
        *("root=/dev/ubda", "rootfstype=ext4", "ro", "quiet", "panic=-1", "pty.legacy_count=0"),
        *told(guest.entry, DATA_DEVICE if guest.data else "", guest.network),
        *("init=/opt/tare/beacon", "--", "/dev/ttyS1", "userspace", "/bin/sh", "/dev/ubdc"),
    ]


def script_disk() -> bytes:
    """The start script as a disk, filled up with newlines."""
    text = Path(__file__).with_name("start.sh").read_bytes()
    return text + b"\n" * (-len(text) % SCRIPT_UNIT)


def find_kernel() -> Path | None:
    """The installed kernel, None without one."""
    return next((Path(found) for name in KERNELS if (found := shutil.which(name))), None)


def release_of(kernel: Path, deadline: Deadline) -> str:
    """The kernel's own release. Raises TareError when the program says none."""
    said = run([kernel, "--version"], deadline).stdout.split()
    if len(said) != 1 or not said[0][0].isdigit():
        raise TareError(f"{kernel} is not User Mode Linux", details=" ".join(said)[:200])
    return said[0]


def memory_room(mib: int) -> Path:
    """Where a guest's memory file of `mib` MiB goes: /dev/shm, else TMPDIR where that is set.

    Raises TareError when neither has the space, or lets memory in it be executed.
    """
    problems = []
    for folder in dict.fromkeys((SHARED_MEMORY, Path(os.environ.get("TMPDIR") or SHARED_MEMORY))):
        problem = _unfit(folder, mib)
        if not problem:
            return folder
        problems.append(problem)
    raise TareError(
        "User Mode Linux has no room for a guest's memory",
        details="\n".join(problems),
        hint=f"mount -o remount,exec,size={2 * mib}m {SHARED_MEMORY}, or set TMPDIR to a tmpfs with space",
    )


def _unfit(folder: Path, mib: int) -> str:
    try:
        status = os.statvfs(folder)
    except OSError as error:
        return str(error)
    if status.f_flag & os.ST_NOEXEC:
        return f"{folder} is mounted noexec"
    free = status.f_bavail * status.f_frsize // MIB
    return f"{folder} has {free} MiB free, a guest needs {mib}" if free < mib else ""
