"""What is done in the lab, and the checks of what came of it."""

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from harness import report
from harness.definitions.workloads import load_suite
from harness.paths import data
from harness.report.formatting import difference
from harness.report.stored_run import load
from harness.report.waterfall import ladder as ladder_of
from tests.lab.guest import Kind, Lab

ENVIRONMENT = {
    "PYTHONPATH": "/payload/source:/payload/packages",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": "/root",
    # NumPy's sorting by AVX2 ends in a general protection fault on the processor that QEMU 7.2 emulates.
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
}
TARE = ("python3", "-m", "harness")
RESULTS = "/root/results"
SETUP_SECONDS = 300.0
STEP_SECONDS = 1200.0
DEEP_SECONDS = 5400.0
BOOTED = ("qemu/microvm-kvm", "krun", "libvirt/kvm-system", "libvirt/kvm-system-uefi-irqchip")
"""Guests that only boot in the lab. OVMF writes CR8 after each interrupt. KVM leaves that to the guest where it has the
local APIC itself, and QEMU 7.2's emulation of the write, while a virtual interrupt is pending, ends the lab's QEMU:
`tcg_handle_interrupt: assertion failed: (qemu_mutex_iothread_locked())`, by its target/i386/tcg/sysemu/misc_helper.c,
helper_write_crN. So the guest that UEFI boots has its local APIC from QEMU."""
PARTS = ("native", "docker/bridge", "libvirt/kvm")
PAGING = ("memory.page-fault", "memory.random")
LADDER = ("disk.rand-read-qd1",)
HUGE_PAGES = 360
"""Of 2 MiB: enough for one guest of the lab's shape."""
LEAST_KNOBS = 6


