"""The interference measure: a victim's command alone, and beside an aggressor that does the same kind of work.

The victim is one fresh instance for the whole case. Each aggressor is launched anew, works through all windows beside
it, and is ended by id. The windows alone come right before or right after those beside; the run's seed decides which.
"""

import itertools
import os
import random
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from harness.deadline import Deadline
from harness.definitions.declaration import PREPARE_SECONDS, Choice, Number, Problem
from harness.host.cost import Cost
from harness.measures.base import Environment, Measure
from harness.measures.clock import Clock
from harness.measures.command import launched, listen, run_in, sample, serve, values_of
from harness.measures.validity import absent, discard_reason
from harness.model import VARIANT_NAME, Case, Metric, Role, Sample, Shape, Workload, aggressor_of
from harness.model.placeholders import render
from harness.readers import FieldNames, reader
from harness.runtimes.base import BESIDE, Command, Instance, Job, RawOutput

STOP_SECONDS = 30.0
AT_WORK = ("workload", "vcpu", "guest", BESIDE)
"""The parts of an instance's counters that are its own work."""
PLACEMENTS = ("apart", "shared")
"""Where an aggressor runs: on CPUs outside the shape, or on those of the victim."""
AGGRESSOR_SECONDS = 4.0
"""The estimate for launch and removal of an aggressor, whatever its variant."""
SETTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One run of the victim's command: its figure, its cost, and the reason to discard it ("" for none)."""

    figure: float
    cost: Cost
    reason: str


@dataclass(slots=True, kw_only=True)
class Scene:
    """A case in progress: the victim, the instance that runs its command (itself or the peer), and the placeholders."""

    case: Case
    environment: Environment
    workload: Workload
    victim: Instance
    runner: Instance
    values: Mapping[str, str | int]
    clock: Clock = field(default_factory=Clock)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def own(self) -> Metric:
        """The metric that is the victim's own figure."""
        return next(metric for metric in self.workload.metrics if not aggressor_of(metric.source))

    def window(self, deadline: Deadline) -> tuple[Window, RawOutput]:
        """Run the victim's command once."""
        number, server = next(self.numbers), self.workload.server
        if number and server is not None and server.one_off:
            listen(server, self.workload, self.victim, self.values, deadline)
        meter = self.environment.meter()
        output = run_in(self.runner, self.workload.argv, self.workload, self.values, deadline)
        cost = meter.read()
        self.environment.keep(self.case, number, output, self.victim.counters())
        self.clock.take(output)
        fields = reader(self.workload.reader).read(output.stdout, self.workload.parameters)
        exact = replace(cost, elapsed=output.end - output.begin)
        reason = discard_reason(self.clock, cost.steal_share, 0.0, self.environment.limits)
        return Window(figure=fields[self.own.source], cost=exact, reason=reason), output


class InterferenceMeasure(Measure):
    """Times a command alone and beside its aggressors."""

    needs = ("argv", "reader", "aggressor")
    takes = ("server",)
    parameters = (Choice("placement", lambda: PLACEMENTS), Number("settle", 0, 3600, whole=False))

    def sources(self, workload: Workload, fields: FieldNames) -> FieldNames:
        """A field of the reader for the victim's own figure, and `beside VARIANT` for each slowdown."""
        slowed = f"beside {VARIANT_NAME.pattern}"
        forms = [fields.form] if fields.form else []
        return FieldNames(fields.known, f"{fields.expression}|{slowed}", " or ".join([*forms, "beside VARIANT"]))

    def problems(self, workload: Workload) -> Iterator[Problem]:
        """A server in one of victim and aggressor only; not exactly one figure of the victim's own."""
        assert workload.aggressor is not None
        if bool(workload.server) != bool(workload.aggressor.server):
            field = ("aggressor", "server") if workload.aggressor.server else ("server",)
            yield Problem(field, "only one of victim and aggressor has a server", "define [server] for both or neither")
        own = [metric.name for metric in workload.metrics if not aggressor_of(metric.source)]
        if len(own) != 1:
            problem = f"the victim has {len(own)} figures of its own, and needs one"
            fix = 'give one metric a source of the reader, and all others one like "beside docker/bridge"'
            yield Problem(("metrics",), problem, fix)

    def case_seconds(self, workload: Workload, launch_seconds: float) -> float:
        """Victim and aggressors are each launched and prepared; windows are alone and beside each aggressor."""
        aggressors = sum(bool(aggressor_of(metric.source)) for metric in workload.metrics)
        prepare = PREPARE_SECONDS if workload.prepare else 0.0
        seconds = float(workload.parameters.get("seconds", self.iteration_seconds))
        settle = float(workload.parameters.get("settle", SETTLE_SECONDS))
        windows = (workload.warmup + 2 * workload.iterations) * seconds
        return launch_seconds + prepare + aggressors * (AGGRESSOR_SECONDS + settle + prepare + windows)

    def disk_mib(self, workload: Workload) -> int:
        """For victim and aggressor."""
        return 2 * super().disk_mib(workload)

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """The victim's own figure, and its slowdown beside each aggressor; see Measure.measure."""
        workload = environment.workload(case.workload)
        order = random.Random(f"{case.seed} {case.block} {case.variant}")
        with ExitStack() as stack:
            scene = _open(case, environment, workload, stack, deadline)
            warm = [scene.window(deadline)[0] for _ in range(workload.warmup)]
            yield from (_own(scene, number, one) for number, one in enumerate(warm))
            slowdowns = [metric for metric in workload.metrics if aggressor_of(metric.source)]
            order.shuffle(slowdowns)
            numbers = itertools.count(workload.warmup)
            for metric in slowdowns:
                first = order.random() < 0.5
                alone = _alone(scene, deadline) if first else []
                beside = _beside(scene, aggressor_of(metric.source), deadline)
                alone = alone or _alone(scene, deadline)
                yield from (_own(scene, next(numbers), one) for one in alone)
                for number, (plain, slowed) in enumerate(zip([*warm, *alone], beside, strict=True)):
                    value = slowdown(plain.figure, slowed.figure, scene.own.direction)
                    yield sample(metric, value, number, workload, slowed.cost, plain.reason or slowed.reason)
            environment.record(case, "clock", runner=scene.runner.name, **scene.clock.facts())


