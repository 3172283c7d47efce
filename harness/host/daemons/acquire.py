"""Acquire the daemons of a run: use a running daemon, else start its service, else start a private daemon."""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons import systemd
from harness.host.daemons.enclosure import NETNS, Enclosure, end, remove_cgroup
from harness.host.daemons.orphans import remove_folders, sweep
from harness.host.daemons.private import Daemon, Kvm, missing_programs, packages_of, start_dockerd, start_libvirtd
from harness.host.daemons.reach import Answer, ask_docker, ask_libvirt, ask_users_docker, libvirt_uri, named
from harness.host.links import tidied_namespaces
from harness.host.unix_socket import accepts
from harness.model import DAEMONS, DaemonName

CLOSING = 20.0
ANSWERING = 60.0
"""Seconds that a listening daemon may take to answer."""
Notify = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Daemons:
    """The daemons of a run.

    `docker_url` and `libvirt_uri` are None if the daemon is unavailable; `reasons` and `fixes` then hold the cause and
    the remedy, with the keys `docker` and `libvirt`. `netns` is the network namespace of daemons, bridge, taps and
    native processes ("" is the host's). `notes` list what is used and what was started. `processes` are the process
    ids of the private daemons, by name.
    """

    docker_url: str | None = None
    libvirt_uri: str | None = None
    netns: str = ""
    notes: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    fixes: dict[str, str] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)

    def address(self, daemon: DaemonName) -> str | None:
        """Where a daemon is, None where there is none; None for the daemon "" too."""
        return {"": None, "docker": self.docker_url, "libvirt": self.libvirt_uri}[daemon]


@contextlib.contextmanager
def open_daemons(
    run_dir: Path,
    state: Path,
    want: Collection[str],
    deadline: Deadline,
    notify: Notify,
    *,
    kvm: Kvm = "offered",
    netns: str = NETNS,
) -> Iterator[Daemons]:
    """Yield the daemons in `want` (`docker`, `libvirt`); stop those that were started here at the end.

    Call it from the main thread and hold the host lock: the leftovers of a dead run are removed first. `run_dir` holds
    sockets and pid files, so its path must be short. `state` keeps Docker's data and the logs between runs. `kvm` =
    `hidden` hides /dev/kvm from a private libvirtd; it has no effect on daemons that were already running.

    An unavailable daemon is no error: its address is None, with a reason. Raises TareError if a private daemon starts
    but does not answer, and DeadlineExceeded; in both cases nothing is left behind.
    """
    daemons = Daemons()
    with contextlib.ExitStack() as stack:
        servant = systemd.booted() and os.geteuid() == 0
        lacking = [kind for kind in DAEMONS if kind in want and not _there(kind, daemons, servant, deadline)]
        if servant:
            lacking = [kind for kind in lacking if not _serve(kind, daemons, stack, deadline, notify)]
        for kind in lacking:
            _explain(kind, daemons)
        startable = [kind for kind in lacking if kind not in daemons.fixes]
        if startable:
            _start_private([*startable], daemons, stack, run_dir, state, deadline, notify, kvm, netns)
        yield daemons


def _there(kind: str, daemons: Daemons, servant: bool, deadline: Deadline) -> bool:
    # A connection to its socket unit would start the service, and nothing would stop it.
    if servant and not named(kind) and systemd.stopped(kind, deadline):
        daemons.reasons[kind] = f"the {kind} service is stopped"
        return False
    return _reach(kind, daemons, deadline)


def _reach(kind: str, daemons: Daemons, deadline: Deadline) -> bool:
    if kind == "docker":
        answer = ask_users_docker(deadline.within(5.0))
        daemons.docker_url = answer.where if answer.ok else None
    else:
        # A daemon that the user configured is never replaced, so it gets more time.
        answer = ask_libvirt(libvirt_uri(), deadline.within(ANSWERING if named(kind) else 10.0))
        daemons.libvirt_uri = answer.where if answer.ok else None
    if answer.ok:
        daemons.notes.append(f"{kind}: using the daemon at {answer.where}")
        daemons.reasons.pop(kind, None)
    else:
        daemons.reasons[kind] = f"no daemon answers at {answer.where} ({answer.reason})"
    return answer.ok


def _serve(kind: str, daemons: Daemons, stack: contextlib.ExitStack, deadline: Deadline, notify: Notify) -> bool:
    unit = systemd.unit_of(kind, deadline)
    if unit is None or (kind == "libvirt" and named(kind)):
        return False
    notify(f"starting {unit}; the run stops it at the end")
    stack.enter_context(systemd.started(unit, deadline))
    if not _reach(kind, daemons, deadline):
        daemons.fixes[kind] = f"systemctl status {unit}"
        return False
    daemons.notes.append(f"{kind}: started {unit}")
    return True


