"""The command measure: iterates a command in one fresh instance, or at the peer against a server in the instance."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cost import Cost
from harness.measures.base import Environment, Measure
from harness.measures.clock import Clock
from harness.measures.validity import discard_reason
from harness.model import HOST_COST_UNITS, Case, Metric, Milestone, Role, Sample, Server, Shape, Workload
from harness.model.placeholders import render
from harness.readers import reader
from harness.runtimes.base import BESIDE, Command, Instance, RawOutput

READY_SECONDS = 180.0
"""The limit until an instance's agent answers: an emulated guest on a loaded host needs half a minute."""
HOST_COST = Metric(name="host-cpu", source="", unit="s", direction="lower")
HOST_ENERGY = Metric(name="host-energy", source="", unit="J", direction="lower")


class CommandMeasure(Measure):
    """Runs a workload's command in the same way in every variant."""

    needs = ("argv", "reader")
    takes = ("server",)
    host_costs = HOST_COST_UNITS

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured iterations of one instance; see Measure.measure."""
        workload = environment.workload(case.workload)
        with ExitStack() as stack:
            subject = launched(stack, environment, case, Role.SUBJECT, deadline)
            environment.record(case, "facts", facts=dict(subject.facts(deadline)))
            values = values_of(workload, environment)
            runner = subject
            if workload.server is not None:
                runner = launched(stack, environment, case, Role.PEER, deadline)
                values |= serve(workload.server, workload, subject, values, deadline)
            if workload.prepare:
                own = {"address": subject.endpoint().bind} if workload.server else {}
                run_in(subject, workload.prepare, workload, {**values, **own}, deadline)
            clock = Clock()
            for number in range(workload.all_iterations):
                if number and workload.server is not None and workload.server.one_off:
                    listen(workload.server, workload, subject, values, deadline)
                yield from iterate(case, environment, workload, ((subject,), runner), values, number, clock, deadline)
            environment.record(case, "clock", runner=runner.name, **clock.facts())


def iterate(
    case: Case,
    environment: Environment,
    workload: Workload,
    cast: tuple[Sequence[Instance], Instance],
    values: Mapping[str, str | int],
    number: int,
    clock: Clock,
    deadline: Deadline,
) -> Iterator[Sample]:
    """One iteration: run the command between two readings of the host's meter and of the subjects' counters.

    `cast` is the subjects, whose counters are summed, and the instance that runs the command. `clock` is that of the
    instance that runs the command: the peer where the subject serves.
    """
    subjects, runner = cast
    before, meter = _counted(subjects), environment.meter()
    output = run_in(runner, workload.argv, workload, values, deadline)
    cost, after = meter.read(), _counted(subjects)
    counters = {part: after[part] - before.get(part, 0.0) for part in after}
    environment.keep(case, number, output, counters)
    fields = reader(workload.reader).read(output.stdout, workload.parameters)
    clock.take(output)
    reason = discard_reason(clock, cost.steal_share, counters.get("proxy", 0.0), environment.limits)
    figures = [(metric, fields[metric.source]) for metric in workload.metrics]
    exact = replace(cost, elapsed=output.end - output.begin, cpu=cost.cpu + counters.get(BESIDE, 0.0))
    for metric, value in (*figures, *host_costs(figures, exact)):
        yield sample(metric, value, number, workload, exact, reason)


def host_costs(figures: list[tuple[Metric, float]], cost: Cost) -> list[tuple[Metric, float]]:
    """The host's CPU seconds and joules for an iteration, and per unit of work.

    The unit of work is that of the primary metric if it is a rate, else of the first metric that is one. A cost at or
    below zero is within the noise of the idle window and is left out. Energy exists only where the host counts it.
    """
    costs: list[tuple[Metric, float]] = []
    rates = [(metric, value) for metric, value in figures if metric.unit.endswith("/s") and value > 0]
    rates.sort(key=lambda one: not one[0].primary)
    for whole, spent in ((HOST_COST, cost.cpu), (HOST_ENERGY, cost.joules)):
        if spent is None or spent <= 0:
            continue
        costs.append((whole, spent))
        for metric, value in rates[:1]:
            unit = f"{whole.unit}/{metric.unit.removesuffix('/s') or 'op'}"
            per = replace(whole, name=f"{whole.name}-per-op", unit=unit)
            costs.append((per, spent / (value * cost.elapsed)))
    return costs


def sample(metric: Metric, value: float | None, number: int, workload: Workload, cost: Cost, reason: str) -> Sample:
    """A sample of `metric` in iteration `number` (from 0, warm-ups first); it is discarded if there is a `reason`."""
    return Sample(
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction,
        scale=metric.scale,
        summary=metric.summary,
        iteration=number,
        phase="warmup" if number < workload.warmup else "measured",
        value=value,
        elapsed=cost.elapsed,
        mhz=cost.mhz,
        steal=cost.steal,
        valid=not reason,
        reason=reason,
    )


def samples(
    found: Mapping[str, float | None], number: int, workload: Workload, cost: Cost, reason: str
) -> Iterator[Sample]:
    """A sample of each metric whose source has a figure in `found`; see `sample`."""
    for metric in workload.metrics:
        if (value := found.get(metric.source)) is not None:
            yield sample(metric, value, number, workload, cost, reason)


def _counted(instances: Sequence[Instance]) -> Mapping[str, float]:
    """The sums of several instances' counters."""
    return sum((Counter(one.counters()) for one in instances), Counter())


