"""What some instances can do in their lives and others cannot: got by `instance.capability(kind)`, never by type.

Each is a set of operations that a runtime fills in. They are plain classes and no protocols, so that `kind` can be a
value whose type the answer has. Every operation takes a deadline, returns once it is done, and raises TareError.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from harness.deadline import Deadline

T = TypeVar("T")
Operation = Callable[[Deadline], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """Why an instance cannot do something, as a clause: `a process has no disk of its own`."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pausable:
    """Its processes can be stopped where they are, and let go on. `how` names what does it."""

    how: str
    pause: Operation
    resume: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Stoppable:
    """It can be ended and begun again with its disk. `stop` is graceful, `kill` is not; both return once it is gone.

    After `start`, which returns as a launch does, it is waited for as after a launch.
    """

    how: str
    stop: Operation
    kill: Operation
    start: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshottable:
    """A snapshot can be taken while it runs, gone back to, and dropped. One at a time.

    `fresh` says whether `restore` begins it anew from the disk, so that it must be waited for as after a launch; else
    it goes on where it was. `size` is what the snapshot takes in bytes, None where that cannot be told.
    """

    how: str
    take: Operation
    restore: Operation
    drop: Operation
    size: Callable[[], int | None]
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Savable:
    """Its whole state, memory included, can be put on the host's disk, which ends it, and brought back to run on."""

    how: str
    save: Operation
    restore: Operation
    size: Callable[[], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistent:
    """Where data can be kept in it: by the name of the kind of storage, a folder inside.

    `recreate` removes a stopped one and makes another from the image, keeping of its storage what its user would keep,
    and starts it; then it is waited for as after a launch.
    """

    storages: Mapping[str, str]
    recreate: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Clonable:
    """A stopped one can be a template: `freeze` makes it one, untimed; each way (`linked`: sharing the template's data,
    `full`: a copy of all of it) makes a new one from it, starts that in its place, and it is waited for as after a
    launch. Before another way the clone is stopped.
    """

    how: Mapping[str, str]
    freeze: Operation
    ways: Mapping[str, Operation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Migratable:
    """It can be moved to another daemon while it runs, and back; `ready` makes that daemon ready, untimed."""

    how: str
    ready: Operation
    migrate: Operation


def choose(offers: Mapping[type, object], kind: type[T], name: str) -> T | Unsupported:
    """The offer of that kind: the operations, or why there are none."""
    offered = offers.get(kind)
    if isinstance(offered, (kind, Unsupported)):
        return offered
    return Unsupported(reason=f"not built for {name} yet")
