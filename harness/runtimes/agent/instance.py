"""What the instances of all runtimes share: the agent or the beacon inside, and a channel to it."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Milestone
from harness.runtimes.agent.channel import AgentJob, Channel
from harness.runtimes.agent.signalling import signalling_overhead
from harness.runtimes.base import Command, Counters, Endpoint, Processes, SignallingOverhead
from harness.runtimes.capabilities import T, Unsupported, choose

EARLY = (Milestone.KERNEL, Milestone.USERSPACE, Milestone.SERVICE)
"""What the beacon tells over a serial port: `kernel` is counted back from `userspace`."""


class AgentInstance(ABC):
    """Milestones by the channel, jobs by the agent, an end."""

    last: Milestone = Milestone.READY
    early: tuple[str, str] | None = None
    """The device inside and the watched socket where it ends, by which EARLY milestones are signalled; else None."""

    def __init__(self, name: str, channel: Channel, accelerator: Accelerator, kernel: str, requested: float) -> None:
        self.name = name
        self.accelerator = accelerator
        self.kernel = kernel
        self._channel = channel
        self._milestones: dict[Milestone, float] = {Milestone.REQUESTED: requested}

    @property
    def milestones(self) -> Mapping[Milestone, float]:
        """The milestones so far, on the host's CLOCK_MONOTONIC, in seconds."""
        return dict(self._milestones)

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`; everything but `ready` and the `last` one has come by then or never comes."""
        if milestone not in self._milestones and Milestone.READY not in self._milestones:
            self._milestones[Milestone.READY] = self._channel.wait_ready(deadline, self._dead)
            self._milestones |= self._read_stamps(self._channel.stamps)
        if milestone not in self._milestones and milestone is self.last:
            self._channel.wait_stamp(milestone.value, deadline, self._dead)
            self._milestones |= self._read_stamps(self._channel.stamps)
        if milestone not in self._milestones:
            raise TareError(f"{self.name} has no milestone {milestone}")
        return self._milestones[milestone]

    def start(self, command: Command, deadline: Deadline) -> AgentJob:
        """Start a command through the agent; returns once its START frame came."""
        return self._channel.start(command, deadline)

    def signalling_overheads(self, deadline: Deadline) -> Mapping[Milestone, SignallingOverhead]:
        """What telling costs, by the milestones that are told. Raises TareError when that cannot be measured."""
        costs = {Milestone.READY: signalling_overhead(self._channel, deadline)}
        if self.early is None:
            return costs
        device, watched = self.early
        early = signalling_overhead(self._channel, deadline, device=device, watched=watched)
        return {**dict.fromkeys(EARLY, early), **costs}

    def files(self, deadline: Deadline) -> Iterable[Path]:
        """Its directory, where guests' overlays are too."""
        return (self._channel.path.parent,)

    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        """What the instance says of itself, then what its host side says."""
        return {**self._channel.facts(deadline), **self._host_facts()}

    def capability(self, kind: type[T]) -> T | Unsupported:
        """What it can do of a kind of harness.runtimes.capabilities, or why it cannot."""
        return choose(self._offers(), kind, self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._destroy()
        finally:
            self._channel.close()

    def _read_stamps(self, stamps: Mapping[str, tuple[float, str]]) -> dict[Milestone, float]:
        """Milestones from watched sockets; a runtime that watches some overrides this."""
        return {}

    def _offers(self) -> Mapping[type, object]:
        """By kind, what it can do or an Unsupported; a runtime that can do something overrides this."""
        return {}

    def _begin(self) -> None:
        """Before it is started again: channel and milestones begin anew."""
        self._channel.begin()
        self._milestones = {Milestone.REQUESTED: time.monotonic()}

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
    def processes(self) -> Processes:
        """The host's processes that serve it, by part."""

    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Where the peer reaches the instance's port."""

    @abstractmethod
    def _destroy(self) -> None:
        """End it and remove what launch created."""
