"""The boot measure: fresh launches of the beacon, and the moments between their milestones."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cache import drop
from harness.measures.base import Environment
from harness.measures.command import host_costs, sample
from harness.measures.validity import not_cold, stolen
from harness.model import Case, Milestone, Role, Sample
from harness.runtimes.base import BESIDE, Command, Instance, SignallingOverhead

ACCOUNT = Command(argv=("sh", "-c", "systemd-analyze time; systemd-analyze blame; systemd-analyze critical-chain"))
"""What a full system itself says of its start; by its own clock, so it is kept beside the marks and makes no sample."""
TELL_SECONDS = 60.0
Costs = Mapping[Milestone, SignallingOverhead]


class BootMeasure:
    """Times launches: every iteration is an instance of its own."""

    def __init__(self) -> None:
        self._costs: dict[str, Costs] = {}

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured launches; see Measure.measure. A milestone that a runtime has not makes no sample.

        What telling a milestone costs is measured once for each variant, before its first launch, and subtracted.
        """
        workload = environment.workload(case.workload)
        if case.variant not in self._costs:
            self._costs[case.variant] = _acquaint(case, environment, deadline.within(workload.timeout))
        costs = self._costs[case.variant]
        for number in range(workload.warmup + workload.iterations):
            within = deadline.within(workload.timeout)
            warm = _cool(case, environment, number, within) if workload.cache == "cold" else ""
            meter = environment.meter()
            with environment.launch(case, Role.SUBJECT, "beacon", within) as instance:
                instance.wait(Milestone.READY, within)
                instance.wait(instance.last, within)
                cost, milestones = meter.read(), instance.milestones
                beside = instance.counters().get(BESIDE, 0.0) if instance.accelerator.beside_host else 0.0
            environment.record(
                case,
                "milestones",
                iteration=number,
                milestones={milestone.value: at for milestone, at in milestones.items()},
            )
            elapsed = milestones[instance.last] - milestones[Milestone.REQUESTED]
            exact = dataclasses.replace(cost, elapsed=elapsed, cpu=cost.cpu + beside)
            reason = warm or stolen(cost.steal_share, environment.limits)
            spans = ((metric, span(metric.source, milestones, costs)) for metric in workload.metrics)
            figures = [(metric, seconds) for metric, seconds in spans if seconds is not None]
            for metric, value in itertools.chain(figures, host_costs(figures, exact)):
                yield sample(metric, value, number, workload, exact, reason)


def span(source: str, milestones: Mapping[Milestone, float], costs: Costs) -> float | None:
    """Seconds between the two milestones of a source such as `ready-requested`, less their signalling overhead.

    None where the instance has not both.

    A cost as large as the span itself is no cost of telling: then nothing is subtracted, and no span is zero or less.
    """
    last, first = map(Milestone, source.split("-"))
    if last not in milestones or first not in milestones:
        return None
    whole = milestones[last] - milestones[first]
    late = (costs[last].seconds if last in costs else 0.0) - (costs[first].seconds if first in costs else 0.0)
    return whole - late if late < whole else whole


def _cool(case: Case, environment: Environment, number: int, deadline: Deadline) -> str:
    """Drop the variant's own files from the page cache. Returns why the launch is discarded as a cold one, or ""."""
    dropped = drop(environment.files(case, deadline), deadline)
    environment.record(case, "cache", iteration=number, **dataclasses.asdict(dropped), stayed=dropped.stayed)
    return not_cold(dropped.stayed)


def _acquaint(case: Case, environment: Environment, deadline: Deadline) -> Costs:
    """Untimed, in an instance of its own: its facts, a full system's own account of its start, what telling costs.

    What cannot be had is recorded, and what is measured stands without it.
    """
    costs: Costs = {}
    failed = ""
    try:
        with environment.launch(case, Role.SUBJECT, "agent", deadline) as instance:
            instance.wait(Milestone.READY, deadline)
            instance.wait(instance.last, deadline)
            account = _account(case, environment, instance, deadline) if instance.last is Milestone.SERVICE else {}
            environment.record(case, "facts", facts={**instance.facts(deadline), **account})
            costs = instance.signalling_overheads(deadline.within(TELL_SECONDS))
    except TareError as error:
        failed = f"{error.brief}: {error.details}" if error.details else error.brief
    told = {milestone.value: dataclasses.asdict(cost) for milestone, cost in costs.items()}
    environment.record(case, "beacon", costs=told, failed=failed)
    return costs


def _account(case: Case, environment: Environment, instance: Instance, deadline: Deadline) -> Mapping[str, str]:
    try:
        said = instance.start(ACCOUNT, deadline).wait(deadline)
    except TareError as error:
        return {"systemd_analyze": f"could not be asked: {error.brief}"}
    environment.keep(case, 0, said, instance.counters())
    return {"systemd_analyze": said.stdout.partition("\n")[0]}
