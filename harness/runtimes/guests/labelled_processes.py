"""Processes that the harness started itself: labelled in their environment, found and killed by that label alone."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded
from harness.model import Leftover

PROC = Path("/proc")
RUN, NAME = "tare.run", "tare.name"
WORDS = 3
"""An interpreter's program is its third word at the latest (`python3 -I PROGRAM`)."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A process with tare's labels: the instance that it serves, and the run."""

    pid: int
    name: str
    run: str


def labels_for(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The environment that marks a process as one of the instance `name` of a run."""
    return {**labels, NAME: name}


def find(*programs: str) -> Iterator[Labelled]:
    """Every process of the programs whose environment has tare's labels and can be read by this user."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := _look(int(entry.name), programs)):
            yield found


def leftovers(kind: str, *programs: str) -> list[Leftover]:
    """The instances that labelled processes of the programs serve, of any run."""
    found = {(one.name, one.run) for one in find(*programs)}
    return [Leftover(kind=kind, name=name, run=run) for name, run in sorted(found)]


def kill(name: str, deadline: Deadline, *programs: str) -> bool:
    """Kill the processes that serve the instance `name` and wait for their end; False when there is none.

    The labels are read again behind a pidfd: the process id may be another process's by then.
    Raises DeadlineExceeded when one does not end.
    """
    killed = False
    for found in [one for one in find(*programs) if one.name == name]:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(found.pid)
            try:
                if _look(found.pid, programs) == found:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    killed = True
                    if not select.select([descriptor], [], [], deadline.left)[0]:
                        raise DeadlineExceeded(f"a process of {name} does not end", details=f"pid {found.pid}")
            finally:
                os.close(descriptor)
    return killed


def _look(pid: int, programs: tuple[str, ...]) -> Labelled | None:
    """The labels of one process; None without labels, for another program, and once it is gone."""
    with contextlib.suppress(OSError):
        command = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")[:WORDS]
        if not {Path(os.fsdecode(word)).name for word in command} & set(programs):
            return None
        words = (PROC / str(pid) / "environ").read_bytes().decode("utf-8", "replace").split("\0")
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        if RUN in pairs and NAME in pairs:
            return Labelled(pid, pairs[NAME], pairs[RUN])
    return None
