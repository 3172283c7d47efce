"""The base class of measures, and the environment that a measure runs in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline
from harness.definitions.declaration import GROUP, Declaration
from harness.host.cost import HostMeter
from harness.model import Case, Limits, Role, Sample, Shape, Workload
from harness.plugins import derived_from, load
from harness.runtimes.base import Copies, Entry, Instance, Prepared, RawOutput


class Environment(Protocol):
    """What a measure uses: workloads, fresh instances, the host's meter, and a place for raw output."""

    @property
    def shape(self) -> Shape:
        """The shape of every variant."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits beyond which an iteration or a block is discarded."""
        ...

    def workload(self, name: str) -> Workload:
        """The definition of a workload, with the suite's overrides."""
        ...

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
        """A fresh instance for a role of the case; it carries the run's labels and ends with the context.

        A role may have many instances, launched from several threads; subjects that exist at the same time serve on
        successive ports. `shape` replaces the run's shape where a case needs a smaller one. Without `connected` the
        instance has no network. `image` is a copy to start from, instead of the image of the role's variant. `ended`
        is called once nothing of the instance is left, before that is journalled.
        """
        ...

    def copies(self, case: Case, deadline: Deadline) -> AbstractContextManager[Copies | None]:
        """The operations on the image of the case's subjects (build, save, load, clone); None without them."""
        ...

    def files(self, case: Case, deadline: Deadline) -> Iterable[Path]:
        """The files that a launch of the case's subject reads through the host's page cache; see Runtime.files."""
        ...

    def meter(self) -> HostMeter:
        """Start metering the host."""
        ...

    def record(self, case: Case, event: str, **data: object) -> None:
        """Journal data that is not a sample: facts, milestones, counters.

        Reports show only events named `observed`; see harness.record.derive.
        """
        ...

    def keep(self, case: Case, iteration: int, output: RawOutput, counters: Mapping[str, float]) -> None:
        """Keep a job's raw output and the host's counters for it."""
        ...


class Measure(Declaration, ABC):
    """A way of measuring: what it declares about its workloads, and how it runs one case.

    A new measure gives `measure`, and of the declaration only what differs from the defaults. One object serves all
    cases of a run, one after another.
    """

    @abstractmethod
    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Run one case to its end, and yield samples as they come. Raises TareError when the case fails."""


def load_measures() -> Mapping[str, Measure]:
    """A new object of every measure that can be used, by name."""
    return load(GROUP, derived_from(Measure)).found  # type: ignore[type-abstract]
