"""Lifecycle operations that only some instances have: get them by `instance.capability(kind)`.

Each class is a set of operations that a runtime fills in. They are classes and not protocols, so that `kind` is a value
and the result has its type. Every operation takes a deadline, returns once it is done, and raises TareError.
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
    """Its processes can be paused and resumed; `how` names the commands."""

    how: str
    pause: Operation
    resume: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Stoppable:
    """It can be stopped and started again with its disk.

    `stop` is graceful, `kill` is not; both return once it is gone. `start` returns as a launch does; callers then wait
    as after a launch.
    """

    how: str
    stop: Operation
    kill: Operation
    start: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshottable:
    """A snapshot can be taken while it runs, restored, and dropped. One at a time.

    After a `fresh` restore the instance starts again from its disk, and callers wait as after a launch; else it
    continues where it was. `size` is the snapshot's size in bytes, None when unknown.
    """

    how: str
    take: Operation
    restore: Operation
    drop: Operation
    size: Callable[[], int | None]
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Savable:
    """Its state, memory included, can be saved to the host's disk, which ends it, and restored; `size` is in bytes."""

    how: str
    save: Operation
    restore: Operation
    size: Callable[[], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistent:
    """Where it can keep data: a folder inside, by kind of storage.

    `recreate` replaces a stopped one by a new one from the image, with the storage that users keep, and starts it;
    callers then wait as after a launch.
    """

    storages: Mapping[str, str]
    recreate: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Clonable:
    """A stopped one can be a template; `freeze` makes it one, untimed.

    Each way makes a new one in its place and starts it: `linked` shares the template's data, `full` copies all of it.
    Callers then wait as after a launch, and stop the clone before they use another way.
    """

    how: Mapping[str, str]
    freeze: Operation
    ways: Mapping[str, Operation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Migratable:
    """It can be migrated to another daemon while it runs, and back; `ready` starts that daemon, untimed."""

    how: str
    ready: Operation
    migrate: Operation


def choose(offers: Mapping[type, object], kind: type[T], name: str) -> T | Unsupported:
    """The operations of that kind, or why there are none."""
    offered = offers.get(kind)
    if isinstance(offered, (kind, Unsupported)):
        return offered
    return Unsupported(reason=f"the runtime of {name} does not offer it")
