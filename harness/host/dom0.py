"""Detect whether this host is dom0, Xen's privileged guest, and whether its vCPUs are pinned to physical CPUs.

Source: https://xenbits.xen.org/docs/unstable/misc/xen-command-line.html (dom0_vcpus_pin)
"""

import shutil
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.facts import SBIN, read
from harness.process import run

SYSFS = Path("/sys/hypervisor")
CAPABILITIES = Path("/proc/xen/capabilities")
"""Contains `control_d` only in dom0. Any guest may have the file; it exists only if /proc/xen is mounted."""
DOM0_FEATURE = 11
"""XENFEAT_dom0 of Xen's public/features.h, as a bit of SYSFS/properties/features."""
PIN = "dom0_vcpus_pin"
OFF = ("no", "off", "false", "0", "disable")
"""The values that disable a boot option of Xen; the prefix `no-` disables it too."""
ASK_SECONDS = 3.0


def is_dom0() -> bool:
    """Whether this host is Xen's privileged guest."""
    if "control_d" in read(CAPABILITIES):
        return True
    features = read(SYSFS / "properties/features")
    try:
        return read(SYSFS / "type") == "xen" and bool(int(features, 16) >> DOM0_FEATURE & 1)
    except ValueError:
        return False


def boot_options(deadline: Deadline) -> str | None:
    """Xen's boot options, from `xl info`; None if xl is missing or fails."""
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
    """Whether the boot options pin vCPU i of dom0 to physical CPU i; the last such option counts."""
    pinned = False
    for word in options.split():
        name, _, value = word.partition("=")
        if name.removeprefix("no-") == PIN:
            pinned = name == PIN and value not in OFF
    return pinned
