"""The protocols of measuring: what a measure is, and the environment that it finds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline
from harness.host.cost import HostMeter
from harness.model import Case, Limits, Role, Sample, Shape, Workload
from harness.runtimes.base import Copies, Entry, Instance, Prepared, RawOutput


class Environment(Protocol):
    """What a measure finds: workloads, fresh instances, the host's meter, and somewhere to put raw output."""

    @property
    def shape(self) -> Shape:
        """The shape of every variant."""
        ...

    @property
    def limits(self) -> Limits:
        """Beyond which an iteration or a block is discarded."""
        ...

    def workload(self, name: str) -> Workload:
        """The definition of a workload, with the suite's overrides applied."""
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
        """A fresh instance for a role of the case, carrying the run's labels; ended with the context.

        A role may have many, launched from several threads where the measure likes; subjects that live at once serve
        on successive ports. `shape` is the case's own where it
        must be smaller than the run's; one that is not `connected` has no network place. `image` is a copy to start
        from, instead of what the role's variant starts from. `ended` is called once nothing of the instance is left,
        before that is journalled.
        """
        ...

    def copies(self, case: Case, deadline: Deadline) -> AbstractContextManager[Copies | None]:
        """How what the case's subjects start from is made, carried and cloned; None where its runtime cannot."""
        ...

    def files(self, case: Case, deadline: Deadline) -> Iterable[Path]:
        """What a launch of the case's subject reads through the host's page cache; see Runtime.files."""
        ...

    def meter(self) -> HostMeter:
        """Start metering the host."""
        ...

    def record(self, case: Case, event: str, **data: object) -> None:
        """Journal something that is no sample: facts, milestones, counters.

        What a report is to show of it is recorded as `observed`; see harness.record.derive.
        """
        ...

    def keep(self, case: Case, iteration: int, output: RawOutput, counters: Mapping[str, float]) -> None:
        """Keep a job's raw output and the host's counters for it."""
        ...


class Measure(Protocol):
    """A way of measuring."""

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Run one case to its end, yielding samples as they come. Raises TareError when the case fails."""
        ...
