"""The connection to libvirtd, and calls on it that cannot hang the harness.

A libvirt call may block for as long as libvirtd or QEMU's monitor does. Each runs in a thread of its own and is given
up at its deadline: the thread stays behind until the daemon answers or the connection's keepalive breaks it, and what
it then brings (a domain) is ended by `late`. Calls are thereby bounded but not killed; the process's end closes the
connection, at which libvirtd destroys the domains that it made for us (AUTODESTROY).
"""

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import libvirt

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError

T = TypeVar("T")
OPEN_SECONDS = 20.0
CLOSE_SECONDS = 5.0
DESTROY_SECONDS = 90.0
"""Xen's toolstack alone gives the script that takes a network card down 40 s, on a host that is slow."""
KEEPALIVE_SECONDS = 10
KEEPALIVE_COUNT = 6


def bounded(what: str, deadline: Deadline, call: Callable[[], T], late: Callable[[T], object] | None = None) -> T:
    """The result of a blocking libvirt call.

    Raises TareError with libvirt's message when it fails, DeadlineExceeded when it has not returned in time; `late`
    gets the result should it come after that, or after an interrupt.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()
    lock = threading.Lock()
    abandoned = False

    def work() -> None:
        try:
            result = call()
        except BaseException as error:
            errors.append(error)
            done.set()
            return
        with lock:
            results.append(result)
            done.set()
            if not abandoned or late is None:
                return
        with contextlib.suppress(libvirt.libvirtError):
            late(result)

    threading.Thread(target=work, name=f"libvirt {what}", daemon=True).start()
    in_time = False
    try:
        in_time = done.wait(deadline.left)
    finally:
        with lock:
            abandoned = not in_time
            came_meanwhile = results if abandoned else []
        if late is not None:
            for result in came_meanwhile[:1]:
                with contextlib.suppress(libvirt.libvirtError):
                    late(result)
    if not in_time:
        raise DeadlineExceeded(f"libvirt did not {what} in time", hint="make doctor")
    if errors:
        if isinstance(errors[0], libvirt.libvirtError):
            raise TareError(f"libvirt could not {what}", details=str(errors[0]), hint="make doctor") from errors[0]
        raise errors[0]
    return results[0]


def create(connection: libvirt.virConnect, text: str, flags: int, deadline: Deadline) -> "libvirt.virDomain":
    """A running domain from its XML. Raises TareError; one that comes too late is destroyed."""
    return bounded(
        "create a domain",
        deadline,
        lambda: connection.createXML(text, flags),
        late=lambda made: made.destroy(),
    )


def end(handle: "libvirt.virDomain", deadline: Deadline | None = None) -> None:
    """Destroy a domain, in 90 s unless told; one that is gone is fine. Raises TareError when libvirt cannot."""

    def destroy() -> None:
        try:
            handle.destroy()
        except libvirt.libvirtError as error:
            if not is_no_domain(error) and error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise

    bounded("destroy a domain", deadline or Deadline.after(DESTROY_SECONDS), destroy)


def is_no_domain(error: "libvirt.libvirtError") -> bool:
    """Whether libvirt complains that there is no such domain."""
    return bool(error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN)


class Session:
    """One connection to a libvirtd, opened at first use."""

    def __init__(self) -> None:
        self.uri: str | None = None
        self._connection: libvirt.virConnect | None = None

    def connect(self, uri: str) -> None:
        """Use this libvirtd from now on; nothing is opened yet."""
        if uri != self.uri:
            self.close()
            self.uri = uri

    def connection(self, deadline: Deadline) -> libvirt.virConnect:
        """The open connection. Raises TareError when there is no libvirtd to talk to."""
        if self._connection is not None and self._connection.isAlive():
            return self._connection
        if self.uri is None:
            raise TareError("no libvirtd answers", hint="make bench starts one; or start the service libvirtd")
        uri = self.uri
        _start_events()
        opened = bounded(f"open {uri}", deadline.within(OPEN_SECONDS), lambda: libvirt.open(uri), lambda it: it.close())
        with contextlib.suppress(libvirt.libvirtError):  # the test driver knows no keepalive
            opened.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        self._connection = opened
        return opened

    def close(self) -> None:
        """Close the connection; libvirtd then destroys what is left of our domains."""
        if (connection := self._connection) is not None:
            self._connection = None
            with contextlib.suppress(TareError):
                bounded("close a connection", Deadline.after(CLOSE_SECONDS), connection.close)


_events = threading.Lock()
_events_running = False


def _start_events() -> None:
    """Run libvirt's event loop in a thread of this process: keepalive needs one. And keep libvirt off stderr."""
    global _events_running  # noqa: PLW0603
    with _events:
        if _events_running:
            return
        _events_running = True
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_turn_events, name="libvirt events", daemon=True).start()


def _turn_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
