"""The boot measure: fresh launches of the beacon, and the moments between their marks."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.measures.base import Stage
from harness.measures.command import host_costs, sample
from harness.measures.validity import stolen
from harness.model import Case, Mark, Metric, Role, Sample


class BootMeasure:
    """Times launches: every iteration is an instance of its own."""

    def measure(self, case: Case, stage: Stage, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured launches; see Measure.measure. A mark that a runtime has not makes no sample."""
        workload = stage.workload(case.workload)
        for number in range(workload.warmup + workload.iterations):
            within = deadline.within(workload.timeout)
            meter = stage.meter()
            with stage.launch(case, Role.SUBJECT, "beacon", within) as instance:
                instance.wait(Mark.READY, within)
                cost, marks = meter.read(), instance.marks
            stage.record(case, "marks", iteration=number, marks={mark.value: at for mark, at in marks.items()})
            exact = dataclasses.replace(cost, elapsed=marks[Mark.READY] - marks[Mark.ASKED])
            reason = stolen(cost.steal_share, stage.limits)
            figures = [(metric, span) for metric in workload.metrics if (span := _span(metric, marks)) is not None]
            for metric, value in itertools.chain(figures, host_costs(figures, exact)):
                yield sample(metric, value, number, workload, exact, reason)


def _span(metric: Metric, marks: Mapping[Mark, float]) -> float | None:
    """Seconds between the two marks of a source such as `ready-asked`."""
    last, _, first = metric.source.partition("-")
    try:
        return marks[Mark(last)] - marks[Mark(first)]
    except KeyError:
        return None
