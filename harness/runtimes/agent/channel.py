"""The host's end of an instance's channel: it stamps frames and runs jobs through the agent."""

import json
import selectors
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.runtimes.agent.line import Line
from harness.runtimes.agent.signalling import SignalledLines
from harness.runtimes.base import Command, RawOutput

DEATH_POLL_SECONDS = 0.5
STOP_SECONDS = 10.0
Dead = Callable[[], str | None]


class Channel:
    """The byte channel of one instance: `<directory>/channel`, listening before the instance starts.

    `watch` opens further sockets beside it, whose lines are stamped into `stamps` while the instance boots. With
    `dials` the instance's side listens, and `dial` connects before the instance writes anything.
    """

    def __init__(self, directory: Path, *, dials: bool = False) -> None:
        self._main = Line(directory / "channel", dials=dials)
        self._dials = dials
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
        """The lines of watched sockets by their first word, with the host's CLOCK_MONOTONIC at their arrival.

        Of several with the same first word the first one counts.
        """
        came = [one for line in self._watched.values() for one in line.lines]
        return {text.split()[0]: (at, text) for at, text in reversed(came) if text.split()}

    def watch(self, name: str) -> Path:
        """Listen at `<directory>/<name>` too; returns that path."""
        self._watched[name] = Line(self._directory / name, dials=self._dials)
        return self._watched[name].path

    def dial(self, deadline: Deadline) -> None:
        """Connect to every socket; raises TareError where nothing listens."""
        for line in (self._main, *self._watched.values()):
            line.dial(deadline)

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
            self._turn(deadline, f"an instance did not signal {word}", (self._main, *self._watched.values()))

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
        """Facts that the agent reads inside the instance."""
        self._number += 1
        self._send(deadline, op="facts")
        _, frame = self.frame(self._number, "facts", deadline)
        return {str(key): str(value) for key, value in frame["facts"].items()}

    def signal(
        self, lines: int, deadline: Deadline, *, pause: float = 0.0, device: str = "", watched: str = ""
    ) -> SignalledLines:
        """Have the agent send `lines` lines with a `pause` of so many seconds after each.

        They come over the channel, or over a `device` in the instance that ends in the socket `watched`. Raises
        TareError when the agent cannot send them.
        """
        self._number += 1
        line = self._watched[watched] if device else self._main
        seen = len(line.lines)
        self._send(deadline, op="tell", lines=lines, pause=pause, device=device)
        if device:
            _, frame = self.frame(self._number, "told", deadline, line)
            while len(line.lines) < seen + lines:
                self._turn(deadline, "an instance's lines did not come", (self._main, line))
            stamps = [at for at, _ in line.lines[seen:]]
        else:
            stamps = [self.frame(self._number, "tell", deadline)[0] for _ in range(lines)]
            _, frame = self.frame(self._number, "told", deadline)
        begins, ends = map(float, frame["begins"]), map(float, frame["ends"])
        return SignalledLines(stamps=tuple(stamps), begins=tuple(begins), ends=tuple(ends), boot=str(frame["boot"]))

    def frame(self, number: int, event: str, deadline: Deadline, *beside: Line) -> tuple[float, dict[str, Any]]:
        """The `event` frame of a request, with its stamp; lines on the sockets `beside` are stamped meanwhile.

        Raises TareError when the agent refused the request.
        """
        while True:
            for index, (stamp, frame) in enumerate(self._frames):
                if frame.get("id") != number:
                    continue
                if frame.get("event") == "refused":
                    raise TareError("the agent in an instance refused a request", details=str(frame["reason"]))
                if frame.get("event") == event:
                    del self._frames[index]
                    return stamp, frame
            self._turn(deadline, f"an instance sent no {event} frame", (self._main, *beside))
            self._frames += [(stamp, _decode(line)) for stamp, line in self._main.lines]
            self._main.lines.clear()

    def listen_anew(self) -> None:
        """Listen at every path again, before another process takes over the running instance."""
        for line in (self._main, *self._watched.values()):
            line.listen_anew()

    def switch(self, deadline: Deadline) -> None:
        """Continue with the connections of the new process. Raises DeadlineExceeded when it does not connect."""
        for line in (self._main, *self._watched.values()):
            line.switch(deadline)

    def begin(self) -> None:
        """Listen at every path again, for an instance that starts again: forget everything that came before."""
        self._frames.clear()
        for line in (self._main, *self._watched.values()):
            line.begin()

    def close(self) -> None:
        """Close and remove all sockets."""
        for line in (self._main, *self._watched.values()):
            line.close()

    def _send(self, deadline: Deadline, **request: object) -> None:
        self._write({**request, "id": self._number}, deadline)

    def _write(self, request: Mapping[str, object], deadline: Deadline) -> None:
        self._main.send(json.dumps(request).encode() + b"\n", deadline)

    def _turn(self, deadline: Deadline, late: str, lines: tuple[Line, ...]) -> None:
        """Wait until one of `lines` has input; check every 0.5 s whether the instance still runs."""
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
        """Its output, once it has ended. Kills it and raises DeadlineExceeded when time is up."""
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


def _decode(line: str) -> dict[str, Any]:
    try:
        frame = json.loads(line)
    except ValueError:
        frame = None
    if not isinstance(frame, dict):
        raise TareError("an instance sent a line that is not a frame", details=line[:200])
    return frame


def _output(frame: Mapping[str, Any], begin: float, end: float) -> RawOutput:
    names = [name for name in RawOutput.__dataclass_fields__ if name not in ("begin", "end")]
    return RawOutput(begin=begin, end=end, **{name: frame[name] for name in names})