def values_of(workload: Workload, environment: Environment) -> dict[str, str | int]:
    """The values of the placeholders that the harness fills in."""
    threads = environment.shape.vcpus if workload.threads == "all" else 1
    return {"threads": threads, "memory_mib": environment.shape.memory_mib, "scratch": "/scratch"}


def serve(
    server: Server, workload: Workload, subject: Instance, values: Mapping[str, str | int], deadline: Deadline
) -> dict[str, str | int]:
    """Prepare and start a server in the instance. Returns the `address` and `port` at which the peer reaches it."""
    endpoint = subject.endpoint()
    if server.prepare:
        inside = {**values, "address": endpoint.bind, "port": endpoint.port}
        run_in(subject, server.prepare, workload, inside, deadline)
    listen(server, workload, subject, values, deadline)
    return {"address": endpoint.address, "port": endpoint.port}


def listen(
    server: Server, workload: Workload, subject: Instance, values: Mapping[str, str | int], deadline: Deadline
) -> None:
    """Start a server in the instance, and wait until it listens."""
    endpoint = subject.endpoint()
    inside = {**values, "address": endpoint.bind, "port": endpoint.port}
    argv = render(server.argv, workload.parameters, inside)
    subject.start(Command(argv=argv, listen=endpoint.port), deadline)


def run_in(
    instance: Instance,
    argv: tuple[str, ...],
    workload: Workload,
    values: Mapping[str, str | int],
    deadline: Deadline,
) -> RawOutput:
    """Run one command to its end. Raises TareError unless it exits with 0."""
    return succeed(instance, render(argv, workload.parameters, values), deadline.within(workload.timeout))


def succeed(instance: Instance, argv: tuple[str, ...], deadline: Deadline) -> RawOutput:
    """Run a command without placeholders to its end. Raises TareError unless it exits with 0."""
    output = instance.start(Command(argv=argv), deadline).wait(deadline)
    if output.status != 0:
        shown = (output.stderr.strip() or output.stdout.strip())[-500:]
        raise TareError(f"{argv[0]} exited with {output.status} in {instance.name}", details=shown)
    return output


def launched(
    stack: ExitStack,
    environment: Environment,
    case: Case,
    role: Role,
    deadline: Deadline,
    *,
    shape: Shape | None = None,
    connected: bool = True,
) -> Instance:
    """A fresh instance with an agent, which has reached its last milestone; it ends with the stack."""
    launching = environment.launch(case, role, "agent", deadline, shape=shape, connected=connected)
    instance = stack.enter_context(launching)
    instance.wait(Milestone.READY, deadline.within(READY_SECONDS))
    instance.wait(instance.last, deadline.within(READY_SECONDS))
    return instance
