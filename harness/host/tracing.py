"""What some processes reach in the host's kernel: the kernel's own tracer, in an instance of ours, for these alone.

Source: linux/Documentation/trace/ftrace.rst and events.rst. The tracer's file system is mounted in a folder of ours
where the host has it nowhere; instance and mount are gone afterwards. What others trace is not touched.
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
"""For each CPU."""
FIRST_PIDS = 0xEFFFFFFC
"""The first PID namespace: PROC_PID_INIT_INO of linux/include/linux/proc_ns.h."""
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
"""By kind, the file that switches it on and off, and the words for that."""
LINES: dict[Kind, re.Pattern[bytes]] = {
    "syscalls": re.compile(rb"sys_enter: NR (\d+) "),
    "functions": re.compile(rb": ([A-Za-z_][\w.]*) <-"),
}


class Untraceable(TareError):
    """The host's kernel cannot trace what was asked for, or does not let us."""


@dataclass(slots=True)
class Reached:
    """What was reached, by name or number, with how often; `lost` events were not seen, so that it is the least."""

    found: Counter[str] = field(default_factory=Counter)
    lost: int = 0


@contextlib.contextmanager
def traced(kind: Kind, pids: Collection[int]) -> Iterator[Reached]:
    """Trace processes, with all their threads and what they start, until the context ends; then the result is whole.

    Raises Untraceable where this kernel cannot, or this user may not.
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
        # The kernel changes no tracer while somebody has the pipe open.
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
    """Why nothing can be traced here, or "": said without trying."""
    if os.geteuid() != 0:
        return "tracing the host's kernel needs root"
    if not SYSTEM.is_dir():
        return "the host's kernel has no tracer (CONFIG_FTRACE)"
    if Path("/proc/self/ns/pid").stat().st_ino != FIRST_PIDS:
        return "the tracer goes by the host's process numbers, and this is a PID namespace of its own"
    return ""


def own_mount() -> Path:
    """Where the tracer's file system is mounted for the time, on a host that has it nowhere."""
    return paths.runtime() / "tracing"


class TracerSweep:
    """What a killed run leaves of the tracer; see harness.run.clean.Sweeper. Call it under the host lock."""

    def leftovers(self) -> Iterator[Leftover]:
        """Tracers with our label, then our mount; none where this user could have made none."""
        if missing():
            return
        for folder in (SYSTEM, own_mount()):
            for path in sorted((folder / INSTANCES).glob(f"{LABEL}*")):
                yield Leftover(kind="tracer", name=str(path))
        if own_mount().is_mount():
            yield Leftover(kind="tracer-mount", name=str(own_mount()))

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one; raises TareError when it cannot."""
        path = Path(leftover.name)
        if leftover.kind == "tracer-mount":
            run(["umount", path], deadline)
        try:
            path.rmdir()
        except OSError as error:
            raise TareError(f"{path} cannot be removed", details=str(error), hint=f"rmdir {path}") from error


@contextlib.contextmanager
def _mounted() -> Iterator[Path]:
    """The tracer's file system: the host's own mount, or one of ours for the time."""
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
    """A tracer of our own."""
    own = folder / INSTANCES / f"{LABEL}{secrets.token_hex(3)}"
    own.mkdir()
    try:
        yield own
    finally:
        own.rmdir()


@contextlib.contextmanager
def _reading(own: Path, pattern: re.Pattern[bytes], reached: Reached) -> Iterator[None]:
    """Count what comes through the tracer's pipe, all of it by the end."""
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
    """Count what comes until it is over and the pipe has been empty for a while."""
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
    """Events that the buffers had no room for."""
    texts = [path.read_text() for path in own.glob("per_cpu/cpu*/stats")]
    return sum(int(count) for text in texts for count in re.findall(r"(?:overrun|dropped events): (\d+)", text))


def _threads(pids: Collection[int]) -> Sequence[int]:
    """Every thread of the processes and of what they have started."""
    found: list[int] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += [thread.id for thread in one.threads()]
    if not found:
        raise Untraceable("what was to be traced is gone")
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise Untraceable(f"the kernel's tracer refused {path.name}", details=error.strerror or "") from error
