"""The base classes of runtimes and instances, with defaults, and what they exchange with their callers.

A runtime is how you get an instance; an instance is what you run commands in. See docs/plugins.md.
"""

import platform
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, Protocol, Self

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import (
    Accelerator,
    Available,
    DaemonName,
    Leftover,
    Milestone,
    NetworkPlace,
    RootForms,
    Shape,
    Variant,
)
from harness.runtimes.capabilities import T, Unsupported, choose
from harness.runtimes.requirements import require

__all__ = ["Available", "Leftover", "NetworkPlace", "RootForms"]  # words of the model that this room also hands out

Entry = Literal["agent", "beacon"]
ENTRY_ARGV: Mapping[Entry, tuple[str, ...]] = {
    "agent": ("/usr/bin/python3", "-I", "/opt/tare/agent.py", "/run/tare/channel"),
    "beacon": ("/opt/tare/beacon", "/run/tare/channel", "ready"),
}
"""What an instance runs first, in every runtime; the channel is at /run/tare/channel."""
ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp"}
"""What an instance's first process finds in its environment, in every runtime."""
Stream = IO[bytes]
Counters = Mapping[str, float]
"""Cumulative CPU seconds by part of an instance (`vcpu`, `emulator`, `workload` …), on the host but for BESIDE."""
BESIDE = "domain"
"""What a hypervisor beside the host gave a guest: the host's clocks do not have it."""
Processes = Mapping[str, tuple[int, ...]]
"""Host process ids by part of an instance (`vmm`, `workload`, `shim` …), the part that is the instance itself first."""
VMM = "vmm"
"""The part that holds a guest's RAM."""
SHARED = frozenset({"dockerd", "containerd", "libvirtd"})
"""Parts that serve other instances too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a job runs inside an instance.

    `listen` is a TCP port: the job counts as begun once something in the instance listens on it.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    listen: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOutput:
    """What came of a job.

    `begin` and `end` are the host's CLOCK_MONOTONIC at the START and END frames, `inner_begin` and `inner_end` the
    instance's own CLOCK_MONOTONIC; `user` and `system` CPU seconds and the counts are of the job's process tree
    (wait4), `steal` CPU seconds of the instance's whole system while it ran.
    """

    status: int
    stdout: str
    stderr: str
    begin: float
    end: float
    inner_begin: float
    inner_end: float
    user: float
    system: float
    steal: float
    voluntary_switches: int
    involuntary_switches: int
    minor_faults: int
    major_faults: int


class Job(Protocol):
    """A command running in an instance."""

    def wait(self, deadline: Deadline) -> RawOutput:
        """Its output, once it has ended; raises DeadlineExceeded (the job is then killed)."""
        ...

    def stop(self, deadline: Deadline) -> RawOutput:
        """End it (a server) and return its output."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the peer reaches a server in the instance, and where the server must bind."""

    address: str
    port: int
    bind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how one instance is launched.

    `name` is unique on the host (`tare-…`); `directory` is the instance's own, short enough for unix sockets, removed
    with it; `port` is what a server inside will listen on; `scratch_mib` asks for scratch space of that size at
    /scratch, below `scratch_directory` (same backing filesystem for all) where the runtime keeps it in a file. `media`
    are raw files that a guest finds as further disks, read-only; only guests have them. A `lasting` one may be stopped,
    moved and begun again: no daemon ends it by itself when the harness goes, and its labels are what finds it then.
    """

    name: str
    directory: Path
    entry: Entry
    shape: Shape
    network: NetworkPlace | None = None
    port: int | None = None
    scratch_mib: int = 0
    scratch_directory: Path = Path("/var/lib/tare/scratch")
    media: tuple[Path, ...] = ()
    lasting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignallingOverhead:
    """How much later the host stamps a milestone because of the way it is told, in seconds (see agent.signalling).

    `seconds` is the median of `readings`, `low` and `high` the least and the most of them; `method` says how each came
    about: `clock` (one clock on both ends) or `interval` (between lines told one after another).
    """

    seconds: float
    low: float
    high: float
    readings: int
    method: Literal["clock", "interval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A variant made ready, untimed: `image` is the digest or id that its instances start from."""

    variant: Variant
    shape: Shape
    root: RootForms
    image: str
    accelerator: Accelerator


