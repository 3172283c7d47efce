"""The boot measure: fresh launches of the beacon, and the moments between their marks."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cache import drop
from harness.measures.base import Stage
from harness.measures.command import host_costs, sample
from harness.measures.validity import not_cold, stolen
from harness.model import Case, Mark, Role, Sample
from harness.runtimes.base import BESIDE, BeaconCost, Command, Instance

ACCOUNT = Command(argv=("sh", "-c", "systemd-analyze time; systemd-analyze blame; systemd-analyze critical-chain"))
"""What a full system itself says of its start; by its own clock, so it is kept beside the marks and makes no sample."""
TELL_SECONDS = 60.0
Costs = Mapping[Mark, BeaconCost]


class BootMeasure:
    """Times launches: every iteration is an instance of its own."""

    def __init__(self) -> None:
        self._costs: dict[str, Costs] = {}

    def measure(self, case: Case, stage: Stage, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured launches; see Measure.measure. A mark that a runtime has not makes no sample.

        What telling a mark costs is measured once for each variant, before its first launch, and subtracted.
        """
        workload = stage.workload(case.workload)
        if case.variant not in self._costs:
            self._costs[case.variant] = _acquaint(case, stage, deadline.within(workload.timeout))
        costs = self._costs[case.variant]
        for number in range(workload.warmup + workload.iterations):
            within = deadline.within(workload.timeout)
            warm = _cool(case, stage, number, within) if workload.cache == "cold" else ""
            meter = stage.meter()
            with stage.launch(case, Role.SUBJECT, "beacon", within) as instance:
                instance.wait(Mark.READY, within)
                instance.wait(instance.last, within)
                cost, marks = meter.read(), instance.marks
                beside = instance.counters().get(BESIDE, 0.0) if instance.accelerator.beside_host else 0.0
            stage.record(case, "marks", iteration=number, marks={mark.value: at for mark, at in marks.items()})
            elapsed = marks[instance.last] - marks[Mark.ASKED]
            exact = dataclasses.replace(cost, elapsed=elapsed, cpu=cost.cpu + beside)
            reason = warm or stolen(cost.steal_share, stage.limits)
            spans = ((metric, span(metric.source, marks, costs)) for metric in workload.metrics)
            figures = [(metric, seconds) for metric, seconds in spans if seconds is not None]
            for metric, value in itertools.chain(figures, host_costs(figures, exact)):
                yield sample(metric, value, number, workload, exact, reason)


def span(source: str, marks: Mapping[Mark, float], costs: Costs) -> float | None:
    """Seconds between the marks of a source such as `ready-asked`, less what telling them cost; None without both.

    A cost as large as the span itself is no cost of telling: then nothing is subtracted, and no span is zero or less.
    """
    last, first = map(Mark, source.split("-"))
    if last not in marks or first not in marks:
        return None
    whole = marks[last] - marks[first]
    late = (costs[last].seconds if last in costs else 0.0) - (costs[first].seconds if first in costs else 0.0)
    return whole - late if late < whole else whole


def _cool(case: Case, stage: Stage, number: int, deadline: Deadline) -> str:
    """Drop the variant's own files from the page cache. Returns why the launch is void as a cold one, or ""."""
    dropped = drop(stage.files(case, deadline), deadline)
    stage.record(case, "cache", iteration=number, **dataclasses.asdict(dropped), stayed=dropped.stayed)
    return not_cold(dropped.stayed)


def _acquaint(case: Case, stage: Stage, deadline: Deadline) -> Costs:
    """Untimed, in an instance of its own: its facts, a full system's own account of its start, what telling costs.

    What cannot be had is recorded, and what is measured stands without it.
    """
    costs: Costs = {}
    failed = ""
    try:
        with stage.launch(case, Role.SUBJECT, "agent", deadline) as instance:
            instance.wait(Mark.READY, deadline)
            instance.wait(instance.last, deadline)
            account = _account(case, stage, instance, deadline) if instance.last is Mark.SERVICE else {}
            stage.record(case, "facts", facts={**instance.facts(deadline), **account})
            costs = instance.beacon_costs(deadline.within(TELL_SECONDS))
    except TareError as error:
        failed = f"{error.brief}: {error.details}" if error.details else error.brief
    told = {mark.value: dataclasses.asdict(cost) for mark, cost in costs.items()}
    stage.record(case, "beacon", costs=told, failed=failed)
    return costs


def _account(case: Case, stage: Stage, instance: Instance, deadline: Deadline) -> Mapping[str, str]:
    try:
        said = instance.start(ACCOUNT, deadline).wait(deadline)
    except TareError as error:
        return {"systemd_analyze": f"could not be asked: {error.brief}"}
    stage.keep(case, 0, said, instance.counters())
    return {"systemd_analyze": said.stdout.partition("\n")[0]}
