"""Where the user's dockerd and libvirtd are, and whether they answer; nothing is changed, every wait has a deadline."""

import contextlib
import http.client
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import ExitCode, TareError, bad_input
from harness.host.unix_socket import HttpConnection
from harness.model import DAEMONS, DaemonName
from harness.process import run

DOCKER_SOCKET = Path("/var/run/docker.sock")
DOCKER_NAMED = "DOCKER_HOST"
CONTEXT_NAMED = "DOCKER_CONTEXT"
LIBVIRT_URI = "qemu:///system"
LIBVIRT_NAMED = "TARE_LIBVIRT_URI"
"""The variable for another libvirt than that: another hypervisor's (`xen:///system`), or another socket."""
# In a process of its own: libvirt.open has no time limit.
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
    """Whether a daemon answered at `where`: its `version` when it did, else the `reason`."""

    ok: bool
    where: str
    version: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """How the user chose a daemon: `by` is the variable or the setting, `undo` the command that reverts it."""

    by: str
    undo: str


def docker_url() -> str:
    """The URL of the user's Docker: DOCKER_HOST, else that of the Docker context, else the system's socket.

    A path in DOCKER_HOST is that of a unix socket. Raises TareError (bad input) when the context cannot be read.
    """
    if host := os.environ.get(DOCKER_NAMED):
        return f"unix://{host}" if host.startswith("/") else host
    if name := _docker_context():
        return _context_url(name)
    return f"unix://{DOCKER_SOCKET}"


def libvirt_uri() -> str:
    """The URI of the user's libvirt: TARE_LIBVIRT_URI, else the system's QEMU."""
    return os.environ.get(LIBVIRT_NAMED) or LIBVIRT_URI


def named(kind: str) -> Choice | None:
    """How the user chose the daemon (`docker`, `libvirt`); None for the system's own."""
    variable = {"docker": DOCKER_NAMED, "libvirt": LIBVIRT_NAMED}[kind]
    if os.environ.get(variable):
        return Choice(variable, f"unset {variable}")
    if kind == "docker" and (name := _docker_context()):
        undo = f"unset {CONTEXT_NAMED}" if os.environ.get(CONTEXT_NAMED) else "docker context use default"
        return Choice(f"the Docker context {name}", undo)
    return None


def ask_users_docker(deadline: Deadline) -> Answer:
    """Ask the user's dockerd for its version, as `ask_docker` does."""
    try:
        url = docker_url()
    except TareError as error:
        return Answer(False, f"the Docker context {_docker_context()}", reason=error.details or error.brief)
    return ask_docker(url, deadline)


def ask(daemon: DaemonName, deadline: Deadline) -> Answer:
    """Ask the user's daemon for its version; `where` is its address. Raises TareError when there is no such daemon."""
    match daemon:
        case "docker":
            return ask_users_docker(deadline)
        case "libvirt":
            return ask_libvirt(libvirt_uri(), deadline)
    raise TareError(f"tare reaches no daemon {daemon!r}", hint=f"use one of: {', '.join(DAEMONS)}")


def ask_docker(url: str, deadline: Deadline) -> Answer:
    """Ask dockerd at `url` (unix sockets only: a dockerd elsewhere runs on another host) for its version."""
    scheme, _, path = url.partition("://")
    if scheme != "unix":
        return Answer(False, url, reason="it is not on a unix socket and may belong to another host")
    connection = HttpConnection(Path(path), deadline)
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


@contextlib.contextmanager
def docker_client(url: str, deadline: Deadline) -> Iterator[Any]:
    """A client of the dockerd at `url`. Raises TareError with HOST_NOT_FIT when it does not answer."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.DockerClient(base_url=url, timeout=max(1, int(deadline.left)))
    except DockerException as error:
        raise TareError(
            f"Docker does not answer at {url}", details=str(error), hint="tare doctor", code=ExitCode.HOST_NOT_FIT
        ) from error
    with contextlib.closing(client):
        yield client


def _docker_context() -> str:
    """The name of the Docker context that the user chose, "" for the default one."""
    if name := os.environ.get(CONTEXT_NAMED):
        return "" if name == "default" else name
    # Without the file there is no choice: importing Docker's client takes 70 ms.
    if not (Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json").exists():
        return ""
    from docker.context.config import get_current_context_name

    name = str(get_current_context_name())
    return "" if name == "default" else name


def _context_url(name: str) -> str:
    from docker.context import ContextAPI

    fix = f"docker context use default, or set {DOCKER_NAMED}"
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # the library raises a plain Exception for a file that is no context
        raise bad_input(f"Docker context {name}", str(error), fix) from error
    if context is None or not context.Host:
        raise bad_input(f"Docker context {name}", "is not there, or has no endpoint", fix)
    return str(context.Host)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
