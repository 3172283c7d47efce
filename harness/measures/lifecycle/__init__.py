"""The lifecycle measure: the time of lifecycle operations, the downtime that a client sees, and what survives."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack

from harness.deadline import Deadline
from harness.definitions.declaration import Choice, Number
from harness.measures.base import Environment, Measure
from harness.measures.command import launched, sample
from harness.measures.lifecycle.scenarios import SCENARIOS
from harness.measures.lifecycle.scene import Lacking, Scene
from harness.measures.validity import stolen
from harness.model import Case, Role, Sample, Workload
from harness.readers import FieldNames

__all__ = ["LifecycleMeasure"]


class LifecycleMeasure(Measure):
    """Runs one scenario of lifecycle operations on one instance, in every iteration again."""

    needs = ("argv", "server")
    parameters = (
        Choice("scenario", lambda: SCENARIOS),
        Number("pause_ms", 0, 600_000),
        Number("settle_ms", 0, 600_000),
        Number("file_mib", 1, 65_536),
    )
    lasting = True

    def sources(self, workload: Workload, fields: FieldNames) -> FieldNames:
        """The figures of the workload's scenario."""
        return FieldNames(SCENARIOS[str(workload.parameters["scenario"])].figures)

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """A scenario's figures; where the instance lacks the capability, none, and the reason as `observed`.

        Raises TareError when an operation fails, or when something did not survive that must.
        """
        workload = environment.workload(case.workload)
        scenario = SCENARIOS[str(workload.parameters["scenario"])].run
        with ExitStack() as stack:
            subject = launched(stack, environment, case, Role.SUBJECT, deadline)
            environment.record(case, "facts", facts=dict(subject.facts(deadline)))
            scene = Scene(case, environment, stack, subject, deadline)
            for number in range(workload.all_iterations):
                scene.begin(deadline.within(workload.timeout))
                meter = environment.meter()
                try:
                    figures = scenario(scene)
                except Lacking as lacking:
                    environment.record(
                        case, "observed", what="unsupported", operation=lacking.kind, reason=lacking.reason
                    )
                    return
                cost = meter.read()
                environment.record(
                    case, "observed", what="survival", iteration=number, how=scene.how, steps=scene.survived
                )
                reason = stolen(cost.steal_share, environment.limits)
                for metric in workload.metrics:
                    if metric.source in figures:
                        seconds = dataclasses.replace(cost, elapsed=figures[metric.source])
                        exact = cost if metric.unit == "bytes" else seconds
                        yield sample(metric, figures[metric.source], number, workload, exact, reason)
