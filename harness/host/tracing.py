"""Trace the system calls or kernel functions that given processes reach, with ftrace in a private tracer instance.

If the host has no tracefs mount, tracefs is mounted in tare's runtime folder. The instance and the mount are removed at
the end. Other tracers are not affected. Source: linux/Documentation/trace/ftrace.rst and events.rst.
"""

import contextlib
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from harness import paths
from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Leftover
from harness.process import run

SYSTEM = Path("/sys/kernel/tracing")
INSTANCES = "instances"
LABEL = "tare-"
BUFFER_KIB = 16384
"""The trace buffer of each CPU, in KiB."""
FIRST_PIDS = 0xEFFFFFFC
"""The inode of the initial PID namespace: PROC_PID_INIT_INO of linux/include/linux/proc_ns.h."""
DRAIN_SECONDS = 0.2
MOUNT_SECONDS = 10.0
Kind = Literal["syscalls", "functions"]
FOLLOW: dict[Kind, tuple[str, str]] = {
    "syscalls": ("set_event_pid", "options/event-fork"),
    "functions": ("set_ftrace_pid", "options/function-fork"),
}
SWITCH: dict[Kind, tuple[str, str, str]] = {
    "syscalls": ("events/raw_syscalls/sys_enter/enable", "1", "0"),
    "functions": ("current_tracer", "function", "nop"),
}
"""By kind: the file that enables tracing, its value for on, and its value for off."""
LINES: dict[Kind, re.Pattern[bytes]] = {
    "syscalls": re.compile(rb"sys_enter: NR (\d+) "),
    "functions": re.compile(rb": ([A-Za-z_][\w.]*) <-"),
}


class Untraceable(TareError):
    """The host's kernel cannot trace the requested events, or denies it."""


@dataclass(slots=True)
class Reached:
    """The traced events: counts by name or number. `lost` events are missing in it, so the counts are a lower bound."""

    found: Counter[str] = field(default_factory=Counter)
    lost: int = 0


@contextlib.contextmanager
def traced(kind: Kind, pids: Collection[int]) -> Iterator[Reached]:
    """Trace processes with their threads and descendants; the yielded result is complete when the context ends.

    Raises Untraceable if the kernel does not support it, the user may not trace, or all processes are gone.
    """
    reached = Reached()
    with _mounted() as folder, _instance(folder) as own:
        (which, follow), (switch, on, off) = FOLLOW[kind], SWITCH[kind]
        if not (own / which).exists() or not (own / switch).exists():
            raise Untraceable(f"the host's kernel cannot trace {kind}")
        _write(own / "tracing_on", "0")
        _write(own / "buffer_size_kb", str(BUFFER_KIB))
        _write(own / follow, "1")
        _write(own / which, " ".join(map(str, _threads(pids))))
        # The kernel refuses to change the tracer while trace_pipe is open.
        _write(own / switch, on)
        try:
            with _reading(own, LINES[kind], reached):
                _write(own / "tracing_on", "1")
                try:
                    yield reached
                finally:
                    _write(own / "tracing_on", "0")
            reached.lost = _lost(own)
        finally:
            _write(own / switch, off)


def missing() -> str:
    """The reason why tracing is impossible here, or ""; checks without tracing."""
    if os.geteuid() != 0:
        return "tracing the host's kernel needs root"
    if not SYSTEM.is_dir():
        return "the host's kernel has no tracer (CONFIG_FTRACE)"
    if Path("/proc/self/ns/pid").stat().st_ino != FIRST_PIDS:
        return "the kernel's tracer uses the host's process ids, and tare runs in a PID namespace"
    return ""


def own_mount() -> Path:
    """The temporary tracefs mount point, used if the host has no tracefs mount."""
    return paths.runtime() / "tracing"


class TracerSweep:
    """Finds and removes a killed run's tracers; see harness.run.clean.Sweeper. Hold the host lock."""

    def leftovers(self) -> Iterator[Leftover]:
        """Tracers with tare's label, then tare's mount; none if this user may not trace."""
        if missing():
            return
        for folder in (SYSTEM, own_mount()):
            for path in sorted((folder / INSTANCES).glob(f"{LABEL}*")):
                yield Leftover(kind="tracer", name=str(path))
        if own_mount().is_mount():
            yield Leftover(kind="tracer-mount", name=str(own_mount()))

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one leftover; raises TareError if that fails."""
        path = Path(leftover.name)
        if leftover.kind == "tracer-mount":
            run(["umount", path], deadline)
        try:
            path.rmdir()
        except OSError as error:
            raise TareError(f"{path} cannot be removed", details=str(error), hint=f"rmdir {path}") from error


@contextlib.contextmanager
def _mounted() -> Iterator[Path]:
    """Yield a tracefs mount: the host's, or a temporary one."""
    if reason := missing():
        raise Untraceable(reason)
    if (SYSTEM / INSTANCES).is_dir():
        yield SYSTEM
        return
    folder = own_mount()
    folder.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tracefs", "tare", folder], Deadline.after(MOUNT_SECONDS))
    try:
        yield folder
    finally:
        run(["umount", folder], Deadline.after(MOUNT_SECONDS))
        folder.rmdir()


@contextlib.contextmanager
def _instance(folder: Path) -> Iterator[Path]:
    """Yield a private tracer instance."""
    own = folder / INSTANCES / f"{LABEL}{secrets.token_hex(3)}"
    own.mkdir()
    try:
        yield own
    finally:
        own.rmdir()


@contextlib.contextmanager
def _reading(own: Path, pattern: re.Pattern[bytes], reached: Reached) -> Iterator[None]:
    """Count the events from the tracer's pipe in a thread; the count is complete at the end."""
    over = threading.Event()
    descriptor = os.open(own / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        reader = threading.Thread(target=_read, args=(descriptor, pattern, reached, over), daemon=True)
        reader.start()
        try:
            yield
        finally:
            over.set()
            reader.join()
    finally:
        os.close(descriptor)


def _read(descriptor: int, pattern: re.Pattern[bytes], reached: Reached, over: threading.Event) -> None:
    """Count events until `over` is set and the pipe has been empty for DRAIN_SECONDS."""
    quiet = time.monotonic()
    rest = b""
    while not over.is_set() or time.monotonic() - quiet < DRAIN_SECONDS:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(descriptor, 1 << 20)
        if not data:
            time.sleep(0.01)
            continue
        quiet = time.monotonic()
        *lines, rest = (rest + data).split(b"\n")
        reached.found.update(found[1].decode() for found in map(pattern.search, lines) if found)


def _lost(own: Path) -> int:
    """The number of events that did not fit into the buffers."""
    texts = [path.read_text() for path in own.glob("per_cpu/cpu*/stats")]
    return sum(int(count) for text in texts for count in re.findall(r"(?:overrun|dropped events): (\d+)", text))


def _threads(pids: Collection[int]) -> Sequence[int]:
    """The thread ids of the processes and their descendants."""
    found: list[int] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += [thread.id for thread in one.threads()]
    if not found:
        raise Untraceable("all processes to trace have ended")
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise Untraceable(f"the kernel's tracer refused {path.name}", details=error.strerror or "") from error
