"""Check whether this host is fit for measurements: a list of findings, each with its fix. Changes nothing."""

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
from harness.host.daemons.private import missing_programs, packages_of
from harness.host.daemons.reach import ask_libvirt, ask_users_docker, libvirt_uri, named
from harness.host.facts import SBIN, HostFacts, nearest, read

Severity = Literal["fine", "note", "unfit", "missing"]
APT = "apt-get install --no-install-recommends"
# Program, Debian/Ubuntu package, and the feature that needs it.
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
# Modular libvirt has virtqemud instead of libvirtd. A Docker that is not from Debian may lack dockerd in PATH.
INSTEAD = {"libvirtd": "virtqemud", "dockerd": "docker"}
DEVICES: tuple[tuple[str, str, str], ...] = (
    ("/dev/net/tun", "guests have no network", "modprobe tun"),
    ("/dev/vhost-net", "QEMU's own threads carry the guests' network traffic, slower than vhost", "modprobe vhost_net"),
)
MODULES: tuple[tuple[str, str], ...] = (
    ("overlay", "Docker's overlay2 driver and the fresh root of native instances"),
    ("bridge", "bridge and peer"),
    ("veth", "container networks and the peer"),
    ("br_netfilter", "packet filtering on bridges, which Docker expects"),
)
DISK_MIB = 6 * 1024
MEMORY_PER_CPU_MIB = 1024
BUSY_PER_CPU = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of a check.

    Severities: `fine`; `note` (affects the interpretation of figures); `unfit` (figures would be misleading);
    `missing` (tare skips a feature).
    """

    severity: Severity
    what: str
    detail: str = ""
    fix: str = ""


def examine(facts: HostFacts, deadline: Deadline, *, shape_cpus: Collection[int] = ()) -> list[Finding]:
    """All findings about this host. `shape_cpus` are the CPUs of the shape; empty if they are not chosen yet."""
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
    """Whether the host is fit for measurements: no finding is `unfit`. Missing features are only skipped."""
    return all(finding.severity != "unfit" for finding in findings)


def install_line(findings: Iterable[Finding]) -> str:
    """One apt-get command that installs all missing packages; empty if none is missing."""
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
        yield Finding(severity="fine", what="programs", detail="all required programs are installed")


def _daemons(facts: HostFacts, deadline: Deadline) -> Iterator[Finding]:
    docker = ask_users_docker(deadline.within(5.0))
    libvirt = ask_libvirt(libvirt_uri(), deadline.within(10.0))
    for kind, answer, unit in (("docker", docker, "docker"), ("libvirt", libvirt, "libvirtd")):
        if answer.ok:
            yield Finding(severity="fine", what=kind, detail=f"running at {answer.where} ({answer.version})")
        elif choice := named(kind):
            yield Finding(severity="missing", what=kind, detail=answer.reason, fix=choice.undo)
        elif not facts.privileged:
            fix = f"sudo systemctl start {unit}; sudo usermod -aG {kind} $USER"
            yield Finding(severity="missing", what=kind, detail=answer.reason, fix=fix)
        elif lacking := missing_programs([kind]):
            detail = f"{answer.reason}; a private daemon needs {', '.join(lacking)}"
            packages = " ".join(packages_of(lacking))
            yield Finding(severity="missing", what=kind, detail=detail, fix=f"{APT} {packages}")
        else:
            how = "its service" if facts.init == "systemd" else "a private daemon"
            yield Finding(severity="fine", what=kind, detail=f"not running; `tare run` starts and stops {how}")


def _kvm(facts: HostFacts) -> Iterator[Finding]:
    if not facts.kvm_device:
        flags = read(Path("/proc/cpuinfo"))
        able = " svm " in flags or " vmx " in flags
        fix = (
            "modprobe kvm_amd (AMD) or modprobe kvm_intel (Intel)"
            if able
            else "enable virtualization in the firmware; in a VM, enable nested virtualization on its host"
        )
        yield Finding(severity="missing", what="kvm", detail="no /dev/kvm: guests are emulated (tcg)", fix=fix)
        return
    mode, _, owner = facts.kvm_device.partition(" ")
    if int(mode, 8) & 0o066 == 0:
        yield Finding(
            severity="note",
            what="kvm mode",
            detail="guests of the system's libvirt start 19–60 s late, because QEMU's user cannot open /dev/kvm "
            f"({mode} {owner}); tare's private libvirtd is not affected",
            fix="chgrp kvm /dev/kvm; chmod 660 /dev/kvm",
        )
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        yield Finding(severity="note", what="kvm", detail="/dev/kvm opens; `tare run` boots a test guest to verify KVM")
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
        detail = "the host itself is emulated: its figures do not show the overhead of virtualization"
        yield Finding(
            severity="unfit", what="emulated host", detail=detail, fix="measure on real hardware or under KVM"
        )
    elif kind == "unknown":
        detail = "cannot detect whether the host is itself a guest; guests here may be nested or emulated"
        yield Finding(
            severity="note", what="virtualized", detail=detail, fix="apt-get install systemd (for systemd-detect-virt)"
        )
    elif kind == "xen" and dom0.is_dom0():
        detail = "the host is dom0, Xen's privileged guest: native instances do not run on bare metal"
        yield Finding(severity="note", what="virtualized", detail=detail, fix="boot without Xen to measure bare metal")
    else:
        detail = f"the host is itself a guest ({kind}): guests here are nested or emulated, and other guests add noise"
        yield Finding(
            severity="note", what="virtualized", detail=detail, fix="measure on bare metal for the overhead of guests"
        )


def _dom0(deadline: Deadline) -> Iterator[Finding]:
    if not dom0.is_dom0():
        return
    options = dom0.boot_options(deadline)
    if options is not None and dom0.is_pinned(options):
        yield Finding(severity="fine", what="dom0 CPUs", detail=f"{dom0.PIN}: pinned to the physical CPUs")
        return
    known = "Xen was booted without" if options is not None else "cannot detect whether Xen was booted with"
    yield Finding(
        severity="note",
        what="dom0 CPUs",
        detail=f"{known} {dom0.PIN}; without it Xen moves dom0's vCPUs between physical CPUs, so instances with the "
        "same CPU set may run on different CPUs",
        fix=f"add {dom0.PIN} to GRUB_CMDLINE_XEN_DEFAULT in /etc/default/grub; update-grub; reboot",
    )


def _resources() -> Iterator[Finding]:
    place = nearest(paths.state())
    free = shutil.disk_usage(place).free // 2**20
    if free < DISK_MIB:
        fix = f"free disk space there, or set TARE_STATE to a folder with {DISK_MIB} MiB free"
        yield Finding(severity="missing", what="disk", detail=f"{free} MiB free at {place}", fix=fix)
    else:
        yield Finding(severity="fine", what="disk", detail=f"{free} MiB free at {place}")
    available = psutil.virtual_memory().available // 2**20
    wanted = 2 * MEMORY_PER_CPU_MIB
    severity: Severity = "fine" if available >= wanted else "unfit"
    fix = "" if severity == "fine" else "end other programs"
    low = "" if severity == "fine" else f", {wanted} MiB needed: the host would swap or kill processes during a run"
    yield Finding(severity=severity, what="memory", detail=f"{available} MiB available{low}", fix=fix)
    if psutil.swap_memory().used:
        detail = f"{psutil.swap_memory().used // 2**20} MiB in use: swap-ins would disturb a run"
        yield Finding(severity="note", what="swap", detail=detail, fix="swapoff -a; swapon -a")


def _cpus(facts: HostFacts, shape_cpus: Collection[int]) -> Iterator[Finding]:
    load = os.getloadavg()[0]
    if load > BUSY_PER_CPU * facts.logical_cpus:
        detail = f"load average {load:.2f} on {facts.logical_cpus} CPUs: other work disturbs the measurement"
        yield Finding(severity="note", what="load", detail=detail, fix="end other programs, or wait")
    else:
        yield Finding(severity="fine", what="load", detail=f"load average {load:.2f}")
    if beyond := sorted(set(shape_cpus) - set(facts.usable_cpus)):
        detail = f"CPUs {beyond} are outside this process's CPU affinity {list(facts.usable_cpus)}"
        yield Finding(severity="unfit", what="cpus", detail=detail, fix="widen the CPU affinity with taskset")
    spare = set(facts.usable_cpus) - set(shape_cpus)
    if len(facts.usable_cpus) < 2 or (shape_cpus and not spare):
        detail = "no CPU is left for the harness and the peer: they share the measured CPUs"
        yield Finding(severity="note", what="cpus", detail=detail, fix="measure on a host with more CPUs")
    if facts.governor and facts.governor != "performance":
        fix = "cpupower frequency-set -g performance"
        detail = f"{facts.governor}: the CPU frequency depends on the load"
        yield Finding(severity="note", what="governor", detail=detail, fix=fix)
    if facts.smt == "on":
        shared = [cpu for cpu in shape_cpus if _group(facts, cpu) - {cpu}]
        detail = "SMT siblings share a core: load on one slows the other"
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
    yield _cgroup(facts)
    for device, without, fix in DEVICES:
        if not Path(device).exists():
            yield Finding(severity="missing", what=device, detail=f"without it {without}", fix=fix)
    for module, use in MODULES:
        if not has_module(module, facts.kernel):
            fix = f"modprobe {module}, or boot a kernel that has the module"
            yield Finding(
                severity="missing", what=module, detail=f"kernel module unavailable, needed for {use}", fix=fix
            )


def _cgroup(facts: HostFacts) -> Finding:
    if facts.cgroup == "v2":
        return Finding(severity="fine", what="cgroup", detail="v2")
    if facts.cgroup == "unknown":
        detail = "no control groups: the limits of containers do not work"
        return Finding(severity="missing", what="cgroup", detail=detail, fix="mount cgroup2 at /sys/fs/cgroup")
    word = "systemd.unified_cgroup_hierarchy=1" if facts.init == "systemd" else "cgroup_no_v1=all"
    return Finding(
        severity="note",
        what="cgroup",
        detail=f"{facts.cgroup}: cgroup v1 controllers limit the containers, so their cost differs from that of v2",
        fix=f"boot with {word} on the kernel's command line for cgroup v2",
    )


def has_module(name: str, kernel: str) -> bool:
    """Whether the kernel has a module: loaded, built in, or loadable from its folder.

    A built-in module without parameters is not in /sys/module. If modules.builtin is missing too, its symbols and
    files in /proc are checked.
    """
    if (Path("/sys/module") / name).exists():
        return True
    traces = {
        "overlay": "\toverlay\n" in Path("/proc/filesystems").read_text(),
        "bridge": Path("/proc/sys/net/bridge").exists() or "br_add_if" in _symbols(),
        "veth": "veth_setup" in _symbols(),
        "br_netfilter": Path("/proc/sys/net/bridge").exists(),
    }
    folder = Path("/lib/modules") / kernel
    listed = read(folder / "modules.builtin") + read(folder / "modules.dep")
    return traces.get(name, False) or f"/{name}.ko" in listed


@cache
def _symbols() -> str:
    return read(Path("/proc/kallsyms"))


def _privileges(facts: HostFacts) -> Iterator[Finding]:
    if not facts.privileged:
        detail = "not root: bridge and peer, memory figures of other users' processes and cold caches are skipped"
        yield Finding(severity="note", what="privileges", detail=detail, fix="sudo make bench, or run tare as root")
    elif facts.missing_capabilities:
        detail = f"root lacks {', '.join(facts.missing_capabilities)}: some limits cannot be raised"
        yield Finding(severity="note", what="privileges", detail=detail)
    else:
        yield Finding(severity="fine", what="privileges", detail="root")
