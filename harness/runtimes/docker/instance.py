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
from harness.runtimes.docker.daemon_cpu import Servants
from harness.runtimes.docker.daemon_events import Listener, Moments, containerd_of, unheard
from harness.runtimes.docker.lifecycle import Life
from harness.runtimes.docker.specification import volume_name

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
        channel: Channel,
        requested: float,
        moments: Moments | None = None,
    ) -> None:
        super().__init__(place, channel, requested)
        self._daemon = daemon
        self._moments = moments
        self._prepared = prepared
        self._network = prepared.variant.options["network"]
        self.handle = place.name
        """Docker's id once it is created: a name can be given to something else."""
        self._cgroup: Cgroup | None = None
        self._servants: Servants | None = None
        self._ready: Future[float] = Future()
        self._started = threading.Event()
        self._over = threading.Event()
        self._listener = self._listening()
        self._life: Life | None = None

    def create(self, labels: Mapping[str, str], deadline: Deadline) -> None:
        """Create and start it: two calls, as `docker run` makes. Raises TareError."""
        if self._place.lasting and self._life is None:
            self._life = Life(self._daemon, self, dict(labels))
        image = self._life.image if self._life else ""
        prepared = replace(self._prepared, image=image) if image else self._prepared
        config = specification.container(prepared, self._place, labels)
        self._listener.start()
        with self._daemon.call(f"create {self.name}", deadline) as api:
            made = api.create_container_from_config(config, self.name)
        self._milestones[Milestone.CREATED] = time.monotonic()
        self.handle = str(made["Id"])
        self._daemon.warn(self.name, made.get("Warnings") or ())
        self._start(deadline)

    def start_again(self, deadline: Deadline) -> None:
        """Start it once it has stopped; it is waited for as after a launch. Raises TareError."""
        self.begin_again()
        self._listener.start()
        self._start(deadline)

    def begin_again(self) -> None:
        """Before it is started again, or made anew: what was known of the last start is forgotten."""
        self.deafen()
        self._begin()
        self._over.clear()
        self._started.clear()
        self._cgroup = self._servants = self._moments = None
        self._ready = Future()
        self._listener = self._listening()

    def _start(self, deadline: Deadline) -> None:
        with self._daemon.call(f"start {self.name}", deadline) as api:
            api.start(self.handle)
        self._started.set()

    def _listening(self) -> threading.Thread:
        """What stamps the first line: it comes some milliseconds before the daemon answers that it has started."""
        return threading.Thread(target=self._listen, name=f"{self.name}-ready", daemon=True)

    @property
    def milestones(self) -> Mapping[Milestone, float]:
        """The milestones so far; once it is ready also `userspace` (when runc made its first process, to 10 ms) and,
        in a boot workload, those of its daemons.

        The daemons are asked only here, so that what is timed pays nothing for it.
        """
        if Milestone.READY in self._milestones and Milestone.USERSPACE not in self._milestones:
            with contextlib.suppress(TareError, OSError):
                pid = int(self._inspect(Deadline.after(CALL_SECONDS))["State"]["Pid"])
                self._milestones[Milestone.USERSPACE] = began(pid)
            if self._moments is not None:
                self._milestones |= self._moments.of(
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
        """CPU seconds: `workload` of the container's cgroup; `dockerd`, `containerd`, `shim`, `proxy` are details."""
        cgroup, servants = self._accounts()
        try:
            return {"workload": cgroup.cpu_seconds(), **servants.cpu_seconds()}
        except OSError as error:
            raise TareError(f"{self.name} has no cgroup any more", details=self._dead() or str(error)) from error

    def processes(self) -> Processes:
        """`workload` are the container's own; `shim` and `proxy` serve it alone, the daemons others too."""
        cgroup, servants = self._accounts()
        return {"workload": cgroup.pids(), **servants.pids()}

    def files(self, deadline: Deadline) -> Iterable[Path]:
        """Its directory, its writable layer, and what the daemon keeps of it."""
        return (*super().files(deadline), *own_files(self._daemon, self.handle, deadline))

    def endpoint(self) -> Endpoint:
        """The container's own address, the host's (host network) or the published one (NAT)."""
        return specification.endpoint(self._network, self._place)

    def __exit__(self, *exception: object) -> None:
        """Remove it; a failure to do so is noted on an error that is already on its way, else raised."""
        try:
            super().__exit__(*exception)
        except TareError as late:
            first = exception[1] if len(exception) > 1 else None
            if not isinstance(first, BaseException):
                raise
            log.error("%s", late)
            first.add_note(str(late))

    def _offers(self) -> Mapping[type, object]:
        return self._life.offers() if self._life else {}

    def _listen(self) -> None:
        try:
            self._ready.set_result(self._channel.wait_ready(Deadline.after(LISTEN_SECONDS), self._dead))
        except Exception as error:
            self._ready.set_exception(error)

    def _accounts(self) -> tuple[Cgroup, Servants]:
        if self._cgroup is None or self._servants is None:
            pid = int(self._inspect(Deadline.after(CALL_SECONDS))["State"]["Pid"])
            if pid == 0:
                raise TareError(f"{self.name} is not running", details=self._dead() or "")
            published = None
            if self._network == specification.NAT and self._place.network and self._place.port:
                published = (self._place.network.nat_address, self._place.port)
            self._cgroup = cgroup_of(pid)
            self._servants = Servants(self._daemon.pid(), pid, published)
        return self._cgroup, self._servants

    def _inspect(self, deadline: Deadline) -> Mapping[str, Any]:
        with self._daemon.call(f"inspect {self.name}", deadline) as api:
            return dict(api.inspect_container(self.handle))

    def _dead(self) -> str | None:
        if self._over.is_set():
            return "it has been removed"
        if not self._started.is_set():
            return None
        deadline = Deadline.after(CALL_SECONDS)
        try:
            state = self._inspect(deadline)["State"]
        except Refused as error:
            if error.status == 404:
                return f"somebody removed the container {self.name}"
            raise
        if state["Running"]:
            return None
        return "\n".join([inspection.died(state, self._place.shape.memory_mib), *self._last_words(deadline)])

    def _last_words(self, deadline: Deadline) -> list[str]:
        with contextlib.suppress(TareError), self._daemon.call(f"show the log of {self.name}", deadline) as api:
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
            "containerd_events": unheard(containerd_of(self._daemon, deadline)) or "heard",
            "oom_kills": "unknown" if kills is None else str(kills),
        }

    def _destroy(self) -> None:
        try:
            leftovers.destroy(self._daemon, self.handle, self.name, Deadline.after(DESTROY_SECONDS))
        finally:
            self.deafen()
            if self._life is not None:
                self._life.end(Deadline.after(DESTROY_SECONDS))

    def deafen(self) -> None:
        """End the listening thread, so that the channel can be closed."""
        self._over.set()
        if self._listener.is_alive():
            self._listener.join(CALL_SECONDS)


def launch(
    daemon: Daemon,
    prepared: Prepared,
    place: Place,
    labels: Mapping[str, str],
    deadline: Deadline,
    listener: Listener | None = None,
) -> Container:
    """A started container, of whose start a `listener` hears. Raises TareError, leaving nothing."""
    channel = Channel(place.directory)
    moments = Moments(daemon, listener) if listener else None
    instance = Container(daemon, prepared, place, channel, time.monotonic(), moments)
    try:
        instance.create(labels, deadline)
    except BaseException as error:
        try:
            leftovers.destroy(daemon, instance.handle, place.name, Deadline.after(DESTROY_SECONDS), labels)
        except TareError as late:
            error.add_note(str(late))
        finally:
            instance.deafen()
            channel.close()
            if place.lasting:
                leftovers.remove_volume(daemon, volume_name(place), Deadline.after(DESTROY_SECONDS))
        raise
    return instance


def began(pid: int) -> float:
    """When a process was made, in seconds of CLOCK_MONOTONIC, rounded down to the kernel's tick (10 ms).

    Source: proc(5), field 22 of /proc/PID/stat, which counts from the host's start, sleep included. Raises OSError.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK") - asleep
