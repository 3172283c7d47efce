"""Run tare in a guest with a working /dev/kvm: doctor, a small suite with Docker and KVM guests, a check for leftovers.

Run by `make lab`, as root: python -m tests.lab [--deep [STEP…]] [--out DIR]; `make lab-shell` runs commands in the lab.
With --xen (`make lab-xen`) the lab runs Xen, and the suite uses Xen guests.
Exits with 1 if a check fails. The runs are copied to a folder; their figures are those of an emulated machine.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness import paths
from harness.deadline import Deadline
from harness.errors import ExitCode, TareError
from harness.model import RootForms
from tests.lab import payload, steps
from tests.lab.guest import BUILD_SECONDS, KVM, XEN, Kind, Lab, build, lab, with_system

WHOLE = "root.toml"
TRIES = 2
"""One retry: with QEMU 7.2 under load, emulated guests have hung, and their guests have had soft lockups."""


def main() -> int:
    """Build missing images, boot the lab and run the steps; retry once after a hang or a failure."""
    arguments = _parser().parse_args()
    kind = XEN if arguments.xen else KVM
    deep = () if arguments.deep is None or kind is XEN else arguments.deep or tuple(steps.DEEP)
    deadline = Deadline.after(BUILD_SECONDS)
    image = build(kind.recipe, deadline)
    disk = payload.make(kind, paths.state() / "lab", *_root(kind, deep, deadline), deadline)
    for attempt in range(1, TRIES + 1):
        begun = time.monotonic()
        try:
            with lab(kind, image, disk) as guest:
                print(f"lab: ready after {time.monotonic() - begun:.0f} s", flush=True)
                steps.prepare(guest)
                if arguments.shell:
                    return _shell(kind, guest)
                out = arguments.out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
                if steps.take(kind, guest, out, deep) == 0:
                    return 0
            print(f"lab: attempt {attempt} of {TRIES} failed its checks", file=sys.stderr, flush=True)
        except TareError as error:
            print(f"lab: attempt {attempt} of {TRIES} failed: {error}", file=sys.stderr, flush=True)
    return 1


def _root(kind: Kind, deep: Sequence[str], deadline: Deadline) -> tuple[str, RootForms]:
    """The root that is measured in the lab, and the file name of its recipe."""
    if not deep:
        return kind.root, build(kind.root, deadline)
    return WHOLE, with_system(build(WHOLE, deadline), deadline)


def _shell(kind: Kind, guest: Lab) -> int:
    """Run commands from stdin, one per line, until end of file; the lab has no terminal."""
    print("lab: enter one command per line; Ctrl-D ends the lab", flush=True)
    while line := sys.stdin.readline():
        done = guest.run("bash", "-c", line, seconds=3600, env=steps.environment(kind))
        print(done.stdout + done.stderr + (f"[status {done.status}]\n" if done.status else ""), end="", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--xen", action="store_true", help="use the lab with Xen guests")
    deep = "run long steps instead, with KVM guests (default: all): ladder, boots, parts, paging"
    parser.add_argument("--deep", nargs="*", choices=tuple(steps.DEEP), metavar="STEP", help=deep)
    parser.add_argument("--shell", action="store_true", help="run commands from stdin instead of the suite")
    out = paths.data("results") / "lab"
    parser.add_argument(
        "--out", type=Path, default=out, metavar="DIR", help="the folder for the runs (default: results/lab)"
    )
    return parser


if __name__ == "__main__":
    # As for Ctrl-C, so that the lab's guest and daemons are stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except TareError as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
