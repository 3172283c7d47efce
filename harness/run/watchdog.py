"""The watchdog: outlives the harness, and removes what its run left when the harness was killed.

It reads a FIFO whose other end only the harness holds. A word in it means that the harness has cleaned up by itself;
its end without a word, that it is dead: the kernel closes the FIFO whatever killed it. Where systemd runs it is a
transient unit, which the end of the user's session does not end; elsewhere a process in a session of its own.
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
"""In the run's folder: what the watchdog removed, and what it could not."""
WELL = b"well\n"
START_SECONDS = 20.0
END_SECONDS = 10.0
LOCK_SECONDS = 3.0
"""How long the dead harness's lock may take to come free; who has it after that is a new run, which sweeps itself."""
CLEAN_SECONDS = 600.0
LOOK_SECONDS = 0.02
PASSED = ("TARE_", "SUDO_", "XDG_", "DOCKER_HOST", "PATH", "HOME")
"""What a unit, which starts with next to nothing, gets of the harness's environment, by how the names begin."""


@contextlib.contextmanager
def guarded(run: str, folder: Path) -> Iterator[None]:
    """Have a watchdog over the run `run`, whose folder is `folder`; hold the host's lock.

    Whatever is opened within must be closed within: at the end the watchdog is told that all is well, and ends.
    Raises TareError when it cannot be started.
    """
    fifo = paths.runtime() / f"watchdog-{run}"
    fifo.parent.mkdir(parents=True, exist_ok=True)
    for old in fifo.parent.glob("watchdog-*"):
        old.unlink(missing_ok=True)  # under the lock it is of no live run
    os.mkfifo(fifo, 0o600)
    # Open for both, so that it opens before anybody reads; not inherited, so that nobody else keeps it open.
    descriptor = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    child: subprocess.Popen[bytes] | None = None
    try:
        child = _start(run, fifo, folder)
        yield
    finally:
        os.write(descriptor, WELL)
        _await_end(run, fifo, child)
        os.close(descriptor)


def unit(run: str) -> str:
    """The name of a run's transient unit."""
    return f"tare-watchdog-{run}.service"


def unit_command(run: str, words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command that has systemd run `words` as a transient unit, of which nothing stays once it has ended."""
    passed = [f"--setenv={name}={value}" for name, value in environment.items() if name.startswith(PASSED)]
    options = ["--quiet", "--collect", f"--unit={unit(run)}", f"--working-directory={paths.CHECKOUT}"]
    return ["systemd-run", *options, f"--description=removes what tare's run {run} leaves if killed", *passed, *words]


def _start(run: str, fifo: Path, folder: Path) -> "subprocess.Popen[bytes] | None":
    """The watchdog's process, None where it is a unit."""
    words = [sys.executable, "-m", "harness.run.watchdog", run, str(fifo), str(folder.absolute())]
    if systemd.booted() and os.geteuid() == 0 and not process.have("systemd-run"):
        asked = process.run(unit_command(run, words, os.environ), Deadline.after(START_SECONDS), check=False)
        if asked.status == 0:
            return None
    return process.spawn(words, cwd=paths.CHECKOUT)


def _await_end(run: str, fifo: Path, child: "subprocess.Popen[bytes] | None") -> None:
    """It removes the FIFO when it ends; one that does not is ended."""
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
    """Wait for the end of the harness, and sweep unless it says that all is well."""
    try:
        well = _ended_well(fifo)
    finally:
        fifo.unlink(missing_ok=True)
    if well:
        return
    from harness.run.clean import clean_host  # only now: who waits for a whole run should be small

    def say(text: str) -> None:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{now()} {text}\n")

    say("the run was killed; removing what it left")
    try:
        with _locked(run):
            _report(clean_host(Deadline.after(CLEAN_SECONDS), lambda text: say(text.rstrip()), run=run), say)
    except TareError as error:
        say(f"not removed: {error}")
    paths.give_to_caller(folder)


def _report(done: "Cleaned", say: Callable[[str], None]) -> None:
    for one in done.removed:
        say(f"removed {one.kind} {one.name}")
    for skip in done.stuck:
        say(f"cannot remove {skip.what}: {skip.reason}; fix: {skip.fix or 'tare clean'}")
    say(f"{len(done.removed)} leftovers removed, {len(done.stuck)} could not be")


def _ended_well(fifo: Path) -> bool:
    """Whether a word comes before the FIFO's other end is closed."""
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # else it would wait for a harness that is dead already
    try:
        os.set_blocking(descriptor, True)
        return bool(os.read(descriptor, len(WELL)))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(run: str) -> Iterator[None]:
    """The host's lock, once the kernel has taken it from the dead harness. Raises TareError when a new run has it."""
    deadline = Deadline.after(LOCK_SECONDS)
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(host_lock(paths.locks(), WATCHDOG, run))
                break
            except TareError as held:
                if deadline.left == 0.0:
                    raise TareError("a new run has the host's lock, and sweeps by itself") from held
            time.sleep(LOOK_SECONDS)
        yield


if __name__ == "__main__":
    watch(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
