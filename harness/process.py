"""The one subprocess wrapper: argv lists only, a deadline, an output cap and a line that can be replayed."""

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError

log = logging.getLogger(__name__)
OUTPUT_CAP = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command: exit status (negative: the signal) and its output, decoded."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


def have(*programs: str) -> list[str]:
    """Those of `programs` that are missing from PATH."""
    return [program for program in programs if shutil.which(program) is None]


def run(
    argv: Sequence[str | Path],
    deadline: Deadline,
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> Completed:
    """Run a command to its end and return what it printed.

    `env` is added to the harness's own environment, in which LC_ALL is C.UTF-8.
    Raises TareError when it cannot start or, with `check`, exits other than 0; DeadlineExceeded after killing its
    process group when time is up.
    """
    words = tuple(map(str, argv))
    with spawn(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd) as child:
        try:
            stdout, stderr = child.communicate((stdin or "").encode(), timeout=deadline.left)
        except subprocess.TimeoutExpired:
            kill_group(child)
            raise DeadlineExceeded("a command did not end in time", details=shlex.join(words)) from None
        except BaseException:
            kill_group(child)
            raise
    done = Completed(words, child.returncode, _text(stdout), _text(stderr))
    if check and done.status != 0:
        raise failed(done)
    return done


def spawn(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    keep: Collection[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own and return it; the caller ends it by `kill_group`.

    `keep` are further descriptors that it gets, under the same numbers. Raises TareError when the program is not there.
    """
    log.debug("run: %s", shlex.join(argv))
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            cwd=cwd,
            start_new_session=True,
            pass_fds=tuple(keep),
        )
    except OSError as error:
        raise TareError(f"cannot start {argv[0]}", details=str(error), hint="make doctor") from error


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that `spawn` started, with its whole process group, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def failed(done: Completed) -> TareError:
    """The error for a command that exited other than 0, with the line that replays it."""
    said = (done.stderr.strip() or done.stdout.strip())[-2000:]
    return TareError(f"{done.argv[0]} exited {done.status}", details=f"{shlex.join(done.argv)}\n{said}")


def _text(data: bytes) -> str:
    return data[:OUTPUT_CAP].decode("utf-8", "replace")
