"""Whether this host is fit to measure on: findings, each with its fix. Nothing is printed or changed here."""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import psutil

from harness import paths
from harness.deadline import Deadline
from harness.host import dom0
from harness.host.daemons.private import missing_programs
from harness.host.daemons.reach import ask_docker, ask_libvirt, docker_url, libvirt_uri, named
from harness.host.facts import SBIN, HostFacts, nearest, read

Severity = Literal["fine", "note", "unfit", "missing"]
APT = "apt-get install --no-install-recommends"
# Program, Debian/Ubuntu package, and what does not run without it.
PROGRAMS: tuple[tuple[str, str, str], ...] = (
    ("mmdebstrap", "mmdebstrap", "building the root"),
    ("mke2fs", "e2fsprogs", "the guest's disk"),
    ("gcc", "gcc libc6-dev", "the beacon"),
    ("ip", "iproute2", "bridge and peer"),
    ("iptables", "iptables", "Docker's networks"),
    ("tini", "tini", "private daemons"),
    ("dockerd", "docker.io", "docker variants"),
    ("libvirtd", "libvirt-daemon-system", "libvirt variants"),
    ("qemu-system-x86_64", "qemu-system-x86", "guests"),
    ("qemu-img", "qemu-utils", "guests' disks"),
    ("sfdisk", "fdisk", "guests that are full systems"),
    ("mformat", "mtools", "guests that are full systems"),
)
# Modular libvirt has no libvirtd, and a system Docker may come from elsewhere.
INSTEAD = {"libvirtd": "virtqemud", "dockerd": "docker"}
DEVICES: tuple[tuple[str, str, str], ...] = (
    ("/dev/net/tun", "guests have no network", "modprobe tun"),
    ("/dev/vhost-net", "guests' network runs in QEMU's own threads, slower than with vhost", "modprobe vhost_net"),
)
MODULES: tuple[tuple[str, str], ...] = (
    ("overlay", "Docker's overlay2 and native's fresh root"),
    ("bridge", "bridge and peer"),
    ("veth", "containers' networks and the peer"),
    ("br_netfilter", "packet filtering on bridges, as Docker expects it"),
    ("sch_netem", "workloads with delay or loss"),
)
DISK_MIB = 6 * 1024
MEMORY_PER_CPU_MIB = 1024
BUSY_PER_CPU = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`fine`, `note` (to know beside the numbers), `unfit` (numbers would mislead) or `missing` (a part is skipped)."""

    severity: Severity
    what: str
    detail: str = ""
    fix: str = ""


def examine(facts: HostFacts, deadline: Deadline, *, shape_cpus: Collection[int] = ()) -> list[Finding]:
    """All findings on this host. `shape_cpus` are the CPUs to be measured on; empty: not chosen yet."""
    return [
        *_programs(facts),
        *_daemons(facts, deadline),
        *_kvm(facts),
        *_virtualized(facts),
        *_dom0(deadline),
        *_resources(),
        *_cpus(facts, shape_cpus),
        *_kernel(facts),
        *_privileges(facts),
    ]


def fit(findings: Iterable[Finding]) -> bool:
    """Whether numbers from here mean what they say: nothing is `unfit`. What is missing is only skipped."""
    return all(finding.severity != "unfit" for finding in findings)


def install_line(findings: Iterable[Finding]) -> str:
    """One apt command for every missing package; empty when none is missing."""
    words = [word for f in findings if f.severity == "missing" and f.fix.startswith(APT) for word in f.fix.split()[3:]]
    return f"{APT} {' '.join(sorted(set(words)))}" if words else ""


def _programs(facts: HostFacts) -> Iterator[Finding]:
    absent = [
        (program, package, use)
        for program, package, use in PROGRAMS
        if shutil.which(program, path=SBIN) is None and shutil.which(INSTEAD.get(program, program), path=SBIN) is None
    ]
    for program, package, use in absent:
        if program == "tini" and facts.init == "systemd":
            continue
        yield Finding(severity="missing", what=program, detail=f"needed for {use}", fix=f"{APT} {package}")
    if not absent:
        yield Finding(severity="fine", what="programs", detail="all there")


def _daemons(facts: HostFacts, deadline: Deadline) -> Iterator[Finding]:
    docker = ask_docker(docker_url(), deadline.within(5.0))
    libvirt = ask_libvirt(libvirt_uri(), deadline.within(10.0))
    for kind, answer, unit in (("docker", docker, "docker"), ("libvirt", libvirt, "libvirtd")):
        if answer.ok:
            yield Finding(severity="fine", what=kind, detail=f"{answer.where} answers ({answer.version})")
        elif variable := named(kind):
            yield Finding(severity="missing", what=kind, detail=answer.reason, fix=f"unset {variable}")
        elif not facts.privileged:
            fix = f"sudo systemctl start {unit}; sudo usermod -aG {kind} $USER"
            yield Finding(severity="missing", what=kind, detail=answer.reason, fix=fix)
        elif lacking := missing_programs([kind]):
            detail = f"{answer.reason}; cannot be started: no {', '.join(lacking)}"
            yield Finding(severity="missing", what=kind, detail=detail, fix="install what is missing above")
        else:
            how = "its service" if facts.init == "systemd" else f"a private {kind} daemon"
            yield Finding(severity="fine", what=kind, detail=f"does not answer; a run starts {how} and stops it again")


def _kvm(facts: HostFacts) -> Iterator[Finding]:
    if not facts.kvm_device:
        flags = read(Path("/proc/cpuinfo"))
        able = " svm " in flags or " vmx " in flags
        fix = (
            "modprobe kvm_amd or kvm_intel" if able else "enable virtualization in the firmware, or nested on its host"
        )
        yield Finding(severity="missing", what="kvm", detail="no /dev/kvm; guests are emulated (tcg)", fix=fix)
        return
    mode, _, owner = facts.kvm_device.partition(" ")
    if int(mode, 8) & 0o066 == 0:
        yield Finding(
            severity="note",
            what="kvm mode",
            detail=f"/dev/kvm is {mode} {owner}: QEMU's user cannot open it, and a system libvirt probes QEMU again at "
            "every call (19–60 s per guest); our private libvirt has its own view and is not affected",
            fix="chgrp kvm /dev/kvm; chmod 660 /dev/kvm",
        )
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        yield Finding(severity="note", what="kvm", detail="/dev/kvm opens: unproven until a guest boots on it")
    else:
        yield Finding(
            severity="missing", what="kvm", detail=f"no access to /dev/kvm ({facts.kvm_device})",
            fix="sudo usermod -aG kvm $USER",
        )  # fmt: skip


def _virtualized(facts: HostFacts) -> Iterator[Finding]:
    kind = facts.host_virtualized
    if kind == "none":
        yield Finding(severity="fine", what="bare metal", detail="the host itself is not virtualized")
    elif kind == "tcg":
        detail = "the host itself is emulated: nothing measured here says anything about virtualization's cost"
        yield Finding(
            severity="unfit", what="emulated host", detail=detail, fix="measure on real hardware or under KVM"
        )
    elif kind == "unknown":
        detail = "cannot tell whether the host is itself a guest; guests here may be nested or emulated"
        yield Finding(
            severity="note", what="virtualized", detail=detail, fix="apt-get install systemd (for systemd-detect-virt)"
        )
    elif kind == "xen" and dom0.is_dom0():
        detail = "the host is dom0, Xen's privileged guest: what runs natively here is not on bare metal"
        yield Finding(severity="note", what="virtualized", detail=detail, fix="boot without Xen to measure bare metal")
    else:
        detail = f"the host is itself a guest ({kind}): guests here are nested or emulated, and aggressors add noise"
        yield Finding(
            severity="note", what="virtualized", detail=detail, fix="measure on bare metal for guests' real cost"
        )


def _dom0(deadline: Deadline) -> Iterator[Finding]:
    if not dom0.is_dom0():
        return
    options = dom0.boot_options(deadline)
    if options is not None and dom0.is_pinned(options):
        yield Finding(severity="fine", what="dom0 CPUs", detail=f"{dom0.PIN}: their numbers are the processor's own")
        return
    known = "Xen was booted without" if options is not None else "it cannot be told whether Xen was booted with"
    yield Finding(
        severity="note",
        what="dom0 CPUs",
        detail=f"{known} {dom0.PIN}, without which Xen moves dom0's CPUs over the processor's: what is said to share "
        "CPUs may run on different ones",
        fix=f"add {dom0.PIN} to GRUB_CMDLINE_XEN_DEFAULT in /etc/default/grub; update-grub; reboot",
    )


def _resources() -> Iterator[Finding]:
    place = nearest(paths.state())
    free = shutil.disk_usage(place).free // 2**20
    if free < DISK_MIB:
        fix = f"free some, or set TARE_STATE to a folder with {DISK_MIB} MiB"
        yield Finding(severity="missing", what="disk", detail=f"{free} MiB free at {place}", fix=fix)
    else:
        yield Finding(severity="fine", what="disk", detail=f"{free} MiB free at {place}")
    available = psutil.virtual_memory().available // 2**20
    wanted = 2 * MEMORY_PER_CPU_MIB
    severity: Severity = "fine" if available >= wanted else "unfit"
    fix = "" if severity == "fine" else "end other programs; the host would swap or kill during a run"
    yield Finding(severity=severity, what="memory", detail=f"{available} MiB available", fix=fix)
    if psutil.swap_memory().used:
        detail = f"{psutil.swap_memory().used // 2**20} MiB in use: what is swapped out comes back during a run"
        yield Finding(severity="note", what="swap", detail=detail, fix="swapoff -a; swapon -a")


def _cpus(facts: HostFacts, shape_cpus: Collection[int]) -> Iterator[Finding]:
    load = os.getloadavg()[0]
    if load > BUSY_PER_CPU * facts.logical_cpus:
        detail = f"load average {load:.2f} on {facts.logical_cpus} CPUs: other work disturbs the measurement"
        yield Finding(severity="note", what="load", detail=detail, fix="end other programs, or wait")
    else:
        yield Finding(severity="fine", what="load", detail=f"load average {load:.2f}")
    if beyond := sorted(set(shape_cpus) - set(facts.usable_cpus)):
        detail = f"CPUs {beyond} are not among those that this process may use {list(facts.usable_cpus)}"
        yield Finding(severity="unfit", what="cpus", detail=detail, fix="choose other CPUs, or widen the CPU affinity")
    spare = set(facts.usable_cpus) - set(shape_cpus)
    if len(facts.usable_cpus) < 2 or (shape_cpus and not spare):
        detail = "no CPU is left for the harness and the peer: they share the measured ones"
        yield Finding(severity="note", what="cpus", detail=detail, fix="measure on a host with more CPUs")
    if facts.governor and facts.governor != "performance":
        fix = "cpupower frequency-set -g performance"
        yield Finding(severity="note", what="governor", detail=f"{facts.governor}: frequency follows the load", fix=fix)
    if facts.smt == "on":
        shared = [cpu for cpu in shape_cpus if _group(facts, cpu) - {cpu}]
        detail = "siblings share a core: what runs on one slows the other"
        detail += f" (measured CPUs {shared})" if shared else ""
        yield Finding(severity="note", what="smt", detail=detail, fix="echo off > /sys/devices/system/cpu/smt/control")


def _group(facts: HostFacts, cpu: int) -> set[int]:
    found: set[int] = set()
    for part in facts.siblings.get(str(cpu), "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found


def _kernel(facts: HostFacts) -> Iterator[Finding]:
    detail = {"v2": "", "unknown": "no control groups: containers' limits do not work"}.get(
        facts.cgroup, f"{facts.cgroup}: containers are limited by the old controllers; say so beside the numbers"
    )
    severity: Severity = "fine" if facts.cgroup == "v2" else "missing" if facts.cgroup == "unknown" else "note"
    yield Finding(severity=severity, what="cgroup", detail=detail or "v2")
    for device, without, fix in DEVICES:
        if not Path(device).exists():
            yield Finding(severity="missing", what=device, detail=f"without it {without}", fix=fix)
    for module, use in MODULES:
        if not has_module(module, facts.kernel):
            fix = f"modprobe {module}, or a kernel that has it"
            yield Finding(severity="missing", what=module, detail=f"this kernel has it not: {use}", fix=fix)


def has_module(name: str, kernel: str) -> bool:
    """Whether the kernel has a module: loaded, built in, or loadable from its folder.

    What is built in without parameters and without a modules.builtin to say so is found by what it brings along.
    """
    if (Path("/sys/module") / name).exists():
        return True
    traces = {
        "overlay": "\toverlay\n" in Path("/proc/filesystems").read_text(),
        "bridge": Path("/proc/sys/net/bridge").exists() or "br_add_if" in _symbols(),
        "veth": "veth_setup" in _symbols(),
        "br_netfilter": Path("/proc/sys/net/bridge").exists(),
        "sch_netem": "netem_enqueue" in _symbols(),
    }
    folder = Path("/lib/modules") / kernel
    listed = read(folder / "modules.builtin") + read(folder / "modules.dep")
    return traces.get(name, False) or f"/{name}.ko" in listed


@cache
def _symbols() -> str:
    return read(Path("/proc/kallsyms"))


def _privileges(facts: HostFacts) -> Iterator[Finding]:
    if not facts.privileged:
        detail = "bridge and peer, other users' memory figures and cold caches need root and are skipped"
        yield Finding(severity="note", what="privileges", detail=detail, fix="run as root")
    elif facts.missing_capabilities:
        detail = f"root lacks {', '.join(facts.missing_capabilities)}: some limits cannot be raised"
        yield Finding(severity="note", what="privileges", detail=detail)
    else:
        yield Finding(severity="fine", what="privileges", detail="root")
