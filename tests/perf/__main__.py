"""Print how tare compares with manual commands, in one run on this host. Asserts nothing.

Run by `make perf`, as root: python -m tests.perf [--pairs N] [--guest-pairs N] [--app-pairs N] [--only PART]…
"""

import argparse
import os
import platform
import signal
import sys

from harness.errors import ExitCode, TareError
from harness.process import have
from tests.perf import applications, containers, guests, rigour, scale, share, starts
from tests.perf.bench import Bench, open_bench

ROOT_NEEDED = "needs root for a private bridge: sudo make perf"
PARTS = ("start", "scale", "container", "guest", "app", "share", "rigour")
SHARE_BLOCKS = 3


def main() -> int:
    """Run the selected comparisons."""
    parser = argparse.ArgumentParser(prog="python -m tests.perf", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="rounds of the container and start comparisons")
    parser.add_argument("--guest-pairs", type=int, default=6, help="rounds of the guest comparison")
    parser.add_argument("--app-pairs", type=int, default=5, help="rounds of the application comparison")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; repeatable")
    arguments = parser.parse_args()
    chosen = arguments.only or PARTS
    print(f"{platform.node()}: {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}, kernel {platform.release()}")
    if "start" in chosen:
        print(starts.compare(arguments.pairs), flush=True)
    if "scale" in chosen:
        print(scale.compare(), flush=True)
    rest = set(chosen) - {"start", "scale"}
    if rest and (reason := _unable()):
        print(f"{', '.join(sorted(rest))}: skipped, {reason}")
        return 0
    try:
        if rest - {"share", "rigour"}:
            with open_bench() as bench:
                _launches(bench, chosen, arguments)
        if "share" in rest:
            print(share.compare(SHARE_BLOCKS), flush=True)
        if "rigour" in rest:
            print(rigour.compare())
    except TareError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


def _launches(bench: Bench, chosen: tuple[str, ...] | list[str], rounds: argparse.Namespace) -> None:
    if "container" in chosen:
        for flavour in ("bridge", "host"):
            print(containers.compare(bench, flavour, rounds.pairs), flush=True)
    if "guest" in chosen:
        print(guests.compare(bench, rounds.guest_pairs), flush=True)
    if "app" in chosen:
        for table in applications.compare(bench, rounds.app_pairs):
            print(table, flush=True)


def _unable() -> str:
    if os.geteuid() != 0:
        return ROOT_NEEDED
    missing = have("ip", "nsenter", "docker", "qemu-system-x86_64", "qemu-img", "taskset", "mmdebstrap")
    return f"not installed: {', '.join(missing)} (make doctor)" if missing else ""


if __name__ == "__main__":
    # As for Ctrl-C, so that the bench's daemons and namespaces are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
