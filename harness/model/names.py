"""The patterns of names, and the closed sets of words."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, get_args

from annotated_types import Len, Predicate

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")
VARIANT_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}(/[a-z0-9][a-z0-9.-]{0,40})?")


def is_name(text: str) -> bool:
    """Whether `text` may name a workload, metric, suite or parameter."""
    return NAME.fullmatch(text) is not None


def is_variant_name(text: str) -> bool:
    """Whether `text` may name a variant: `runtime` or `runtime/flavour`."""
    return VARIANT_NAME.fullmatch(text) is not None


def aggressor_of(source: str) -> str:
    """The variant of a source such as `beside docker/bridge` (the slowdown that it causes); "" of any other source."""
    word, _, variant = source.partition(" ")
    return variant if word == "beside" and is_variant_name(variant) else ""


Name = Annotated[str, Predicate(is_name)]
VariantName = Annotated[str, Predicate(is_variant_name)]
Argument = Annotated[str, Predicate(lambda text: "\0" not in text and "\n" not in text)]
Argv = Annotated[tuple[Argument, ...], Len(1, 64)]
Direction = Literal["higher", "lower"]
Scale = Literal["log", "linear"]
Summary = Literal["median", "mean", "min", "max"]
Phase = Literal["warmup", "measured"]
RESOURCES = (
    "cpu",
    "memory",
    "network",
    "disk",
    "app",
    "boot",
    "footprint",
    "image",
    "density",
    "churn",
    "lifecycle",
    "interference",
    "isolation",
)
"""The resources of tare's own workloads, in the order in which reports show them; any other name comes after them."""
DaemonName = Literal["", "docker", "libvirt"]
"""The daemon that a runtime needs; "" for none."""
DAEMONS: tuple[DaemonName, ...] = tuple(name for name in get_args(DaemonName) if name)
HOST_COSTS = ("host-cpu", "host-energy")
"""The prefixes of metrics that are the host's cost of a workload and not its result."""
HOST_COST_UNITS: Mapping[str, str] = {
    "host-cpu": "s",
    "host-cpu-per-op": "s",
    "host-energy": "J",
    "host-energy-per-op": "J",
}
"""The host costs that a command has beside its own metrics; the unit of a cost per operation is its numerator's.
Energy exists only where the host counts it."""
SOFTWARE = frozenset({"tcg", "qemu", "emulated"})
"""The accelerators of a host that is itself emulated."""


class Milestone(StrEnum):
    """A named moment of an instance on the host's monotonic clock, in the order in which they come.

    Only a full system has `loader` (its firmware has started the boot loader), `loaded` (kernel and initramfs are in
    memory) and `service` (its boot services have started). Only a container has daemon events: `network` (it is
    connected), `container` (containerd has its record), `task` (`runc create` has returned: namespaces, cgroup, root
    and a waiting process exist) and `started` (`runc start` has returned, possibly after `ready`).
    """

    REQUESTED = "requested"
    CREATED = "created"
    NETWORK = "network"
    CONTAINER = "container"
    LOADER = "loader"
    LOADED = "loaded"
    KERNEL = "kernel"
    USERSPACE = "userspace"
    TASK = "task"
    STARTED = "started"
    READY = "ready"
    SERVICE = "service"


class Role(StrEnum):
    """What an instance does in a case; where there is an aggressor, the subject is its victim."""

    SUBJECT = "subject"
    PEER = "peer"
    AGGRESSOR = "aggressor"


class Accelerator(StrEnum):
    """What executes an instance's instructions, as the instance itself proved it."""

    NONE = "none"
    KVM = "kvm"
    KVM_NESTED = "kvm-nested"
    TCG = "tcg"
    XEN_PV = "xen-pv"
    XEN_PVH = "xen-pvh"

    @property
    def beside_host(self) -> bool:
        """Whether guests run beside the host on one hypervisor, so that the host's own clocks do not count them."""
        return self in (Accelerator.XEN_PV, Accelerator.XEN_PVH)
