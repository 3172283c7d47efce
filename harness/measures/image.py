"""The image measure: size, build, transfer and clones of an image, and what each instance adds to it."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext

from harness.deadline import Deadline
from harness.definitions.declaration import Choice, Number
from harness.images import inventory
from harness.measures.base import Environment, Measure
from harness.measures.command import samples, succeed
from harness.measures.validity import stolen
from harness.model import Case, Milestone, Role, Sample, Workload
from harness.paths import data
from harness.readers import FieldNames
from harness.runtimes.archive import allocated, packing, unpacking
from harness.runtimes.base import Copies, Instance, Prepared

PACKAGE = "image.tar.zst"
LEVEL = 3
"""zstd's own default level."""
COPIES_MIB = 3072
"""The most that an image's copies and its package take on the disk."""
INSTANCES, WRITE_MIB = 2, 16
Fields = dict[str, float]
Step = Callable[[Case, Environment, Copies, Deadline], Fields]


class ImageMeasure(Measure):
    """Sizes in bytes and times in seconds; the sources of the workload's metrics decide which steps are taken.

    `disk` is the size of the image on the host's disk. A copy is made, packed, unpacked and started: `build`, `export`,
    `import`, `start` and `deploy` are seconds, `transfer` is bytes. `linked` and `full` are the seconds of a clone,
    `linked-disk` and `full-disk` its bytes. `growth` is what each of several instances adds once it has started,
    `written` what a file of `write_mib` MiB adds to that. A step that a runtime lacks makes no sample.
    """

    parameters = (
        Choice("recipe", lambda: {path.stem for path in data("images").glob("*.toml")} - {"system"}, needed=False),
        Number("level", 1, 19, needed=False),
        Number("instances", 1, 16, needed=False),
        Number("write_mib", 1, 1024, needed=False),
    )
    iteration_seconds = 8.0

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def sources(self, workload: Workload, fields: FieldNames) -> FieldNames:
        """The size of the image, and the sources of all steps."""
        return FieldNames(("disk", *(source for sources in STEPS for source in sorted(sources))))

    def at_once(self, workload: Workload) -> int:
        """The instances whose growth is measured."""
        return int(workload.parameters.get("instances", 1))

    def disk_mib(self, workload: Workload) -> int:
        """With the image's copies and its package."""
        return super().disk_mib(workload) + COPIES_MIB

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured rounds; see Measure.measure."""
        workload = environment.workload(case.workload)
        wanted = {metric.source for metric in workload.metrics}
        for number in range(workload.all_iterations):
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
            found = {name: value for name, value in fields.items() if value > 0}
            yield from samples(found, number, workload, cost, reason)

    def _describe(self, case: Case, environment: Environment, image: Prepared) -> None:
        """Record once, since it never changes: the root's packages and the size of its tar."""
        if (case.workload, case.variant) in self._known or not image.root.tar.is_file():
            return
        self._known.add((case.workload, case.variant))
        packages = len(inventory.read(image.root.tar.parent).packages)
        environment.record(case, "observed", what="root", packages=packages, tar=image.root.tar.stat().st_size)


def _carry(case: Case, environment: Environment, copies: Copies, deadline: Deadline) -> Fields:
    """Make a copy, pack it, delete it, unpack the package and start an instance from that.

    The transfer between two hosts is not timed, since it depends on the network. Nothing is flushed to the disk, as in
    everyday use.
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
    """Seconds from the request until the instance has started everything."""
    with environment.launch(case, Role.SUBJECT, "beacon", deadline, connected=False, image=copy) as instance:
        instance.wait(Milestone.READY, deadline)
        return instance.wait(instance.last, deadline) - instance.wait(Milestone.REQUESTED, deadline)


def _clone(case: Case, environment: Environment, copies: Copies, deadline: Deadline) -> Fields:
    """A linked clone, which keeps only what is written to it, and a full one, which shares nothing."""
    found, watch = Fields(), _Watch()
    if (linking := copies.linked(deadline)) is not None:
        with linking as paths:
            found |= {"linked": watch.lap(), "linked-disk": allocated(paths)}
    watch.lap()
    with copies.full(deadline) as paths:
        found |= {"full": watch.lap(), "full-disk": allocated(paths)}
    return found


def _grow(case: Case, environment: Environment, copies: Copies, deadline: Deadline) -> Fields:
    """The disk space of each started instance, and what a file that it writes adds.

    Nothing where the runtime has no linked clones: its instances have no disk of their own.
    """
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
    """Write an incompressible file of that size below /var/tmp, which is on the instance's root in every runtime."""
    words = ("dd", "if=/dev/urandom", "of=/var/tmp/tare-written", "bs=1M", f"count={mib}", "conv=fsync", "status=none")
    succeed(instance, words, deadline)


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
"""The steps, by the sources of the metrics that need them."""