def _own(scene: Scene, number: int, one: Window) -> Sample:
    return sample(scene.own, one.figure, number, scene.workload, one.cost, one.reason)


def slowdown(alone: float, beside: float, direction: str) -> float:
    """The factor by which the victim's figure is worse beside an aggressor; 1 for no change."""
    return alone / beside if direction == "higher" else beside / alone


def _open(case: Case, environment: Environment, workload: Workload, stack: ExitStack, deadline: Deadline) -> Scene:
    """Launch the victim, and the peer where that runs the command; prepare."""
    victim = launched(stack, environment, case, Role.SUBJECT, deadline)
    environment.record(case, "facts", facts=dict(victim.facts(deadline)))
    values, runner = values_of(workload, environment), victim
    if workload.server:
        runner = launched(stack, environment, case, Role.PEER, deadline)
        values |= serve(workload.server, workload, victim, values, deadline)
    if workload.prepare:
        run_in(victim, workload.prepare, workload, values, deadline)
    return Scene(case=case, environment=environment, workload=workload, victim=victim, runner=runner, values=values)


def _alone(scene: Scene, deadline: Deadline) -> list[Window]:
    return [scene.window(deadline)[0] for _ in range(scene.workload.iterations)]


def _beside(scene: Scene, variant: str, deadline: Deadline) -> list[Window]:
    """Windows beside an aggressor, warm-ups first; those in which the aggressor did not work are discarded."""
    found: list[Window] = []
    shares: list[float] = []
    with ExitStack() as stack:
        busy = _aggressor(scene, variant, stack, deadline)
        for _ in range(scene.workload.all_iterations):
            before = busy.cpu()
            one, output = scene.window(deadline)
            shares.append((busy.cpu() - before) / (output.end - output.begin))
            found.append(one)
        status = busy.job.stop(Deadline.after(STOP_SECONDS)).status
    seen = {"aggressor": variant, "cpus": busy.shape.cpu_list, "placement": busy.placement}
    scene.environment.record(scene.case, "observed", what="aggressor", **seen, shares=shares, status=status)
    at_work = status == -signal.SIGKILL
    return [
        replace(one, reason=one.reason or absent(share, at_work=at_work))
        for one, share in zip(found, shares, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggressor:
    """An aggressor at work: its placement, and the job that loads it (the peer's where the aggressor serves)."""

    instance: Instance
    shape: Shape
    placement: str
    job: Job

    def cpu(self) -> float:
        """CPU seconds that it has used so far, without those of daemons that serve it."""
        return sum(seconds for part, seconds in self.instance.counters().items() if part in AT_WORK)


def _aggressor(scene: Scene, variant: str, stack: ExitStack, deadline: Deadline) -> Aggressor:
    """Launch an aggressor, prepare it, start its load and let it settle."""
    workload = scene.workload
    assert workload.aggressor is not None
    case = replace(scene.case, cast={**scene.case.cast, Role.AGGRESSOR: variant})
    shape, placement = placed(scene.environment.shape, outside(), str(workload.parameters["placement"]))
    instance = launched(stack, scene.environment, case, Role.AGGRESSOR, deadline, shape=shape)
    values, runner = values_of(workload, scene.environment), instance
    if workload.aggressor.server:
        values |= serve(workload.aggressor.server, workload, instance, values, deadline)
        runner = scene.runner
    if workload.aggressor.prepare:
        run_in(instance, workload.aggressor.prepare, workload, values, deadline)
    words = render(workload.aggressor.argv, workload.parameters, values)
    job = runner.start(Command(argv=words), deadline.within(workload.timeout))
    time.sleep(min(float(workload.parameters["settle"]), deadline.left))
    return Aggressor(instance=instance, shape=shape, placement=placement, job=job)


def outside() -> frozenset[int]:
    """The CPUs of harness and peer, to which the harness is pinned during a run."""
    return frozenset(os.sched_getaffinity(0))


def placed(shape: Shape, around: Collection[int], wanted: str) -> tuple[Shape, str]:
    """The aggressor's shape and placement: `apart` needs as many CPUs outside the shape as the aggressor has."""
    free = sorted(set(around) - set(shape.cpus))
    if wanted == "apart" and len(free) >= shape.vcpus:
        return replace(shape, cpus=tuple(free[-shape.vcpus :])), "apart"
    return shape, "shared"