class Tare(Protocol):
    """`tare` in the lab: the words of its command line → its status and what it said."""

    def __call__(self, *words: str, seconds: float = ...) -> tuple[int, str]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the lab shows, and whether it did."""

    name: str
    passed: bool
    detail: str = ""


def environment(kind: Kind) -> dict[str, str]:
    """What commands in a lab find in their environment."""
    return {**ENVIRONMENT, **kind.environment}


def prepare(guest: Lab) -> None:
    """Make the lab a host: modules, control groups, devices."""
    _said(guest.shell("sh /payload/setup.sh", seconds=SETUP_SECONDS))


def take(kind: Kind, guest: Lab, out: Path, deep: Sequence[str]) -> int:
    """Every step in turn, or the long ones named in `deep`; prints each check and returns the exit code."""
    before = _picture(kind, guest)
    tare = partial(_tare, guest, environment(kind))
    out.mkdir(parents=True, exist_ok=True)
    checks = list(_doctor(tare))
    for name in deep or ("smoke",):
        step = DEEP[name](guest, tare) if deep else _run(tare, "smoke", kind.variants, kind.workloads, blocks=1)
        checks += step
        guest.fetch(RESULTS, out)  # at once: what comes later may hang
    after = _picture(kind, guest)
    checks += [Check("nothing is left behind", after == before, ", ".join(sorted(set(after) ^ set(before))))]
    if not deep:
        checks += _rows(out, kind.variants, kind.accelerators)
    if "boots" in deep:
        checks += _rows(out, BOOTED, dict.fromkeys(BOOTED, "kvm-nested"))
    if "parts" in deep:
        checks += _parts_rows(out)
    if "paging" in deep:
        checks += _shadow_rows(out)
    if "ladder" in deep:
        checks += _waterfall(out)
    for check in checks:
        print(f"  {'ok    ' if check.passed else 'FAILED'} {check.name}{f': {check.detail}' if check.detail else ''}")
    failed = sum(not check.passed for check in checks)
    print(f"lab: {len(checks) - failed} checks passed, {failed} failed; runs in {out}")
    return 1 if failed else 0


def _tare(guest: Lab, env: dict[str, str], *words: str, seconds: float = STEP_SECONDS) -> tuple[int, str]:
    begun = time.monotonic()
    lines: list[str] = []

    def notify(text: str) -> None:
        lines.append(text)
        _said(text)

    status = guest.follow(*TARE, *words, seconds=seconds, env=env, notify=notify)
    print(f"lab: tare {' '.join(words)}: status {status} after {time.monotonic() - begun:.0f} s", flush=True)
    return status, "".join(lines)


def _doctor(tare: Tare) -> Iterator[Check]:
    status, said = tare("doctor")
    yield Check("doctor says what the lab is", "itself virtualized (tcg)" in said, f"status {status}")


def _run(
    tare: Tare,
    suite: str,
    variants: Sequence[str],
    workloads: Sequence[str] = (),
    *,
    blocks: int,
    seconds: float = STEP_SECONDS,
) -> Iterator[Check]:
    chosen = [word for name in variants for word in ("--variant", name)]
    chosen += [word for name in workloads for word in ("--workload", name)]
    words = ("run", "--suite", suite, "--blocks", str(blocks), *chosen, "--json", "--out", RESULTS)
    status, _ = tare(*words, seconds=seconds)
    yield Check(f"the suite {suite} runs on {', '.join(variants) or 'all its variants'}", status == 0, f"{status}")


def _boots(_: Lab, tare: Tare) -> Iterator[Check]:
    yield from _run(tare, "smoke", ("native", *BOOTED), ("boot.ready",), blocks=1, seconds=DEEP_SECONDS)


def _parts(_: Lab, tare: Tare) -> Iterator[Check]:
    yield from _run(tare, "parts", PARTS, blocks=1, seconds=DEEP_SECONDS)


def _paging(guest: Lab, tare: Tare) -> Iterator[Check]:
    """The guest with and without nested paging, each beside native: the module is loaded anew in between."""
    yield from _run(tare, "smoke", ("native", "libvirt/kvm"), PAGING, blocks=2, seconds=DEEP_SECONDS)
    guest.shell("modprobe -r kvm_amd && modprobe kvm_amd npt=0 && chgrp kvm /dev/kvm && chmod 660 /dev/kvm", seconds=60)
    yield from _run(tare, "smoke", ("native", "libvirt/kvm-shadow"), PAGING, blocks=2, seconds=DEEP_SECONDS)
    guest.shell("modprobe -r kvm_amd && modprobe kvm_amd && chgrp kvm /dev/kvm && chmod 660 /dev/kvm", seconds=60)


def _ladder(guest: Lab, tare: Tare) -> Iterator[Check]:
    guest.shell(f"echo {HUGE_PAGES} >/proc/sys/vm/nr_hugepages", seconds=60)
    yield from _run(tare, "ladder", (), LADDER, blocks=2, seconds=DEEP_SECONDS)
    guest.shell("echo 0 >/proc/sys/vm/nr_hugepages", seconds=60)


DEEP: Mapping[str, Callable[[Lab, Tare], Iterator[Check]]] = {
    "ladder": _ladder,
    "boots": _boots,
    "parts": _parts,
    "paging": _paging,
}
"""The long steps of the lab with KVM, the surest first."""


def _rows(out: Path, variants: Sequence[str], accelerators: Mapping[str, str]) -> Iterator[Check]:
    """The runs' CSVs: each variant has rows, guests those of the lab's hypervisor, and the host is emulated in all."""
    rows = _csv(out)
    for variant in variants:
        own = [row for row in rows if row["variant"] == variant and row["value"]]
        kinds, expected = {row["accelerator"] for row in own}, {accelerators.get(variant, "none")}
        workloads = sorted({row["workload"] for row in own})
        yield Check(f"{variant} has rows by {'/'.join(expected)}", kinds == expected, f"{len(own)} of {workloads}")
    hosts = {row["host_virtualized"] for row in rows}
    yield Check("every row says that the host is emulated", hosts == {"tcg"}, ", ".join(hosts))


def _csv(out: Path) -> Sequence[Mapping[str, str]]:
    return [row for path in sorted(out.glob("*/samples.csv")) for row in csv.DictReader(path.open(encoding="utf-8"))]


def _parts_rows(out: Path) -> Iterator[Check]:
    """Every workload of the suite has a figure on each variant (nothing native writes grows an image), and a report."""
    expected = set(load_suite("parts", data("workloads")).workloads)
    rows = [row for row in _csv(out) if row["suite"] == "parts" and row["value"]]
    for variant in PARTS:
        missing = expected - {row["workload"] for row in rows if row["variant"] == variant}
        missing -= {"image.growth"} if variant == "native" else set()
        yield Check(f"{variant} has a figure of every part", not missing, ", ".join(sorted(missing)))
        # The lab's kernel has the tracer of functions, which not every host's has.
        reached = [row["value"] for row in rows if (row["variant"], row["metric"]) == (variant, "host-functions")]
        yield Check(f"the functions that {variant} reaches are counted", bool(reached), ", ".join(reached))
    for folder in sorted(out.glob("*/")):
        if load(folder).manifest.get("suite") == "parts":
            report.render(folder)
            yield Check("the parts have a report", (folder / "report.html").exists(), str(folder))


def _shadow_rows(out: Path) -> Iterator[Check]:
    """Both ways of paging side by side, each against the native of its own run."""
    found = set()
    for folder in sorted(out.glob("*/")):
        for row in load(folder).overheads:
            if row.workload in PAGING and row.variant in ("libvirt/kvm", "libvirt/kvm-shadow") and row.overhead:
                found.add(row.variant)
                print(f"  | {row.workload} {row.metric} on {row.variant}: {difference(row.overhead, row)}, n={row.n}")
    yield Check("shadow page tables stand beside nested paging", len(found) == 2, ", ".join(sorted(found)))


def _waterfall(out: Path) -> Iterator[Check]:
    """The ladder's report, drawn outside of the lab."""
    for folder in sorted(out.glob("*/")):
        for workload, metric, steps in ladder_of(load(folder)):
            report.render(folder)
            drawn = list((folder / "plots").glob(f"ladder-{workload}-*.png"))
            knobs = len(steps) - 1
            detail = f"{knobs} knobs, {workload} {metric}, {drawn}"
            yield Check("the waterfall is drawn", bool(drawn) and knobs >= LEAST_KNOBS, detail)


def _picture(kind: Kind, guest: Lab) -> Sequence[str]:
    """What a run could leave: processes, links, name spaces, mounts, control groups."""
    script = (
        "ps --ppid 2 -p 2 --deselect -o comm= | sort; ls /sys/class/net; cut -d' ' -f5 /proc/self/mountinfo; "
        "find /sys/fs/cgroup -type d; find /run/netns /var/lib/tare/scratch /run/tare/i -mindepth 1 2>/dev/null; "
        f"{kind.picture}"
    )
    return guest.shell(script, seconds=60).splitlines()


def _said(text: str) -> None:
    for line in text.splitlines():
        print(f"  | {line}", flush=True)
