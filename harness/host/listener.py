"""Find the process that listens on a unix socket."""

import socket
import struct
from pathlib import Path

PEER = struct.Struct("3i")


def listener_of(path: Path) -> int | None:
    """The id of the process that listens on the unix socket `path`; None if none does.

    With socket activation it is the service manager's id. Source: unix(7), SO_PEERCRED.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
        pid, _, _ = PEER.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        return int(pid)
