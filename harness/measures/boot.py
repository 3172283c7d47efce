"""The boot measure: fresh launches of the beacon, and the moments between their marks."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.errors import TareError
from harness.measures.base import Stage
from harness.measures.command import host_costs, sample
from harness.measures.validity import stolen
from harness.model import Case, Mark, Metric, Role, Sample
from harness.runtimes.base import BESIDE, Command

ACCOUNT = Command(argv=("sh", "-c", "systemd-analyze time; systemd-analyze blame; systemd-analyze critical-chain"))
"""What a full system itself says of its start; by its own clock, so it is kept beside the marks and makes no sample."""


class BootMeasure:
    """Times launches: every iteration is an instance of its own."""

    def __init__(self) -> None:
        self._accounted: set[str] = set()

    def measure(self, case: Case, stage: Stage, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured launches; see Measure.measure. A mark that a runtime has not makes no sample."""
        workload = stage.workload(case.workload)
        last = Mark.READY
        for number in range(workload.warmup + workload.iterations):
            within = deadline.within(workload.timeout)
            meter = stage.meter()
            with stage.launch(case, Role.SUBJECT, "beacon", within) as instance:
                last = instance.last
                instance.wait(Mark.READY, within)
                instance.wait(last, within)
                cost, marks = meter.read(), instance.marks
                beside = instance.counters().get(BESIDE, 0.0) if instance.accelerator.beside_host else 0.0
            stage.record(case, "marks", iteration=number, marks={mark.value: at for mark, at in marks.items()})
            elapsed = max(marks.values()) - marks[Mark.ASKED]
            exact = dataclasses.replace(cost, elapsed=elapsed, cpu=cost.cpu + beside)
            reason = stolen(cost.steal_share, stage.limits)
            figures = [(metric, span) for metric in workload.metrics if (span := _span(metric, marks)) is not None]
            for metric, value in itertools.chain(figures, host_costs(figures, exact)):
                yield sample(metric, value, number, workload, exact, reason)
        if last is Mark.SERVICE and case.variant not in self._accounted:
            self._accounted.add(case.variant)
            try:
                _account(case, stage, deadline.within(workload.timeout))
            except TareError as error:  # what was measured stands without it
                stage.record(case, "facts", facts={"systemd_analyze": f"could not be asked: {error.brief}"})


def _account(case: Case, stage: Stage, deadline: Deadline) -> None:
    """Untimed, in an instance of its own: a full system's own account of its start, and its facts."""
    with stage.launch(case, Role.SUBJECT, "agent", deadline) as instance:
        instance.wait(Mark.READY, deadline)
        instance.wait(instance.last, deadline)
        said = instance.start(ACCOUNT, deadline).wait(deadline)
        facts = {**instance.facts(deadline), "systemd_analyze": said.stdout.partition("\n")[0]}
        stage.record(case, "facts", facts=facts)
        stage.keep(case, 0, said, instance.counters())


def _span(metric: Metric, marks: Mapping[Mark, float]) -> float | None:
    """Seconds between the two marks of a source such as `ready-asked`."""
    last, _, first = metric.source.partition("-")
    try:
        return marks[Mark(last)] - marks[Mark(first)]
    except KeyError:
        return None
