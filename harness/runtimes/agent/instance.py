"""What instances with the agent or the beacon inside share: a channel to it."""

import time
from abc import abstractmethod
from collections.abc import Mapping

from harness.deadline import Deadline
from harness.model import Accelerator, Milestone
from harness.runtimes.agent.channel import AgentJob, Channel
from harness.runtimes.agent.signalling import signalling_overhead
from harness.runtimes.base import Command, Instance, Place, SignallingOverhead

EARLY = (Milestone.KERNEL, Milestone.USERSPACE, Milestone.SERVICE)
"""The milestones that the beacon signals over a serial port: `kernel` is calculated from `userspace`."""


class AgentInstance(Instance):
    """An instance whose milestones and jobs come over a channel from the agent or the beacon inside.

    A subclass defines `counters`, `_dead`, `_host_facts` and `_destroy`; `processes` where the host can see some.
    """

    early: tuple[str, str] | None = None
    """The device inside and the watched socket where it ends, by which EARLY milestones are signalled; else None."""

    def __init__(
        self,
        place: Place,
        channel: Channel,
        requested: float,
        accelerator: Accelerator = Accelerator.NONE,
        kernel: str = "",
    ) -> None:
        super().__init__(place, requested, accelerator, kernel)
        self._channel = channel

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """Return when `milestone` was reached, on the host's CLOCK_MONOTONIC, in seconds.

        All milestones but `ready` and the `last` one are reached before `ready` or never. Raises DeadlineExceeded, or
        TareError when the instance died or has no such milestone.
        """
        if milestone not in self._milestones and Milestone.READY not in self._milestones:
            self._milestones[Milestone.READY] = self._channel.wait_ready(deadline, self._dead)
            self._milestones |= self._read_stamps(self._channel.stamps)
        if milestone not in self._milestones and milestone is self.last:
            self._channel.wait_stamp(milestone.value, deadline, self._dead)
            self._milestones |= self._read_stamps(self._channel.stamps)
        return super().wait(milestone, deadline)

    def start(self, command: Command, deadline: Deadline) -> AgentJob:
        """Start a command through the agent and return at its START frame. Raises TareError or DeadlineExceeded."""
        return self._channel.start(command, deadline)

    def signalling_overheads(self, deadline: Deadline) -> Mapping[Milestone, SignallingOverhead]:
        """The signalling overhead of each signalled milestone. Raises TareError when it cannot be measured."""
        costs = {Milestone.READY: signalling_overhead(self._channel, deadline)}
        if self.early is None:
            return costs
        device, watched = self.early
        early = signalling_overhead(self._channel, deadline, device=device, watched=watched)
        return {**dict.fromkeys(EARLY, early), **costs}

    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        """What the agent reports from inside, then what the host shows of the instance."""
        return {**self._channel.facts(deadline), **self._host_facts()}

    def __exit__(self, *_: object) -> None:
        try:
            self._destroy()
        finally:
            self._channel.close()

    def _read_stamps(self, stamps: Mapping[str, tuple[float, str]]) -> dict[Milestone, float]:
        """Milestones from watched sockets, none by default."""
        return {}

    def _begin(self) -> None:
        """Reset channel and milestones before the instance is started again."""
        self._channel.begin()
        self._milestones = {Milestone.REQUESTED: time.monotonic()}

    @abstractmethod
    def _dead(self) -> str | None:
        """Why the instance no longer runs, or None while it runs."""

    @abstractmethod
    def _host_facts(self) -> Mapping[str, str]:
        """What the host shows of the instance: `runtime`, `pid`, `cgroup_cpu_weight` …"""
