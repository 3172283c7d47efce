"""A made-up run with all five resources, written as a run folder; figures are invented, seeded and plausible."""

import csv
import json
import random
from pathlib import Path
from typing import Any

from harness.record.row import COLUMNS

ALL = ("native", "docker/bridge", "libvirt/tcg")
NETWORK = ("native", "docker/bridge", "docker/host", "docker/nat", "libvirt/tcg")
DISK = ("native", "docker/overlay", "docker/volume", "libvirt/tcg", "libvirt/tcg-qcow2")
WORKLOADS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str, str, float], ...]]] = {
    "cpu.sysbench": (ALL, (("events", "1/s", "higher", 1180.0),)),
    "cpu.syscall": (ALL, (("calls", "1/s", "higher", 5.1e6),)),
    "memory.stream": (ALL, (("triad", "B/s", "higher", 1.21e10), ("copy", "B/s", "higher", 1.32e10))),
    "memory.fault": (ALL, (("fault-time", "s/op", "lower", 4.2e-7),)),
    "network.tcp": (NETWORK, (("throughput", "b/s", "higher", 1.42e10),)),
    "network.udp-rr": (NETWORK, (("rtt-p50", "us", "lower", 21.0), ("rtt-p99", "us", "lower", 44.0))),
    "disk.rand-read-4k": (DISK, (("iops", "IOPS", "higher", 80_700.0), ("latency-p99", "s", "lower", 3.1e-4))),
    "disk.fsync": (DISK, (("latency-p50", "s", "lower", 8.4e-4),)),
}
COST = {
    "native": 1.0, "docker/bridge": 1.02, "docker/host": 1.005, "docker/nat": 1.09, "docker/overlay": 1.06,
    "docker/volume": 0.995, "libvirt/tcg": 9.0, "libvirt/tcg-qcow2": 10.5,
}  # fmt: skip
SPECIAL = {
    ("cpu.syscall", "docker/bridge"): 1.22,
    ("network.udp-rr", "docker/nat"): 1.31,
    ("cpu.sysbench", "libvirt/tcg"): 19.7,
}
BOOT = {
    "native": {"created": 0.002, "userspace": 0.004, "ready": 0.005},
    "docker/bridge": {
        "created": 0.11, "network": 0.21, "container": 0.22, "userspace": 0.30, "task": 0.32, "ready": 0.34,
        "started": 0.35,
    },
    "docker/host": {"created": 0.10, "userspace": 0.15, "ready": 0.16},
    "libvirt/tcg": {"created": 0.41, "kernel": 0.9, "userspace": 4.3, "ready": 4.6},
    "libvirt/tcg-system": {
        "created": 0.45, "loader": 2.1, "loaded": 6.3, "kernel": 7.6, "userspace": 11.2, "ready": 24.8, "service": 31.0,
    },
}  # fmt: skip


def samples(blocks: int = 6, iterations: int = 3, seed: int = 7) -> list[dict[str, Any]]:
    """Rows of a run with warm-ups, one failed case (disk.fsync on docker/volume), one discarded (cpu.sysbench)."""
    chance = random.Random(seed)
    rows = []
    for workload, (variants, metrics) in WORKLOADS.items():
        for block in range(1, blocks + 1):
            drift = chance.gauss(0, 0.02)
            order = chance.sample(variants, len(variants))
            for position, variant in enumerate(order, 1):
                case = row(workload, variant, block, position)
                if workload == "disk.fsync" and variant == "docker/volume" and block == blocks > 1:
                    rows.append(case | failed(metrics[0], "fio ended with status 1: No space left on device"))
                    continue
                discarded = workload == "cpu.sysbench" and block == 3
                noise = chance.gauss(0, 0.006 if workload.startswith("cpu") else 0.03)
                for iteration in range(iterations + 1):
                    phase = "warmup" if iteration == 0 else "measured"
                    factor = SPECIAL.get((workload, variant), COST[variant])
                    for name, unit, direction, base in metrics:
                        spread = drift + noise + chance.gauss(0, 0.008)
                        cost = factor * 2.718281828**spread
                        value = base / cost if direction == "higher" else base * cost
                        rows.append(case | measured(name, unit, direction, value, iteration, phase, discarded))
                    for name, unit, base in (("host-cpu", "s", 1.1), ("host-cpu-per-op", "s/op", 8.2e-6)):
                        value = base * factor**0.5 * 2.718281828 ** (drift + chance.gauss(0, 0.05))
                        rows.append(case | measured(name, unit, "lower", value, iteration, phase, discarded))
    rows.extend(boot(blocks, chance))
    return rows


def boot(blocks: int, chance: random.Random) -> list[dict[str, Any]]:
    """Boot rows: one iteration per instance; each milestone in seconds since requested."""
    rows: list[dict[str, Any]] = []
    for block in range(1, blocks + 1):
        for position, (variant, milestones) in enumerate(BOOT.items(), 1):
            stretch = 2.718281828 ** chance.gauss(0, 0.06)
            case = row("boot.ready", variant, block, position)
            rows.extend(
                case | measured(name, "s", "lower", at * stretch, 1, "measured") for name, at in milestones.items()
            )
    return rows


