"""How reports name the recorded facts of instances, host and rig, and how they show their values."""

from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "boost": "CPU boost",
    "bridge_nf": "bridge packet filter",
    "capabilities": "Linux capabilities (effective, hexadecimal)",
    "cgroup": "cgroups",
    "cgroup_cpu_weight": "CPU weights of the cgroups",
    "cpu": "CPU model, from inside",
    "cpu_flags": "CPU flags",
    "cpu_model": "CPU model",
    "cpus": "CPUs used (numbers)",
    "cpus_online": "CPUs online (count)",
    "governor": "CPU frequency governor",
    "halt_poll_ns": "halt polling of KVM, ns",
    "host_max_map_count": "mappings that a process of the host may have",
    "host_thp": "transparent huge pages of the host",
    "host_virtualized": "hypervisor below the host",
    "hypervisor_flag": "CPU flag “hypervisor”",
    "image": "image (digest or id)",
    "init": "init (process 1)",
    "irqchip": "interrupt controllers",
    "kernel_release": "kernel of the guest",
    "ksm": "kernel samepage merging (KSM)",
    "kvm_device": "/dev/kvm (mode, owner)",
    "logical_cpus": "logical CPUs",
    "memory_file": "file of the guest's RAM",
    "memory_huge_mib": "RAM in huge pages, MiB",
    "memory_mib": "memory, MiB",
    "memory_preallocated": "RAM touched beforehand",
    "missing_capabilities": "Linux capabilities that root lacks",
    "nested": "nested virtualization",
    "network_mode": "network of Docker",
    "nofile": "limit of open files",
    "numa_nodes": "NUMA nodes",
    "oom_kills": "OOM kills",
    "os": "operating system",
    "privileged": "run as root",
    "scratch": "file system at /scratch",
    "siblings": "SMT siblings",
    "smt": "SMT",
    "speculation": "speculative store bypass",
    "state_filesystem": "file system of tare's state folder",
    "swap_mib": "swap, MiB",
    "thp": "transparent huge pages",
    "uml_kernel": "kernel of User Mode Linux",
    "usable_cpus": "CPUs that tare may use (numbers)",
    "vcpus": "vCPUs",
    "vcpus_pinned": "vCPUs pinned",
}
VALUES: Mapping[str, Mapping[str, str]] = {
    "seccomp": {"0": "none", "1": "strict", "2": "filter"},
    "privileged": {"True": "yes", "False": "no"},
}
"""Words for values that are codes. The codes of seccomp are those of /proc/PID/status (proc_pid_status(5))."""


def name(fact: str) -> str:
    """A fact's name in words; `mitigation.x_y` is `mitigation: x_y`, with the kernel's own name."""
    group, _, own = fact.partition(".")
    return NAMES.get(fact) or (f"{group}: {own}" if own else fact.replace("_", " "))


def rig(fact: str) -> str:
    """The name of a fact of the rig, whose first word is what it is about: `network-mtu` is `network: mtu`."""
    return fact.replace("-", ": ", 1)


def value(fact: str, text: str) -> str:
    """A fact's value, in words where it is a code."""
    return VALUES.get(fact, {}).get(text, text)
