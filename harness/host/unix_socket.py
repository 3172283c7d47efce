"""Clients of unix sockets: whether one is served, by which process, HTTP over it."""

import http.client
import socket
import struct
from pathlib import Path

from harness.deadline import Deadline

PEER = struct.Struct("3i")


class HttpConnection(http.client.HTTPConnection):
    """An HTTP connection to the unix socket `path`, with the deadline as its time limit.

    The standard library's client with another `connect`: httpx would bring four packages for these lines.
    """

    def __init__(self, path: Path, deadline: Deadline) -> None:
        super().__init__("localhost", timeout=max(0.1, deadline.left))
        self._path = path

    def connect(self) -> None:
        """Connect to the socket. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def accepts(path: Path) -> bool:
    """Whether a process accepts connections on the unix socket `path`."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def listener_of(path: Path) -> int | None:
    """The id of the process that listens on the unix socket `path`; None if none does.

    With socket activation it is the service manager's id. Source: unix(7), SO_PEERCRED.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
        pid, _, _ = PEER.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        return int(pid)
