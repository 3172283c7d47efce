"""The lifecycle measure: what an instance can be put through, how long that takes, who notices, and what survives."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack

from harness.deadline import Deadline
from harness.measures.base import Stage
from harness.measures.command import READY_SECONDS, sample
from harness.measures.lifecycle.scenarios import SCENARIOS
from harness.measures.lifecycle.scene import Lacking, Scene
from harness.measures.validity import stolen
from harness.model import Case, Mark, Role, Sample

__all__ = ["LifecycleMeasure"]


class LifecycleMeasure:
    """Puts one instance through a scenario, again and again."""

    def measure(self, case: Case, stage: Stage, deadline: Deadline) -> Iterator[Sample]:
        """A scenario's figures; none, but its reason as `observed`, where the instance has no such capability.

        Raises TareError when an operation fails, or when what must survive it did not.
        """
        workload = stage.workload(case.workload)
        scenario = SCENARIOS[str(workload.parameters["scenario"])]
        with ExitStack() as stack:
            subject = stack.enter_context(stage.launch(case, Role.SUBJECT, "agent", deadline))
            subject.wait(Mark.READY, deadline.within(READY_SECONDS))
            subject.wait(subject.last, deadline.within(READY_SECONDS))
            stage.record(case, "facts", facts=dict(subject.facts(deadline)))
            scene = Scene(case, stage, stack, subject, deadline)
            for number in range(workload.warmup + workload.iterations):
                scene.begin(deadline.within(workload.timeout))
                meter = stage.meter()
                try:
                    figures = scenario(scene)
                except Lacking as lacking:
                    stage.record(case, "observed", what="unsupported", operation=lacking.kind, reason=lacking.reason)
                    return
                cost = meter.read()
                stage.record(case, "observed", what="survival", iteration=number, how=scene.how, steps=scene.survived)
                reason = stolen(cost.steal_share, stage.limits)
                for metric in workload.metrics:
                    if metric.source in figures:
                        seconds = dataclasses.replace(cost, elapsed=figures[metric.source])
                        exact = cost if metric.unit == "bytes" else seconds
                        yield sample(metric, figures[metric.source], number, workload, exact, reason)
