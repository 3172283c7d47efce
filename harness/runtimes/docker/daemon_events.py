"""Milestones of a container's start from the daemons' own events, of Docker and of containerd.

Docker keeps its last 256 events, which are read afterwards. containerd keeps none: one `ctr events` for all launches of
a connection runs from the first boot on. It writes to memory, which is read once a container is ready.
"""

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Milestone
from harness.process import have, kill_group, spawn
from harness.runtimes.docker.daemon import UNIX, Daemon

TOPICS = {"/containers/create": Milestone.CONTAINER, "/tasks/create": Milestone.TASK, "/tasks/start": Milestone.STARTED}
"""containerd's events: the container is recorded; `runc create` is done; `runc start` is done."""
EVENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,9}))? \+0000 UTC \S+ (/\S+) (\{.*\})")
"""A line of `ctr events`: time, namespace, topic, and the event as JSON."""
SYSTEM_SOCKETS = (Path("/run/docker/containerd/containerd.sock"), Path("/run/containerd/containerd.sock"))
OWN_SOCKET = Path("exec/containerd/containerd.sock")
"""The containerd of a private dockerd, beside dockerd's socket (see harness.host.daemons.private)."""
LISTENING_SECONDS = 5.0
SUBSCRIBING_SECONDS = 0.2
ARRIVING_SECONDS = 2.0
LOOK_SECONDS = 0.01
STEP_NS = 100_000
"""How far the wall clock may move against the monotonic one during a launch; a larger step means that it was set. A
rate steered by NTP is the same in both."""


