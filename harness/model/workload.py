"""What is asked for: workloads, variants, suites, and when a run has enough blocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Predicate

from harness.model.names import (
    Argument,
    Argv,
    Direction,
    MeasureName,
    Name,
    Resource,
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
    """What the instance serves: its command, and the port and protocol that it listens on.

    `prepare` runs before it (a database's files are made), untimed; the workload's own `prepare` runs once it listens,
    beside it in the instance (of a chain at the peer). One that is `one_off` ends after one client, and is started anew
    for each iteration.
    """

    argv: Argv
    prepare: Annotated[tuple[Argument, ...], Len(0, 64)] = ()
    port: Annotated[int, Gt(1023), Le(65535)]
    protocol: Literal["tcp", "udp"] = "tcp"
    one_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggressor:
    """What the aggressor in an interference workload does until it is ended.

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
    With an `aggressor` the command is the victim's, and the metrics say what of it is compared (see aggressor).
    Of a measure that runs no `argv`, the `parameters` are the measure's own (see harness.definitions.demands.MEASURES).
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
    """Limits beyond which a block is discarded, as shares.

    `steal` is of the measured CPUs' time, `load` of all CPUs before the block, `frequency` is the difference between
    the arms of a block (one was throttled).
    """

    steal: Annotated[float, Gt(0), Le(100)] = 0.10
    load: Annotated[float, Gt(0), Le(100)] = 0.75
    frequency: Annotated[float, Gt(0), Le(100)] = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A list of workloads, the variants for each resource, and the stopping rule (blocks).

    In `variants`, `{accelerator}` stands for what guests run on here (`kvm` or `tcg`). `parameters` overrides
    workload parameters by name,
    `iterations` and `warmup` every workload's own. `limits` are the rules that discard a block.
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


def _filled(names: tuple[str, ...], guest: str) -> tuple[str, ...]:
    return tuple(name.replace("{accelerator}", guest) for name in names)
