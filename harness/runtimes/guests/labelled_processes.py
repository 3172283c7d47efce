"""Processes that a runtime started itself: labelled in their environment, found and killed by that label alone."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded

PROC = Path("/proc")
RUN, NAME = "tare.run", "tare.name"
WORDS = 3


@dataclass(frozen=True, slots=True)
class Labelled:
    """A process with our labels: the instance that it serves, and the run."""

    pid: int
    name: str
    run: str


def labels_for(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The environment that milestones a process as the instance `name` of a run."""
    return {**labels, NAME: name}


def find(program: str) -> Iterator[Labelled]:
    """Every running `program` whose environment has our labels; processes of others that we may not read have none.

    An interpreter's program is its third word at the latest (`python3 -I PROGRAM`).
    """
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := _look(int(entry.name), program)):
            yield found


def kill(program: str, name: str, deadline: Deadline) -> bool:
    """Kill the `program` that serves the instance `name`, and wait for its end; False when there is none.

    The labels are read again behind a pidfd, so that a number that was given to another process meanwhile is safe.
    Raises DeadlineExceeded when it does not end.
    """
    killed = False
    for found in [one for one in find(program) if one.name == name]:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(found.pid)
            try:
                if _look(found.pid, program) == found:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    killed = True
                    if not select.select([descriptor], [], [], deadline.left)[0]:
                        raise DeadlineExceeded(f"{program} of {name} does not end", details=f"pid {found.pid}")
            finally:
                os.close(descriptor)
    return killed


def _look(pid: int, program: str) -> Labelled | None:
    """The labels of one process, None without any, or when it is not `program`, or gone."""
    with contextlib.suppress(OSError):
        command = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")[:WORDS]
        if program not in {Path(os.fsdecode(word)).name for word in command}:
            return None
        words = (PROC / str(pid) / "environ").read_bytes().decode("utf-8", "replace").split("\0")
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        if RUN in pairs and NAME in pairs:
            return Labelled(pid, pairs[NAME], pairs[RUN])
    return None
