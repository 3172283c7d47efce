"""A runtime without processes, for tests of everything above it: listed only where TARE_FAKE=1."""

import os
import random
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Accelerator, Available, Leftover, Milestone, RootForms, Shape, Variant
from harness.runtimes.base import Command, Counters, Endpoint, Place, Prepared, Processes, RawOutput, SignallingOverhead
from harness.runtimes.capabilities import T, Unsupported

SLOW_FACTOR = 1.25
"""What `fake/slow` costs: rates are divided by it, times multiplied."""
BOOT_SECONDS: Mapping[Milestone, float] = {Milestone.CREATED: 0.01, Milestone.USERSPACE: 0.05, Milestone.READY: 0.1}
"""When the baseline's milestones come after `requested`."""

VARIANTS = (
    Variant(name="fake/baseline", runtime="fake", summary="an interpreter that prints seeded numbers"),
    Variant(name="fake/slow", runtime="fake", summary="the same at a fixed cost", options={"factor": str(SLOW_FACTOR)}),
    Variant(name="fake/broken", runtime="fake", summary="its launch always fails", options={"broken": "yes"}),
)


class Fake:
    """Places that exist only in this process."""

    name = "fake"
    daemon = ""
    needs_root = False

    def __init__(self) -> None:
        self.variants: tuple[Variant, ...] = VARIANTS if os.environ.get("TARE_FAKE") == "1" else ()

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """The host's own processors."""
        return Accelerator.NONE

    def connect(self, address: str) -> None:
        """Never called: there is no daemon."""

    def available(self, variant: Variant) -> Available:
        """Wherever it is listed."""
        return Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Nothing to do."""
        return Prepared(variant=variant, shape=shape, root=root, image="fake", accelerator=Accelerator.NONE)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """None are read."""
        return ()

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> None:
        """There is nothing to copy."""

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> "FakeInstance":
        """An instance, unless the variant is broken."""
        if "broken" in prepared.variant.options:
            raise TareError("fake/broken cannot be launched", details="it never can", hint="choose fake/baseline")
        return FakeInstance(place, float(prepared.variant.options.get("factor", "1")))

    def leftovers(self) -> Iterable[Leftover]:
        """None can be."""
        return ()

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Never called: there are no leftovers."""
        raise TareError(f"fake has no {leftover.kind} to remove")

    def close(self) -> None:
        """Nothing is held."""


class FakeInstance:
    """An instance whose numbers are drawn from its place's name, times the variant's `factor`.

    With TARE_FAKE_SEED set they are drawn from that and the name's running number, so that a run can be had again.
    """

    def __init__(self, place: Place, factor: float) -> None:
        self.name = place.name
        self.accelerator = Accelerator.NONE
        self.kernel = "fake"
        self.last = Milestone.READY
        self._place = place
        self._factor = factor
        run, _, number = place.name.rpartition("-")
        self._generator = random.Random(f"{os.environ.get('TARE_FAKE_SEED', run)}-{number}")
        self._used = 0.0
        requested = time.monotonic()
        pace = factor * self._generator.lognormvariate(0, 0.01)
        self._milestones = {Milestone.REQUESTED: requested} | {
            milestone: requested + after * pace for milestone, after in BOOT_SECONDS.items()
        }

    @property
    def milestones(self) -> Mapping[Milestone, float]:
        """The milestones, on the host's CLOCK_MONOTONIC, in seconds; none is waited for."""
        return dict(self._milestones)

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`."""
        if milestone not in self._milestones:
            raise TareError(f"{self.name} has no milestone {milestone}")
        return self._milestones[milestone]

    def start(self, command: Command, deadline: Deadline) -> "FakeJob":
        """Start `fake NAME=NUMBER…`; raises TareError for any other command."""
        if command.argv[0] != "fake":
            raise TareError(f"{command.argv[0]} cannot be started in an instance", details="only `fake` is there")
        return FakeJob(self, _words(command.argv[1:]))

    def signalling_overheads(self, deadline: Deadline) -> Mapping[Milestone, SignallingOverhead]:
        """A tenth of a millisecond."""
        cost = SignallingOverhead(seconds=1e-4, low=1e-4, high=1e-4, readings=1, method="clock")
        return {Milestone.READY: cost}

    def counters(self) -> Counters:
        """Seconds that jobs have taken so far."""
        return {"workload": self._used}

    def processes(self) -> Processes:
        """None: it exists in this process only."""
        return {}

    def endpoint(self) -> Endpoint:
        """The place's own address, at which nothing answers."""
        if self._place.network is None or self._place.port is None:
            raise TareError(f"{self.name} has no network place")
        address = self._place.network.address
        return Endpoint(address=address, port=self._place.port, bind=address)

    def files(self, deadline: Deadline) -> Iterable[Path]:
        """None."""
        return ()

    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        """That it is no real place."""
        return {"runtime": "fake", "kernel": self.kernel, "factor": str(self._factor)}

    def capability(self, kind: type[T]) -> T | Unsupported:
        """None: it has no state to put through anything."""
        return Unsupported(reason="fake has no state")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left."""

    def run(self, words: Mapping[str, float], begin: float, deadline: Deadline) -> RawOutput:
        """Interpret a job's words: see FakeJob."""
        pause = words.get("sleep", 0.0) * self._factor
        if words.get("hang") or pause > deadline.left:
            time.sleep(deadline.left)
            raise DeadlineExceeded("fake did not end in time")
        time.sleep(pause)
        figures = {name: self._figure(name, value, words) for name, value in words.items() if name not in ORDERS}
        end = time.monotonic()
        self._used += end - begin
        failed = bool(words.get("fail"))
        return RawOutput(
            status=1 if failed else 0,
            stdout="" if failed else "".join(f"{name}={value:.9g}\n" for name, value in figures.items()),
            stderr="fake was told to fail\n" if failed else "",
            begin=begin,
            end=end,
            inner_begin=begin,
            inner_end=end,
            user=end - begin,
            system=0.0,
            steal=0.0,
            voluntary_switches=0,
            involuntary_switches=0,
            minor_faults=0,
            major_faults=0,
        )

    def _figure(self, name: str, value: float, words: Mapping[str, float]) -> float:
        noise = self._generator.lognormvariate(0, words.get("noise", 0.0))
        return value * noise / self._factor if name.startswith("rate") else value * noise * self._factor


ORDERS = ("noise", "sleep", "hang", "fail")


class FakeJob:
    """`rate…=N` prints N divided by the variant's factor, any other name N times it.

    Orders besides: `noise=` (the figures' log-normal sigma), `sleep=` (seconds), `hang=1`, `fail=1`.
    """

    def __init__(self, instance: FakeInstance, words: Mapping[str, float]) -> None:
        self._instance = instance
        self._words = words
        self._begin = time.monotonic()

    def wait(self, deadline: Deadline) -> RawOutput:
        """Its output; raises DeadlineExceeded when it hangs or sleeps too long."""
        return self._instance.run(self._words, self._begin, deadline)

    def stop(self, deadline: Deadline) -> RawOutput:
        """Its output at once."""
        return self._instance.run({**self._words, "sleep": 0.0, "hang": 0.0}, self._begin, deadline)


def _words(arguments: tuple[str, ...]) -> dict[str, float]:
    pairs = [argument.partition("=") for argument in arguments]
    try:
        return {name: float(value) for name, _, value in pairs}
    except ValueError as error:
        raise TareError("fake takes NAME=NUMBER", details=str(error)) from None