class Instance(ABC):
    """One running container, guest or native process tree; a context manager that ends it.

    `requested` is the host's CLOCK_MONOTONIC in seconds just before the launch; `kernel` is the release of the kernel
    that the instance runs on, by default the host's. `last` is the milestone after which no other comes: `ready`, or
    `service` of a full system. A subclass defines `start`, `signalling_overheads`, `counters`, `facts` and `_destroy`.
    """

    last: Milestone = Milestone.READY

    def __init__(
        self, place: Place, requested: float, accelerator: Accelerator = Accelerator.NONE, kernel: str = ""
    ) -> None:
        self.name = place.name
        self.accelerator = accelerator
        self.kernel = kernel or platform.release()
        self._place = place
        self._milestones: dict[Milestone, float] = {Milestone.REQUESTED: requested}

    @abstractmethod
    def start(self, command: Command, deadline: Deadline) -> Job:
        """Start a command through the agent; returns once its START frame came."""

    @abstractmethod
    def signalling_overheads(self, deadline: Deadline) -> Mapping[Milestone, SignallingOverhead]:
        """The signalling overhead by milestone, measured in an instance of entry `agent`.

        Raises TareError when that cannot be measured.
        """

    @abstractmethod
    def counters(self) -> Counters:
        """Cumulative host CPU seconds of the processes that serve this instance; callers subtract."""

    @abstractmethod
    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        """What the instance itself and its host side prove about it: the parity table's rows."""

    @abstractmethod
    def _destroy(self) -> None:
        """End the instance and remove what `launch` created. Called once."""

    @property
    def milestones(self) -> Mapping[Milestone, float]:
        """The milestones so far, on the host's CLOCK_MONOTONIC, in seconds."""
        return dict(self._milestones)

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """Return when `milestone` was reached, in seconds.

        Raises DeadlineExceeded, or TareError when the instance died first or has no such milestone.
        """
        if milestone not in self._milestones:
            raise TareError(f"{self.name} has no milestone {milestone}")
        return self._milestones[milestone]

    def processes(self) -> Processes:
        """The host's processes that serve this instance, none where the host cannot see any.

        Raises TareError once it is gone.
        """
        return {}

    def endpoint(self) -> Endpoint:
        """Where the peer reaches the instance's port. Raises TareError without a network place or a port."""
        network, port = self._place.network, self._place.port
        if network is None or port is None:
            raise TareError(f"{self.name} has no network place")
        address = self._address(network)
        return Endpoint(address=address, port=port, bind=address)

    def files(self, deadline: Deadline) -> Iterable[Path]:
        """The host's files and folders that the instance adds to its image; by default its directory."""
        return (self._place.directory,)

    def capability(self, kind: type[T]) -> T | Unsupported:
        """What the instance can do of a kind of harness.runtimes.capabilities, or the reason why it cannot."""
        return choose(self._offers(), kind, self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._destroy()

    def _address(self, network: NetworkPlace) -> str:
        """The instance's address, by default one of its own on the bridge."""
        return network.address

    def _offers(self) -> Mapping[type, object]:
        """By kind of harness.runtimes.capabilities, its operations or an Unsupported with the reason."""
        return {}


class Copies(Protocol):
    """How an image is made, carried to another host and cloned, for what weighs and times that.

    It is done on copies: the `image` itself, which all workloads share, is read and never changed. A copy is another
    `Prepared` of the same variant, and gone once its context ends. Every call raises TareError, leaving nothing, and
    DeadlineExceeded. `folder` is the case's own, for files.
    """

    image: Prepared
    folder: Path

    def built(self, deadline: Deadline) -> AbstractContextManager[Prepared] | None:
        """A copy made from the root's tar, which is where all forms begin; None where it is made in another way."""
        ...

    def save(self, copy: Prepared, sink: Stream, deadline: Deadline) -> None:
        """Write what another host needs to start from a copy, not compressed."""
        ...

    def loaded(self, source: Stream, deadline: Deadline) -> AbstractContextManager[Prepared]:
        """A copy of what `save` has written."""
        ...

    def linked(self, deadline: Deadline) -> AbstractContextManager[Collection[Path]] | None:
        """A clone that keeps only what is written to it, as its files and folders; None where there are none."""
        ...

    def full(self, deadline: Deadline) -> AbstractContextManager[Collection[Path]]:
        """A clone that shares nothing with the image, as its files and folders."""
        ...


class Runtime(ABC):
    """A way to get instances. By default it needs no daemon, starts from the root's directory and leaves nothing.

    A subclass sets `name` and `variants` and defines `available` and `launch`. It overrides the rest where it differs.
    tare calls the class without arguments, also for `tare list`: a constructor changes nothing on the host. `name` is
    the entry point's name and the prefix of all `variants`. `daemon` names the daemon that serves it, "" for none.
    `needs_root` is false where nothing of the root file system is run.
    """

    name: str
    variants: tuple[Variant, ...]
    daemon: DaemonName = ""
    needs_root: bool = True

    @abstractmethod
    def available(self, variant: Variant) -> Available:
        """Return whether `variant` can run on this host, without any change to the host."""

    @abstractmethod
    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Instance:
        """Start one fresh instance and return as soon as it is created. Raises TareError and then leaves nothing."""

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """Return what executes its instances on this host, found out by a trial; by default the host's processors.

        A run calls it before it opens daemons. Raises TareError.
        """
        return Accelerator.NONE

    def connect(self, address: str) -> None:
        """Use the daemon at `address`: a Docker or libvirt URL.

        tare calls it before `available`, once the daemon answers.
        """
        return None

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Import the image or fill in the template; by default there is only the root. This is not timed.

        Raises TareError, also when the variant is not available.
        """
        require(variant, self.available(variant))
        return Prepared(variant=variant, shape=shape, root=root, image=root.digest, accelerator=Accelerator.NONE)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The variant's own files and folders, made from the root, that a launch reads through the host's page cache.

        A cold boot drops them from the page cache. Raises TareError when they cannot be found.
        """
        return (prepared.root.directory,)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> Copies | None:
        """How an image is copied, below `folder` or with the labels. Raises TareError.

        None when it is never copied: a workload about images then measures their size on disk only.
        """
        return None

    def leftovers(self) -> Iterable[Leftover]:
        """Everything on the host that carries tare's labels, of any run, in the order in which it can be removed.

        None by default: whatever an instance creates ends with the harness.
        """
        return ()

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one leftover, from any thread if it is `beside`. Raises TareError when it cannot be removed."""
        raise TareError(f"{self.name} has no {leftover.kind} to remove")

    def close(self) -> None:
        """Close all connections to daemons."""
        return None