def _explain(kind: str, daemons: Daemons) -> None:
    """Set the fix of a daemon that cannot be started privately."""
    if kind in daemons.fixes:
        return
    if choice := named(kind):
        daemons.fixes[kind] = f"start the daemon that {choice.by} names, or {choice.undo}"
    elif missing := missing_programs([kind]):
        daemons.reasons[kind] += f"; not installed: {', '.join(missing)}"
        daemons.fixes[kind] = f"apt-get install --no-install-recommends {' '.join(packages_of(missing))}"
    elif os.geteuid() != 0:
        group = {"docker": "docker", "libvirt": "libvirt"}[kind]
        unit = {"docker": "docker", "libvirt": "libvirtd"}[kind]
        daemons.fixes[kind] = f"sudo systemctl start {unit}; sudo usermod -aG {group} $USER; or run tare as root"


def _start_private(
    kinds: list[str],
    daemons: Daemons,
    stack: contextlib.ExitStack,
    run_dir: Path,
    state: Path,
    deadline: Deadline,
    notify: Notify,
    kvm: Kvm,
    netns: str,
) -> None:
    # A dockerd that is already running keeps its bridge in the host's namespace, so guests must be there too.
    enclosure = None if daemons.docker_url else Enclosure(netns)
    if enclosure:
        if daemons.libvirt_uri and "docker" in kinds:
            if missing_programs(["libvirt"]) or named("libvirt"):
                daemons.libvirt_uri = None
                daemons.reasons["libvirt"] = "libvirtd and the private dockerd are in different network namespaces"
                daemons.fixes["libvirt"] = "start the system's dockerd, or exclude docker variants with --variant"
            else:
                kinds = [*kinds, "libvirt"]
        for stale in sweep(run_dir, deadline, netns=netns):
            notify(f"removed a leftover of a dead run: {stale.kind} {stale.name}")
        stack.enter_context(tidied_namespaces())
        enclosure.create(deadline)
        stack.callback(_remove_enclosure, enclosure)
        daemons.netns = netns
    notify(f"starting private {' and '.join(_names(kinds))}")
    stack.callback(remove_folders, run_dir)
    stack.enter_context(_tidied_machine_cgroup())
    running: dict[str, Daemon] = {}
    stack.callback(_end, running, enclosure)
    if "docker" in kinds and enclosure:
        running["docker"] = start_dockerd(run_dir, state, enclosure)
    if "libvirt" in kinds:
        running["libvirt"] = start_libvirtd(run_dir, state, enclosure.handle if enclosure else None, kvm)
    for kind, daemon in running.items():
        _wait(kind, daemon, daemons, deadline)
        daemons.reasons.pop(kind, None)
        daemons.notes.append(f"{kind}: started a private {daemon.name}, log in {daemon.log}")
        daemons.processes[daemon.name] = daemon.pid()


def _wait(kind: str, daemon: Daemon, daemons: Daemons, deadline: Deadline) -> None:
    while not accepts(daemon.socket):
        daemon.check()
        deadline.check(f"the start of the private {daemon.name} (socket {daemon.socket})")
        time.sleep(0.02)
    patience = deadline.within(ANSWERING)
    while not (answer := _ask(kind, daemon, daemons, deadline)).ok:
        # A daemon that has just begun to listen may drop connections, for seconds on a slow host.
        daemon.check()
        if patience.left == 0.0:
            brief = f"the private {daemon.name} does not answer"
            raise TareError(brief, details=answer.reason, hint=f"see {daemon.log}")
        time.sleep(0.1)


def _ask(kind: str, daemon: Daemon, daemons: Daemons, deadline: Deadline) -> Answer:
    if kind == "docker":
        daemons.docker_url = f"unix://{daemon.socket}"
        return ask_docker(daemons.docker_url, deadline)
    daemons.libvirt_uri = f"qemu+unix:///system?socket={daemon.socket}"
    return ask_libvirt(daemons.libvirt_uri, deadline)


def _end(running: dict[str, Daemon], enclosure: Enclosure | None) -> None:
    deadline = Deadline.after(CLOSING)
    # Kill containers first: dockerd waits 10 s for each container that ignores SIGTERM.
    try:
        if enclosure:
            end(enclosure.contained, deadline.within(5.0), grace=0.0)
    finally:
        for daemon in running.values():
            daemon.terminate()
        for daemon in running.values():
            daemon.end(deadline.within(10.0))


def _remove_enclosure(enclosure: Enclosure) -> None:
    enclosure.remove(Deadline.after(CLOSING))


@contextlib.contextmanager
def _tidied_machine_cgroup() -> Iterator[None]:
    """At the end remove libvirt's top control group if it did not exist before and is empty."""
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")]
    before = {root for root in roots if (root / "machine").exists()}
    try:
        yield
    finally:
        for root in roots:
            if root not in before and (root / "cgroup.procs").exists() and (root / "machine").is_dir():
                remove_cgroup(root / "machine", Deadline.after(0.2))


def _names(kinds: list[str]) -> list[str]:
    return [{"docker": "dockerd", "libvirt": "libvirtd"}[kind] for kind in kinds]
