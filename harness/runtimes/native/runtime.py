"""The native runtime: the root's programs as plain processes of the host, the baseline of all other variants.

Bubblewrap enters the root (namespaces of mounts and of System V IPC, nothing else), in the root cgroup, with the CPU
affinity of the shape.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.model import Available, Variant
from harness.process import spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.archive import TreeCopies
from harness.runtimes.base import ENTRY_ARGV, ENVIRONMENT, Place, Prepared, Runtime
from harness.runtimes.native.instance import NativeProcess
from harness.runtimes.requirements import missing

PROGRAMS = ("bwrap", "taskset", "nsenter")


class Native(Runtime):
    """Processes of the host itself. Bubblewrap and the agent end with the harness: there are no leftovers."""

    name = "native"
    variants: tuple[Variant, ...] = (
        Variant(name="native", runtime="native", summary="processes of the host in the root's directory"),
    )

    def available(self, variant: Variant) -> Available:
        """Whether bubblewrap and util-linux are installed."""
        return missing(PROGRAMS, fix="apt-get install bubblewrap util-linux") or Available(ok=True)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> TreeCopies:
        """Copies of the root's directory."""
        return TreeCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> NativeProcess:
        """Start the agent or the beacon in the root."""
        scratch = _scratch(place)
        channel = Channel(place.directory)
        requested = time.monotonic()
        argv = _argv(prepared, place, scratch)

        def spawned() -> "subprocess.Popen[bytes]":
            return spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(labels))

        try:
            return NativeProcess(place, channel, requested, scratch, spawned)
        except BaseException:
            channel.close()
            raise


def _argv(prepared: Prepared, place: Place, scratch: Path | None) -> list[str]:
    """Enter the network namespace, the CPU set and the root, and run the entry there."""
    enter = ["nsenter", f"--net=/run/netns/{place.network.netns}"] if place.network and place.network.netns else []
    mounts = [
        *("--ro-bind", str(prepared.root.directory), "/"),
        *("--dev-bind", "/dev", "/dev", "--proc", "/proc", "--ro-bind", "/sys", "/sys"),
        *("--tmpfs", "/tmp", "--tmpfs", "/run", "--bind", str(place.directory), "/run/tare"),
        *(("--bind", str(scratch), "/scratch") if scratch else ()),
    ]
    settings = [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
    return [
        *enter,
        *("taskset", "--cpu-list", place.shape.cpu_list),
        # What a killed server leaves in System V shared memory goes with its namespace.
        *("bwrap", *mounts, "--unshare-ipc", "--die-with-parent", "--clearenv", *settings, "--chdir", "/tmp", "--"),
        *ENTRY_ARGV[place.entry],
    ]


def _scratch(place: Place) -> Path | None:
    if place.scratch_mib == 0:
        return None
    directory = place.scratch_directory / place.name
    directory.mkdir(mode=0o755)
    return directory
