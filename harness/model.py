"""The words of the design as frozen dataclasses; imports nothing of ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Predicate

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")
VARIANT_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}(/[a-z0-9][a-z0-9.-]{0,40})?")


def is_name(text: str) -> bool:
    """Whether `text` may name a workload, metric, suite or parameter."""
    return NAME.fullmatch(text) is not None


def is_variant_name(text: str) -> bool:
    """Whether `text` may name a variant: `runtime` or `runtime/flavour`."""
    return VARIANT_NAME.fullmatch(text) is not None


def neighbour(source: str) -> str:
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
Resource = Literal[
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
]
MeasureName = Literal[
    "command",
    "boot",
    "chain",
    "footprint",
    "image",
    "density",
    "churn",
    "lifecycle",
    "interference",
    "isolation",
]
HOST_COSTS = ("host-cpu", "host-energy")
"""How the names of metrics begin that are the host's cost of a workload and not its result."""
SOFTWARE = frozenset({"tcg", "qemu", "emulated"})
"""What a host runs on when it is itself emulated."""


class Mark(StrEnum):
    """A named moment of an instance on the host's monotonic clock, in the order in which they come.

    Only a full system has `loader` (its firmware has started the boot loader), `loaded` (kernel and initramfs are in
    memory) and `service` (all that it starts at boot is there). Only a container has those that its daemons tell:
    `network` (it is connected), `container` (containerd has its record), `task` (`runc create` is done: namespaces,
    cgroup, root and a waiting process) and `started` (`runc start` has returned; that may come after `ready`).
    """

    ASKED = "asked"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure taken from a reader's output: `source` is the reader's field, `name` the CSV's metric."""

    name: Name
    source: Annotated[str, Len(1, 80)]
    unit: Annotated[str, Len(1, 20)]
    direction: Direction
    scale: Scale = "log"
    summary: Summary = "median"
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the instance serves: its command, and the port and protocol that it listens on.

    `prepare` runs before it (a database's files are made), untimed; the workload's own `prepare` runs once it listens,
    beside it in the instance (of a chain at the peer).
    """

    argv: Argv
    prepare: Annotated[tuple[Argument, ...], Len(0, 64)] = ()
    port: Annotated[int, Gt(1023), Le(65535)]
    protocol: Literal["tcp", "udp"] = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggressor:
    """What the neighbour in an interference workload does until it is ended.

    `argv` runs in it, or with a `server` in it at the peer; `prepare` runs in it beforehand.
    """

    argv: Argv
    prepare: Annotated[tuple[Argument, ...], Len(0, 64)] = ()
    server: Server | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One measured job, as data in `workloads/*.toml`.

    `argv`, `prepare` and `server` may hold `{parameter}`, and besides `{threads}`, `{memory_mib}`, `{scratch}`,
    `{address}` and `{port}`; a chain's server may hold `{upstream}`, which is `address:port` of the next. `threads` is
    `one` or `all` (every vCPU of the shape). `timeout` bounds one iteration and `prepare`, in seconds. `scratch_mib` is
    the disk space that the workload writes. `cache` says whether a launch finds its files in the host's page cache
    (`warm`: as the launch before left it; only boot workloads may be `cold`).
    With an `aggressor` the command is the victim's, and the metrics say what of it is compared (see neighbour).
    Of a measure that runs no `argv`, the `parameters` are the measure's own (see harness.measurable.PARAMETERS).
    """

    name: Name
    title: Annotated[str, Len(1, 100)]
    measure: MeasureName = "command"
    argv: Annotated[tuple[Argument, ...], Len(0, 64)] = ()
    prepare: Annotated[tuple[Argument, ...], Len(0, 64)] = ()
    server: Server | None = None
    aggressor: Aggressor | None = None
    reader: Annotated[str, Predicate(is_name)] = ""
    metrics: Annotated[tuple[Metric, ...], Len(1, 20)]
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    threads: Literal["one", "all"] = "one"
    warmup: Annotated[int, Ge(0), Le(100)] = 1
    iterations: Annotated[int, Gt(0), Le(1000)] = 3
    timeout: Annotated[float, Gt(0), Le(3600)] = 60.0
    scratch_mib: Annotated[int, Ge(0), Le(65536)] = 0
    cache: Literal["warm", "cold"] = "warm"
    definition: str = ""

    @property
    def resource(self) -> str:
        """The resource that the name begins with (`cpu` of `cpu.sysbench`)."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One configured runtime; `options` are the runtime's own and each turns one knob.

    `most_vcpus` is how many vCPUs it can have at most, None for as many as a shape has.
    `form` says what of the root its instances start from: the root as it is, or the full system that was made of it.
    """

    name: VariantName
    runtime: Name
    summary: str
    options: Mapping[str, str] = field(default_factory=dict)
    most_vcpus: int | None = None
    form: Literal["root", "system"] = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Beyond which a block is void, as shares: `steal` of the measured CPUs' time, `load` of all CPUs before the block,
    `frequency` between the arms of a block (one was throttled)."""

    steal: Annotated[float, Gt(0), Le(100)] = 0.10
    load: Annotated[float, Gt(0), Le(100)] = 0.75
    frequency: Annotated[float, Gt(0), Le(100)] = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A list of workloads, the variants for each resource, and the stopping rule (blocks).

    In `variants`, `{accelerator}` stands for what guests run on here (`kvm` or `tcg`). `parameters` overrides
    workload parameters by name, `iterations` and `warmup` every workload's own; `limits` the rules that void a block.
    The `ladder` is of variants that differ from the one before by one knob; they run every workload, beside `variants`.
    """

    name: Name
    summary: Annotated[str, Len(1, 200)]
    workloads: Annotated[tuple[Name, ...], Len(1, 200)]
    variants: Mapping[Resource, tuple[str, ...]]
    blocks: Annotated[int, Gt(0), Le(10000)]
    iterations: Annotated[int, Gt(0), Le(1000)] | None = None
    warmup: Annotated[int, Ge(0), Le(100)] | None = None
    limits: Limits = field(default_factory=Limits)
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    ladder: Annotated[tuple[str, ...], Len(0, 40)] = ()

    def on(self, accelerator: str) -> "Suite":
        """The suite with `{accelerator}` replaced in its variants' names; `none` and "" mean an emulated guest."""
        guest = accelerator if accelerator not in ("", "none") else "tcg"
        variants = {resource: _filled(names, guest) for resource, names in self.variants.items()}
        return replace(self, variants=variants, ladder=_filled(self.ladder, guest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """When a run has enough blocks, declared before it begins: one of four rules.

    `blocks` are the fixed number (None: the suite's own); `precision` half an interval's width, as a fraction;
    `looks` the numbers of blocks at which a workload may end; `seconds` the whole run's time.
    """

    rule: Literal["blocks", "precision", "looks", "time"] = "blocks"
    blocks: int | None = None
    precision: float | None = None
    looks: tuple[int, ...] = ()
    seconds: float | None = None

    @property
    def shares(self) -> tuple[float, ...]:
        """The part of the error that each look spends: in proportion to the blocks since the look before."""
        return tuple((after - before) / self.looks[-1] for before, after in pairwise((0, *self.looks)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The resources that every variant gets alike: `cpus` are host CPU numbers, one per vCPU."""

    cpus: tuple[int, ...]
    memory_mib: int
    pids: int = 4096

    @property
    def vcpus(self) -> int:
        """How many vCPUs an instance has."""
        return len(self.cpus)

    @property
    def cpu_list(self) -> str:
        """The CPU set as the kernel writes it (`1` or `2,3`)."""
        return ",".join(map(str, self.cpus))

    def __str__(self) -> str:
        return f"{self.vcpus}vcpu-{self.memory_mib}MiB@{self.cpu_list}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload on one variant in one block, with its cast of roles; `seed` is the run's, for what it shuffles."""

    block: int
    position: int
    attempt: int
    workload: str
    cast: Mapping[Role, str]
    seed: int = 0

    @property
    def variant(self) -> str:
        """The variant under test."""
        return self.cast[Role.SUBJECT]

    @property
    def id(self) -> str:
        """Unique in a run, safe in a file name."""
        flat = self.variant.replace("/", "+")
        return f"{self.workload}_{flat}_b{self.block:03d}_a{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One workload over all variants, adjacent in time, in shuffled order: the only replicate."""

    number: int
    workload: str
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Something that will not run here, why, and what would change that."""

    what: str
    reason: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one metric from one iteration in one instance; `value` is None where the case failed.

    `elapsed` is seconds by the host's clock; `mhz` the mean frequency of the measured CPUs where known; `steal` the
    seconds that the layer below took from them.
    """

    metric: str
    unit: str
    direction: Direction
    scale: Scale
    summary: Summary
    iteration: int
    phase: Phase
    value: float | None
    elapsed: float | None = None
    mhz: float | None = None
    steal: float | None = None
    role: Role = Role.SUBJECT
    valid: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlace:
    """An instance's place on the rig's bridge: what it needs to get an address there.

    `docker_network` is the name under which Docker has adopted the bridge ("" without Docker). `netns` is the network
    namespace to enter ("" for the one in which bridge and daemons live). `host_address` is the bridge's own address,
    `nat_address` the host's end of the routed leg, `address` this instance's own with `prefix` bits.
    """

    bridge: str
    docker_network: str
    netns: str
    host_address: str
    nat_address: str
    address: str
    prefix: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """Whether a variant can run here; if not, why and what would change that."""

    ok: bool
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that carries our label and no live run owns; `kind` names what, `name` which."""

    kind: str
    name: str
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemForm:
    """The root as a full system: a raw disk with partitions, boot loader, kernel and init; `digest` is the disk's."""

    digest: str
    disk: Path
    kernel_release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RootForms:
    """The one root in each runtime's form, with its digest.

    `disk` is a raw ext4 base; `kernel` and `initramfs` boot it. `system` is None until a variant that boots one asks
    for it.
    """

    digest: str
    directory: Path
    tar: Path
    disk: Path
    kernel: Path
    initramfs: Path
    kernel_release: str
    system: SystemForm | None = None


def _filled(names: tuple[str, ...], guest: str) -> tuple[str, ...]:
    return tuple(name.replace("{accelerator}", guest) for name in names)
