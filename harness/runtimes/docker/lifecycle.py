"""What a container can be put through: paused, stopped, committed, made anew, cloned."""

import shutil
from collections.abc import Iterator, Mapping
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
from harness.runtimes.docker.root_image import COMMITS, refuse_errors

STOP_SECONDS = 10
"""Docker's own default between SIGTERM and SIGKILL."""
CHUNK = 2**20


class Subject(Protocol):
    """The container: Docker's id of it, and its beginnings."""

    name: str
    handle: str

    def create(self, labels: Mapping[str, str], deadline: Deadline) -> None:
        """Create and start one from the image in use."""
        ...

    def start_again(self, deadline: Deadline) -> None:
        """Start it once it has stopped."""
        ...

    def begin_again(self) -> None:
        """Forget what was known of the last start."""
        ...


class Life:
    """The operations on one container; `image` is what the next one is made from, "" for the root's own.

    Images that it makes have the container's labels, and are removed at the end.
    """

    def __init__(self, daemon: Daemon, subject: Subject, labels: Mapping[str, str]) -> None:
        self.image = ""
        self._daemon, self._subject, self._labels = daemon, subject, labels
        self._made: list[str] = []
        self._size: int | None = None

    def offers(self) -> Mapping[type, object]:
        """By kind, what it can do or why not."""
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
                restore=self._anew,
                drop=self._drop,
                size=lambda: self._size,
                fresh=True,
            ),
            Savable: Unsupported(reason=self._no_checkpoint()),
            Persistent: Persistent(storages=self._storages(), recreate=self._anew),
            Clonable: Clonable(
                how={
                    "linked": "a container from a committed image",
                    "full": "docker export, import, and one of that",
                },
                freeze=self._commit,
                ways={"linked": self._anew, "full": self._flattened},
            ),
            Migratable: Unsupported(reason="Docker moves no running container: that takes a checkpoint by CRIU"),
        }

    def end(self, deadline: Deadline) -> None:
        """Remove what was made beside the container, once that is gone. Raises TareError."""
        leftovers.remove_volume(self._daemon, f"{self._subject.name}-scratch", deadline)
        for image in reversed(self._made):
            leftovers.remove_image(self._daemon, image, deadline)
        self._made.clear()

    def _storages(self) -> dict[str, str]:
        deadline = Deadline.after(STOP_SECONDS)
        with self._call("inspect", deadline) as api:
            mounts = api.inspect_container(self._subject.handle)["Mounts"]
        volume = {"volume": "/scratch"} if any(one["Type"] == "volume" for one in mounts) else {}
        return {**volume, "container layer": "/var/tmp", "tmpfs": "/tmp"}

    def _no_checkpoint(self) -> str:
        """Why there is no checkpoint here; the daemon's own word where everything that it takes seems to be there."""
        about = self._daemon.about(Deadline.after(STOP_SECONDS))
        if not about.get("ExperimentalBuild"):
            return "docker checkpoint takes a daemon with experimental features, and this one has them off"
        if shutil.which("criu") is None:
            return "docker checkpoint takes CRIU, which is not installed"
        return "docker checkpoint by CRIU is not built for docker yet"

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
        """An image of its layer; Docker pauses a running container meanwhile."""
        tag = f"{self._subject.name}-{len(self._made)}"
        with self._call("commit", deadline) as api:
            image = str(api.commit(self._subject.handle, repository=COMMITS, tag=tag)["Id"])
        self._made.append(f"{COMMITS}:{tag}")
        self.image = image
        with self._call("inspect the image of", deadline) as api:
            # What the commit added: its topmost layer.
            self._size = next((int(one["Size"]) for one in api.history(image)), None)

    def _drop(self, deadline: Deadline) -> None:
        """Forget the snapshot: its image goes with the container that was made from it."""

    def _anew(self, deadline: Deadline) -> None:
        """Another container in its place, of the same name and volume."""
        leftovers.remove_container(self._daemon, self._subject.handle, deadline)
        self._subject.begin_again()
        self._subject.create(self._labels, deadline)

    def _flattened(self, deadline: Deadline) -> None:
        """A copy of all its files as an image of one layer, and a container of that."""
        tag = f"{self._subject.name}-{len(self._made)}"
        changes = [f"LABEL {name}={value}" for name, value in self._labels.items()]
        with self._call("copy", deadline) as api:
            files = _bytes(api.export(self._subject.handle, chunk_size=CHUNK), deadline)
            answer = api.import_image(src=files, stream_src=True, repository=COMMITS, tag=tag, changes=changes)
            refuse_errors(answer)
        self._made.append(f"{COMMITS}:{tag}")
        with self._call("find the copy of", deadline) as api:
            self.image = str(api.inspect_image(f"{COMMITS}:{tag}")["Id"])
        self._anew(deadline)


def _bytes(chunks: Iterator[bytes], deadline: Deadline) -> Iterator[bytes]:
    for chunk in chunks:
        deadline.check("the copy of a container")
        yield chunk