def row(workload: str, variant: str, block: int, position: int) -> dict[str, Any]:
    """What all rows of one case share."""
    runtime = variant.partition("/")[0]
    return dict.fromkeys(COLUMNS, "") | {
        "schema": 1, "run": "made-up", "suite": "default", "host": "h-1a2b3c4d", "host_virtualized": "kvm",
        "time": "2026-11-23T09:00:00Z", "workload": workload, "definition": "d" + workload, "parameters": "{}",
        "block": block, "position": position, "instance": "tare-made-up", "image": "sha256:0",
        "case": f"{workload}_{variant.replace('/', '+')}_b{block:03d}_a1",
        "attempt": 1, "role": "subject", "variant": variant, "runtime": runtime,
        "accelerator": "tcg" if "tcg" in variant else "none", "kernel": "6.18.0", "shape": "1vcpu-1024MiB@1",
        "cpus": "1", "valid": "true",
    }  # fmt: skip


def measured(
    metric: str, unit: str, direction: str, value: float, iteration: int, phase: str, discarded: bool = False
) -> dict[str, Any]:
    """One value's columns."""
    return {
        "metric": metric, "unit": unit, "direction": direction, "scale": "log", "summary": "median",
        "iteration": iteration, "phase": phase, "value": repr(value), "elapsed": 1.0, "mhz": 2445, "steal": 0.0,
        "valid": "false" if discarded else "true",
        "reason": "steal of 4.1 % in the block, limit 2 %" if discarded else "",
    }  # fmt: skip


def failed(metric: tuple[str, str, str, float], reason: str) -> dict[str, Any]:
    """A failed case's columns: a row without a value."""
    columns = measured(*metric[:3], 0.0, 1, "measured")
    return columns | {"value": "", "valid": "false", "reason": reason}


def manifest() -> dict[str, Any]:
    """A manifest with every key that the report reads."""
    instances = {
        variant: {
            "kernel": "6.1.0-31-cloud-amd64" if "tcg" in variant else "6.18.0",
            "clocksource": "hpet" if "tcg" in variant else "kvm-clock",
            "cpu-model": "QEMU TCG CPU version 2.5+" if "tcg" in variant else "AMD EPYC 7B13",
            "thp": "madvise", "seccomp": "filter" if "docker" in variant else "none", "vhost": "no",
            "pid": str(len(variant)),
        } | (
            {"runc_version": "1.1.5", "containerd_events": "no socket" if variant == "docker/host" else "heard"}
            if "docker" in variant
            else {}
        )
        for variant in COST
    }  # fmt: skip
    return {
        "schema": 1, "run": "made-up", "suite": "default", "seed": 20261123, "baseline": "native", "blocks": 6,
        "started": "2026-11-23T09:00:00Z", "ended": "2026-11-23T09:14:41Z", "shape": "1vcpu-1024MiB@1",
        "command_line": ["tare", "run", "--suite", "default", "--seed", "20261123"],
        "stopping": {"rule": "blocks", "blocks": 6},
        "host": {
            "fingerprint": "h-1a2b3c4d", "name": "build7", "os": "Debian GNU/Linux 12", "kernel": "6.18.0",
            "cpu_model": "AMD EPYC 7B13", "logical_cpus": 2, "memory_mib": 24576, "host_virtualized": "kvm",
        },
        "instances": instances,
        "clocks": {"native": {"ppm": 0.4, "instances": 6}, "libvirt/tcg": {"ppm": -812.5, "instances": 6}},
        "skips": [
            {"what": "libvirt/kvm", "reason": "no guest kernel boots on /dev/kvm here", "fix": "use a host with VT-x"},
            {"what": "cpu.zstd-all", "reason": "the shape has 1 vCPU; all-thread workloads need 2", "fix": ""},
        ],
        "beacon": {
            "native": {"costs": {"ready": {"seconds": 6.1e-5, "low": 4.8e-5, "high": 1.02e-4}}, "failed": ""},
            "libvirt/tcg": {"costs": {}, "failed": "its lines did not come"},
        },
        "cache": {"boot.ready": {"native": {"dropped": 24576, "stayed": 0.0125, "launches": 6}}},
        "discards": [{"workload": "cpu.sysbench", "block": 3, "reason": "steal of 4.1 %, limit 2 %"}],
        "notes": ["The peer shares CPU 0 with the harness: this host has 2 CPUs."],
        "versions": {"tare": "0.1.0", "docker": "20.10.24", "libvirt": "9.0.0", "qemu": "7.2.15", "sysbench": "1.0.20"},
    }  # fmt: skip


def write(directory: Path, rows: list[dict[str, Any]], facts: dict[str, Any] | None) -> Path:
    """A run folder with these rows and this manifest (none written for None)."""

    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    if facts is not None:
        (directory / "manifest.json").write_text(json.dumps(facts), encoding="utf-8")
    return directory
