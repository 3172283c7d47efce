"""The lifecycle measure: what an instance can be put through, how long that takes, who notices, and what survives."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack

from harness.deadline import Deadline
from harness.measures.base import Environment
from harness.measures.command import READY_SECONDS, sample
from harness.measures.lifecycle.scenarios import SCENARIOS
from harness.measures.lifecycle.scene import Lacking, Scene
from harness.measures.validity import stolen
from harness.model import Case, Milestone, Role, Sample

__all__ = ["LifecycleMeasure"]


class LifecycleMeasure:
    """Puts one instance through a scenario, again and again."""

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """A scenario's figures; none, but its reason as `observed`, where the instance has no such capability.

        Raises TareError when an operation fails, or when what must survive it did not.
        """
        workload = environment.workload(case.workload)
        scenario = SCENARIOS[str(workload.parameters["scenario"])]
        with ExitStack() as stack:
            subject = stack.enter_context(environment.launch(case, Role.SUBJECT, "agent", deadline))
            subject.wait(Milestone.READY, deadline.within(READY_SECONDS))
            subject.wait(subject.last, deadline.within(READY_SECONDS))
            environment.record(case, "facts", facts=dict(subject.facts(deadline)))
            scene = Scene(case, environment, stack, subject, deadline)
            for number in range(workload.warmup + workload.iterations):
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
