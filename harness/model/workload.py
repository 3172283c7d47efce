"""What a user requests: workloads, variants, suites, and the rule that ends a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Predicate

from harness.model.names import (
    Argument,
    Argv,
    Direction,
    Name,
    Scale,
    Summary,
    VariantName,
    is_name,
)


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
    """The server in an instance: its command, and the port and protocol that it listens on.

    `prepare` runs before it, untimed: it makes a database's files, for example. The workload's own `prepare` runs in
    the same instance once the server listens; a chain's runs at the peer. A `one_off` server ends after one client;
    each iteration starts it again.
    """

    argv: Argv
    prepare: Annotated[tuple[Argument, ...], Len(0, 64)] = ()
    port: Annotated[int, Gt(1023), Le(65535)]
    protocol: Literal["tcp", "udp"] = "tcp"
    one_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggressor:
    """The load of the aggressor in an interference workload; it runs until the measure ends it.

    `argv` runs in the aggressor, or at the peer where the aggressor has a `server`. `prepare` runs in it beforehand.
    """

    argv: Argv
    prepare: Annotated[tuple[Argument, ...], Len(0, 64)] = ()
    server: Server | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One measured job, as data in `workloads/*.toml`.

    `argv`, `prepare` and `server` may hold placeholders (see harness.model.placeholders): `{parameter}`, `{threads}`,
    `{memory_mib}`, `{scratch}`, `{address}` and `{port}`. `threads` is `one` or `all` (every vCPU of the shape).
    `timeout` limits one iteration, and `prepare`, in seconds. `scratch_mib` is the disk space that the workload writes.
    `cache` is `warm` or `cold`: whether a launch finds its files in the host's page cache. With an `aggressor` the
    command is the victim's. `measure` and `reader` name plug-ins; the measure checks the fields, the `parameters` and
    each metric's `source` (see harness.definitions.declaration).
    """

    name: Name
    title: Annotated[str, Len(1, 100)]
    measure: Name = "command"
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

    @property
    def all_iterations(self) -> int:
        """Warm-up and measured iterations together."""
        return self.warmup + self.iterations


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One configured runtime; `options` are the runtime's own and each turns one knob.

    `most_vcpus` is the largest number of vCPUs that it supports, None for no limit. `form` is what its instances start
    from: the root as it is, or the full system that is built from it.
    """

    name: VariantName
    runtime: Name
    summary: str
    options: Mapping[str, str] = field(default_factory=dict)
    most_vcpus: int | None = None
    form: Literal["root", "system"] = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits beyond which a block is discarded, as shares.

    `steal` is of the measured CPUs' time, `load` of all CPUs before the block, `frequency` is the difference between
    the arms of a block (one was throttled).
    """

    steal: Annotated[float, Gt(0), Le(100)] = 0.10
    load: Annotated[float, Gt(0), Le(100)] = 0.75
    frequency: Annotated[float, Gt(0), Le(100)] = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A list of workloads, the variants for each resource, and the number of blocks.

    In `variants`, `{accelerator}` becomes `kvm` where guests have KVM here, else `tcg`. `parameters` overrides workload
    parameters by name; `iterations` and `warmup` override every workload's own. `limits` are the rules that discard a
    block. In `ladder`, each variant differs from the one before it by one knob. These variants run every workload, in
    addition to `variants`.
    """

    name: Name
    summary: Annotated[str, Len(1, 200)]
    workloads: Annotated[tuple[Name, ...], Len(1, 200)]
    variants: Mapping[Name, tuple[str, ...]]
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
    """The rule that ends a run, declared before it begins: one of four.

    `blocks` is a fixed number (None: the suite's own). `precision` is half the width of an interval, as a fraction.
    `looks` are the interim-analysis points, in blocks. `seconds` is the time of the whole run.
    """

    rule: Literal["blocks", "precision", "looks", "time"] = "blocks"
    blocks: int | None = None
    precision: float | None = None
    looks: tuple[int, ...] = ()
    seconds: float | None = None

    @property
    def shares(self) -> tuple[float, ...]:
        """The part of the error that each look spends, in proportion to the blocks since the previous look."""
        return tuple((after - before) / self.looks[-1] for before, after in pairwise((0, *self.looks)))


def _filled(names: tuple[str, ...], guest: str) -> tuple[str, ...]:
    return tuple(name.replace("{accelerator}", guest) for name in names)
