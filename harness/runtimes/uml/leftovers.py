"""What a killed run left of User Mode Linux: processes with our labels in their environment."""

import contextlib
from collections.abc import Iterator

import psutil

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Leftover

KIND = "uml"
RUN_LABEL = "tare.run"


def leftovers() -> list[Leftover]:
    """Every guest with labels of ours, by its kernel's `umid`; its other processes end with those found here."""
    found = {(name, run) for _, name, run in _ours()}
    return [Leftover(kind=KIND, name=name, run=run) for name, run in sorted(found)]


def remove(leftover: Leftover, deadline: Deadline) -> None:
    """Kill all processes of a leftover; one that is gone is fine. Raises TareError when some do not go."""
    wanted = [process for process, name, run in _ours() if (name, run) == (leftover.name, leftover.run)]
    for process in wanted:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(wanted, timeout=deadline.left)
    if stuck := [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]:
        raise TareError(f"the guest {leftover.name} does not end", details=f"processes {[one.pid for one in stuck]}")


def _ours() -> Iterator[tuple[psutil.Process, str, str]]:
    """Processes that were started for a guest of ours, with the guest's name and run.

    bubblewrap's have the kernel's arguments among their own. An argument alone proves nothing: the label must be in the
    environment, which nobody but tare sets.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            name = next((word[5:] for word in process.cmdline() if word.startswith("umid=tare-")), "")
            if name and (run := process.environ().get(RUN_LABEL)):
                yield process, name, run
