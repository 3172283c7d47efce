"""A runtime for tare: the root's programs in PID and UTS namespaces of their own, by bubblewrap.

Beside `native`, its figures are the overhead of these two namespaces.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.model import Available, Variant
from harness.process import have, spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.process_tree import ProcessTree
from harness.runtimes.base import ENTRY_ARGV, ENVIRONMENT, Place, Prepared, Runtime

PROGRAMS = ("bwrap", "nsenter", "taskset")


class Bwrap(Runtime):
    """Sandboxes of bubblewrap. They die with the harness (`--die-with-parent`): a killed run leaves none."""

    name = "bwrap"
    variants = (
        Variant(name="bwrap/pid-uts", runtime="bwrap", summary="bubblewrap with PID and UTS namespaces of its own"),
    )

    def available(self, variant: Variant) -> Available:
        """Whether bubblewrap and util-linux are installed."""
        if missing := have(*PROGRAMS):
            fix = "apt-get install bubblewrap util-linux"
            return Available(ok=False, reason=f"not installed: {', '.join(missing)}", fix=fix)
        return Available(ok=True)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> "Sandbox":
        """Start one sandbox. The folder for scratch space is made before `requested`: it is not timed."""
        with ExitStack() as undo:  # whatever fails below, nothing is left
            channel = Channel(place.directory)
            undo.callback(channel.close)
            scratch = _scratch(place)
            if scratch:
                undo.callback(shutil.rmtree, scratch)
            requested = time.monotonic()
            argv = _argv(prepared.root.directory, place, scratch)
            child = spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(labels))
            undo.pop_all()
        return Sandbox(place, channel, requested, child, scratch)


class Sandbox(ProcessTree):
    """A running sandbox: bubblewrap, its PID 1, and the agent with its jobs below that."""

    def __init__(
        self,
        place: Place,
        channel: Channel,
        requested: float,
        child: "subprocess.Popen[bytes]",
        scratch: Path | None,
    ) -> None:
        super().__init__(place, channel, requested, child, "bubblewrap")
        self._scratch = scratch

    def _destroy(self) -> None:
        super()._destroy()
        if self._scratch:
            shutil.rmtree(self._scratch)


def _scratch(place: Place) -> Path | None:
    """A new folder on the file system that every variant's scratch space is on; None when none is needed."""
    if place.scratch_mib == 0:
        return None
    folder = place.scratch_directory / place.name
    folder.mkdir(mode=0o755)
    return folder


def _argv(root: Path, place: Place, scratch: Path | None) -> list[str]:
    """Enter the bridge's network namespace, the shape's CPUs and the sandbox, and run the agent or beacon there."""
    netns = place.network.netns if place.network else ""
    return [
        *(("nsenter", f"--net=/run/netns/{netns}") if netns else ()),
        *("taskset", "--cpu-list", place.shape.cpu_list),
        *("bwrap", "--unshare-pid", "--unshare-uts", "--hostname", place.name),
        *("--unshare-ipc", "--die-with-parent"),  # as `native`: nothing of a killed instance is left
        *("--ro-bind", str(root), "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc", "--ro-bind", "/sys", "/sys"),
        *("--tmpfs", "/tmp", "--tmpfs", "/run", "--bind", str(place.directory), "/run/tare"),
        *(("--bind", str(scratch), "/scratch") if scratch else ()),
        "--clearenv",
        *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
        *("--chdir", "/tmp", "--", *ENTRY_ARGV[place.entry]),
    ]
