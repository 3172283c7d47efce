"""Whether this host is dom0, Xen's privileged guest, and whether the numbers of its CPUs are the processor's own.

https://xenbits.xen.org/docs/unstable/misc/xen-command-line.html (dom0_vcpus_pin)
"""

import shutil
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.facts import SBIN, read
from harness.process import run

SYSFS = Path("/sys/hypervisor")
CAPABILITIES = Path("/proc/xen/capabilities")
"""Any guest may have the file; only dom0's says `control_d`. It needs /proc/xen mounted, which SYSFS does not."""
DOM0_FEATURE = 11
"""XENFEAT_dom0 of Xen's public/features.h, as a bit of SYSFS/properties/features."""
PIN = "dom0_vcpus_pin"
OFF = ("no", "off", "false", "0", "disable")
"""How a boot option of Xen is switched off; `no-` before its name does it too."""
ASK_SECONDS = 3.0


def is_dom0() -> bool:
    """Whether Xen runs this host and it is the privileged guest."""
    if "control_d" in read(CAPABILITIES):
        return True
    features = read(SYSFS / "properties/features")
    try:
        return read(SYSFS / "type") == "xen" and bool(int(features, 16) >> DOM0_FEATURE & 1)
    except ValueError:
        return False


def boot_options(deadline: Deadline) -> str | None:
    """What Xen was booted with, as its toolstack tells it; None where there is none or it does not answer."""
    program = shutil.which("xl", path=SBIN)
    if program is None:
        return None
    try:
        lines = run([program, "info"], deadline.within(ASK_SECONDS), check=False).stdout.splitlines()
    except TareError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == "xen_commandline"), None)


def is_pinned(options: str) -> bool:
    """Whether those boot options tie CPU i of dom0 to the processor's CPU i; of several the last counts."""
    pinned = False
    for word in options.split():
        name, _, value = word.partition("=")
        if name.removeprefix("no-") == PIN:
            pinned = name == PIN and value not in OFF
    return pinned
