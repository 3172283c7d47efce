"""The image measure: what instances start from, weighed, made, carried, cloned; and what each instance adds to it."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext

from harness.deadline import Deadline
from harness.errors import TareError
from harness.images import inventory
from harness.measures.base import Environment
from harness.measures.command import sample
from harness.measures.validity import stolen
from harness.model import Case, Milestone, Role, Sample
from harness.runtimes.archive import allocated, packing, unpacking
from harness.runtimes.base import Command, Copies, Instance, Prepared

PACKAGE = "image.tar.zst"
LEVEL = 3
"""zstd's own default."""
INSTANCES, WRITE_MIB = 2, 16
Fields = dict[str, float]
Step = Callable[[Case, Environment, Copies, Deadline], Fields]


class ImageMeasure:
    """Sizes in bytes and times in seconds; a workload's metrics say by their sources which steps are taken.

    `disk` is what the image takes on the host's disk. `build`, `export`, `import`, `start` and `deploy` are seconds,
    `transfer` bytes, of a copy that is made, packed, unpacked and started. `linked` and `full` are seconds that clones
    take, `linked-disk` and `full-disk` their bytes. `growth` is what each of several instances adds once it has
    started, `written` what a file of `write_mib` MiB adds to that. What a runtime has not makes no sample.
    """

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured rounds; see Measure.measure."""
        workload = environment.workload(case.workload)
        wanted = {metric.source for metric in workload.metrics}
        for number in range(workload.warmup + workload.iterations):
            within = deadline.within(workload.timeout)
            meter = environment.meter()
            fields: Fields = {"disk": allocated(environment.files(case, within))}
            with environment.copies(case, within) as copies:
                if copies is not None:
                    self._describe(case, environment, copies.image)
                    for step in (step for sources, step in STEPS.items() if sources & wanted):
                        fields |= step(case, environment, copies, within)
            cost = meter.read()
            reason = stolen(cost.steal_share, environment.limits)
            for metric in workload.metrics:
                if (value := fields.get(metric.source, 0.0)) > 0:
                    yield sample(metric, value, number, workload, cost, reason)

    def _describe(self, case: Case, environment: Environment, image: Prepared) -> None:
        """What is the same every time is recorded once: the root's packages and the size of its tar."""
        if (case.workload, case.variant) in self._known or not image.root.tar.is_file():
            return
        self._known.add((case.workload, case.variant))
        packages = len(inventory.read(image.root.tar.parent).packages)
        environment.record(case, "observed", what="root", packages=packages, tar=image.root.tar.stat().st_size)


def _carry(case: Case, environment: Environment, copies: Copies, deadline: Deadline) -> Fields:
    """Make a copy, pack it, let it go, unpack the package and start from that.

    The transfer between two hosts is not timed: it is the network's. Nothing is flushed to the disk: as users see it.
    """
    level = int(environment.workload(case.workload).parameters.get("level", LEVEL))
    package, found = copies.folder / PACKAGE, Fields()
    watch = _Watch()
    making = copies.built(deadline)
    with making or nullcontext(copies.image) as copy:
        if making is not None:
            found["build"] = watch.lap()
        with packing(package, level, deadline) as sink:
            copies.save(copy, sink, deadline)
        found["export"] = watch.lap()
    found["transfer"] = package.stat().st_size
    with ExitStack() as stack:
        watch.lap()
        with unpacking(package, deadline) as source:
            copy = stack.enter_context(copies.loaded(source, deadline))
        found["import"] = watch.lap()
        package.unlink()
        found["start"] = _first_start(case, environment, copy, deadline)
    return {**found, "deploy": found["import"] + found["start"]}


def _first_start(case: Case, environment: Environment, copy: Prepared, deadline: Deadline) -> float:
    """Seconds from requested until all that the instance starts is there."""
    with environment.launch(case, Role.SUBJECT, "beacon", deadline, connected=False, image=copy) as instance:
        instance.wait(Milestone.READY, deadline)
        return instance.wait(instance.last, deadline) - instance.wait(Milestone.REQUESTED, deadline)


def _clone(case: Case, environment: Environment, copies: Copies, deadline: Deadline) -> Fields:
    """A clone that keeps only what is written to it, and one that shares nothing."""
    found, watch = Fields(), _Watch()
    if (linking := copies.linked(deadline)) is not None:
        with linking as paths:
            found |= {"linked": watch.lap(), "linked-disk": allocated(paths)}
    watch.lap()
    with copies.full(deadline) as paths:
        found |= {"full": watch.lap(), "full-disk": allocated(paths)}
    return found


def _grow(case: Case, environment: Environment, copies: Copies, deadline: Deadline) -> Fields:
    """What is each instance's own once it has started, and what a file adds that it writes. None without linked clones:
    such instances write to nothing."""
    if copies.linked(deadline) is None:
        return {}
    parameters = environment.workload(case.workload).parameters
    count, mib = int(parameters.get("instances", INSTANCES)), int(parameters.get("write_mib", WRITE_MIB))
    with ExitStack() as stack:
        launching = (environment.launch(case, Role.SUBJECT, "agent", deadline, connected=False) for _ in range(count))
        instances = [stack.enter_context(one) for one in launching]
        for instance in instances:
            instance.wait(Milestone.READY, deadline)
            instance.wait(instance.last, deadline)
        before = [allocated(instance.files(deadline)) for instance in instances]
        for instance in instances:
            _write(instance, mib, deadline)
        after = [allocated(instance.files(deadline)) for instance in instances]
    added = statistics.mean(late - early for early, late in zip(before, after, strict=True))
    return {"growth": statistics.mean(before), "written": added}


def _write(instance: Instance, mib: int, deadline: Deadline) -> None:
    """A file of that size below /var/tmp, which is on the instance's root everywhere; of bytes that do not compress."""
    words = ("dd", "if=/dev/urandom", "of=/var/tmp/tare-written", "bs=1M", f"count={mib}", "conv=fsync", "status=none")
    output = instance.start(Command(argv=words), deadline).wait(deadline)
    if output.status != 0:
        raise TareError(f"dd exited {output.status} in {instance.name}", details=output.stderr.strip()[-500:])


@dataclasses.dataclass(slots=True)
class _Watch:
    """Seconds since it was made, or since the lap before."""

    last: float = dataclasses.field(default_factory=time.monotonic)

    def lap(self) -> float:
        last, self.last = self.last, time.monotonic()
        return self.last - last


STEPS: Mapping[frozenset[str], Step] = {
    frozenset({"build", "export", "transfer", "import", "start", "deploy"}): _carry,
    frozenset({"linked", "linked-disk", "full", "full-disk"}): _clone,
    frozenset({"growth", "written"}): _grow,
}
"""What is done for a metric whose source is among the key's."""
