"""tare in a guest with a working /dev/kvm: doctor, a small suite on real Docker and real KVM guests, and what is left.

Run by `make lab`, as root: python -m tests.lab [--deep [STEP…]] [--out DIR]; `make lab-shell` runs commands in the lab.
With --xen (`make lab-xen`) the guest is one that Xen runs, and the suite is on guests of Xen.
Exits with 1 when a check fails. The runs are brought out to a folder; none of their figures is a real machine's.
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
"""An emulated guest has hung, and guests in it met soft lockups (QEMU 7.2, under load): once more, and no oftener."""


def main() -> int:
    """Build what is missing, boot the lab, take the steps; one more try after a hang or a failure."""
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
                print(f"lab: up after {time.monotonic() - begun:.0f} s", flush=True)
                steps.prepare(guest)
                if arguments.shell:
                    return _shell(kind, guest)
                out = arguments.out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
                if steps.take(kind, guest, out, deep) == 0:
                    return 0
            print(f"lab: try {attempt} of {TRIES} failed", file=sys.stderr, flush=True)
        except TareError as error:
            said = f"{error.brief}\n{error.details}\n{error.hint}".rstrip()
            print(f"lab: try {attempt} of {TRIES} broke off: {said}", file=sys.stderr, flush=True)
    return 1


def _root(kind: Kind, deep: Sequence[str], deadline: Deadline) -> tuple[str, RootForms]:
    """The root that is weighed in the lab, and its recipe."""
    if not deep:
        return kind.root, build(kind.root, deadline)
    return WHOLE, with_system(build(WHOLE, deadline), deadline)


def _shell(kind: Kind, guest: Lab) -> int:
    """Commands from stdin, one a line, until its end; there is no terminal in the lab."""
    print("lab: one command a line, Ctrl-D ends the lab", flush=True)
    while line := sys.stdin.readline():
        done = guest.run("bash", "-c", line, seconds=3600, env=steps.environment(kind))
        print(done.stdout + done.stderr + (f"[status {done.status}]\n" if done.status else ""), end="", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--xen", action="store_true", help="the lab with guests of Xen")
    deep = "instead: the ladder of knobs, microVMs and full systems, every other part, shadow paging; each guest on KVM"
    parser.add_argument("--deep", nargs="*", choices=tuple(steps.DEEP), metavar="STEP", help=deep)
    parser.add_argument("--shell", action="store_true", help="run commands from stdin instead")
    out = paths.data("results") / "lab"
    parser.add_argument(
        "--out", type=Path, default=out, metavar="DIR", help="where folders of runs go (default: results/lab)"
    )
    return parser


if __name__ == "__main__":
    # As Ctrl-C does, so that the lab's guest and daemons are ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except TareError as error:
        print(f"lab: {error.brief}\n{error.details}\nfix: {error.hint}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
