"""The docker runtime: containers of the root, through the Engine API."""

import os
import platform
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, Leftover, RootForms, Shape, Variant
from harness.runtimes.base import Instance, Place, Prepared, Runtime
from harness.runtimes.docker import instance, leftovers, root_image
from harness.runtimes.docker.copies import ImageCopies
from harness.runtimes.docker.daemon import UNIX, Daemon, chosen_url
from harness.runtimes.docker.daemon_events import ContainerdEvents, containerd_socket
from harness.runtimes.docker.specification import VARIANTS
from harness.runtimes.requirements import unavailable

ANSWER_SECONDS = 10.0
LIST_SECONDS = 30.0
NEEDED = {"MemoryLimit": "memory", "CPUSet": "CPU set", "PidsLimit": "process"}


class Docker(Runtime):
    """Containers of one Docker daemon on this host.

    The daemon is at `url` (set by `connect`), else at DOCKER_HOST, the Docker context's or Docker's default socket.
    """

    name = "docker"
    daemon = "docker"
    variants: tuple[Variant, ...] = VARIANTS

    def __init__(self) -> None:
        self.url: str | None = None
        self._daemon: Daemon | None = None
        self._containerd: ContainerdEvents | None = None
        self._opening = threading.Lock()

    def connect(self, url: str) -> None:
        """Use the daemon at `url` from now on (`unix:///path`)."""
        self.close()
        self.url = url

    def available(self, variant: Variant) -> Available:
        """Whether a daemon on this kernel answers and can set the limits of a shape."""
        deadline = Deadline.after(ANSWER_SECONDS)
        try:
            daemon = self._reach(deadline)
            about = daemon.about(deadline)
        except TareError as error:
            return _unreachable(error, self.url)
        return unfit(daemon.url, about) or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Import the root as an image, unless the daemon has it. Raises TareError."""
        made = root_image.ensure(self._reach(deadline), root, deadline)
        return Prepared(variant=variant, shape=shape, root=root, image=made, accelerator=Accelerator.NONE)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The folders of the image's layers. Raises TareError for a storage driver without such folders."""
        return root_image.folders(self._reach(deadline), prepared.image, deadline)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> ImageCopies:
        """In the daemon, with the labels."""
        return ImageCopies(self._reach(deadline), prepared, folder, labels)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Instance:
        """Create and start one container; for a boot, record the daemons' events. Raises TareError, leaving nothing."""
        daemon = self._reach(deadline)
        events = self._recorded(daemon, deadline) if place.entry == "beacon" else None
        return instance.launch(daemon, prepared, place, labels, deadline, events)

    def leftovers(self) -> Iterable[Leftover]:
        """Labelled containers, volumes, networks and images; none without a daemon."""
        daemon = self._present()
        return leftovers.leftovers(daemon, Deadline.after(LIST_SECONDS)) if daemon else ()

    def images(self) -> Iterable[Leftover]:
        """The imported roots: they are kept between runs, and `tare clean --images` removes them."""
        daemon = self._present()
        return leftovers.images(daemon, Deadline.after(LIST_SECONDS)) if daemon else ()

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one leftover or image, if it carries tare's label. Raises TareError."""
        leftovers.remove(self._reach(deadline), leftover, deadline)

    def close(self) -> None:
        """Close the connection; the next call opens one again."""
        if self._containerd is not None:
            self._containerd.close()
            self._containerd = None
        if self._daemon is not None:
            self._daemon.close()
            self._daemon = None

    def _reach(self, deadline: Deadline) -> Daemon:
        url = chosen_url(self.url)
        if self._daemon is None or self._daemon.url != url:
            self.close()
            self._daemon = Daemon(url, deadline)
        return self._daemon

    def _recorded(self, daemon: Daemon, deadline: Deadline) -> ContainerdEvents:
        """The recording of containerd's events, which begins at the first boot: other workloads need none."""
        with self._opening:
            if self._containerd is None:
                self._containerd = ContainerdEvents(containerd_socket(daemon, deadline))
            return self._containerd

    def _present(self) -> Daemon | None:
        url = chosen_url(self.url)
        if url.startswith(UNIX) and not Path(url.removeprefix(UNIX)).exists():
            return None
        return self._reach(Deadline.after(ANSWER_SECONDS))


def unfit(url: str, about: Mapping[str, Any]) -> Available | None:
    """Why containers of this daemon cannot be measured here, from its URL and `docker info`; None when they can."""
    if not url.startswith(UNIX):
        fix = "unset DOCKER_HOST; docker context use default; or run tare on that host"
        return unavailable(f"the daemon at {url} is reached over a network", fix=fix)
    if about.get("OSType") != "linux" or about.get("KernelVersion") != platform.release():
        reason = f"the daemon runs in a virtual machine, on another kernel ({about.get('KernelVersion')})"
        return unavailable(reason, fix="install Docker Engine on this host (Docker Desktop uses a virtual machine)")
    if lacking := [words for key, words in NEEDED.items() if not about.get(key)]:
        reason = f"the daemon cannot set {' and '.join(lacking)} limits"
        return unavailable(reason, fix="run dockerd as root, or delegate these cgroup controllers to it")
    return None


def _unreachable(error: TareError, url: str | None) -> Available:
    if os.geteuid() != 0 and "Permission denied" in str(error):
        fix = "usermod -aG docker $USER, then log in again"
        return unavailable("no permission to open the Docker daemon's socket", fix=fix)
    where = url or os.environ.get("DOCKER_HOST") or "the default socket"
    fix = "make bench (installs and starts Docker), or set DOCKER_HOST"
    return unavailable(f"no Docker daemon answers at {where}: {error.brief}", fix=fix)
