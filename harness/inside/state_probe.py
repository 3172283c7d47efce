"""What is asked whether an instance's state outlived something: one process with memory of its own, and files.

It is handed to the root's Python as text, so that nothing of the harness is importable here. Verbs:
`serve ADDRESS PORT MIB` holds MIB MiB of random bytes and answers datagrams; `watch ADDRESS PORT PERIOD_MS` sends it
one each period and prints when each answer came; `ask ADDRESS PORT` prints who it is and the digest of its memory;
`write PATH MIB` writes random bytes, through to the disk, and prints their digest and the seconds that it took; `read
PATH` prints the like, or `gone 0`. Clocks are CLOCK_MONOTONIC in seconds; digests are SHA-256.
"""

import contextlib
import hashlib
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

MIB = 2**20
BEAT, DIGEST = b"b", b"d"
ASK_SECONDS, AGAIN_SECONDS, REFUSED_SECONDS = 30.0, 3.0, 0.1
LARGEST = 2048


def serve(address: str, port: str, mib: str) -> None:
    """Answer a beat with a count, a question with this process's identity and its memory's digest."""
    held, identity, beats = os.urandom(int(mib) * MIB), os.urandom(8).hex(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, int(port)))
        while True:
            data, sender = server.recvfrom(LARGEST)
            beats += 1
            said = f"{identity} {hashlib.sha256(held).hexdigest()}" if data[:1] == DIGEST else str(beats)
            # A sender that is gone makes the next call fail; the next beat is another's.
            with contextlib.suppress(OSError):
                server.sendto(data[:1] + said.encode(), sender)


def watch(address: str, port: str, period_ms: str) -> None:
    """Send a beat each period, and print the clock at each answer, until killed.

    With the first answer the port beyond `port` is opened, by which whoever started this knows that it watches.
    """
    period, heard = int(period_ms) / 1000, False
    udp = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*udp) as client, socket.socket(*udp) as watching:
        following = time.monotonic()
        while True:
            # An unreachable address is an answer that did not come.
            with contextlib.suppress(OSError):
                client.sendto(BEAT, (address, int(port)))
            following += period
            while (left := following - time.monotonic()) > 0:
                if select.select([client], [], [], left)[0]:
                    with contextlib.suppress(OSError):
                        client.recv(LARGEST)
                        print(f"{time.monotonic():.6f}", flush=True)
                        if not heard:
                            watching.bind(("", int(port) + 1))
                            heard = True
            following = max(following, time.monotonic())


def ask(address: str, port: str) -> None:
    """Print the identity and the digest; exit 1 when nobody answers. A datagram may be lost, so it asks again."""
    until, reason = time.monotonic() + ASK_SECONDS, ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(AGAIN_SECONDS)
        client.connect((address, int(port)))
        while time.monotonic() < until:
            try:
                client.send(DIGEST)
                print(client.recv(LARGEST)[1:].decode())
                return
            except OSError as error:
                reason = str(error)
                time.sleep(REFUSED_SECONDS)
    sys.exit(f"nobody answers: {reason}")


def write(path: str, mib: str) -> None:
    """Write a new file in place of one that is there; it is on the disk when this returns, its name too."""
    data, file = os.urandom(int(mib) * MIB), Path(path)
    file.unlink(missing_ok=True)
    begin = time.monotonic()
    with file.open("xb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    took = time.monotonic() - begin
    print(hashlib.sha256(data).hexdigest(), took)


def read(path: str) -> None:
    """Read the whole file, and print its digest."""
    begin = time.monotonic()
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        print("gone", 0)
        return
    took = time.monotonic() - begin
    print(hashlib.sha256(data).hexdigest(), took)


if __name__ == "__main__":
    VERBS: dict[str, Callable[..., None]] = {"serve": serve, "watch": watch, "ask": ask, "write": write, "read": read}
    VERBS[sys.argv[1]](*sys.argv[2:])
