"""Live migration of a guest between two libvirtds on one host: the one in use, and a second one of tare's own.

libvirt refuses a migration to the same host, which it tells by the host's UUID and name: the second daemon has others
(https://libvirt.org/migration.html). It has folders of its own, and the same devices and network.
"""

from contextlib import ExitStack
from pathlib import Path

import libvirt

from harness import paths
from harness.deadline import Deadline
from harness.host.daemons.private import Kvm, second_libvirtd
from harness.runtimes.libvirt.session import Session, bounded, end

FLAGS = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_UNSAFE
"""libvirt calls a disk behind two hosts' page caches unsafe; here both daemons share one host's page cache."""


class Migration:
    """One guest's migrations to the second libvirtd and back."""

    def __init__(self, session: Session, netns: str, kvm: Kvm, directory: Path) -> None:
        self._here, self._netns, self._kvm, self._directory = session, netns, kvm, directory
        self._there = Session()
        self._away = False
        self._resources = ExitStack()

    def open(self, deadline: Deadline) -> None:
        """Start the second daemon, unless it runs. Raises TareError when it does not answer."""
        if self._there.uri is not None:
            return
        handle = Path("/run/netns", self._netns) if self._netns else None
        socket = self._resources.enter_context(
            second_libvirtd(paths.runtime(), paths.state(), handle, self._kvm, deadline)
        )
        self._there.connect(f"qemu+unix:///system?socket={socket}")
        self._resources.callback(self._there.close)
        self._there.connection(deadline)
        # QEMU runs as another user and makes the socket.
        self._sockets.mkdir(exist_ok=True)
        self._sockets.chmod(0o777)

    def move(self, handle: "libvirt.virDomain", deadline: Deadline) -> "libvirt.virDomain":
        """Migrate the domain to the other daemon and return it there. Raises TareError."""
        target = (self._here if self._away else self._there).connection(deadline)
        parameters = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{self._sockets / 'way'}"}
        moved: libvirt.virDomain = bounded(
            "migrate a domain", deadline, lambda: handle.migrate3(target, parameters, FLAGS), late=end
        )
        self._away = not self._away
        return moved

    def close(self) -> None:
        """End the second daemon; its domains must have ended."""
        self._resources.close()

    @property
    def _sockets(self) -> Path:
        return self._directory / "migration"
