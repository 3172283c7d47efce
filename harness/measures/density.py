"""The density measure: how many instances a host holds, and what each of them costs the others.

The same rule admits instances of every variant: launch a batch, wait until all of it is ready, launch the next. The
filling ends at the workload's own number, at a minimum of available memory, at a limit of the time to ready, before a
limit of the kernel, or at the end of the case's time; the reason is recorded. One more instance, the probe, runs the
workload's command from time to time: its rate shows how much of a CPU the idle instances leave.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from statistics import median

import psutil

from harness.deadline import Deadline
from harness.definitions.declaration import Number, Problem
from harness.errors import DeadlineExceeded, TareError
from harness.host.ceilings import Ceiling, ceilings, many_open_files, met
from harness.host.cost import Cost
from harness.measures.base import Environment, Measure
from harness.measures.command import READY_SECONDS, samples, succeed
from harness.measures.idle_instances import IdleInstances
from harness.measures.validity import stolen
from harness.model import Case, Milestone, Role, Sample, Shape, Workload
from harness.model.placeholders import render
from harness.readers import FieldNames, reader
from harness.runtimes.base import Instance

CEILING_SHARE = 0.9
"""The largest share of a kernel limit that is used; the rest is for other programs, and for removing the instances."""
REMOVE_SECONDS, REMOVE_SECONDS_EACH = 120.0, 0.3
"""The part of a case's time that is kept for removal: fixed, and for each instance."""
STEPS = (1, 2, 5)
"""The probe runs at counts of these times a power of ten, and at both ends of the curve."""
COUNTED = ("count", "memory-per-instance", "teardown", "teardown-per-instance")
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A workload's parameters.

    `most` is the largest number of instances, launched `batch` at a time with `instance_mib` MiB of memory each. The
    share `floor_share` of the host's memory stays available. `latency_seconds` limits the median time to ready of a
    batch.
    """

    most: int
    batch: int
    floor_share: float
    latency_seconds: float
    instance_mib: int

    @classmethod
    def of(cls, workload: Workload) -> "Wanted":
        """From the workload's parameters, which have been validated."""
        return cls(**{one.name: workload.parameters[one.name] for one in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The limit that ended the filling: `most`, `memory`, `latency`, `time` or `kernel`; `words` describe it."""

    kind: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The host with `count` instances ready.

    `ready` has the seconds to ready of the last batch, `used` the bytes of memory taken since there were none, and
    `probe` the figures of the probe's command where it ran.
    """

    count: int
    ready: tuple[float, ...] = ()
    used: int
    probe: Figures = field(default_factory=dict)


class DensityMeasure(Measure):
    """Fills the host with instances of one variant."""

    needs = ("argv", "reader")
    parameters = (
        Number("most", 1, 100_000),
        Number("batch", 1, 100),
        Number("instance_mib", 32, 10**6),
        Number("floor_share", 0.05, 0.95, whole=False),
        Number("latency_seconds", 0.1, 3600, whole=False),
    )

    def sources(self, workload: Workload, fields: FieldNames) -> FieldNames:
        """See `fields_of`."""
        form = "ready-at-N or FIELD-at-N, with a field of the reader's and a multiple of batch"
        return FieldNames(COUNTED, rf"(?:ready|{fields.expression})-at-[1-9][0-9]{{0,5}}", form)

    def problems(self, workload: Workload) -> Iterator[Problem]:
        """Counts that the filling does not stop at."""
        batch = int(workload.parameters["batch"])
        for index, metric in enumerate(workload.metrics):
            reached = re.fullmatch(r".+-at-([1-9][0-9]{0,5})", metric.source)
            if reached and int(reached[1]) % batch:
                problem = f"{reached[1]} is not a multiple of batch, which is {batch}"
                yield Problem(("metrics", index, "source"), problem, f"write a multiple of {batch}")

    def case_seconds(self, workload: Workload, launch_seconds: float) -> float:
        """A launch for each of the instances."""
        return workload.all_iterations * int(workload.parameters["most"]) * launch_seconds

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Every iteration fills the host; see Measure.measure. A count that is not reached makes no sample."""
        workload = environment.workload(case.workload)
        for number in range(workload.all_iterations):
            found, cost = _iterate(case, environment, workload, number, deadline)
            reason = stolen(cost.steal_share, environment.limits)
            yield from samples(found, number, workload, cost, reason)


def _iterate(
    case: Case, environment: Environment, workload: Workload, number: int, deadline: Deadline
) -> tuple[Figures, Cost]:
    """Fill the host and empty it again: the fields, and the host's cost of the filling."""
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
            shown = {"limit": asdict(limit), "teardown": teardown, "points": [_recorded(one) for one in filling.points]}
            environment.record(case, "observed", what="density", iteration=number, wanted=asdict(wanted), **shown)
    return fields_of(filling.points, teardown), cost


class Filling:
    """One filling of the host: its rule and the points of its curve."""

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
        """Launch batches up to a limit. Raises TareError when the first fails, or another one without a known limit."""
        self.points.append(Point(count=0, used=0, probe=self._probed()))
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
            probe: Figures = self._probed() if is_step(count) else {}
            self.points.append(Point(count=count, ready=batch.ready, used=used, probe=probe))
        if not self.points[-1].probe:
            self.points[-1] = replace(self.points[-1], probe=self._probed())
        if self.points[-1].count == 0:
            raise TareError("no batch could be launched", details=limit.words)
        return limit

    def _limit(self) -> Limit | None:
        """The limit at which no further batch is launched; None before it."""
        wanted, last = self._wanted, self.points[-1]
        if last.count >= wanted.most:
            return Limit(kind="most", words=f"the workload's own limit of {wanted.most}; the host has room for more")
        each = max(0.0, last.used / last.count) if last.count else 0.0
        available = psutil.virtual_memory().available
        if available - wanted.batch * each < self._floor:
            words = f"{_gib(available)} of memory was available, {_gib(self._floor)} must stay so"
            return Limit(kind="memory", words=words)
        if last.ready and median(last.ready) > wanted.latency_seconds:
            words = f"a batch took {median(last.ready):.1f} s to ready (limit {wanted.latency_seconds:g} s)"
            return Limit(kind="latency", words=words)
        if self._deadline.left < self._workload.timeout + REMOVE_SECONDS + REMOVE_SECONDS_EACH * last.count:
            return Limit(kind="time", words="the case's time was over; the host may have room for more")
        return self._ceiling()

    def _ceiling(self) -> Limit | None:
        """The first kernel limit that the next batch could reach if it takes as much as the previous one."""
        now, before = ceilings(), {one.name: one.used for one in self._before}
        self._before = now
        for one in now:
            grown = max(0, one.used - before.get(one.name, one.used))
            if one.used + grown > CEILING_SHARE * one.most:
                return Limit(kind="kernel", words=f"{one.name}: {one.used:,} of {one.most:,} are in use")
        return None

    def _probed(self) -> Figures:
        """The figures of the probe's command now."""
        values = {"threads": 1, "memory_mib": self._wanted.instance_mib}
        argv = render(self._workload.argv, self._workload.parameters, values)
        output = succeed(self._probe, argv, self._deadline.within(self._workload.timeout))
        return reader(self._workload.reader).read(output.stdout, self._workload.parameters)


def fields_of(points: Sequence[Point], teardown: float | None) -> Figures:
    """The fields of one filling; `teardown` is its length in seconds, None where it did not happen.

    `count`; `memory-per-instance` (bytes: the Theil–Sen slope of the memory over the count, which is robust against
    what other programs take now and then); `teardown` and `teardown-per-instance` (seconds); `ready-at-N`, the median
    seconds to ready of the batch that reached N; and `FIELD-at-N` for each field of the probe at N.
    """
    from scipy.stats import theilslopes

    count = points[-1].count
    found = {"count": float(count)}
    if len(points) > 2:
        slope = float(theilslopes([one.used for one in points], [one.count for one in points]).slope)
        found |= {"memory-per-instance": slope} if slope > 0 else {}
    if teardown is not None:
        found |= {"teardown": teardown, "teardown-per-instance": teardown / count}
    for one in points:
        found |= {f"ready-at-{one.count}": median(one.ready)} if one.ready else {}
        found |= {f"{name}-at-{one.count}": value for name, value in one.probe.items()}
    return found


def is_step(count: int) -> bool:
    """Whether the probe runs at this count: 1, 2 or 5 times a power of ten."""
    while count and count % 10 == 0:
        count //= 10
    return count in STEPS


def _refused(failures: Sequence[BaseException], seconds: float) -> Limit | None:
    """The limit behind failed launches; None where there is none."""
    for error in failures:
        if name := met(error):
            return Limit(kind="kernel", words=f"{name}: {_line(error)}")
    if all(isinstance(error, DeadlineExceeded) for error in failures):
        return Limit(kind="latency", words=f"{len(failures)} of a batch were not ready within {seconds:g} s")
    return None


def _failed(failures: Sequence[BaseException], count: int) -> TareError:
    first = failures[0]
    hint = first.hint if isinstance(first, TareError) else ""
    return TareError(f"a launch failed beside {count} other instances: {_line(first)}", details=str(first), hint=hint)


def _line(error: BaseException) -> str:
    """An error on one line."""
    return " ".join(f"{error}".split())[:300] or type(error).__name__


def _recorded(one: Point) -> list[object]:
    """A point in short form: a thousand instances make hundreds of points."""
    last = [median(one.ready), max(one.ready)] if one.ready else [None, None]
    return [one.count, *last, one.used, dict(one.probe)]


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
