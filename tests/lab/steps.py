"""What is done in the lab, and the checks of what came of it."""

import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.guest import Lab

ENVIRONMENT = {"PYTHONPATH": "/payload/source:/payload/packages", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/root"}
TARE = ("python3", "-m", "harness")
RESULTS = "/root/results"
STEP_SECONDS = 420.0
VARIANTS = ("native", "docker/bridge", "libvirt/kvm")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the lab shows, and whether it did."""

    name: str
    passed: bool
    detail: str = ""


def prepare(guest: Lab, *kvm: str) -> None:
    """Make the lab a host: modules, control groups, devices."""
    _said(guest.shell(f"sh /payload/setup.sh {' '.join(kvm)}", seconds=120))


def take(guest: Lab, out: Path, *, ladder: bool) -> int:
    """Every step in turn; prints each check and returns the exit code."""
    before = _picture(guest)
    checks = [*_doctor(guest), *_smoke(guest)]
    checks += [Check("nothing is left behind", (after := _picture(guest)) == before, _difference(before, after))]
    out.mkdir(parents=True, exist_ok=True)
    guest.fetch(RESULTS, out)
    checks += _rows(out)
    for check in checks:
        print(f"  {'ok    ' if check.passed else 'FAILED'} {check.name}{f': {check.detail}' if check.detail else ''}")
    failed = sum(not check.passed for check in checks)
    print(f"lab: {len(checks) - failed} checks passed, {failed} failed; runs in {out}")
    return 1 if failed else 0


def _tare(guest: Lab, *words: str) -> tuple[int, str]:
    begun = time.monotonic()
    done = guest.run(*TARE, *words, seconds=STEP_SECONDS, env=ENVIRONMENT)
    print(f"lab: tare {' '.join(words)}: status {done.status} after {time.monotonic() - begun:.0f} s", flush=True)
    _said(done.stdout[-4000:] + done.stderr[-2000:])
    return done.status, done.stdout


def _doctor(guest: Lab) -> Iterator[Check]:
    status, said = _tare(guest, "doctor")
    yield Check("doctor says what the lab is", "tcg" in said, f"status {status}")


def _smoke(guest: Lab) -> Iterator[Check]:
    chosen = [word for name in VARIANTS for word in ("--variant", name)]
    status, _ = _tare(guest, "run", "--suite", "smoke", "--blocks", "1", *chosen, "--json", "--out", RESULTS)
    yield Check("the smoke suite runs", status == 0, f"status {status}")


def _rows(out: Path) -> Iterator[Check]:
    """The runs' CSVs: each variant has rows, guests were run by KVM, and all say that the host is emulated."""
    rows = [row for path in sorted(out.glob("*/samples.csv")) for row in csv.DictReader(path.open(encoding="utf-8"))]
    for variant in VARIANTS:
        own = [row for row in rows if row["variant"] == variant and row["value"]]
        kinds = {row["accelerator"] for row in own}
        expected = {"kvm-nested"} if variant.startswith("libvirt") else {"none"}
        workloads = sorted({row["workload"] for row in own})
        yield Check(f"{variant} has rows by {'/'.join(expected)}", kinds == expected, f"{len(own)} of {workloads}")
    hosts = {row["host_virtualized"] for row in rows}
    yield Check("every row says that the host is emulated", hosts == {"tcg"}, ", ".join(hosts))


def _picture(guest: Lab) -> Sequence[str]:
    """What a run could leave: processes, links, name spaces, mounts, control groups."""
    script = (
        "ps -eo comm= | sort; ls /sys/class/net /run/netns 2>/dev/null; cut -d' ' -f5 /proc/self/mountinfo; "
        "find /sys/fs/cgroup -type d; ls /var/lib/tare/scratch /run/tare/i 2>/dev/null"
    )
    return guest.shell(script, seconds=60).splitlines()


def _difference(before: Sequence[str], after: Sequence[str]) -> str:
    return ", ".join(sorted(set(after) ^ set(before)))


def _said(text: str) -> None:
    for line in text.splitlines():
        print(f"  | {line}", flush=True)
