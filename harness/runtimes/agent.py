"""The host's end of an instance's channel: stamps its frames, and turns them into jobs and marks."""

import json
import selectors
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Accelerator, Mark
from harness.runtimes.base import Command, Counters, Endpoint, RawOutput

DEATH_POLL_SECONDS = 0.5
LINE_CAP = 32 * 2**20
STOP_SECONDS = 10.0
Dead = Callable[[], str | None]


class Line:
    """One listening unix socket and the lines that its first connection sends, each stamped on arrival."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen(1)
        self._connection: socket.socket | None = None
        self._pending = bytearray()
        self.lines: list[tuple[float, str]] = []
        self.closed = False

    def socket(self) -> socket.socket:
        """What to select on: the connection, or until there is one the listener."""
        chosen = self._connection or self._listener
        assert chosen is not None
        return chosen

    def take(self) -> None:
        """Accept the one connection, or read and stamp what has come."""
        if self._connection is None:
            assert self._listener is not None
            self._connection, _ = self._listener.accept()
            self._listener.close()
            self._listener = None
            return
        try:
            data = self._connection.recv(1 << 18)
        except ConnectionError:
            data = b""
        now = time.monotonic()
        if not data:
            self.closed = True
            return
        self._pending += data
        if b"\n" in data:
            *whole, rest = bytes(self._pending).split(b"\n")
            self.lines += [(now, line.decode("utf-8", "replace").strip("\r")) for line in whole]
            self._pending = bytearray(rest)
        if len(self._pending) > LINE_CAP:
            raise TareError("an instance sent a line without an end", details=str(self.path))

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of `data`; raises TareError when the other end is gone."""
        if self._connection is None:
            raise TareError("nothing has connected to the channel", details=str(self.path))
        self._connection.settimeout(max(deadline.left, 0.001))
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise TareError("the channel to an instance broke", details=f"{self.path}: {error}") from error
        finally:
            self._connection.settimeout(None)

    def close(self) -> None:
        """Close both sockets and remove the path."""
        for one in (self._connection, self._listener):
            if one is not None:
                one.close()
        self.path.unlink(missing_ok=True)


class Channel:
    """The byte channel of one instance: `<directory>/channel`, listening before the instance starts.

    `watch` opens further sockets beside it, whose lines are stamped into `stamps` while the instance comes up.
    """

    def __init__(self, directory: Path) -> None:
        self._main = Line(directory / "channel")
        self._watched: dict[str, Line] = {}
        self._directory = directory
        self._number = 0
        self._frames: list[tuple[float, dict[str, Any]]] = []
        self.dead: Dead = lambda: None

    @property
    def path(self) -> Path:
        """Where the instance connects."""
        return self._main.path

    @property
    def stamps(self) -> dict[str, tuple[float, str]]:
        """The lines of watched sockets by their first words, with the host's monotonic clock at their arrival.

        Of several that begin alike the first counts.
        """
        came = [one for line in self._watched.values() for one in line.lines]
        return {text.split()[0]: (at, text) for at, text in reversed(came) if text.split()}

    def watch(self, name: str) -> Path:
        """Listen on `<directory>/<name>` too."""
        self._watched[name] = Line(self._directory / name)
        return self._watched[name].path

    def wait_ready(self, deadline: Deadline, dead: Dead) -> float:
        """The host's clock at the channel's first line.

        Raises TareError when the instance died first, DeadlineExceeded when time ran out.
        """
        self.dead = dead
        while not self._main.lines:
            self._turn(deadline, "an instance did not become ready", (self._main, *self._watched.values()))
        return self._main.lines.pop(0)[0]

    def wait_stamp(self, word: str, deadline: Deadline, dead: Dead) -> None:
        """Wait for a watched socket's line that begins with `word`; raises as `wait_ready` does."""
        self.dead = dead
        while word not in self.stamps:
            self._turn(deadline, f"an instance did not say {word}", (self._main, *self._watched.values()))

    def start(self, command: Command, deadline: Deadline) -> "AgentJob":
        """Start a command; returns at its START frame. Raises TareError when it cannot be started."""
        self._number += 1
        self._send(deadline, op="start", argv=command.argv, env=dict(command.env), listen=command.listen)
        stamp, _ = self.frame(self._number, "start", deadline)
        return AgentJob(self, self._number, command, stamp)

    def kill(self, number: int, deadline: Deadline) -> None:
        """Kill a job's process group."""
        self._write({"op": "kill", "id": number}, deadline)

    def facts(self, deadline: Deadline) -> dict[str, str]:
        """What the instance says about itself."""
        self._number += 1
        self._send(deadline, op="facts")
        _, frame = self.frame(self._number, "facts", deadline)
        return {str(key): str(value) for key, value in frame["facts"].items()}

    def frame(self, number: int, event: str, deadline: Deadline) -> tuple[float, dict[str, Any]]:
        """The `event` frame of a request, with its stamp. Raises TareError when the agent refused the request."""
        while True:
            for index, (stamp, frame) in enumerate(self._frames):
                if frame.get("id") != number:
                    continue
                if frame.get("event") == "refused":
                    raise TareError("a command cannot be started in an instance", details=str(frame["reason"]))
                if frame.get("event") == event:
                    del self._frames[index]
                    return stamp, frame
            self._turn(deadline, f"no {event} came from an instance", (self._main,))
            self._frames += [(stamp, _decode(line)) for stamp, line in self._main.lines]
            self._main.lines.clear()

    def close(self) -> None:
        """Close and remove all sockets."""
        for line in (self._main, *self._watched.values()):
            line.close()

    def _send(self, deadline: Deadline, **request: object) -> None:
        self._write({**request, "id": self._number}, deadline)

    def _write(self, request: Mapping[str, object], deadline: Deadline) -> None:
        self._main.send(json.dumps(request).encode() + b"\n", deadline)

    def _turn(self, deadline: Deadline, late: str, lines: tuple[Line, ...]) -> None:
        """Wait for one of `lines` to move, looking now and then whether the instance still lives."""
        if self._main.closed:
            raise TareError("an instance closed its channel", details=self.dead() or "it is still running")
        with selectors.DefaultSelector() as selector:
            for line in lines:
                if not line.closed:
                    selector.register(line.socket(), selectors.EVENT_READ, line)
            ready = selector.select(min(DEATH_POLL_SECONDS, deadline.left))
        for key, _ in ready:
            key.data.take()
        if not ready:
            if reason := self.dead():
                raise TareError("an instance died", details=reason)
            if deadline.left == 0.0:
                raise DeadlineExceeded(late, details=str(self.path))


