"""Facts about this host, from /proc, /sys and the installed tools; reads only and needs no root."""

import contextlib
import os
import platform
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness import paths
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host import identity
from harness.process import run

CPU = Path("/sys/devices/system/cpu")
SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
VERSIONS: Mapping[str, tuple[str, ...]] = {
    "qemu": ("qemu-system-x86_64", "--version"),
    "libvirtd": ("libvirtd", "--version"),
    "dockerd": ("dockerd", "--version"),
    "docker": ("docker", "--version"),
    "containerd": ("containerd", "--version"),
    "runc": ("runc", "--version"),
}
# The capabilities that tare uses, with their bit numbers (linux/capability.h).
CAPABILITIES: Mapping[str, int] = {
    "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21,
    "CAP_SYS_NICE": 23, "CAP_SYS_RESOURCE": 24, "CAP_MKNOD": 27,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The facts of one host. An empty string or `unknown` means that a fact could not be read.

    - `fingerprint` identifies the machine. `siblings` maps CPU numbers (as text) to CPU lists.
    - `host_virtualized` is the hypervisor under the host: `none`, `kvm`, `tcg`, …
    - `memory_mib` and `swap_mib` are in MiB.
    - `halt_poll_ns`, `nested`, `ksm`, `autogroup` and `bridge_nf` (by table) are the kernel's own texts.
    - `autogroup` decides what has one CPU weight in the root cgroup, where native instances usually run: a session
      with it, a thread without it (sched(7), "The autogroup feature").
    """

    fingerprint: str
    name: str
    os: str
    kernel: str
    architecture: str
    cpu_model: str
    logical_cpus: int
    usable_cpus: tuple[int, ...]
    sockets: int
    siblings: Mapping[str, str]
    smt: str
    numa_nodes: int
    memory_mib: int
    swap_mib: int
    host_virtualized: str
    mitigations: Mapping[str, str]
    clocksource: str
    governor: str
    boost: str
    thp: str
    ksm: str
    cgroup: str
    autogroup: str
    kvm_device: str
    halt_poll_ns: str
    nested: str
    bridge_nf: Mapping[str, str]
    state_filesystem: str
    init: str
    privileged: bool
    missing_capabilities: tuple[str, ...]
    versions: Mapping[str, str]


def gather(deadline: Deadline | None = None) -> HostFacts:
    """Gather the facts of this host; takes less than a second. `versions` omits tools that print no version."""
    deadline = deadline or Deadline.after(10.0)
    information = cpu_information()
    memory_mib = psutil.virtual_memory().total // 2**20
    model = information.get("model name") or information.get("Model") or platform.processor() or platform.machine()
    siblings = _siblings()
    return HostFacts(
        fingerprint=identity.fingerprint(model, memory_mib, socket.gethostname()),
        name=socket.gethostname(),
        os=_os_name(),
        kernel=platform.release(),
        architecture=platform.machine(),
        cpu_model=model,
        logical_cpus=psutil.cpu_count() or 1,
        usable_cpus=tuple(sorted(os.sched_getaffinity(0))),
        sockets=len(_per_cpu("topology/physical_package_id")) or 1,
        siblings=siblings,
        smt="on" if any(set(group) & set(",-") for group in siblings.values()) else "off",
        numa_nodes=len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) or 1,
        memory_mib=memory_mib,
        swap_mib=psutil.swap_memory().total // 2**20,
        host_virtualized=identity.host_virtualized(information, deadline),
        mitigations={path.name: read(path) for path in sorted((CPU / "vulnerabilities").glob("*"))},
        clocksource=read(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        governor=",".join(sorted(_per_cpu("cpufreq/scaling_governor"))),
        boost=_boost(),
        thp=chosen(read(Path("/sys/kernel/mm/transparent_hugepage/enabled"))),
        ksm=read(Path("/sys/kernel/mm/ksm/run")),
        cgroup=_cgroup(),
        autogroup=read(Path("/proc/sys/kernel/sched_autogroup_enabled")),
        kvm_device=_kvm_device(),
        halt_poll_ns=read(Path("/sys/module/kvm/parameters/halt_poll_ns")),
        nested=next(
            (text for m in ("amd", "intel") if (text := read(Path(f"/sys/module/kvm_{m}/parameters/nested")))), ""
        ),
        bridge_nf=_bridge_nf(),
        state_filesystem=filesystem_of(paths.state()),
        init="systemd" if Path("/run/systemd/system").is_dir() else read(Path("/proc/1/comm")) or "unknown",
        privileged=os.geteuid() == 0,
        missing_capabilities=_missing_capabilities(),
        versions=_versions(deadline),
    )


def read(path: Path) -> str:
    """The stripped text of a file in /proc or /sys; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def chosen(text: str) -> str:
    """The selected word of a kernel setting, e.g. `madvise` of `always [madvise] never`."""
    return text.partition("[")[2].partition("]")[0] or text


def cpu_information(text: str | None = None) -> dict[str, str]:
    """The fields of the first CPU in /proc/cpuinfo, and the fields after the CPUs that some architectures have."""
    found: dict[str, str] = {}
    for line in (read(Path("/proc/cpuinfo")) if text is None else text).splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def filesystem_of(path: Path) -> str:
    """The type of the file system of `path`, which need not exist yet."""
    real = nearest(path).resolve()
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[str(folder)] for folder in (real, *real.parents) if str(folder) in mounts), "unknown")


def nearest(path: Path) -> Path:
    """`path` or its nearest ancestor that exists and is accessible."""
    for one in (path, *path.parents):
        with contextlib.suppress(OSError):
            one.stat()
            return one
    return Path("/")


def _per_cpu(name: str) -> set[str]:
    return {text for folder in CPU.glob("cpu[0-9]*") if (text := read(folder / name))}


def _siblings() -> dict[str, str]:
    numbers = sorted(int(folder.name[3:]) for folder in CPU.glob("cpu[0-9]*"))
    return {str(cpu): read(CPU / f"cpu{cpu}/topology/thread_siblings_list") for cpu in numbers}


def _boost() -> str:
    turbo = read(CPU / "intel_pstate/no_turbo")
    if turbo:
        return "off" if turbo == "1" else "on"
    return {"0": "off", "1": "on"}.get(read(CPU / "cpufreq/boost"), "unknown")


def _cgroup() -> str:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return "v2"
    if (root / "unified/cgroup.procs").exists():
        return "hybrid"
    return "v1" if any(root.glob("*/cgroup.procs")) else "unknown"


def _kvm_device() -> str:
    try:
        found = Path("/dev/kvm").stat()
    except OSError:
        return ""
    try:
        owner, group = Path("/dev/kvm").owner(), Path("/dev/kvm").group()
    except KeyError:
        owner, group = str(found.st_uid), str(found.st_gid)
    return f"{found.st_mode & 0o7777:04o} {owner}:{group}"


def _bridge_nf() -> dict[str, str]:
    return {path.name: read(path) for path in sorted(Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"))}


def _missing_capabilities() -> tuple[str, ...]:
    status = cpu_information(read(Path("/proc/self/status")))
    held = int(status.get("CapEff", "0"), 16)
    return tuple(name for name, bit in CAPABILITIES.items() if not held >> bit & 1)


def _versions(deadline: Deadline) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name, (program, *arguments) in VERSIONS.items():
        path = shutil.which(program, path=SBIN)
        if path is None:
            continue
        try:
            done = run([path, *arguments], deadline.within(3.0), check=False)
        except TareError:
            continue
        if lines := done.stdout.strip().splitlines():
            found[name] = lines[0]
    return found


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"
