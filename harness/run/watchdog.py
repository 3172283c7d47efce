"""The watchdog: a process that outlives the harness and removes the leftovers of its run if the harness is killed.

It reads a FIFO that only the harness holds open for writing. A message in the FIFO means that the harness has cleaned
up. End of file without a message means that the harness died, because the kernel closes the FIFO then. With systemd the
watchdog is a transient unit, so that it survives the end of the user's session; otherwise it is a process in its own
session.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import paths, process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons import systemd
from harness.record.journal import now
from harness.rig.lock import WATCHDOG, host_lock

if TYPE_CHECKING:
    from harness.run.clean import Cleaned

LOG = "watchdog.log"
"""The watchdog's log in the run's folder: what it removed and what it could not remove."""
CLEANED = b"cleaned\n"
"""The message of a harness that has cleaned up."""
START_SECONDS = 20.0
END_SECONDS = 10.0
LOCK_SECONDS = 3.0
"""Seconds until the kernel releases the lock of a dead harness; after that, a new run holds it and will clean up."""
CLEAN_SECONDS = 600.0
LOOK_SECONDS = 0.02
PASSED = ("TARE_", "SUDO_", "XDG_", "DOCKER_", "PATH", "HOME")
"""Prefixes of the environment variables that a transient unit gets from the harness; systemd passes almost none."""


@contextlib.contextmanager
def guarded(run: str, folder: Path) -> Iterator[None]:
    """Run a watchdog for the run `run` with the folder `folder`; hold the host lock.

    Everything that is created inside this context must be removed inside it: at the end the harness signals that it
    has cleaned up, and the watchdog exits. Raises TareError if the watchdog cannot be started.
    """
    fifo = paths.runtime() / f"watchdog-{run}"
    fifo.parent.mkdir(parents=True, exist_ok=True)
    for old in fifo.parent.glob("watchdog-*"):
        old.unlink(missing_ok=True)  # not of a live run, since this process holds the host lock
    os.mkfifo(fifo, 0o600)
    # O_RDWR: the open succeeds before the watchdog reads. O_CLOEXEC: no child process keeps the FIFO open.
    descriptor = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    child: subprocess.Popen[bytes] | None = None
    try:
        child = _start(run, fifo, folder)
        yield
    finally:
        os.write(descriptor, CLEANED)
        _await_end(run, fifo, child)
        os.close(descriptor)


def unit(run: str) -> str:
    """The name of the transient unit of a run's watchdog."""
    return f"tare-watchdog-{run}.service"


def unit_command(run: str, words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The systemd-run command that runs `words` as a transient unit, which systemd removes when it ends."""
    passed = [f"--setenv={name}={value}" for name, value in environment.items() if name.startswith(PASSED)]
    options = ["--quiet", "--collect", f"--unit={unit(run)}", f"--working-directory={paths.CHECKOUT}"]
    return [
        "systemd-run",
        *options,
        f"--description=removes leftovers of tare's run {run} if it is killed",
        *passed,
        *words,
    ]


def _start(run: str, fifo: Path, folder: Path) -> "subprocess.Popen[bytes] | None":
    """Start the watchdog; returns its process, or None if it is a transient unit."""
    words = [sys.executable, "-m", "harness.run.watchdog", run, str(fifo), str(folder.absolute())]
    if systemd.booted() and os.geteuid() == 0 and not process.have("systemd-run"):
        started = process.run(unit_command(run, words, os.environ), Deadline.after(START_SECONDS), check=False)
        if started.status == 0:
            return None
    return process.spawn(words, cwd=paths.CHECKOUT)


def _await_end(run: str, fifo: Path, child: "subprocess.Popen[bytes] | None") -> None:
    """Wait until the watchdog has removed the FIFO, which is its last step; stop it if that takes too long."""
    deadline = Deadline.after(END_SECONDS)
    while fifo.exists() and deadline.left and (child is None or child.poll() is None):
        time.sleep(LOOK_SECONDS)
    if child is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(deadline.left)
        process.kill_group(child)
    elif fifo.exists():
        process.run(["systemctl", "stop", unit(run)], Deadline.after(END_SECONDS), check=False)
    fifo.unlink(missing_ok=True)


def watch(run: str, fifo: Path, folder: Path) -> None:
    """Wait for the end of the harness, and remove its leftovers unless it has cleaned up."""
    try:
        cleaned = _has_cleaned(fifo)
    finally:
        fifo.unlink(missing_ok=True)
    if cleaned:
        return
    from harness.run.clean import clean_host  # imported late, to keep the waiting process small

    def notify(text: str) -> None:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{now()} {text}\n")

    notify("the run was killed; removing its leftovers")
    try:
        with _locked(run):
            _report(clean_host(Deadline.after(CLEAN_SECONDS), lambda text: notify(text.rstrip()), run=run), notify)
    except TareError as error:
        notify(f"leftovers not removed: {error}")
    paths.give_to_caller(folder)


def _report(done: "Cleaned", notify: Callable[[str], None]) -> None:
    for one in done.removed:
        notify(f"removed {one.kind} {one.name}")
    for skip in done.stuck:
        notify(f"cannot remove {skip.what}: {skip.reason}; fix: {skip.fix or 'tare clean'}")
    notify(f"{len(done.removed)} leftovers removed, {len(done.stuck)} failed")


def _has_cleaned(fifo: Path) -> bool:
    """Wait for the harness's message or the end of file; whether the message came."""
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # a blocking open would hang if the harness is already dead
    try:
        os.set_blocking(descriptor, True)
        return bool(os.read(descriptor, len(CLEANED)))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(run: str) -> Iterator[None]:
    """Hold the host lock after the kernel has released it. Raises TareError if another run holds it."""
    deadline = Deadline.after(LOCK_SECONDS)
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(host_lock(paths.locks(), WATCHDOG, run))
                break
            except TareError as held:
                if deadline.left == 0.0:
                    raise TareError("another run holds the lock and will clean up") from held
            time.sleep(LOOK_SECONDS)
        yield


if __name__ == "__main__":
    watch(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
