"""The root's image made, carried and cloned in a Docker daemon.

A daemon keeps each layer once, by the digest of its content: to load an image whose layers are there does nothing. So a
copy holds one more small file, with another content each time, and with it layers of its own.
"""

import contextlib
import json
import secrets
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.runtimes.base import ENTRY_ARGV, Prepared, Stream
from harness.runtimes.docker import leftovers, root_image
from harness.runtimes.docker.daemon import Daemon, Refused

MARK = "./.tare-copy"
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
        with self._named() as tag:
            yield replace(self.image, image=self._import(_marked(self.image.root.tar, tag, deadline), tag, deadline))

    def save(self, copy: Prepared, sink: Stream, deadline: Deadline) -> None:
        """`docker save`, by name, so that the name travels too."""
        with self._daemon.call("say an image's name", deadline) as api:
            tag = api.inspect_image(copy.image)["RepoTags"][0]
        with self._daemon.call("save an image", deadline) as api:
            for chunk in api.get_image(tag):
                deadline.check("saving an image")
                sink.write(chunk)

    @contextmanager
    def loaded(self, source: Stream, deadline: Deadline) -> Iterator[Prepared]:
        """`docker load`; the daemon says what the archive's image is called."""
        tag = ""
        try:
            with self._daemon.call("load an image", deadline) as api:
                answer = list(api.load_image(_chunks(source, deadline)))
            root_image.refuse_errors("\n".join(map(json.dumps, answer)))
            said = "".join(str(one.get("stream", "")) for one in answer)
            tag = said.partition("Loaded image: ")[2].split()[0] if "Loaded image: " in said else ""
            if not tag.startswith(f"{root_image.COPIES}:"):
                raise TareError("Docker loaded something else than the copy", details=said[:500])
            with self._daemon.call("look for a copy", deadline) as api:
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
            found = self._import(_prefixed(chunks, tag, deadline), tag, deadline)
            yield root_image.folders(self._daemon, found, deadline)

    def _import(self, chunks: Iterator[bytes], tag: str, deadline: Deadline) -> str:
        repository, _, version = tag.partition(":")
        changes = [f"LABEL {name}={value}" for name, value in {root_image.ROOT_LABEL: "copy", **self._labels}.items()]
        with self._daemon.call("import a copy of the root", deadline) as api:
            answer = api.import_image(src=chunks, stream_src=True, repository=repository, tag=version, changes=changes)
            root_image.refuse_errors(answer)
            return str(api.inspect_image(tag)["Id"])

    @contextmanager
    def _named(self) -> Iterator[str]:
        """A name of an image to be; what has it at the end is removed."""
        tag = f"{root_image.COPIES}:{secrets.token_hex(6)}"
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
        with contextlib.suppress(Refused), self._daemon.call("drop a copy", Deadline.after(UNDO_SECONDS)) as api:
            api.remove_image(tag)


def own_files(daemon: Daemon, container: str, deadline: Deadline) -> tuple[Path, ...]:
    """The folders of a container's own: its writable layer, and the daemon's notes of it (its log among them).

    Raises TareError for a storage driver that keeps none.
    """
    with daemon.call("say where a container is", deadline) as api:
        found = api.inspect_container(container)
    upper = ((found.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
    if not upper:
        raise TareError("a container's own layer cannot be found", hint="that needs Docker's overlay2")
    notes = Path(str(daemon.about(deadline).get("DockerRootDir") or "/var/lib/docker"), "containers", str(found["Id"]))
    return Path(upper), notes


def _marked(tar: Path, milestone: str, deadline: Deadline) -> Iterator[bytes]:
    with tar.open("rb") as stream:
        yield from _prefixed(_chunks(stream, deadline), milestone, deadline)


def _prefixed(chunks: Iterator[bytes], milestone: str, deadline: Deadline) -> Iterator[bytes]:
    """A tar with one more file before all others, whose content is `milestone`."""
    entry = tarfile.TarInfo(MARK)
    entry.size = len(milestone)
    yield entry.tobuf(tarfile.GNU_FORMAT) + milestone.encode().ljust(tarfile.BLOCKSIZE, b"\0")
    for chunk in chunks:
        deadline.check("the import of a copy into Docker")
        yield chunk


def _chunks(stream: Stream, deadline: Deadline) -> Iterator[bytes]:
    while chunk := stream.read(root_image.CHUNK):
        deadline.check("reading an image")
        yield chunk
