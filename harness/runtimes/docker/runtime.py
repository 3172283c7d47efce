"""Docker: fresh containers of the one root, through the Engine API."""

import os
import platform
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, Leftover, RootForms, Shape, Variant
from harness.runtimes.base import BaseRuntime, Instance, Place, Prepared
from harness.runtimes.docker import instance, root_image
from harness.runtimes.docker import leftovers as remains
from harness.runtimes.docker.copies import ImageCopies
from harness.runtimes.docker.daemon import UNIX, Daemon, chosen_url
from harness.runtimes.docker.daemon_events import Listener, containerd_of
from harness.runtimes.docker.specification import VARIANTS

ANSWER_SECONDS = 10.0
LIST_SECONDS = 30.0
NEEDED = {"MemoryLimit": "memory", "CPUSet": "CPU set", "PidsLimit": "process"}


class Docker(BaseRuntime):
    """Containers of one Docker daemon on this host.

    The daemon is at `url` (set by `connect`), else at DOCKER_HOST, the Docker context's or Docker's default socket.
    """

    name = "docker"
    daemon = "docker"
    variants: tuple[Variant, ...] = VARIANTS

    def __init__(self) -> None:
        self.url: str | None = None
        self._daemon: Daemon | None = None
        self._listener: Listener | None = None
        self._opening = threading.Lock()

    def connect(self, url: str) -> None:
        """Use the daemon at `url` from now on (`unix:///path`)."""
        self.close()
        self.url = url

    def available(self, variant: Variant) -> Available:
        """Whether a daemon of this very kernel answers and can set the limits of a shape."""
        deadline = Deadline.after(ANSWER_SECONDS)
        try:
            daemon = self._reach(deadline)
            about = daemon.about(deadline)
        except TareError as error:
            return _unreachable(error, self.url)
        return unfit(daemon.url, about) or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Import the root as an image, unless it is there already. Raises TareError."""
        made = root_image.ensure(self._reach(deadline), root, deadline)
        return Prepared(variant=variant, shape=shape, root=root, image=made, accelerator=Accelerator.NONE)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The folders of the image's layers. Raises TareError for a storage driver that keeps none."""
        return root_image.folders(self._reach(deadline), prepared.image, deadline)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> ImageCopies:
        """In the daemon, with the labels."""
        return ImageCopies(self._reach(deadline), prepared, folder, labels)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Instance:
        """Create and start one container; a boot's events are heard. Raises TareError, leaving nothing."""
        daemon = self._reach(deadline)
        listener = self._listening(daemon, deadline) if place.entry == "beacon" else None
        return instance.launch(daemon, prepared, place, labels, deadline, listener)

    def leftovers(self) -> Iterable[Leftover]:
        """Labelled containers, volumes and networks; none where no daemon is."""
        daemon = self._present()
        return remains.leftovers(daemon, Deadline.after(LIST_SECONDS)) if daemon else ()

    def images(self) -> Iterable[Leftover]:
        """The imported roots: kept between runs, removed by `remove` when the user asks for it."""
        daemon = self._present()
        return remains.images(daemon, Deadline.after(LIST_SECONDS)) if daemon else ()

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one leftover or image, if it carries our label. Raises TareError."""
        remains.remove(self._reach(deadline), leftover, deadline)

    def close(self) -> None:
        """Close the connection; the next call opens one again."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._daemon is not None:
            self._daemon.close()
            self._daemon = None

    def _reach(self, deadline: Deadline) -> Daemon:
        url = chosen_url(self.url)
        if self._daemon is None or self._daemon.url != url:
            self.close()
            self._daemon = Daemon(url, deadline)
        return self._daemon

    def _listening(self, daemon: Daemon, deadline: Deadline) -> Listener:
        """What hears containerd's events, from the first boot on: all other workloads run without it until then."""
        with self._opening:
            if self._listener is None:
                self._listener = Listener(containerd_of(daemon, deadline))
            return self._listener

    def _present(self) -> Daemon | None:
        url = chosen_url(self.url)
        if url.startswith(UNIX) and not Path(url.removeprefix(UNIX)).exists():
            return None
        return self._reach(Deadline.after(ANSWER_SECONDS))


def unfit(url: str, about: Mapping[str, Any]) -> Available | None:
    """Why containers of this daemon cannot be weighed here, from its URL and `docker info`; None if they can."""
    if not url.startswith(UNIX):
        fix = "unset DOCKER_HOST; docker context use default; or run tare on that host"
        return _no(f"the daemon at {url} is reached over a network", fix)
    if about.get("OSType") != "linux" or about.get("KernelVersion") != platform.release():
        reason = f"the daemon runs on another kernel ({about.get('KernelVersion')}): it is inside a virtual machine"
        return _no(reason, "install Docker Engine on this host (Docker Desktop keeps its own guest)")
    if lacking := [words for key, words in NEEDED.items() if not about.get(key)]:
        reason = f"the daemon cannot set {' and '.join(lacking)} limits"
        return _no(reason, "run dockerd as root, or delegate these cgroup controllers to it")
    return None


def _unreachable(error: TareError, url: str | None) -> Available:
    if os.geteuid() != 0 and "Permission denied" in str(error):
        return _no("the Docker daemon's socket may not be opened", "usermod -aG docker $USER, then log in again")
    where = url or os.environ.get("DOCKER_HOST") or "the default socket"
    fix = "make doctor (installs and starts Docker), or set DOCKER_HOST"
    return _no(f"no Docker daemon answers at {where}: {error.brief}", fix)


def _no(reason: str, fix: str) -> Available:
    return Available(ok=False, reason=reason, fix=fix)
