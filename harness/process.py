"""The subprocess wrapper: argv lists only, a deadline, an output cap, and a command line to replay a failure."""

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
    """A finished command: its exit status (negative: the signal number) and its decoded output."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


def have(*programs: str) -> list[str]:
    """The members of `programs` that are missing from PATH."""
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
    """Run a command to its end and return its status and output.

    `env` is added to the harness's environment, with LC_ALL=C.UTF-8. Raises TareError if the command cannot start or,
    with `check`, exits with another status than 0. Raises DeadlineExceeded at the deadline, after killing its process
    group.
    """
    words = tuple(map(str, argv))
    with spawn(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd) as child:
        try:
            stdout, stderr = child.communicate((stdin or "").encode(), timeout=deadline.left)
        except subprocess.TimeoutExpired:
            kill_group(child)
            raise DeadlineExceeded(f"{words[0]} did not end in time", details=shlex.join(words)) from None
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
    """Start a command in its own session and return it; end it with `kill_group`.

    `keep` are file descriptors that the child inherits, with the same numbers. Raises TareError if the command cannot
    start.
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
    """Kill the process group of a child that `spawn` started, and reap the child."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def failed(done: Completed) -> TareError:
    """The error for a failed command, with the command line to replay it and the end of its output."""
    output = (done.stderr.strip() or done.stdout.strip())[-2000:]
    return TareError(f"{done.argv[0]} exited with status {done.status}", details=f"{shlex.join(done.argv)}\n{output}")


def _text(data: bytes) -> str:
    return data[:OUTPUT_CAP].decode("utf-8", "replace")
