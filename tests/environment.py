"""What the tests' own stages share: all that a measure finds, of which each test says only what differs."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.definitions.workloads import load_workload
from harness.host.cost import HostMeter
from harness.model import Case, Limits, Role, Shape, Workload
from harness.paths import data
from harness.runtimes.base import Copies, Entry, Instance, Place, Prepared, RawOutput

ONE_CPU = Shape(cpus=(0,), memory_mib=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a measure asks of one launch; see harness.measures.base.Environment.launch."""

    case: Case
    role: Role
    entry: Entry
    deadline: Deadline
    shape: Shape | None
    connected: bool
    image: Prepared | None
    ended: Callable[[], object]


class BaseEnvironment:
    """A environment whose workloads are the real ones and whose host is as quiet as can be: it keeps what it is told.

    The limits let any share of stolen time pass, since the host that runs the tests is shared.
    """

    def __init__(self, shape: Shape = ONE_CPU, limits: Limits | None = None) -> None:
        self.shape = shape
        self.limits = limits or Limits(steal=100)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.kept: list[Mapping[str, float]] = []

    def opened(self, asked: Asked) -> AbstractContextManager[Instance]:
        """The instance for a launch; the one thing that every environment says itself."""
        raise NotImplementedError

    def workload(self, name: str) -> Workload:
        return load_workload(data("workloads") / f"{name}.toml")

    def launch(
        self,
        case: Case,
        role: Role,
        entry: Entry,
        deadline: Deadline,
        *,
        shape: Shape | None = None,
        connected: bool = True,
        image: Prepared | None = None,
        ended: Callable[[], object] = lambda: None,
    ) -> AbstractContextManager[Instance]:
        return self.opened(
            Asked(
                case=case,
                role=role,
                entry=entry,
                deadline=deadline,
                shape=shape,
                connected=connected,
                image=image,
                ended=ended,
            )
        )

    def copies(self, case: Case, deadline: Deadline) -> AbstractContextManager[Copies | None]:
        return nullcontext()

    def files(self, case: Case, deadline: Deadline) -> Iterable[Path]:
        return ()

    def meter(self) -> HostMeter:
        return HostMeter(self.shape.cpus, 0.0)

    def record(self, case: Case, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    def keep(self, case: Case, iteration: int, output: RawOutput, counters: Mapping[str, float]) -> None:
        self.kept.append(counters)

    def said(self, event: str = "observed") -> list[dict[str, Any]]:
        """The fields of every event of that kind, in order."""
        return [fields for kind, fields in self.events if kind == event]

    def nowhere(self, asked: Asked, name: str = "x-1") -> Place:
        """A place of nothing but a name, for instances that need no folder."""
        return Place(name=name, directory=Path(), entry=asked.entry, shape=self.shape)
