"""The means of a scenario: the instance, a state probe inside it, and a client outside that notices downtime."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from harness import inside
from harness.deadline import Deadline
from harness.errors import TareError
from harness.measures.base import Environment
from harness.measures.command import READY_SECONDS, launched, succeed
from harness.model import Case, Milestone, Role
from harness.model.placeholders import render
from harness.runtimes.base import Command, Instance, Job
from harness.runtimes.capabilities import Operation, Unsupported

T = TypeVar("T")
FILE = "tare-kept"
OWN_FOLDER = "/var/tmp"
"""A folder on the instance's own disk, in every runtime that has one."""
MS = 1e-3


class Lacking(Exception):
    """The instance lacks the capability `kind`, for a `reason`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass(frozen=True, slots=True)
class Span:
    """Beginning and end of an operation, in seconds of the host's CLOCK_MONOTONIC."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


@dataclass(slots=True)
class Seen:
    """The times at which the client got answers, by the host's CLOCK_MONOTONIC; filled when the watch ends."""

    answers: list[float] = field(default_factory=list)

    def gap(self, begin: float, end: float) -> float:
        """The longest time without an answer that overlaps the span. Raises TareError without answers around it."""
        pairs = zip(self.answers, self.answers[1:], strict=False)
        gaps = [after - before for before, after in pairs if after > begin and before < end]
        if not gaps or self.answers[0] > begin or self.answers[-1] < end:
            raise TareError("a client outside got no answers before and after an operation", details=self._words(end))
        return max(gaps)

    def _words(self, end: float) -> str:
        if not self.answers:
            return "it got no answer at all"
        return f"{len(self.answers)} answers, the last {self.answers[-1] - end:+.3f} s from the operation's end"


@dataclass(frozen=True, slots=True)
class State:
    """The state probe's answer: the identity of its process, and the digest of its memory."""

    identity: str
    memory: str


class Scene:
    """The scene of one case.

    Each iteration has a `deadline` of its own and fills `survived` (step → item → whether it survived) anew. `how`
    names the means of each operation.
    """

    def __init__(
        self, case: Case, environment: Environment, stack: ExitStack, subject: Instance, deadline: Deadline
    ) -> None:
        self.subject, self.deadline = subject, deadline
        self.survived: dict[str, dict[str, bool]] = {}
        self.how: dict[str, str] = {}
        self._case, self._environment, self._stack = case, environment, stack
        self._workload = environment.workload(case.workload)
        self._state_probe: Job | None = None
        self._client: Instance | None = None

    def begin(self, deadline: Deadline) -> None:
        """Begin an iteration."""
        self.deadline = deadline
        self.survived = {}

    def able(self, kind: type[T]) -> T:
        """The subject's capability. Raises Lacking, with the reason, without it."""
        found = self.subject.capability(kind)
        if isinstance(found, Unsupported):
            raise Lacking(kind.__name__.lower(), found.reason)
        how = getattr(found, "how", {})
        self.how |= dict(how) if isinstance(how, Mapping) else {kind.__name__.lower(): str(how)}
        return found

    def number(self, parameter: str) -> float:
        """A numeric parameter of the workload."""
        return float(self._workload.parameters[parameter])

    def timed(self, operation: Operation) -> Span:
        """Run an operation. Raises TareError when it fails."""
        begin = time.monotonic()
        operation(self.deadline)
        return Span(begin, time.monotonic())

    def started(self, operation: Operation) -> Span:
        """Run an operation that starts the instance again, and wait until it is ready. Raises TareError."""
        self._state_probe = None
        begin = time.monotonic()
        operation(self.deadline)
        self.subject.wait(Milestone.READY, self.deadline.within(READY_SECONDS))
        return Span(begin, self.subject.wait(self.subject.last, self.deadline.within(READY_SECONDS)))

    def settle(self) -> None:
        """Wait until the client has seen what follows an operation."""
        time.sleep(self.number("settle_ms") * MS)

    def hold(self) -> State:
        """Start a state probe with new memory in the subject, in place of the previous one. Returns its state."""
        self.release()
        server, endpoint = self._workload.server, self.subject.endpoint()
        assert server is not None
        words = render(server.argv, self._workload.parameters, {"address": endpoint.bind, "port": endpoint.port})
        command = Command(argv=_argv(*words), listen=endpoint.port)
        self._state_probe = self.subject.start(command, self.deadline)
        return self.state()

    def release(self) -> None:
        """End the state probe."""
        if self._state_probe is not None:
            self._state_probe.stop(self.deadline)
            self._state_probe = None

    def state(self) -> State:
        """The state probe's state, requested from outside. Raises TareError when nothing answers."""
        endpoint = self.subject.endpoint()
        identity, memory = self._output(self._peer(), "ask", endpoint.address, str(endpoint.port)).split()
        return State(identity, memory)

    def compare(self, step: str, before: State, *, must: bool) -> None:
        """Record whether process and memory survived a step. Raises TareError when they `must` and did not."""
        try:
            after: State | None = self.state()
        except TareError as error:
            if must:
                raise TareError(f"the process did not survive {step}", details=str(error)) from error
            after = None
        process = after is not None and after.identity == before.identity
        memory = after is not None and after.memory == before.memory
        self.survived.setdefault(step, {}).update({"process": process, "its memory": memory})
        if must and not (process and memory):
            details = f"{before} before, {after} after"
            raise TareError(f"the process or its memory did not survive {step}", details=details)

    def write(self, folder: str = OWN_FOLDER) -> tuple[str, float]:
        """Write a new file. Returns its digest, and the seconds until it was on the disk, by the subject's clock."""
        digest, seconds = self._output(
            self.subject, "write", f"{folder}/{FILE}", str(int(self.number("file_mib")))
        ).split()
        return digest, float(seconds)

    def read(self, folder: str = OWN_FOLDER) -> tuple[str, float]:
        """Read the file. Returns its digest (`gone` without a file), and the seconds, by the subject's clock."""
        digest, seconds = self._output(self.subject, "read", f"{folder}/{FILE}").split()
        return digest, float(seconds)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Seen]:
        """A client outside asks the state probe continuously; the answers are filled in at the end."""
        endpoint, seen = self.subject.endpoint(), Seen()
        values = {"address": endpoint.address, "port": endpoint.port}
        words = render(self._workload.argv, self._workload.parameters, values)
        # The client opens that port with its first answer.
        command = Command(argv=_argv(*words), listen=endpoint.port + 1)
        job = self._peer().start(command, self.deadline)
        try:
            yield seen
        finally:
            output = job.stop(self.deadline)
        seen.answers = [float(line) for line in output.stdout.splitlines()]

    def _peer(self) -> Instance:
        """The instance of the client: launched at its first use, and ended with the case."""
        if self._client is None:
            self._client = launched(self._stack, self._environment, self._case, Role.PEER, self.deadline)
        return self._client

    def _output(self, place: Instance, *words: str) -> str:
        return succeed(place, _argv("state-probe", *words), self.deadline).stdout


def _argv(program: str, *words: str) -> tuple[str, ...]:
    """A command that runs harness/inside/`program`.py by the root's Python; the program itself is not in the root."""
    return ("/usr/bin/python3", "-I", "-c", _source(program), *words)


@cache
def _source(program: str) -> str:
    return (Path(inside.__path__[0]) / (program.replace("-", "_") + ".py")).read_text()
