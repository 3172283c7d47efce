"""One unix socket of an instance, at the host's end."""

import contextlib
import socket
import time
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError

LINE_CAP = 32 * 2**20


class Line:
    """One unix socket and the lines that arrive on it, each with the host's CLOCK_MONOTONIC in seconds.

    It listens, and its first connection sends them. With `dials`, `dial` connects to a socket that listens.
    """

    def __init__(self, path: Path, *, dials: bool = False) -> None:
        self.path = path
        self._listener: socket.socket | None = None if dials else _listening(path)
        self._connection: socket.socket | None = None
        self._pending = bytearray()
        self.lines: list[tuple[float, str]] = []
        self.closed = False
        self._next: socket.socket | None = None

    def listen_anew(self) -> None:
        """Listen at the path again beside the connection, for the next one: see `switch` and `begin`."""
        self._forget_next()
        self.path.unlink(missing_ok=True)
        self._next = _listening(self.path)

    def switch(self, deadline: Deadline) -> None:
        """Read the old connection to its end, then continue with the next one. Raises DeadlineExceeded."""
        listener, self._next = self._next, None
        assert listener is not None
        listener.settimeout(max(deadline.left, 0.001))
        try:
            connection, _ = listener.accept()
        except TimeoutError as late:
            raise DeadlineExceeded("an instance did not connect to its channel again", details=str(self.path)) from late
        finally:
            listener.close()
        connection.settimeout(None)
        if self._connection is not None:
            self._connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while not self.closed:
                    self.take()
            self._connection.close()
        self._connection, self.closed = connection, False

    def begin(self) -> None:
        """Forget the connection and its lines, and listen again: the instance starts anew."""
        self.listen_anew()
        for one in (self._connection, self._listener):
            if one is not None:
                one.close()
        self._connection, self._listener, self._next = None, self._next, None
        self._pending.clear()
        self.lines.clear()
        self.closed = False

    def dial(self, deadline: Deadline) -> None:
        """Connect to the path. Raises TareError when nothing listens there."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(max(deadline.left, 0.001))
        try:
            connection.connect(str(self.path))
        except OSError as error:
            connection.close()
            raise TareError("an instance's channel cannot be reached", details=f"{self.path}: {error}") from error
        connection.settimeout(None)
        self._connection = connection

    def socket(self) -> socket.socket:
        """The socket to select on: the connection, before that the listener."""
        chosen = self._connection or self._listener
        assert chosen is not None
        return chosen

    def take(self) -> None:
        """Accept the one connection, or read and stamp its new lines."""
        if self._connection is None:
            assert self._listener is not None
            self._connection, _ = self._listener.accept()
            self._listener.close()
            self._listener = None
            return
        try:
            data = self._connection.recv(1 << 18)
        except ConnectionError:
            data = b""
        now = time.monotonic()
        if not data:
            self.closed = True
            return
        self._pending += data
        if b"\n" in data:
            *whole, rest = bytes(self._pending).split(b"\n")
            self.lines += [(now, line.decode("utf-8", "replace").strip("\r")) for line in whole]
            self._pending = bytearray(rest)
        if len(self._pending) > LINE_CAP:
            raise TareError(f"an instance sent a line longer than {LINE_CAP} bytes", details=str(self.path))

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of `data`; raises TareError when the other end is gone."""
        if self._connection is None:
            raise TareError("nothing has connected to the channel", details=str(self.path))
        self._connection.settimeout(max(deadline.left, 0.001))
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise TareError("the channel to an instance broke", details=f"{self.path}: {error}") from error
        finally:
            self._connection.settimeout(None)

    def close(self) -> None:
        """Close both sockets and remove the path."""
        self._forget_next()
        for one in (self._connection, self._listener):
            if one is not None:
                one.close()
        self.path.unlink(missing_ok=True)

    def _forget_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(1)
    return listener
