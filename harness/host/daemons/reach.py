"""Whether dockerd and libvirtd answer, without changing anything; every question has a deadline."""

import http.client
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import DAEMONS, DaemonName
from harness.process import run

DOCKER_SOCKET = Path("/var/run/docker.sock")
LIBVIRT_URI = "qemu:///system"
LIBVIRT_NAMED = "TARE_LIBVIRT_URI"
"""The environment's word for another libvirt than that: another hypervisor's (`xen:///system`), or another socket."""
# In a process of its own: libvirt.open may block for as long as it likes.
ASK_LIBVIRT = """
import sys, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
try:
    print(libvirt.open(sys.argv[1]).getVersion())
except libvirt.libvirtError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking a daemon: `version` when it answered, else `reason`."""

    ok: bool
    where: str
    version: str = ""
    reason: str = ""


def docker_url() -> str:
    """Where the user's Docker is: DOCKER_HOST, else the system's socket."""
    return os.environ.get("DOCKER_HOST") or f"unix://{DOCKER_SOCKET}"


def libvirt_uri() -> str:
    """Where the user's libvirt is: TARE_LIBVIRT_URI, else the system's QEMU."""
    return os.environ.get(LIBVIRT_NAMED) or LIBVIRT_URI


def named(kind: str) -> str:
    """The variable of the environment by which the user named the daemon (`docker`, `libvirt`), "" where none did."""
    variable = {"docker": "DOCKER_HOST", "libvirt": LIBVIRT_NAMED}[kind]
    return variable if os.environ.get(variable) else ""


def ask(daemon: DaemonName, deadline: Deadline) -> Answer:
    """Ask the user's daemon for its version; `where` is its address. Raises TareError when there is no such daemon."""
    match daemon:
        case "docker":
            return ask_docker(docker_url(), deadline)
        case "libvirt":
            return ask_libvirt(libvirt_uri(), deadline)
    raise TareError(f"tare reaches no daemon {daemon!r}", hint=f"use one of: {', '.join(DAEMONS)}")


def ask_docker(url: str, deadline: Deadline) -> Answer:
    """Ask dockerd at `url` (unix sockets only: a dockerd elsewhere runs on another host) for its version."""
    scheme, _, path = url.partition("://")
    if scheme != "unix":
        return Answer(False, url, reason="it is not on a unix socket and may belong to another host")
    connection = _UnixConnection(path, deadline)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return Answer(False, url, reason=f"{path}: {_why(error)}")
    finally:
        connection.close()
    if answer.status != 200:
        return Answer(False, url, reason=f"{path}: answered {answer.status}")
    return Answer(True, url, version=answer.headers.get("Api-Version", ""))


def ask_libvirt(uri: str, deadline: Deadline) -> Answer:
    """Ask the libvirt at `uri` for its hypervisor's version."""
    try:
        done = run([sys.executable, "-c", ASK_LIBVIRT, uri], deadline, check=False)
    except TareError as error:
        return Answer(False, uri, reason=error.brief)
    if done.status != 0:
        return Answer(False, uri, reason=(done.stderr.strip().splitlines() or ["no answer"])[-1])
    number = int(done.stdout)
    return Answer(True, uri, version=f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}")


def accepts(path: Path) -> bool:
    """Whether something accepts connections on the unix socket `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, deadline: Deadline) -> None:
        super().__init__("localhost", timeout=max(0.1, deadline.left))
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
