"""One running container."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.cgroups import Cgroup, cgroup_of, cpu_weight
from harness.model import Milestone
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.instance import AgentInstance
from harness.runtimes.base import Counters, Endpoint, Place, Prepared, Processes
from harness.runtimes.docker import inspection, leftovers, specification
from harness.runtimes.docker.copies import own_files
from harness.runtimes.docker.daemon import Daemon, Refused
from harness.runtimes.docker.daemon_events import ContainerdEvents, DaemonEvents, containerd_socket, obstacle
from harness.runtimes.docker.daemon_processes import DaemonProcesses
from harness.runtimes.docker.lifecycle import Lifecycle

log = logging.getLogger(__name__)
CALL_SECONDS = 10.0
DESTROY_SECONDS = 30.0
LOG_LINES = 5
LISTEN_SECONDS = 3600.0


class Container(AgentInstance):
    """A container; made by `launch` and removed, with its volume, at the end of its context."""

    def __init__(
        self,
        daemon: Daemon,
        prepared: Prepared,
        place: Place,
        labels: Mapping[str, str],
        events: DaemonEvents | None = None,
    ) -> None:
        super().__init__(place, Channel(place.directory), time.monotonic())
        self._daemon = daemon
        self._events = events
        self._prepared = prepared
        self._labels = labels
        self._network = prepared.variant.options["network"]
        self.handle = place.name
        """Docker's id once the container is created: its name may later be another container's."""
        self._cgroup: Cgroup | None = None
        self._daemons: DaemonProcesses | None = None
        self._ready: Future[float] = Future()
        self._started = threading.Event()
        self._ended = threading.Event()
        self._waiter = self._new_waiter()
        self._lifecycle = Lifecycle(daemon, self, labels) if place.lasting else None

    def create(self, deadline: Deadline) -> None:
        """Create and start it: two calls, as `docker run` makes. Raises TareError."""
        image = self._lifecycle.image if self._lifecycle else ""
        prepared = replace(self._prepared, image=image) if image else self._prepared
        config = specification.container(prepared, self._place, self._labels)
        self._waiter.start()
        with self._daemon.call(f"create {self.name}", deadline) as api:
            made = api.create_container_from_config(config, self.name)
        self._milestones[Milestone.CREATED] = time.monotonic()
        self.handle = str(made["Id"])
        self._daemon.warn(self.name, made.get("Warnings") or ())
        self._start(deadline)

    def start_again(self, deadline: Deadline) -> None:
        """Start it after it has stopped; callers then wait as after a launch. Raises TareError."""
        self.begin_again()
        self._waiter.start()
        self._start(deadline)

    def begin_again(self) -> None:
        """Prepare for another start or another container: forget the last one's milestones and processes."""
        self.end_waiter()
        self._begin()
        self._ended.clear()
        self._started.clear()
        self._cgroup = self._daemons = self._events = None
        self._ready = Future()
        self._waiter = self._new_waiter()

    def _start(self, deadline: Deadline) -> None:
        with self._daemon.call(f"start {self.name}", deadline) as api:
            api.start(self.handle)
        self._started.set()

    def _new_waiter(self) -> threading.Thread:
        """The thread that stamps the channel's first line, which comes before the daemon answers the start call."""
        return threading.Thread(target=self._wait_ready, name=f"{self.name}-ready", daemon=True)

    @property
    def milestones(self) -> Mapping[Milestone, float]:
        """The milestones so far; once it is ready also `userspace` (when runc made its first process, to 10 ms) and,
        in a boot workload, those of the daemons' events.

        They are read only here, outside measured time.
        """
        if Milestone.READY in self._milestones and Milestone.USERSPACE not in self._milestones:
            with contextlib.suppress(TareError, OSError):
                pid = int(self._inspect(Deadline.after(CALL_SECONDS))["State"]["Pid"])
                self._milestones[Milestone.USERSPACE] = process_start(pid)
            if self._events is not None:
                self._milestones |= self._events.of(
                    self.handle, self._milestones[Milestone.REQUESTED], Deadline.after(CALL_SECONDS)
                )
        return super().milestones

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`; `created` is the daemon's answer to the create call, before the start."""
        if milestone not in self._milestones and Milestone.READY not in self._milestones:
            try:
                self._milestones[Milestone.READY] = self._ready.result(timeout=deadline.left)
            except TimeoutError:
                raise DeadlineExceeded(f"{self.name} did not become ready in time") from None
        return super().wait(milestone, deadline)

    def counters(self) -> Counters:
        """CPU seconds: `workload` is the container's cgroup; `dockerd`, `containerd`, `shim`, `proxy` are details."""
        cgroup, daemons = self._accounts()
        try:
            return {"workload": cgroup.cpu_seconds(), **daemons.cpu_seconds()}
        except OSError as error:
            raise TareError(f"the cgroup of {self.name} is gone", details=self._dead() or str(error)) from error

    def processes(self) -> Processes:
        """`workload` are the container's own; `shim` and `proxy` serve it alone, the daemons serve others too."""
        cgroup, daemons = self._accounts()
        return {"workload": cgroup.pids(), **daemons.pids()}

    def files(self, deadline: Deadline) -> Iterable[Path]:
        """Its directory, its writable layer, and the daemon's files about it."""
        return (*super().files(deadline), *own_files(self._daemon, self.handle, deadline))

    def endpoint(self) -> Endpoint:
        """The container's own address, the host's (host network) or the published one (NAT)."""
        return specification.endpoint(self._network, self._place)

    def __exit__(self, *exception: object) -> None:
        """Remove it; a failure becomes a note on the context's own error, else it is raised."""
        try:
            super().__exit__(*exception)
        except TareError as late:
            first = exception[1] if len(exception) > 1 else None
            if not isinstance(first, BaseException):
                raise
            log.error("%s", late)
            first.add_note(str(late))

    def _offers(self) -> Mapping[type, object]:
        return self._lifecycle.offers() if self._lifecycle else {}

    def _wait_ready(self) -> None:
        try:
            self._ready.set_result(self._channel.wait_ready(Deadline.after(LISTEN_SECONDS), self._dead))
        except Exception as error:
            self._ready.set_exception(error)

    def _accounts(self) -> tuple[Cgroup, DaemonProcesses]:
        if self._cgroup is None or self._daemons is None:
            pid = int(self._inspect(Deadline.after(CALL_SECONDS))["State"]["Pid"])
            if pid == 0:
                raise TareError(f"{self.name} is not running", details=self._dead() or "")
            published = None
            if self._network == specification.NAT and self._place.network and self._place.port:
                published = (self._place.network.nat_address, self._place.port)
            self._cgroup = cgroup_of(pid)
            self._daemons = DaemonProcesses(self._daemon.pid(), pid, published)
        return self._cgroup, self._daemons

    def _inspect(self, deadline: Deadline) -> Mapping[str, Any]:
        with self._daemon.call(f"inspect {self.name}", deadline) as api:
            return dict(api.inspect_container(self.handle))

    def _dead(self) -> str | None:
        if self._ended.is_set():
            return "it has been removed"
        if not self._started.is_set():
            return None
        deadline = Deadline.after(CALL_SECONDS)
        try:
            state = self._inspect(deadline)["State"]
        except Refused as error:
            if error.status == 404:
                return f"the container {self.name} was removed from outside"
            raise
        if state["Running"]:
            return None
        return "\n".join([inspection.died(state, self._place.shape.memory_mib), *self._log_tail(deadline)])

    def _log_tail(self, deadline: Deadline) -> list[str]:
        with contextlib.suppress(TareError), self._daemon.call(f"read the log of {self.name}", deadline) as api:
            return bytes(api.logs(self.handle, tail=LOG_LINES)).decode("utf-8", "replace").splitlines()
        return []

    def _host_facts(self) -> Mapping[str, str]:
        deadline = Deadline.after(CALL_SECONDS)
        about = self._daemon.about(deadline)
        state = self._inspect(deadline)
        cgroup, _ = self._accounts()
        kills = cgroup.oom_kills()
        return {
            **inspection.facts(about, state),
            "cgroup_path": str(cgroup.cpu),
            "cgroup_version": "2" if cgroup.unified else "1",
            "cgroup_cpu_weight": cpu_weight(int(state["State"]["Pid"])),
            "containerd_events": obstacle(containerd_socket(self._daemon, deadline)) or "heard",
            "oom_kills": "unknown" if kills is None else str(kills),
        }

    def _destroy(self) -> None:
        try:
            # Before it is created, its name may be another container's: then the labels decide.
            labels = self._labels if self.handle == self.name else None
            leftovers.destroy(self._daemon, self.handle, self.name, Deadline.after(DESTROY_SECONDS), labels)
        finally:
            self.end_waiter()
            if self._lifecycle is not None:
                self._lifecycle.end(Deadline.after(DESTROY_SECONDS))

    def end_waiter(self) -> None:
        """End the waiting thread, so that the channel can be closed."""
        self._ended.set()
        if self._waiter.is_alive():
            self._waiter.join(CALL_SECONDS)


def launch(
    daemon: Daemon,
    prepared: Prepared,
    place: Place,
    labels: Mapping[str, str],
    deadline: Deadline,
    containerd: ContainerdEvents | None = None,
) -> Container:
    """A started container; `containerd` records the events of its start. Raises TareError, leaving nothing."""
    events = DaemonEvents(daemon, containerd) if containerd else None
    instance = Container(daemon, prepared, place, labels, events)
    try:
        instance.create(deadline)
    except BaseException as error:
        instance.__exit__(type(error), error, None)
        raise
    return instance


def process_start(pid: int) -> float:
    """When a process was created, in seconds of CLOCK_MONOTONIC, rounded down to the kernel's tick (10 ms).

    Source: proc(5), field 22 of /proc/PID/stat, which counts from the host's start, sleep included. Raises OSError.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK") - asleep
