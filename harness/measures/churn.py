"""The churn measure: short-lived jobs, each an instance of its own that comes, does its work and goes."""

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
from harness.errors import TareError
from harness.measures.base import Environment
from harness.measures.command import HOST_COST, sample
from harness.measures.validity import stolen
from harness.model import Case, Metric, Milestone, Role, Sample, Workload
from harness.model.placeholders import render
from harness.runtimes.base import BESIDE, Command, Entry

SECONDS_IN_A_MINUTE = 60.0
PER_JOB = Metric(name="host-cpu-per-op", source="", unit="s/job", direction="lower")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job by the host's monotonic clock: from asking for its instance until that was gone; `beside` is BESIDE's."""

    asked: float
    gone: float
    beside: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it took, its instance's start and end included."""
        return self.gone - self.asked


class ChurnMeasure:
    """Jobs one after another, or several at once: each of them gets the run's shape, on the same CPUs.

    Without `argv` the job is the beacon, a static program that says one line: what is timed is then the runtime alone.
    With it the agent runs that command, and its own start is part of every job.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured rounds of at most `jobs` jobs and about `most_s` seconds; see Measure.measure."""
        workload = environment.workload(case.workload)
        if case.variant not in self._known:
            _acquaint(case, environment, deadline.within(workload.timeout))
            self._known.add(case.variant)
        for number in range(workload.warmup + workload.iterations):
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
    """What metrics may take as their source: `rate` in jobs/min, all else in seconds.

    `p50`, `p95` and `longest` are of a job's time; `elapsed` is from the first asking until the last was gone. The rate
    is what so many jobs at once would come to with nothing between them (Little 1961): the harness journals each job on
    the disk before and after, which for the quickest would be the larger part.
    """
    taken = sorted(job.seconds for job in jobs)
    elapsed = max(job.gone for job in jobs) - min(job.asked for job in jobs)
    return {
        "rate": SECONDS_IN_A_MINUTE * together * len(jobs) / sum(taken),
        "p50": statistics.median(taken),
        # The nearest rank: of few jobs that is the longest.
        "p95": taken[math.ceil(0.95 * len(taken)) - 1],
        "longest": taken[-1],
        "elapsed": elapsed,
    }


def _acquaint(case: Case, environment: Environment, deadline: Deadline) -> None:
    """Untimed: the facts of an instance; and what a first launch makes is there before threads would each make it."""
    with environment.launch(case, Role.SUBJECT, "agent", deadline) as instance:
        instance.wait(Milestone.READY, deadline)
        environment.record(case, "facts", facts=dict(instance.facts(deadline)))
    _job(case, environment, environment.workload(case.workload), deadline)


def _round(case: Case, environment: Environment, workload: Workload, deadline: Deadline) -> list[Job]:
    """Jobs by as many threads as there are jobs at once. None is begun after the time; each thread has at least one.

    The first error ends the round once every thread has ended its job: nothing is left running.
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
            words = render(
                workload.argv, workload.parameters, {"memory_mib": environment.shape.memory_mib, "threads": 1}
            )
            output = instance.start(Command(argv=words), deadline).wait(deadline)
            if output.status != 0:
                said = (output.stderr.strip() or output.stdout.strip())[-500:]
                raise TareError(f"{words[0]} exited {output.status} in {instance.name}", details=said)
        # Asked of an instance, and not by its `milestones`: those may ask its daemon, which would be in the job's time.
        asked = instance.wait(Milestone.REQUESTED, deadline)
        beside = instance.counters().get(BESIDE, 0.0) if instance.accelerator.beside_host else 0.0
    return Job(asked=asked, gone=gone[0], beside=beside)
