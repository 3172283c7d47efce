"""What is done and what comes of it: shape, cases, blocks, samples."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.model.names import Direction, Phase, Role, Scale, Summary


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
