"""Probe whether the state of an instance, in memory and in files, survives an operation.

The root's Python runs this text, so it cannot import the harness. Commands:

- `serve ADDRESS PORT MIB` allocates MIB MiB of random bytes and answers datagrams.
- `watch ADDRESS PORT PERIOD_MS` sends the server a datagram each period and prints the clock at each answer.
- `ask ADDRESS PORT` prints the server's identity and the digest of its memory.
- `write PATH MIB` writes random bytes, synced to disk, and prints their digest and the seconds that it took.
- `read PATH` prints the file's digest and the seconds that it took, or `gone 0`.

Clocks are CLOCK_MONOTONIC in seconds; digests are SHA-256.
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
    """Answer a beat with a count, and a digest request with this process's identity and the digest of its memory."""
    held, identity, beats = os.urandom(int(mib) * MIB), os.urandom(8).hex(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, int(port)))
        while True:
            data, sender = server.recvfrom(LARGEST)
            beats += 1
            answer = f"{identity} {hashlib.sha256(held).hexdigest()}" if data[:1] == DIGEST else str(beats)
            # Sending fails if the previous sender is gone (ICMP error); the next datagram may be from another sender.
            with contextlib.suppress(OSError):
                server.sendto(data[:1] + answer.encode(), sender)


def watch(address: str, port: str, period_ms: str) -> None:
    """Send a beat each period, and print the clock at each answer, until killed.

    After the first answer it opens `port` + 1, which shows its starter that it works.
    """
    period, answered = int(period_ms) / 1000, False
    udp = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*udp) as client, socket.socket(*udp) as watching:
        following = time.monotonic()
        while True:
            # An unreachable address counts as a missing answer.
            with contextlib.suppress(OSError):
                client.sendto(BEAT, (address, int(port)))
            following += period
            while (left := following - time.monotonic()) > 0:
                if select.select([client], [], [], left)[0]:
                    with contextlib.suppress(OSError):
                        client.recv(LARGEST)
                        print(f"{time.monotonic():.6f}", flush=True)
                        if not answered:
                            watching.bind(("", int(port) + 1))
                            answered = True
            following = max(following, time.monotonic())


def ask(address: str, port: str) -> None:
    """Print the server's identity and digest; exit with 1 if there is no answer. Repeats lost datagrams."""
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
    sys.exit(f"no answer: {reason}")


def write(path: str, mib: str) -> None:
    """Replace a file by a new one; the content and the directory entry are synced to disk."""
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
    """Read a file; print its digest and the seconds that it took."""
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
