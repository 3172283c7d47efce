"""How the rig reaches a network namespace: `ip` in batches, commands inside, offloads."""

import array
import contextlib
import ctypes
import fcntl
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import process
from harness.deadline import Deadline
from harness.process import Completed

NETNS = Path("/run/netns")
ALIAS = "tare:"
SIOCETHTOOL = 0x8946
CLONE_NEWNET = 0x40000000
OFFLOADS = {"rx-checksum": 0x14, "tx-checksum": 0x16, "sg": 0x18, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}


def alias(run: str) -> str:
    """The label that an interface of `run` carries as its alias."""
    return f"{ALIAS}{run}"


def inside(netns: str, *argv: str) -> tuple[str, ...]:
    """`argv` made to run in the named network namespace ("" for the present one)."""
    return ("nsenter", f"--net={NETNS / netns}", *argv) if netns else argv


def ip(netns: str, deadline: Deadline, *commands: str) -> Completed:
    """Run `ip` commands as one batch in a namespace. Raises TareError at the first that fails."""
    where = ("-n", netns) if netns else ()
    return process.run(("ip", *where, "-batch", "-"), deadline, stdin="".join(f"{line}\n" for line in commands))


def ip_json(netns: str, thing: str, deadline: Deadline, *words: str) -> list[dict[str, Any]]:
    """What `ip -json THING` says of a namespace, IPv4 only. Raises TareError."""
    where = ("-n", netns) if netns else ()
    said = process.run(("ip", *where, "-4", "-json", thing, *words), deadline).stdout
    found: list[dict[str, Any]] = json.loads(said or "[]")
    return [entry for entry in found if entry]


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Undo what the first `ip netns add` leaves behind: the mount of /run/netns on itself, and the directory."""
    mounted = _is_mounted()
    existed = NETNS.exists()
    try:
        yield
    finally:
        if not mounted and _is_mounted() and not any(NETNS.iterdir()):
            process.run(("umount", NETNS), Deadline.after(10), check=False)
        if not existed:
            with contextlib.suppress(OSError):
                NETNS.rmdir()


def interface_facts(netns: str, interface: str) -> Mapping[str, str]:
    """Offloads of an interface; empty where they cannot be read.

    A thread of its own enters the namespace, so that the harness stays where it is.
    """
    facts: dict[str, str] = {}

    def look() -> None:
        with contextlib.suppress(OSError):
            facts.update(_look(netns, interface))

    thread = threading.Thread(target=look, name="offloads")
    thread.start()
    thread.join()
    return facts


def _look(netns: str, interface: str) -> Mapping[str, str]:
    """Ask by SIOCETHTOOL (linux/ethtool.h, struct ethtool_value), from a socket opened in the namespace."""
    if netns:
        with (NETNS / netns).open("rb") as place:
            _enter(place.fileno())
    states = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for name, command in OFFLOADS.items():
            value = array.array("I", [command, 0])
            fcntl.ioctl(handle, SIOCETHTOOL, struct.pack("16sP24x", interface.encode(), value.buffer_info()[0]))
            states.append(f"{name}={'on' if value[1] else 'off'}")
    return {"offloads": " ".join(states)}


def _enter(descriptor: int) -> None:
    """setns(2) of the calling thread; Python has it from 3.12 on only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _is_mounted() -> bool:
    rows = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return any(row.split()[4] == str(NETNS) for row in rows)
