"""The root's image made, carried and cloned in a Docker daemon.

A daemon keeps each layer once, by the digest of its content: a load of an image whose layers it has does nothing. So a
copy holds one more small file, with other content each time, and with it layers of its own.
"""

import contextlib
import json
import secrets
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.runtimes.base import ENTRY_ARGV, Prepared, Stream
from harness.runtimes.docker import leftovers, root_image
from harness.runtimes.docker.daemon import Daemon, Refused
from harness.runtimes.docker.root_image import COPIES, ROOT_LABEL, checked, chunks_of, import_tar

MARKER = "./.tare-copy"
UNDO_SECONDS = 60.0


class ImageCopies:
    """Images and containers of one daemon, with the run's labels."""

    def __init__(self, daemon: Daemon, prepared: Prepared, folder: Path, labels: Mapping[str, str]) -> None:
        self.image, self.folder = prepared, folder
        self._daemon = daemon
        self._labels = labels

    @contextmanager
    def built(self, deadline: Deadline) -> Iterator[Prepared]:
        """`docker import` of the root's tar, with the file that makes it another image."""
        with self._named() as tag, self.image.root.tar.open("rb") as tar:
            yield replace(self.image, image=self._import(chunks_of(tar), tag, deadline))

    def save(self, copy: Prepared, sink: Stream, deadline: Deadline) -> None:
        """`docker save`, by name, so that the name travels too."""
        with self._daemon.call("inspect an image", deadline) as api:
            tag = api.inspect_image(copy.image)["RepoTags"][0]
        with self._daemon.call("save an image", deadline) as api:
            for chunk in checked(api.get_image(tag), deadline):
                sink.write(chunk)

    @contextmanager
    def loaded(self, source: Stream, deadline: Deadline) -> Iterator[Prepared]:
        """`docker load`; the daemon's answer holds the image's name."""
        tag = ""
        try:
            with self._daemon.call("load an image", deadline) as api:
                answer = list(api.load_image(checked(chunks_of(source), deadline)))
            root_image.refuse_errors("\n".join(map(json.dumps, answer)))
            text = "".join(str(one.get("stream", "")) for one in answer)
            tag = text.partition("Loaded image: ")[2].split()[0] if "Loaded image: " in text else ""
            if not tag.startswith(f"{COPIES}:"):
                raise TareError("Docker loaded another image than the copy", details=text[:500])
            with self._daemon.call("inspect a copy", deadline) as api:
                found = str(api.inspect_image(tag)["Id"])
            yield replace(self.image, image=found)
        finally:
            if tag:
                self._drop(tag)

    @contextmanager
    def linked(self, deadline: Deadline) -> Iterator[Collection[Path]]:
        """A container that is created and not started: a writable layer over the image's."""
        with self._container(deadline) as container:
            yield own_files(self._daemon, container, deadline)

    @contextmanager
    def full(self, deadline: Deadline) -> Iterator[Collection[Path]]:
        """`docker export` of such a container into `docker import`: one layer, shared with nothing."""
        with self._named() as tag, self._container(deadline) as container:
            with self._daemon.call("export a container", deadline) as api:
                chunks = api.export(container)
            yield root_image.folders(self._daemon, self._import(chunks, tag, deadline), deadline)

    def _import(self, chunks: Iterator[bytes], tag: str, deadline: Deadline) -> str:
        """The id of an image of that tar and, before all its files, one whose content is the tag."""
        marked = chain([marker(tag)], chunks)
        return str(import_tar(self._daemon, marked, tag, {ROOT_LABEL: "copy", **self._labels}, deadline)["Id"])

    @contextmanager
    def _named(self) -> Iterator[str]:
        """A name for an image; the end of the context removes the image that has it."""
        tag = f"{COPIES}:{secrets.token_hex(6)}"
        try:
            yield tag
        finally:
            self._drop(tag)

    @contextmanager
    def _container(self, deadline: Deadline) -> Iterator[str]:
        name = f"tare-copy-{secrets.token_hex(6)}"
        try:
            config = {"Image": self.image.image, "Cmd": list(ENTRY_ARGV["beacon"]), "Labels": dict(self._labels)}
            with self._daemon.call("create a container", deadline) as api:
                made = str(api.create_container_from_config(config, name)["Id"])
            yield made
        finally:
            with contextlib.suppress(Refused):
                leftovers.remove_container(self._daemon, name, Deadline.after(UNDO_SECONDS))

    def _drop(self, tag: str) -> None:
        with contextlib.suppress(Refused):
            leftovers.remove_object(self._daemon, "image", tag, Deadline.after(UNDO_SECONDS))


def own_files(daemon: Daemon, container: str, deadline: Deadline) -> tuple[Path, ...]:
    """A container's own folders: its writable layer, and the daemon's files about it (its log among them).

    Raises TareError for a storage driver without such a folder.
    """
    with daemon.call("locate a container", deadline) as api:
        found = api.inspect_container(container)
    upper = ((found.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
    if not upper:
        raise TareError("a container's own layer cannot be found", hint="use Docker's storage driver overlay2")
    root = Path(str(daemon.about(deadline).get("DockerRootDir") or "/var/lib/docker"))
    return Path(upper), root / "containers" / str(found["Id"])


def marker(tag: str) -> bytes:
    """The beginning of a tar: one file whose content is the tag."""
    entry = tarfile.TarInfo(MARKER)
    entry.size = len(tag)
    return entry.tobuf(tarfile.GNU_FORMAT) + tag.encode().ljust(tarfile.BLOCKSIZE, b"\0")
