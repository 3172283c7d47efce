"""Which process answers on a unix socket."""

import socket
import struct
from pathlib import Path

PEER = struct.Struct("3i")


def listener_of(path: Path) -> int | None:
    """The process that opened the unix socket `path` to listen; None where none answers.

    Under socket activation that is the service manager. Source: unix(7), SO_PEERCRED.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
        pid, _, _ = PEER.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        return int(pid)