@dataclass(frozen=True, slots=True)
class WallClock:
    """How far CLOCK_REALTIME, the clock of the daemons' events, was ahead of CLOCK_MONOTONIC, in nanoseconds."""

    ahead: int

    @classmethod
    def now(cls) -> "WallClock":
        """The wall clock between two readings of the monotonic clock: the closest bracket of five tries."""
        tries = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(5)]
        first, wall, last = min(tries, key=lambda one: one[2] - one[0])
        return cls(wall - (first + last) // 2)

    def agrees(self, later: "WallClock") -> bool:
        """Whether the wall clock was not set between the two readings."""
        return abs(later.ahead - self.ahead) <= STEP_NS

    def monotonic(self, wall: int) -> float:
        """Seconds of CLOCK_MONOTONIC for nanoseconds of CLOCK_REALTIME."""
        return (wall - self.ahead) / 1e9


class ContainerdEvents:
    """`ctr events` on one containerd until `close`; `reason` is why it does not run, "" while it does."""

    def __init__(self, containerd: Path | None) -> None:
        self.reason = obstacle(containerd)
        self._child: subprocess.Popen[bytes] | None = None
        self._file = os.memfd_create("tare-events")
        if not self.reason and containerd is not None:
            self._record(containerd)

    def of(self, container: str) -> dict[Milestone, int]:
        """Wall-clock nanoseconds of each milestone of a container so far; waits at most 2 s for the last one."""
        until = time.monotonic() + ARRIVING_SECONDS
        while True:
            found = parse(self._text().splitlines(), container)
            alive = self._child is not None and self._child.poll() is None
            if Milestone.STARTED in found or not alive or time.monotonic() > until:
                return found
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End `ctr events`."""
        if self._child is not None:
            kill_group(self._child)
        os.close(self._file)

    def _record(self, containerd: Path) -> None:
        topics = [f'topic=="{topic}"' for topic in TOPICS]
        # It ends with the thread that starts it: a system-wide containerd would keep it for ever.
        argv = ["setpriv", "--pdeathsig", "KILL", "ctr", "--address", str(containerd), "events", *topics]
        self._child = spawn(argv, stdout=self._file)
        until = time.monotonic() + LISTENING_SECONDS
        while self._child.poll() is None and not has_socket(self._child.pid) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        # It prints nothing when it has subscribed, which follows at once.
        time.sleep(SUBSCRIBING_SECONDS)
        if self._child.poll() is not None:
            self.reason = f"ctr ended with status {self._child.returncode}"

    def _text(self) -> str:
        size = os.fstat(self._file).st_size
        return os.pread(self._file, size, 0).decode("utf-8", "replace")


class DaemonEvents:
    """The daemons' events of one container's start; constructed just before the launch."""

    def __init__(self, daemon: Daemon, containerd: ContainerdEvents) -> None:
        self._daemon = daemon
        self._containerd = containerd
        self._clock = WallClock.now()

    def of(self, container: str, requested: float, deadline: Deadline) -> dict[Milestone, float]:
        """The daemons' milestones of a ready container, in seconds of CLOCK_MONOTONIC.

        None when the wall clock was set meanwhile: their times cannot be converted then.
        """
        stamps = self._containerd.of(container)
        with contextlib.suppress(TareError):
            since = self._clock.ahead + int(requested * 1e9)
            if (at := network_connected(self._daemon, container, since, deadline)) is not None:
                stamps[Milestone.NETWORK] = at
        if not self._clock.agrees(WallClock.now()):
            return {}
        milestones = {milestone: self._clock.monotonic(wall) for milestone, wall in stamps.items()}
        return {milestone: at for milestone, at in milestones.items() if requested <= at <= time.monotonic()}


def containerd_socket(daemon: Daemon, deadline: Deadline) -> Path | None:
    """The socket of the containerd behind a dockerd, None where none is found. Raises TareError.

    A wrong one does no harm: it has no events of tare's containers.
    """
    address = (daemon.about(deadline).get("Containerd") or {}).get("Address")  # since Docker 27
    beside = Path(daemon.url.removeprefix(UNIX)).parent / OWN_SOCKET
    candidates = [*([Path(address)] if address else []), beside, *SYSTEM_SOCKETS]
    # os.access, because a folder without permission is no error here.
    return next((path for path in candidates if os.access(path, os.F_OK)), None)


def obstacle(containerd: Path | None) -> str:
    """Why the events of a containerd cannot be recorded; "" when they can."""
    if missing := have("ctr", "setpriv"):
        return f"not installed: {', '.join(missing)}"
    if containerd is None:
        return "containerd's socket was not found"
    if not os.access(containerd, os.R_OK | os.W_OK):
        return f"no permission to open {containerd}"
    return ""


def parse(lines: Iterable[str], container: str) -> dict[Milestone, int]:
    """The milestones of one container in the output of `ctr events`, in nanoseconds of the wall clock."""
    found: dict[Milestone, int] = {}
    for line in lines:
        if container not in line or not (event := EVENT.fullmatch(line)) or event[3] not in TOPICS:
            continue
        try:
            body = json.loads(event[4])
        except ValueError:  # it is still being written
            continue
        if container in (body.get("id"), body.get("container_id")):
            seconds = datetime.fromisoformat(event[1]).replace(tzinfo=UTC).timestamp()
            found.setdefault(TOPICS[event[3]], int(seconds) * 10**9 + int((event[2] or "").ljust(9, "0")))
    return found


def network_connected(daemon: Daemon, container: str, since: int, deadline: Deadline) -> int | None:
    """When Docker had connected a container to its network, in nanoseconds of the wall clock; None without an event.

    Docker answers at once for a span in the past: from `since` (the same nanoseconds) to now. Raises TareError.
    """
    spans = {"since": _timestamp(since), "until": _timestamp(time.time_ns())}
    filters = json.dumps({"type": ["network"], "event": ["connect"]})
    with daemon.call("list its events", deadline) as api:
        # The SDK's own `events` waits without a deadline.
        url = f"{api.base_url}/v{api.api_version}/events"
        answer = api.get(url, params={**spans, "filters": filters}, timeout=api.timeout)
        answer.raise_for_status()
    events = [json.loads(line) for line in answer.text.splitlines() if line]
    return next((int(event["timeNano"]) for event in events if _about(event) == container), None)


def _about(event: Mapping[str, Any]) -> str:
    return str(((event.get("Actor") or {}).get("Attributes") or {}).get("container"))


def _timestamp(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def has_socket(pid: int) -> bool:
    """Whether a process has opened a socket."""
    try:
        return any(str(path.readlink()).startswith("socket:") for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
