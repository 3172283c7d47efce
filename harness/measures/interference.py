"""The interference measure: a victim's command alone, then beside an aggressor that does the same kind of work.

The victim is one fresh instance for the whole case; each aggressor is launched anew, works through all windows beside
it and is ended by id. Windows alone come right before or right after those beside, as the run's seed decides.
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
from harness.host.cost import Cost
from harness.measures.base import Environment
from harness.measures.clock import Clock
from harness.measures.command import READY_SECONDS, listen, run_in, sample, serve, values_of
from harness.measures.validity import absent, discard_reason
from harness.model import Case, Metric, Milestone, Role, Sample, Shape, Workload, aggressor_of
from harness.model.placeholders import render
from harness.readers import reader
from harness.runtimes.base import BESIDE, Command, Instance, Job, RawOutput

STOP_SECONDS = 30.0
AT_WORK = ("workload", "vcpu", "guest", BESIDE)
"""The parts of an instance's counters that are its own work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One run of the victim's command: its figure, what it cost, and why it is discarded ("" where it counts)."""

    figure: float
    cost: Cost
    reason: str


@dataclass(slots=True, kw_only=True)
class Scene:
    """A case under way: the victim, who runs its command (itself or the peer), and what is filled into words."""

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


class InterferenceMeasure:
    """Times a command beside its aggressors."""

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
    """How many times worse the victim's figure is beside an aggressor; 1 where that changes nothing."""
    return alone / beside if direction == "higher" else beside / alone


def _open(case: Case, environment: Environment, workload: Workload, stack: ExitStack, deadline: Deadline) -> Scene:
    """Launch the victim, and the peer where the work comes from there; prepare."""
    victim = _launched(stack, environment, case, Role.SUBJECT, deadline)
    environment.record(case, "facts", facts=dict(victim.facts(deadline)))
    values, runner = values_of(workload, environment), victim
    if workload.server:
        runner = _launched(stack, environment, case, Role.PEER, deadline)
        values |= serve(workload.server, workload, victim, values, deadline)
    if workload.prepare:
        run_in(victim, workload.prepare, workload, values, deadline)
    return Scene(case=case, environment=environment, workload=workload, victim=victim, runner=runner, values=values)


def _launched(
    stack: ExitStack, environment: Environment, case: Case, role: Role, deadline: Deadline, shape: Shape | None = None
) -> Instance:
    instance = stack.enter_context(environment.launch(case, role, "agent", deadline, shape=shape))
    instance.wait(Milestone.READY, deadline.within(READY_SECONDS))
    instance.wait(instance.last, deadline.within(READY_SECONDS))
    return instance


def _alone(scene: Scene, deadline: Deadline) -> list[Window]:
    return [scene.window(deadline)[0] for _ in range(scene.workload.iterations)]


def _beside(scene: Scene, variant: str, deadline: Deadline) -> list[Window]:
    """Windows (warm-ups first) beside an aggressor; those during which it was not at work are discarded."""
    found: list[Window] = []
    shares: list[float] = []
    with ExitStack() as stack:
        busy = _neighbour(scene, variant, stack, deadline)
        for _ in range(scene.workload.warmup + scene.workload.iterations):
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
    """An aggressor at work: where, and the job that keeps it so (of the peer where that does it)."""

    instance: Instance
    shape: Shape
    placement: str
    job: Job

    def cpu(self) -> float:
        """CPU seconds that it has used so far; what daemons do for it is no work of its own."""
        return sum(seconds for part, seconds in self.instance.counters().items() if part in AT_WORK)


def _neighbour(scene: Scene, variant: str, stack: ExitStack, deadline: Deadline) -> Aggressor:
    """Launch an aggressor, prepare it and set it to work; it has settled when this returns."""
    workload = scene.workload
    assert workload.aggressor is not None
    case = replace(scene.case, cast={**scene.case.cast, Role.AGGRESSOR: variant})
    shape, placement = placed(scene.environment.shape, outside(), str(workload.parameters["placement"]))
    instance = _launched(stack, scene.environment, case, Role.AGGRESSOR, deadline, shape)
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
    """The CPUs of harness and peer: the harness keeps to them during a run."""
    return frozenset(os.sched_getaffinity(0))


def placed(shape: Shape, around: Collection[int], wanted: str) -> tuple[Shape, str]:
    """The aggressor's shape and how it was placed: `apart` needs as many CPUs outside the victim's as it has itself."""
    free = sorted(set(around) - set(shape.cpus))
    if wanted == "apart" and len(free) >= shape.vcpus:
        return replace(shape, cpus=tuple(free[-shape.vcpus :])), "apart"
    return shape, "shared"
