"""The connection to libvirtd, and calls on it that cannot hang the harness.

A libvirt call may block for as long as libvirtd or QEMU's monitor does. Each runs in a thread of its own, and the
caller stops waiting at the deadline. The thread remains until the daemon answers or the connection's keepalive ends
it; `late` then ends its result (a domain). When this process ends, its connection closes, and libvirtd destroys the
domains that it made for it (AUTODESTROY).
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
"""On a slow host Xen's toolstack alone allows 40 s for the script that removes a network card."""
KEEPALIVE_SECONDS = 10
KEEPALIVE_COUNT = 6


class Refused(TareError):
    """libvirt answered with an error; `code` is its number (VIR_ERR_…)."""

    def __init__(self, what: str, error: libvirt.libvirtError) -> None:
        super().__init__(f"libvirt could not {what}", details=str(error), hint="make doctor")
        self.code = error.get_error_code()


def bounded(what: str, deadline: Deadline, call: Callable[[], T], late: Callable[[T], object] | None = None) -> T:
    """The result of a blocking libvirt call.

    Raises Refused with libvirt's message when it fails, DeadlineExceeded when it has not returned in time. `late`
    gets a result that comes after that, or after an interrupt.
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
            raise Refused(what, errors[0]) from errors[0]
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
    """Destroy a domain, by default within 90 s; one that is gone is fine. Raises TareError."""
    try:
        bounded("destroy a domain", deadline or Deadline.after(DESTROY_SECONDS), handle.destroy)
    except Refused as error:
        if error.code not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
            raise


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
        """The open connection. Raises TareError without a libvirtd."""
        if self._connection is not None and self._connection.isAlive():
            return self._connection
        if self.uri is None:
            raise TareError("no libvirtd answers", hint="make bench (starts one), or systemctl start libvirtd")
        uri = self.uri
        _start_events()
        opened = bounded(f"open {uri}", deadline.within(OPEN_SECONDS), lambda: libvirt.open(uri), lambda it: it.close())
        with contextlib.suppress(libvirt.libvirtError):  # the test driver has no keepalive
            opened.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        self._connection = opened
        return opened

    def close(self) -> None:
        """Close the connection; libvirtd then destroys this process's remaining domains."""
        if (connection := self._connection) is not None:
            self._connection = None
            with contextlib.suppress(TareError):
                bounded("close a connection", Deadline.after(CLOSE_SECONDS), connection.close)


_events = threading.Lock()
_events_running = False


def _start_events() -> None:
    """Run libvirt's event loop in a thread, which keepalive needs, and keep libvirt from writing to stderr."""
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
