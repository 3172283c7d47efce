"""The churn measure: short-lived jobs, each in an instance of its own that is launched, runs and is removed."""

import dataclasses
import itertools
import math
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.definitions.declaration import Number
from harness.measures.base import Environment, Measure
from harness.measures.command import HOST_COST, sample, succeed
from harness.measures.validity import stolen
from harness.model import Case, Metric, Milestone, Role, Sample, Workload
from harness.model.placeholders import render
from harness.readers import FieldNames
from harness.runtimes.base import BESIDE, Entry

SECONDS_IN_A_MINUTE = 60.0
PER_JOB = Metric(name="host-cpu-per-op", source="", unit="s/job", direction="lower")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job by the host's monotonic clock: from the request for its instance until the instance is gone.

    `beside` is the guest CPU time invisible to the host's clocks (see BESIDE), in seconds.
    """

    requested: float
    gone: float
    beside: float = 0.0

    @property
    def seconds(self) -> float:
        """Its length, with the launch and removal of its instance."""
        return self.gone - self.requested


class ChurnMeasure(Measure):
    """Jobs one after another, or several at once; each has the run's shape, on the same CPUs.

    Without `argv` a job is the beacon, a static program that prints one line: only the runtime is timed. With `argv`
    the agent runs that command, and the start of the agent is part of every job.
    """

    parameters = (Number("jobs", 1, 10_000), Number("most_s", 1, 600), Number("together", 1, 64))
    figures = FieldNames(("rate", "p50", "p95", "longest", "elapsed"))
    host_costs: Mapping[str, str] = {"host-cpu": "s", "host-cpu-per-op": "s/job"}

    def __init__(self) -> None:
        self._known: set[str] = set()

    def case_seconds(self, workload: Workload, launch_seconds: float) -> float:
        """A round takes `most_s` seconds at most."""
        return launch_seconds + workload.all_iterations * float(workload.parameters["most_s"])

    def at_once(self, workload: Workload) -> int:
        """As many as work `together`."""
        return int(workload.parameters["together"])

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured rounds of at most `jobs` jobs and about `most_s` seconds; see Measure.measure."""
        workload = environment.workload(case.workload)
        if case.variant not in self._known:
            _acquaint(case, environment, deadline.within(workload.timeout))
            self._known.add(case.variant)
        for number in range(workload.all_iterations):
            meter = environment.meter()
            jobs = _round(case, environment, workload, deadline)
            cost = meter.read()
            cpu = cost.cpu + sum(job.beside for job in jobs)
            fields = figures(jobs, int(workload.parameters["together"]))
            if number >= workload.warmup:
                taken = [round(job.seconds, 6) for job in jobs]
                environment.record(case, "observed", what="jobs", seconds=taken, elapsed=fields["elapsed"])
            exact = dataclasses.replace(cost, elapsed=fields["elapsed"], cpu=cpu)
            found = [(metric, fields[metric.source]) for metric in workload.metrics]
            if cpu > 0:
                found += [(HOST_COST, cpu), (PER_JOB, cpu / len(jobs))]
            reason = stolen(cost.steal_share, environment.limits)
            for metric, value in found:
                yield sample(metric, value, number, workload, exact, reason)


def figures(jobs: Sequence[Job], together: int) -> Mapping[str, float]:
    """The fields of one round: `rate` in jobs/min, all others in seconds.

    `p50`, `p95` and `longest` are of the time of one job; `elapsed` is from the first request until the last instance
    was gone. The rate is that of `together` jobs at a time without a pause between them (Little 1961): the harness
    journals each job before and after it, which would dominate the time of the quickest ones.
    """
    taken = sorted(job.seconds for job in jobs)
    elapsed = max(job.gone for job in jobs) - min(job.requested for job in jobs)
    return {
        "rate": SECONDS_IN_A_MINUTE * together * len(jobs) / sum(taken),
        "p50": statistics.median(taken),
        # The nearest rank, which is the longest of a few jobs.
        "p95": taken[math.ceil(0.95 * len(taken)) - 1],
        "longest": taken[-1],
        "elapsed": elapsed,
    }


def _acquaint(case: Case, environment: Environment, deadline: Deadline) -> None:
    """Untimed: record the facts of an instance, and run one job, whose launch makes what later ones find."""
    with environment.launch(case, Role.SUBJECT, "agent", deadline) as instance:
        instance.wait(Milestone.READY, deadline)
        environment.record(case, "facts", facts=dict(instance.facts(deadline)))
    _job(case, environment, environment.workload(case.workload), deadline)


def _round(case: Case, environment: Environment, workload: Workload, deadline: Deadline) -> list[Job]:
    """One round of jobs, by one thread for each of those that run at the same time.

    No job starts after the time limit, but each thread runs at least one. After an error every thread still ends its
    own job, so that nothing keeps running; then the first error is raised.
    """
    together, most = int(workload.parameters["together"]), int(workload.parameters["jobs"])
    until = time.monotonic() + float(workload.parameters["most_s"])
    numbers, stop = itertools.count(), threading.Event()

    def work() -> list[Job]:
        done: list[Job] = []
        for number in numbers:
            if stop.is_set() or number >= most or (number >= together and time.monotonic() > until):
                break
            try:
                done.append(_job(case, environment, workload, deadline.within(workload.timeout)))
            except BaseException:
                stop.set()
                raise
        return done

    with ThreadPoolExecutor(together, thread_name_prefix="churn") as pool:
        try:
            workers = [pool.submit(work) for _ in range(together)]
            return [job for worker in workers for job in worker.result()]
        finally:
            stop.set()


def _job(case: Case, environment: Environment, workload: Workload, deadline: Deadline) -> Job:
    gone: list[float] = []
    entry: Entry = "agent" if workload.argv else "beacon"
    with environment.launch(
        case, Role.SUBJECT, entry, deadline, ended=lambda: gone.append(time.monotonic())
    ) as instance:
        instance.wait(Milestone.READY, deadline)
        if workload.argv:
            values = {"memory_mib": environment.shape.memory_mib, "threads": 1}
            succeed(instance, render(workload.argv, workload.parameters, values), deadline)
        # From the instance's wait: its `milestones` may ask a daemon, which would add to the time of the job.
        requested = instance.wait(Milestone.REQUESTED, deadline)
        beside = instance.counters().get(BESIDE, 0.0) if instance.accelerator.beside_host else 0.0
    return Job(requested=requested, gone=gone[0], beside=beside)
