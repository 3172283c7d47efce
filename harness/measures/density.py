"""The density measure: how many instances a host holds, and what each costs the next.

One rule admits instances of every variant: a batch is launched, all of it must become ready, then comes the next. It
ends at the workload's own number, at a floor of available memory, at a limit of the ready latency, before a limit of
the kernel, or when the case's time is up; which of them it was is recorded. Beside the idle instances one more,
the probe, runs the workload's command now and then: its rate shows what the others leave of a CPU.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import median

import psutil

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.ceilings import Ceiling, ceilings, many_open_files, met
from harness.host.cost import Cost
from harness.measures.base import Environment
from harness.measures.command import READY_SECONDS, sample
from harness.measures.idle_instances import IdleInstances
from harness.measures.validity import stolen
from harness.model import Case, Milestone, Role, Sample, Shape, Workload
from harness.model.placeholders import render
from harness.readers import reader
from harness.runtimes.base import Command, Instance

CEILING_SHARE = 0.9
"""Of what the whole host shares, the rest is left to others; of what is the harness's own, too, since it must end."""
REMOVE_SECONDS, REMOVE_SECONDS_EACH = 120.0, 0.3
"""What the end of a case keeps of its time, and keeps for each instance."""
STEPS = (1, 2, 5)
"""The probe runs at counts of these times a power of ten, and at both ends."""
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A workload's parameters: `most` instances in all, `batch` at once, `floor_share` of the host's memory that stays
    available, `latency_seconds` that a batch's median may take to ready, `instance_mib` of memory for each instance."""

    most: int
    batch: int
    floor_share: float
    latency_seconds: float
    instance_mib: int

    @classmethod
    def of(cls, workload: Workload) -> "Wanted":
        """As harness.definitions.workloads has checked them."""
        words = workload.parameters
        return cls(
            most=int(words["most"]),
            batch=int(words["batch"]),
            floor_share=float(words["floor_share"]),
            latency_seconds=float(words["latency_seconds"]),
            instance_mib=int(words["instance_mib"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What ended the filling: `most`, `memory`, `latency`, `time` or `kernel`, and in words."""

    kind: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The host with so many instances ready: the last batch's seconds to ready, bytes of memory taken since there were
    none, and what the probe's command told where it ran."""

    count: int
    ready: tuple[float, ...] = ()
    used: int
    probe: Figures = field(default_factory=dict)


class DensityMeasure:
    """Fills the host with one variant's instances."""

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Every iteration fills the host anew; see Measure.measure. A count that was not reached makes no sample."""
        workload = environment.workload(case.workload)
        for number in range(workload.warmup + workload.iterations):
            fields, cost = _iterate(case, environment, workload, number, deadline)
            reason = stolen(cost.steal_share, environment.limits)
            for metric in workload.metrics:
                if (value := fields.get(metric.source)) is not None:
                    yield sample(metric, value, number, workload, cost, reason)


def _iterate(
    case: Case, environment: Environment, workload: Workload, number: int, deadline: Deadline
) -> tuple[Figures, Cost]:
    """Fill the host and empty it again: the workload's fields, and what the host spent filling."""
    wanted = Wanted.of(workload)
    shape = replace(environment.shape, memory_mib=wanted.instance_mib)
    launch = partial(environment.launch, case, Role.SUBJECT, shape=shape, connected=False)
    with many_open_files(), launch("agent", deadline.within(READY_SECONDS)) as probe:
        probe.wait(Milestone.READY, deadline.within(READY_SECONDS))
        environment.record(case, "facts", facts=dict(probe.facts(deadline.within(READY_SECONDS))))
        filling = Filling(wanted, workload, probe, environment.shape, deadline)
        limit, teardown = Limit(kind="interrupted", words="the case was cut short"), None
        meter = environment.meter()
        try:
            with IdleInstances(partial(launch, "beacon"), wanted.batch) as idle_instances:
                limit = filling.fill(idle_instances)
                cost = meter.read()
                teardown = idle_instances.remove()
        finally:
            told = {"limit": asdict(limit), "teardown": teardown, "points": [_told(one) for one in filling.points]}
            environment.record(case, "observed", what="density", iteration=number, wanted=asdict(wanted), **told)
    return fields_of(filling.points, teardown), cost


class Filling:
    """One filling of the host: its rule, and the points of its curve."""

    def __init__(self, wanted: Wanted, workload: Workload, probe: Instance, shape: Shape, deadline: Deadline) -> None:
        self._wanted = wanted
        self._workload = workload
        self._probe = probe
        self._shape = shape
        self._deadline = deadline
        memory = psutil.virtual_memory()
        self._available = memory.available
        self._floor = int(wanted.floor_share * memory.total)
        self._before: list[Ceiling] = []
        self.points: list[Point] = []

    def fill(self, idle_instances: IdleInstances) -> Limit:
        """Launch batches until a limit. Raises TareError when one fails for no limit that is known, or the first."""
        self.points.append(Point(count=0, used=0, probe=self._ask()))
        while (limit := self._limit()) is None:
            size = min(self._wanted.batch, self._wanted.most - self.points[-1].count)
            batch = idle_instances.add(size, self._deadline.within(self._workload.timeout))
            if batch.failures:
                limit = _refused(batch.failures, self._workload.timeout)
                if limit is None or self.points[-1].count == 0:
                    raise _failed(batch.failures, self.points[-1].count)
                break
            count = self.points[-1].count + size
            used = self._available - psutil.virtual_memory().available
            asked: Figures = self._ask() if is_step(count) else {}
            self.points.append(Point(count=count, ready=batch.ready, used=used, probe=asked))
        if not self.points[-1].probe:
            self.points[-1] = replace(self.points[-1], probe=self._ask())
        if self.points[-1].count == 0:
            raise TareError("not one batch could be launched", details=limit.words)
        return limit

    def _limit(self) -> Limit | None:
        """Why no further batch is launched, None while one may be."""
        wanted, last = self._wanted, self.points[-1]
        if last.count >= wanted.most:
            return Limit(kind="most", words=f"the workload's own limit of {wanted.most}: there is room for more")
        each = max(0.0, last.used / last.count) if last.count else 0.0
        available = psutil.virtual_memory().available
        if available - wanted.batch * each < self._floor:
            words = f"{_gib(available)} of memory were available, {_gib(self._floor)} must stay"
            return Limit(kind="memory", words=words)
        if last.ready and median(last.ready) > wanted.latency_seconds:
            words = f"a batch took {median(last.ready):.1f} s to ready (limit {wanted.latency_seconds:g} s)"
            return Limit(kind="latency", words=words)
        if self._deadline.left < self._workload.timeout + REMOVE_SECONDS + REMOVE_SECONDS_EACH * last.count:
            return Limit(kind="time", words="the case's time was up: there may be room for more")
        return self._ceiling()

    def _ceiling(self) -> Limit | None:
        """The first of the kernel's limits that the next batch could reach, judged by what the one before took."""
        now, before = ceilings(), {one.name: one.used for one in self._before}
        self._before = now
        for one in now:
            grown = max(0, one.used - before.get(one.name, one.used))
            if one.used + grown > CEILING_SHARE * one.most:
                return Limit(kind="kernel", words=f"{one.name}: {one.used:,} of {one.most:,} are in use")
        return None

    def _ask(self) -> Figures:
        """What the probe's command tells now."""
        values = {"threads": 1, "memory_mib": self._wanted.instance_mib}
        command = Command(argv=render(self._workload.argv, self._workload.parameters, values))
        within = self._deadline.within(self._workload.timeout)
        output = self._probe.start(command, within).wait(within)
        if output.status != 0:
            raise TareError(f"the probe's {command.argv[0]} exited {output.status}", details=output.stderr[-500:])
        return reader(self._workload.reader).read(output.stdout, self._workload.parameters)


def fields_of(points: Sequence[Point], teardown: float | None) -> Figures:
    """The workload's fields.

    `count`; `memory-per-instance` (bytes: Theil and Sen's slope of the memory taken over the count, which what others
    of the host take now and then does not bend); `teardown` and `teardown-per-instance` (seconds); `ready-at-N`, the
    median seconds to ready of the batch that made it N; and each of the probe's fields at N, `FIELD-at-N`.
    """
    from scipy.stats import theilslopes

    count = points[-1].count
    fields = {"count": float(count)}
    if len(points) > 2:
        slope = float(theilslopes([one.used for one in points], [one.count for one in points]).slope)
        fields |= {"memory-per-instance": slope} if slope > 0 else {}
    if teardown is not None:
        fields |= {"teardown": teardown, "teardown-per-instance": teardown / count}
    for one in points:
        fields |= {f"ready-at-{one.count}": median(one.ready)} if one.ready else {}
        fields |= {f"{name}-at-{one.count}": value for name, value in one.probe.items()}
    return fields


def is_step(count: int) -> bool:
    """Whether the probe runs at this count."""
    while count and count % 10 == 0:
        count //= 10
    return count in STEPS


def _refused(failures: Sequence[BaseException], seconds: float) -> Limit | None:
    """The limit that failed launches tell of; None where they tell of none."""
    for error in failures:
        if name := met(error):
            return Limit(kind="kernel", words=f"{name}: {_line(error)}")
    if all(isinstance(error, DeadlineExceeded) for error in failures):
        return Limit(kind="latency", words=f"{len(failures)} of a batch were not ready within {seconds:g} s")
    return None


def _failed(failures: Sequence[BaseException], count: int) -> TareError:
    first = failures[0]
    hint = first.hint if isinstance(first, TareError) else ""
    return TareError(f"a launch beside {count} others failed: {_line(first)}", details=str(first), hint=hint)


def _line(error: BaseException) -> str:
    """An error on one line."""
    return " ".join(f"{error}".split())[:300] or type(error).__name__


def _told(one: Point) -> list[object]:
    """A point as it is recorded: a thousand instances make hundreds."""
    last = [median(one.ready), max(one.ready)] if one.ready else [None, None]
    return [one.count, *last, one.used, dict(one.probe)]


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
