"""One fake instance: milestones and figures drawn from a seeded generator, and its jobs."""

import os
import random
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Milestone
from harness.runtimes.base import Command, Counters, Instance, Place, RawOutput, SignallingOverhead
from harness.runtimes.capabilities import T, Unsupported

BOOT_SECONDS: Mapping[Milestone, float] = {Milestone.CREATED: 0.01, Milestone.USERSPACE: 0.05, Milestone.READY: 0.1}
"""When the baseline's milestones come after `requested`."""
ORDERS = ("noise", "sleep", "hang", "fail")


class FakeInstance(Instance):
    """An instance whose numbers are drawn from its place's name, times the variant's `factor`.

    With TARE_FAKE_SEED set they are drawn from that and the name's running number, so that a run can be had again.
    """

    def __init__(self, place: Place, factor: float) -> None:
        requested = time.monotonic()
        super().__init__(place, requested, kernel="fake")
        self._factor = factor
        run, _, number = place.name.rpartition("-")
        self._generator = random.Random(f"{os.environ.get('TARE_FAKE_SEED', run)}-{number}")
        self._used = 0.0
        pace = factor * self._generator.lognormvariate(0, 0.01)
        self._milestones |= {milestone: requested + after * pace for milestone, after in BOOT_SECONDS.items()}

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

    def files(self, deadline: Deadline) -> Iterable[Path]:
        """None."""
        return ()

    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        """That it is no real place."""
        return {"runtime": "fake", "kernel": self.kernel, "factor": str(self._factor)}

    def capability(self, kind: type[T]) -> T | Unsupported:
        """Unsupported: it has no state."""
        return Unsupported(reason="fake has no state")

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

    def _destroy(self) -> None:
        """Nothing is left."""

    def _figure(self, name: str, value: float, words: Mapping[str, float]) -> float:
        noise = self._generator.lognormvariate(0, words.get("noise", 0.0))
        return value * noise / self._factor if name.startswith("rate") else value * noise * self._factor


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
