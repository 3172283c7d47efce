"""The command line that starts one guest of User Mode Linux, and the facts that it settles."""

import os
import shutil
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.process import run
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.boot_arguments import init_arguments, mac_of
from harness.runtimes.guests.confined import placed
from harness.runtimes.guests.disks import data_disk

KERNELS = ("linux.uml", "linux")
"""The kernel's program in Debian, and after a build from its sources."""
SHARED_MEMORY = Path("/dev/shm")
MIB = 2**20
DATA_DEVICE = "/dev/ubdb"
SCRIPT_UNIT = 16 * 2**10
"""Bytes to which a script's disk is filled up: the kernel looks for partitions in its first sectors."""
SEPARATORS = frozenset(",: \t\n")
"""Characters that no path may hold: the kernel's command line splits at blanks, a disk's description at the others."""
MAP_COUNT = Path("/proc/sys/vm/max_map_count")
"""How many memory mappings a process may have; a guest's process has one for each page that stands alone."""


def script_file(place: Place) -> Path:
    """The disk that holds the guest's start script."""
    return place.directory / "start.disk"


def overlay(place: Place) -> Path:
    """The file that keeps what the guest writes over the shared root; the kernel makes it."""
    return place.directory / "root.cow"


def command(
    prepared: Prepared, place: Place, identity: str, tap: str, kernel: Path, channel: int, userspace: int
) -> list[str]:
    """The command that starts a guest whose serial lines are the descriptors `channel` and `userspace`.

    bubblewrap gives it a process namespace and nothing else: User Mode Linux runs every process of the guest as one of
    the host, traced by its kernel's. Were that kernel killed alone, they would go on as programs of the host.
    Raises TareError when a path holds a character at which the kernel splits.
    """
    data = data_disk(place) if place.scratch_mib else None
    network = place.network if tap else None
    for path in (place.directory, prepared.root.disk, *((data,) if data else ())):
        if SEPARATORS & set(str(path)):
            raise TareError(
                f"User Mode Linux cannot open {path}: it splits names at blanks, commas and colons",
                hint="set TARE_STATE and TARE_RUNTIME to other folders",
            )
    devices = [f"ubd0={overlay(place)},{prepared.root.disk}", f"ubd2r={script_file(place)}"]
    if data is not None:
        devices.append(f"ubd1={data}")
    if tap:
        devices.append(f"vec0:transport=tap,ifname={tap},depth=128,gro=1,mac={mac_of(identity)}")
    return placed(
        place,
        (
            # A kernel that panics aborts: no core file of a guest's whole memory.
            *("prlimit", "--core=0", "bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--die-with-parent"),
            *("--chdir", str(place.directory), "--"),
            *(str(kernel), f"umid={place.name}", f"uml_dir={place.directory}/", f"mem={place.shape.memory_mib}M"),
            *devices,
            *("con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{channel}", f"ssl1=fd:{userspace}"),
            # Debian's other kernels have none of the old terminals either: making 512 of them is a quarter of the boot.
            *("root=/dev/ubda", "rootfstype=ext4", "ro", "quiet", "panic=-1", "pty.legacy_count=0"),
            *init_arguments(place.entry, DATA_DEVICE if data else "", network),
            *("init=/opt/tare/beacon", "--", "/dev/ttyS1", "userspace", "/bin/sh", "/dev/ubdc"),
        ),
    )


def facts(prepared: Prepared, place: Place, kernel: Path, memory: Path) -> dict[str, str]:
    """What is settled before the guest runs, for the parity table."""
    known = {
        "runtime": "uml",
        "uml_kernel": str(kernel),
        "vcpus": f"1 of the shape's {prepared.shape.vcpus}",
        "memory_file": f"{memory}, touched as the guest needs it",
        "memory_preallocated": "no",
        "host_max_map_count": MAP_COUNT.read_text().strip(),
        "image": prepared.image,
        "root_disk": "ubd cow over raw, host's page cache",
    }
    if place.scratch_mib:
        known["data_disk"] = "ubd raw, host's page cache: O_DIRECT ends in the guest"
    if place.network:
        known["network"] = "vector tap"
    return known


def script_disk() -> bytes:
    """The start script as a disk, filled up with newlines."""
    text = Path(__file__).with_name("start.sh").read_bytes()
    return text + b"\n" * (-len(text) % SCRIPT_UNIT)


def find_kernel() -> Path | None:
    """The installed kernel, None without one."""
    return next((Path(found) for name in KERNELS if (found := shutil.which(name))), None)


def release_of(kernel: Path, deadline: Deadline) -> str:
    """The kernel's own release. Raises TareError when the program prints none."""
    words = run([kernel, "--version"], deadline).stdout.split()
    if len(words) != 1 or not words[0][0].isdigit():
        raise TareError(f"{kernel} is not User Mode Linux", details=" ".join(words)[:200])
    return words[0]


def memory_room(mib: int) -> Path:
    """The folder for a guest's memory file of `mib` MiB: /dev/shm, else TMPDIR where that is set.

    Raises TareError when neither has the space and allows its memory to be executed.
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
