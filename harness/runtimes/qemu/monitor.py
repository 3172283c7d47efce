"""QEMU's monitor, by the QEMU project's own protocol library (qemu.qmp), for synchronous callers."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from qemu.qmp import QMPClient, QMPError

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError

T = TypeVar("T")
LISTEN_SECONDS = 5.0
CLOSE_SECONDS = 2.0


class Monitor:
    """The host's end of one guest's monitor; it listens at `path` from before QEMU starts until the context ends.

    Its event loop runs only within a call, so that it takes no CPU time while something is measured.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runner = asyncio.Runner()
        self._client = QMPClient()
        try:
            self._run("listen", self._client.start_server(str(path)), Deadline.after(LISTEN_SECONDS))
        except BaseException:
            self._runner.close()
            raise

    def accept(self, child: "subprocess.Popen[bytes]", deadline: Deadline) -> None:
        """Wait until QEMU, the process `child`, has connected and agreed on the protocol.

        Raises TareError when it ended instead, DeadlineExceeded when it took too long.
        """
        self._run("connect", _unless_ended(self._client.accept(), child), deadline)

    def ask(self, command: str, deadline: Deadline, arguments: Mapping[str, object] | None = None) -> object:
        """QEMU's answer to a command.

        Raises TareError when it refuses or is gone, DeadlineExceeded when it does not answer.
        """
        return self._run(command, self._client.execute(command, dict(arguments or {})), deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TareError):
            self._run("disconnect", self._client.disconnect(), Deadline.after(CLOSE_SECONDS))
        self._runner.close()
        self._path.unlink(missing_ok=True)

    def _run(self, what: str, work: Coroutine[Any, Any, T], deadline: Deadline) -> T:
        try:
            return self._runner.run(asyncio.wait_for(work, deadline.left))
        except TimeoutError as late:
            raise DeadlineExceeded(f"QEMU's monitor: no {what} in time", details=str(self._path)) from late
        except (QMPError, OSError, EOFError) as error:
            raise TareError(f"QEMU's monitor failed to {what}", details=str(error)) from error


async def _unless_ended(work: Coroutine[Any, Any, None], child: "subprocess.Popen[bytes]") -> None:
    """Do `work`, but give up when `child` ends first: raises EOFError then."""
    ended = asyncio.Event()
    descriptor = os.pidfd_open(child.pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise EOFError("QEMU ended")
        await tasks[0]
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        for task in tasks:
            task.cancel()
        # The library cleans up when it is cancelled; no command may be sent before that is done.
        await asyncio.gather(*tasks, return_exceptions=True)
