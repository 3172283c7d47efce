"""Lifecycle operations on a container."""

import shutil
from collections.abc import Mapping
from typing import Any, Protocol

from harness.deadline import Deadline
from harness.runtimes.capabilities import (
    Clonable,
    Migratable,
    Pausable,
    Persistent,
    Savable,
    Snapshottable,
    Stoppable,
    Unsupported,
)
from harness.runtimes.docker import leftovers
from harness.runtimes.docker.daemon import Daemon
from harness.runtimes.docker.root_image import CHUNK, COMMITS, import_tar

STOP_SECONDS = 10
"""Docker's own default between SIGTERM and SIGKILL."""


class Subject(Protocol):
    """The container: Docker's id of it, and its starts."""

    name: str
    handle: str

    def create(self, deadline: Deadline) -> None:
        """Create and start one from the image in use."""
        ...

    def start_again(self, deadline: Deadline) -> None:
        """Start it after it has stopped."""
        ...

    def begin_again(self) -> None:
        """Forget the last start's milestones and processes."""
        ...


class Lifecycle:
    """The operations on one container; `image` is the id of the next one's image, "" for the root's own.

    Images that it makes have the container's labels, and `end` removes them.
    """

    def __init__(self, daemon: Daemon, subject: Subject, labels: Mapping[str, str]) -> None:
        self.image = ""
        self._daemon, self._subject, self._labels = daemon, subject, labels
        self._made: list[str] = []
        self._size: int | None = None

    def offers(self) -> Mapping[type, object]:
        """By capability, its operations or why there are none."""
        return {
            Pausable: Pausable(how="docker pause (the cgroup's freezer)", pause=self._pause, resume=self._resume),
            Stoppable: Stoppable(
                how="docker stop (SIGTERM), docker kill, docker start",
                stop=self._stop,
                kill=self._kill,
                start=self._subject.start_again,
            ),
            Snapshottable: Snapshottable(
                how="docker commit, then a new container from that image",
                take=self._commit,
                restore=self._replace,
                drop=self._drop,
                size=lambda: self._size,
                fresh=True,
            ),
            Savable: Unsupported(reason=self._no_checkpoint()),
            Persistent: Persistent(storages=self._storages(), recreate=self._replace),
            Clonable: Clonable(
                how={
                    "linked": "a container from a committed image",
                    "full": "docker export, docker import, a container from that image",
                },
                freeze=self._commit,
                ways={"linked": self._replace, "full": self._flatten},
            ),
            Migratable: Unsupported(reason="Docker cannot migrate a running container"),
        }

    def end(self, deadline: Deadline) -> None:
        """Remove the volume and images of the container, which is gone. Raises TareError."""
        leftovers.remove_object(self._daemon, "volume", f"{self._subject.name}-scratch", deadline)
        for image in reversed(self._made):
            leftovers.remove_object(self._daemon, "image", image, deadline)
        self._made.clear()

    def _storages(self) -> dict[str, str]:
        with self._call("inspect", Deadline.after(STOP_SECONDS)) as api:
            mounts = api.inspect_container(self._subject.handle)["Mounts"]
        volume = {"volume": "/scratch"} if any(one["Type"] == "volume" for one in mounts) else {}
        return {**volume, "container layer": "/var/tmp", "tmpfs": "/tmp"}

    def _no_checkpoint(self) -> str:
        about = self._daemon.about(Deadline.after(STOP_SECONDS))
        if not about.get("ExperimentalBuild"):
            return "docker checkpoint needs a daemon with experimental features"
        if shutil.which("criu") is None:
            return "docker checkpoint needs CRIU, which is not installed"
        return "tare does not use docker checkpoint yet"

    def _call(self, what: str, deadline: Deadline) -> Any:
        return self._daemon.call(f"{what} {self._subject.name}", deadline)

    def _pause(self, deadline: Deadline) -> None:
        with self._call("pause", deadline) as api:
            api.pause(self._subject.handle)

    def _resume(self, deadline: Deadline) -> None:
        with self._call("resume", deadline) as api:
            api.unpause(self._subject.handle)

    def _stop(self, deadline: Deadline) -> None:
        with self._call("stop", deadline) as api:
            api.stop(self._subject.handle, timeout=STOP_SECONDS)

    def _kill(self, deadline: Deadline) -> None:
        with self._call("kill", deadline) as api:
            api.kill(self._subject.handle)
            api.wait(self._subject.handle, timeout=deadline.left)

    def _commit(self, deadline: Deadline) -> None:
        """Make an image of its layer; Docker pauses a running container meanwhile."""
        tag = self._new_tag()
        with self._call("commit", deadline) as api:
            self.image = str(api.commit(self._subject.handle, repository=COMMITS, tag=tag)["Id"])
        self._made.append(f"{COMMITS}:{tag}")
        with self._call("inspect the image of", deadline) as api:
            # The commit's own layer is the topmost.
            self._size = next((int(one["Size"]) for one in api.history(self.image)), None)

    def _drop(self, deadline: Deadline) -> None:
        """Do nothing: `end` removes the image with the container that was made from it."""

    def _replace(self, deadline: Deadline) -> None:
        """Remove the container and create another one of the same name and volume."""
        leftovers.remove_container(self._daemon, self._subject.handle, deadline)
        self._subject.begin_again()
        self._subject.create(deadline)

    def _flatten(self, deadline: Deadline) -> None:
        """Copy all its files to an image of one layer, and replace the container by one from that."""
        name = f"{COMMITS}:{self._new_tag()}"
        with self._call("export", deadline) as api:
            chunks = api.export(self._subject.handle, chunk_size=CHUNK)
        self._made.append(name)
        self.image = str(import_tar(self._daemon, chunks, name, self._labels, deadline)["Id"])
        self._replace(deadline)

    def _new_tag(self) -> str:
        return f"{self._subject.name}-{len(self._made)}"
