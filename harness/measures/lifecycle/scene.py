"""What a scenario has at hand: the instance, a state probe of its state in it, and a client outside that notices."""

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
from harness.measures.command import READY_SECONDS
from harness.model import Case, Milestone, Role
from harness.model.placeholders import render
from harness.runtimes.base import Command, Instance, Job
from harness.runtimes.capabilities import Operation, Unsupported

T = TypeVar("T")
FILE = "tare-kept"
OWN_FOLDER = "/var/tmp"
"""On the instance's own disk, in every runtime that has one."""
MS = 1e-3


class Lacking(Exception):
    """The instance cannot do what the scenario is about; `kind` names it, `reason` says why."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass(frozen=True, slots=True)
class Span:
    """When something began and ended, on the host's CLOCK_MONOTONIC."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


@dataclass(slots=True)
class Seen:
    """When the client got its answers, on the host's CLOCK_MONOTONIC; known once the watch has ended."""

    answers: list[float] = field(default_factory=list)

    def gap(self, begin: float, end: float) -> float:
        """The longest time without an answer that reached into the span. Raises TareError without answers around it."""
        pairs = zip(self.answers, self.answers[1:], strict=False)
        gaps = [after - before for before, after in pairs if after > begin and before < end]
        if not gaps or self.answers[0] > begin or self.answers[-1] < end:
            raise TareError("a client outside got no answers before and after an operation", details=self._words(end))
        return max(gaps)

    def _words(self, end: float) -> str:
        if not self.answers:
            return "it got none at all"
        return f"{len(self.answers)} answers, the last {self.answers[-1] - end:+.3f} s from the operation's end"


@dataclass(frozen=True, slots=True)
class State:
    """What the state probe says: which process it is, and its memory's digest."""

    identity: str
    memory: str


class Scene:
    """One case's; each iteration has a `deadline` of its own, and fills `survived` (step → what → whether) anew.

    `how` says what does each operation.
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
        """Another iteration."""
        self.deadline = deadline
        self.survived = {}

    def able(self, kind: type[T]) -> T:
        """The subject's capability. Raises Lacking with the reason when it has none."""
        found = self.subject.capability(kind)
        if isinstance(found, Unsupported):
            raise Lacking(kind.__name__.lower(), found.reason)
        how = getattr(found, "how", {})
        self.how |= dict(how) if isinstance(how, Mapping) else {kind.__name__.lower(): str(how)}
        return found

    def number(self, parameter: str) -> float:
        """A parameter of the workload that is a number."""
        return float(self._workload.parameters[parameter])

    def timed(self, operation: Operation) -> Span:
        """Do it. Raises TareError."""
        begin = time.monotonic()
        operation(self.deadline)
        return Span(begin, time.monotonic())

    def started(self, operation: Operation) -> Span:
        """Do what begins the instance anew, and wait until it is ready. Raises TareError."""
        self._state_probe = None
        begin = time.monotonic()
        operation(self.deadline)
        self.subject.wait(Milestone.READY, self.deadline.within(READY_SECONDS))
        return Span(begin, self.subject.wait(self.subject.last, self.deadline.within(READY_SECONDS)))

    def settle(self) -> None:
        """Let the client notice what comes after an operation."""
        time.sleep(self.number("settle_ms") * MS)

    def hold(self) -> State:
        """A state probe with fresh memory in the subject, in place of the last."""
        self.release()
        server, endpoint = self._workload.server, self.subject.endpoint()
        assert server is not None
        words = render(server.argv, self._workload.parameters, {"address": endpoint.bind, "port": endpoint.port})
        command = Command(argv=_argv(*words), listen=endpoint.port)
        self._state_probe = self.subject.start(command, self.deadline)
        return self.asked()

    def release(self) -> None:
        """End the state probe."""
        if self._state_probe is not None:
            self._state_probe.stop(self.deadline)
            self._state_probe = None

    def asked(self) -> State:
        """What the state probe says now, asked from outside. Raises TareError when it is not there."""
        endpoint = self.subject.endpoint()
        identity, memory = self._said(self._peer(), "ask", endpoint.address, str(endpoint.port)).split()
        return State(identity, memory)

    def compare(self, step: str, before: State, *, must: bool) -> None:
        """Note whether process and memory survived a step. Raises TareError when they `must` have and did not."""
        try:
            after: State | None = self.asked()
        except TareError as error:
            if must:
                raise TareError(f"the process did not survive: {step}", details=str(error)) from error
            after = None
        process = after is not None and after.identity == before.identity
        memory = after is not None and after.memory == before.memory
        self.survived.setdefault(step, {}).update({"process": process, "its memory": memory})
        if must and not (process and memory):
            raise TareError(f"the process or its memory did not survive: {step}", details=f"{before} and then {after}")

    def write(self, folder: str = OWN_FOLDER) -> tuple[str, float]:
        """A new file there: its digest, and the seconds that it took to reach the disk, by the subject's clock."""
        digest, seconds = self._said(
            self.subject, "write", f"{folder}/{FILE}", str(int(self.number("file_mib")))
        ).split()
        return digest, float(seconds)

    def read(self, folder: str = OWN_FOLDER) -> tuple[str, float]:
        """The file's digest now, `gone` without one, and the seconds that reading took, by the subject's clock."""
        digest, seconds = self._said(self.subject, "read", f"{folder}/{FILE}").split()
        return digest, float(seconds)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Seen]:
        """A client outside, which asks the state probe all the time; its answers are known afterwards."""
        endpoint, seen = self.subject.endpoint(), Seen()
        values = {"address": endpoint.address, "port": endpoint.port}
        words = render(self._workload.argv, self._workload.parameters, values)
        # It opens that port with its first answer.
        command = Command(argv=_argv(*words), listen=endpoint.port + 1)
        job = self._peer().start(command, self.deadline)
        try:
            yield seen
        finally:
            output = job.stop(self.deadline)
        seen.answers = [float(line) for line in output.stdout.splitlines()]

    def _peer(self) -> Instance:
        """The client's place, launched at its first use and ended with the case."""
        if self._client is None:
            launching = self._environment.launch(self._case, Role.PEER, "agent", self.deadline)
            self._client = self._stack.enter_context(launching)
            self._client.wait(Milestone.READY, self.deadline.within(READY_SECONDS))
        return self._client

    def _said(self, place: Instance, *words: str) -> str:
        done = place.start(Command(argv=_argv("state-probe", *words)), self.deadline).wait(self.deadline)
        if done.status != 0:
            said = done.stderr.strip()[-500:]
            raise TareError(f"the state probe of {self.subject.name} failed to {words[0]}", details=said)
        return done.stdout


def _argv(program: str, *words: str) -> tuple[str, ...]:
    """The root's Python, running harness/inside/`program`.py, of which the root itself has nothing."""
    return ("/usr/bin/python3", "-I", "-c", _source(program), *words)


@cache
def _source(program: str) -> str:
    return (Path(inside.__path__[0]) / (program.replace("-", "_") + ".py")).read_text()
