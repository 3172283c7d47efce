"""The steps that run in the lab, and the checks of their results."""

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from harness import report
from harness.definitions.suites import load_suite
from harness.paths import data
from harness.report.number_format import difference
from harness.report.stored_run import load
from harness.report.waterfall_plot import ladder as ladder_of
from tests.lab.guest import Kind, Lab

ENVIRONMENT = {
    "PYTHONPATH": "/payload/source:/payload/packages",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": "/root",
    # NumPy's AVX2 sort causes a general protection fault on the processor that QEMU 7.2 emulates.
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
}
TARE = ("python3", "-m", "harness")
RESULTS = "/root/results"
SETUP_SECONDS = 300.0
STEP_SECONDS = 1200.0
DEEP_SECONDS = 5400.0
BOOTED = ("qemu/microvm-kvm", "krun", "libvirt/kvm-system", "libvirt/kvm-system-uefi-irqchip")
"""Guests that only boot in the lab.

The UEFI guest has its local APIC in QEMU, not in the kernel: OVMF writes CR8 after each interrupt. With the APIC in KVM
the write is emulated by QEMU 7.2, which aborts if a virtual interrupt is pending: `tcg_handle_interrupt: assertion
failed: (qemu_mutex_iothread_locked())` in helper_write_crN (target/i386/tcg/sysemu/misc_helper.c)."""
PARTS = ("native", "docker/bridge", "libvirt/kvm")
PAGING = ("memory.page-fault", "memory.random")
LADDER = ("disk.rand-read-qd1",)
HUGE_PAGES = 360
"""The number of 2 MiB pages for one guest of the lab's shape."""
LEAST_KNOBS = 6


class Tare(Protocol):
    """Runs `tare` in the lab with command-line arguments; returns its status and its output."""

    def __call__(self, *words: str, seconds: float = ...) -> tuple[int, str]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """One check in the lab and its result."""

    name: str
    passed: bool
    detail: str = ""


def environment(kind: Kind) -> dict[str, str]:
    """The environment variables of commands in a lab."""
    return {**ENVIRONMENT, **kind.environment}


def prepare(guest: Lab) -> None:
    """Set up the lab as a host: modules, control groups, devices."""
    _show(guest.shell("sh /payload/setup.sh", seconds=SETUP_SECONDS))


def take(kind: Kind, guest: Lab, out: Path, deep: Sequence[str]) -> int:
    """Run the standard step, or the long steps in `deep`; print each check and return the exit code."""
    before = _picture(kind, guest)
    tare = partial(_tare, guest, environment(kind))
    out.mkdir(parents=True, exist_ok=True)
    checks = list(_doctor(tare))
    for name in deep or ("smoke",):
        step = DEEP[name](guest, tare) if deep else _run(tare, "smoke", kind.variants, kind.workloads, blocks=1)
        checks += step
        guest.fetch(RESULTS, out)  # after each step, because a later one may hang
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
        _show(text)

    status = guest.follow(*TARE, *words, seconds=seconds, env=env, notify=notify)
    print(f"lab: tare {' '.join(words)}: status {status} after {time.monotonic() - begun:.0f} s", flush=True)
    return status, "".join(lines)


def _doctor(tare: Tare) -> Iterator[Check]:
    status, output = tare("doctor")
    yield Check("doctor detects the emulated host", "itself virtualized (tcg)" in output, f"status {status}")


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
    """A guest with and without nested paging, each with native; reloads the kvm_amd module in between."""
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
"""The long steps of the KVM lab, the most reliable first."""


def _rows(out: Path, variants: Sequence[str], accelerators: Mapping[str, str]) -> Iterator[Check]:
    """Check the CSVs of the runs: each variant has rows with the expected accelerator, and the host is emulated."""
    rows = _csv(out)
    for variant in variants:
        own = [row for row in rows if row["variant"] == variant and row["value"]]
        kinds, expected = {row["accelerator"] for row in own}, {accelerators.get(variant, "none")}
        workloads = sorted({row["workload"] for row in own})
        name = f"{variant} has rows with the accelerator {'/'.join(expected)}"
        yield Check(name, kinds == expected, f"{len(own)} of {workloads}")
    hosts = {row["host_virtualized"] for row in rows}
    yield Check("every row has an emulated host", hosts == {"tcg"}, ", ".join(hosts))


def _csv(out: Path) -> Sequence[Mapping[str, str]]:
    return [row for path in sorted(out.glob("*/samples.csv")) for row in csv.DictReader(path.open(encoding="utf-8"))]


def _parts_rows(out: Path) -> Iterator[Check]:
    """Check that every workload of the suite has a value on each variant, and that the report renders.

    native has no value for image.growth, because it has no image that grows.
    """
    expected = set(load_suite("parts", data("workloads")).workloads)
    rows = [row for row in _csv(out) if row["suite"] == "parts" and row["value"]]
    for variant in PARTS:
        missing = expected - {row["workload"] for row in rows if row["variant"] == variant}
        missing -= {"image.growth"} if variant == "native" else set()
        yield Check(f"{variant} has a value for every workload", not missing, ", ".join(sorted(missing)))
        # The lab's kernel has the function tracer; the kernels of other hosts may not.
        reached = [row["value"] for row in rows if (row["variant"], row["metric"]) == (variant, "host-functions")]
        yield Check(f"the kernel functions of {variant} are counted", bool(reached), ", ".join(reached))
    for folder in sorted(out.glob("*/")):
        if load(folder).manifest.get("suite") == "parts":
            report.render(folder)
            yield Check("the suite parts has a report", (folder / "report.html").exists(), str(folder))


def _shadow_rows(out: Path) -> Iterator[Check]:
    """Check that both kinds of paging have overheads, each against native of its own run; print them."""
    found = set()
    for folder in sorted(out.glob("*/")):
        for row in load(folder).overheads:
            if row.workload in PAGING and row.variant in ("libvirt/kvm", "libvirt/kvm-shadow") and row.overhead:
                found.add(row.variant)
                print(f"  | {row.workload} {row.metric} on {row.variant}: {difference(row.overhead, row)}, n={row.n}")
    yield Check("shadow and nested paging have overheads", len(found) == 2, ", ".join(sorted(found)))


def _waterfall(out: Path) -> Iterator[Check]:
    """Check that the report of the ladder has a waterfall; renders it outside of the lab."""
    for folder in sorted(out.glob("*/")):
        for workload, metric, steps in ladder_of(load(folder)):
            report.render(folder)
            drawn = list((folder / "plots").glob(f"ladder-{workload}-*.png"))
            knobs = len(steps) - 1
            detail = f"{knobs} knobs, {workload} {metric}, {drawn}"
            yield Check("the waterfall is drawn", bool(drawn) and knobs >= LEAST_KNOBS, detail)


def _picture(kind: Kind, guest: Lab) -> Sequence[str]:
    """The possible leftovers of a run: processes, links, namespaces, mounts, control groups."""
    script = (
        "ps --ppid 2 -p 2 --deselect -o comm= | sort; ls /sys/class/net; cut -d' ' -f5 /proc/self/mountinfo; "
        "find /sys/fs/cgroup -type d; find /run/netns /var/lib/tare/scratch /run/tare/i -mindepth 1 2>/dev/null; "
        f"{kind.picture}"
    )
    return guest.shell(script, seconds=60).splitlines()


def _show(text: str) -> None:
    for line in text.splitlines():
        print(f"  | {line}", flush=True)
