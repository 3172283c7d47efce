"""The boot measure: launches the beacon, and times the spans between the milestones of each launch."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.definitions.declaration import Problem
from harness.definitions.toml_file import suggest
from harness.errors import TareError
from harness.host.cache import drop
from harness.measures.base import Environment, Measure
from harness.measures.command import host_costs, sample
from harness.measures.validity import not_cold, stolen
from harness.model import Case, Milestone, Role, Sample, Workload
from harness.readers import FieldNames
from harness.runtimes.base import BESIDE, Command, Instance, SignallingOverhead

ACCOUNT = Command(argv=("sh", "-c", "systemd-analyze time; systemd-analyze blame; systemd-analyze critical-chain"))
"""A full system's own account of its boot. It is by the system's own clock: it is kept, and makes no sample."""
SIGNALLING_SECONDS = 60.0
MILESTONE = f"(?:{'|'.join(Milestone)})"
Costs = Mapping[Milestone, SignallingOverhead]


class BootMeasure(Measure):
    """Times launches: every iteration is an instance of its own."""

    takes = ("cache",)
    figures = FieldNames(pattern=f"{MILESTONE}-{MILESTONE}", form="END-START, e.g. ready-requested")
    host_costs: Mapping[str, str] = {"host-cpu": "s", "host-energy": "J"}

    def __init__(self) -> None:
        self._costs: dict[str, Costs] = {}

    def problems(self, workload: Workload) -> Iterator[Problem]:
        """Words in the place of milestones."""
        for index, metric in enumerate(workload.metrics):
            ends = metric.source.split("-")
            for word in ends if len(ends) == 2 else ():
                if word not in list(Milestone):
                    field = ("metrics", index, "source")
                    yield Problem(field, f"{word} is not a milestone", suggest(word, list(Milestone)))

    def case_seconds(self, workload: Workload, launch_seconds: float) -> float:
        """A launch for each iteration."""
        return workload.all_iterations * launch_seconds

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured launches; see Measure.measure. A milestone that a variant lacks makes no sample.

        The signalling overhead of the milestones is measured once for each variant, before its first launch, and
        subtracted.
        """
        workload = environment.workload(case.workload)
        if case.variant not in self._costs:
            self._costs[case.variant] = _acquaint(case, environment, deadline.within(workload.timeout))
        costs = self._costs[case.variant]
        for number in range(workload.all_iterations):
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

    None where the instance lacks one of them. An overhead as large as the span itself is ignored, so that a span is
    always above zero.
    """
    last, first = map(Milestone, source.split("-"))
    if last not in milestones or first not in milestones:
        return None
    whole = milestones[last] - milestones[first]
    late = (costs[last].seconds if last in costs else 0.0) - (costs[first].seconds if first in costs else 0.0)
    return whole - late if late < whole else whole


def _cool(case: Case, environment: Environment, number: int, deadline: Deadline) -> str:
    """Drop the variant's own files from the page cache. Returns the reason to discard the launch, or ""."""
    dropped = drop(environment.files(case, deadline), deadline)
    environment.record(case, "cache", iteration=number, **dataclasses.asdict(dropped), stayed=dropped.stayed)
    return not_cold(dropped.stayed)


def _acquaint(case: Case, environment: Environment, deadline: Deadline) -> Costs:
    """Untimed, in an instance of its own: record its facts and a full system's own account; return the overheads.

    A failure is recorded, and the measurement goes on without them.
    """
    costs: Costs = {}
    failed = ""
    try:
        with environment.launch(case, Role.SUBJECT, "agent", deadline) as instance:
            instance.wait(Milestone.READY, deadline)
            instance.wait(instance.last, deadline)
            account = _account(case, environment, instance, deadline) if instance.last is Milestone.SERVICE else {}
            environment.record(case, "facts", facts={**instance.facts(deadline), **account})
            costs = instance.signalling_overheads(deadline.within(SIGNALLING_SECONDS))
    except TareError as error:
        failed = f"{error.brief}: {error.details}" if error.details else error.brief
    recorded = {milestone.value: dataclasses.asdict(cost) for milestone, cost in costs.items()}
    environment.record(case, "beacon", costs=recorded, failed=failed)
    return costs


def _account(case: Case, environment: Environment, instance: Instance, deadline: Deadline) -> Mapping[str, str]:
    try:
        output = instance.start(ACCOUNT, deadline).wait(deadline)
    except TareError as error:
        return {"systemd_analyze": f"not available: {error.brief}"}
    environment.keep(case, 0, output, instance.counters())
    return {"systemd_analyze": output.stdout.partition("\n")[0]}