class AgentJob:
    """A command that an agent runs."""

    def __init__(self, channel: Channel, number: int, command: Command, begin: float) -> None:
        self._channel = channel
        self._number = number
        self._command = command
        self._begin = begin

    def wait(self, deadline: Deadline) -> RawOutput:
        """Its output, once it has ended; on DeadlineExceeded it has been killed."""
        try:
            end, _ = self._channel.frame(self._number, "end", deadline)
        except DeadlineExceeded as late:
            self._channel.kill(self._number, Deadline.after(STOP_SECONDS))
            raise DeadlineExceeded(f"{self._command.argv[0]} did not end in time") from late
        _, frame = self._channel.frame(self._number, "result", deadline.within(60))
        return _output(frame, self._begin, end)

    def stop(self, deadline: Deadline) -> RawOutput:
        """Kill it and return its output."""
        self._channel.kill(self._number, deadline)
        return self.wait(deadline)


class AgentInstance(ABC):
    """What the instances of all runtimes share: marks by the channel, jobs by the agent, an end."""

    last: Mark = Mark.READY

    def __init__(self, name: str, channel: Channel, accelerator: Accelerator, kernel: str, asked: float) -> None:
        self.name = name
        self.accelerator = accelerator
        self.kernel = kernel
        self._channel = channel
        self._marks: dict[Mark, float] = {Mark.ASKED: asked}

    @property
    def marks(self) -> Mapping[Mark, float]:
        """The marks so far, on the host's CLOCK_MONOTONIC, in seconds."""
        return dict(self._marks)

    def wait(self, mark: Mark, deadline: Deadline) -> float:
        """The moment of `mark`; everything but `ready` and the `last` one has come by then or never comes."""
        if mark not in self._marks and Mark.READY not in self._marks:
            self._marks[Mark.READY] = self._channel.wait_ready(deadline, self._dead)
            self._marks |= self._read_stamps(self._channel.stamps)
        if mark not in self._marks and mark is self.last:
            self._channel.wait_stamp(mark.value, deadline, self._dead)
            self._marks |= self._read_stamps(self._channel.stamps)
        if mark not in self._marks:
            raise TareError(f"{self.name} has no mark {mark}")
        return self._marks[mark]

    def start(self, command: Command, deadline: Deadline) -> AgentJob:
        """Start a command through the agent; returns once its START frame came."""
        return self._channel.start(command, deadline)

    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        """What the instance says of itself, then what its host side says."""
        return {**self._channel.facts(deadline), **self._host_facts()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._destroy()
        finally:
            self._channel.close()

    def _read_stamps(self, stamps: Mapping[str, tuple[float, str]]) -> dict[Mark, float]:
        """Marks from watched sockets; a runtime that watches some overrides this."""
        return {}

    @abstractmethod
    def _dead(self) -> str | None:
        """Why the instance is no longer running, or None while it runs."""

    @abstractmethod
    def _host_facts(self) -> Mapping[str, str]:
        """What the host knows about the instance."""

    @abstractmethod
    def counters(self) -> Counters:
        """Cumulative host CPU seconds by part."""

    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Where the peer reaches the instance's port."""

    @abstractmethod
    def _destroy(self) -> None:
        """End it and remove what launch created."""


def _decode(line: str) -> dict[str, Any]:
    try:
        frame = json.loads(line)
    except ValueError:
        frame = None
    if not isinstance(frame, dict):
        raise TareError("an instance sent something that is no frame", details=line[:200])
    return frame


def _output(frame: Mapping[str, Any], begin: float, end: float) -> RawOutput:
    names = [name for name in RawOutput.__dataclass_fields__ if name not in ("begin", "end")]
    return RawOutput(begin=begin, end=end, **{name: frame[name] for name in names})
