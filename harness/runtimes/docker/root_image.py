"""The root as a Docker image: imported once, named by its digest, checked after the import."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import RootForms
from harness.runtimes.base import Stream
from harness.runtimes.docker.daemon import Daemon, Refused

REPOSITORY = "tare-root"
COPIES, COMMITS = "tare-copy", "tare-made"
"""Images of one case, removed at its end: copies of the root, and images made of a container."""
ROOT_LABEL = "tare.root"
"""On images only: a container inherits its image's labels, so these are not the labels that mark leftovers."""
CHUNK = 2**20


def ensure(daemon: Daemon, root: RootForms, deadline: Deadline) -> str:
    """The id of the image of `root`, imported unless the daemon has it. Raises TareError."""
    if (found := _find(daemon, root.digest, deadline)) is not None:
        return found
    _import(daemon, root, deadline)
    if (made := _find(daemon, root.digest, deadline)) is None:
        raise TareError("Docker does not list the imported root", details=tag(root.digest), hint="docker images")
    return made


def tag(digest: str) -> str:
    """The image's name: `tare-root:` and twelve digits of the root's digest."""
    return f"{REPOSITORY}:{digest.rpartition(':')[2][:12]}"


def folders(daemon: Daemon, image: str, deadline: Deadline) -> tuple[Path, ...]:
    """The folders in which the daemon keeps an image's layers. Raises TareError where none can be read."""
    with daemon.call("locate an image", deadline) as api:
        driver = api.inspect_image(image).get("GraphDriver") or {}
    data = driver.get("Data") or {}
    # overlay2 names every layer but the topmost in LowerDir.
    named = [data.get("UpperDir") or "", *(data.get("LowerDir") or "").split(":")]
    found = tuple(Path(name) for name in named if name)
    if not found or not all(os.access(folder, os.R_OK | os.X_OK) for folder in found):
        details = f"storage driver {driver.get('Name') or 'unknown'}: {', '.join(map(str, found)) or 'no folders'}"
        hint = "run as root, with Docker's storage driver overlay2"
        raise TareError("an image's files cannot be found or read", details=details, hint=hint)
    return found


def import_tar(
    daemon: Daemon, chunks: Iterable[bytes], name: str, labels: Mapping[str, str], deadline: Deadline
) -> Mapping[str, Any]:
    """Import a tar as the image `name` with the labels; returns the daemon's description of it. Raises TareError."""
    repository, _, version = name.partition(":")
    changes = [f"LABEL {label}={value}" for label, value in labels.items()]
    with daemon.call(f"import {name}", deadline) as api:
        source = checked(chunks, deadline)
        answer = api.import_image(src=source, stream_src=True, repository=repository, tag=version, changes=changes)
        refuse_errors(answer)
        return dict(api.inspect_image(name))


def chunks_of(stream: Stream) -> Iterator[bytes]:
    """The content of a stream, in pieces of 1 MiB."""
    return iter(partial(stream.read, CHUNK), b"")


def checked(chunks: Iterable[bytes], deadline: Deadline) -> Iterator[bytes]:
    """The same chunks; raises DeadlineExceeded once time is up."""
    for chunk in chunks:
        deadline.check("the transfer of an image")
        yield chunk


def refuse_errors(answer: object) -> None:
    """Raise TareError for a failed import: the daemon answers 200 before it unpacks, and a failure is in the body."""
    for line in str(answer).splitlines():
        with contextlib.suppress(ValueError):
            frame = json.loads(line)
            if isinstance(frame, dict) and frame.get("error"):
                hint = "docker system df, then free disk space; or make images"
                raise TareError("Docker could not import an image", details=str(frame["error"]), hint=hint)


def _find(daemon: Daemon, digest: str, deadline: Deadline) -> str | None:
    """The image's id; an image of that name with another digest is not used."""
    try:
        with daemon.call("inspect the root's image", deadline) as api:
            image = api.inspect_image(tag(digest))
    except Refused as error:
        if error.status == 404:
            return None
        raise
    labels = (image.get("Config") or {}).get("Labels") or {}
    return str(image["Id"]) if labels.get(ROOT_LABEL) == digest else None


def _import(daemon: Daemon, root: RootForms, deadline: Deadline) -> None:
    """Stream the tar to the daemon and compare the layer that it unpacked with the tar."""
    name, sent = tag(root.digest), hashlib.sha256()

    def hashed(tar: Stream) -> Iterator[bytes]:
        for chunk in chunks_of(tar):
            sent.update(chunk)
            yield chunk

    try:
        with root.tar.open("rb") as tar:
            image = import_tar(daemon, hashed(tar), name, {ROOT_LABEL: root.digest}, deadline)
    except OSError as error:
        raise TareError("the root cannot be read", details=str(error), hint="make images") from error
    # The layer's id is the SHA-256 of the tar stream that the daemon unpacked (Image Specification, "DiffID").
    layers = image["RootFS"]["Layers"]
    if layers != [f"sha256:{sent.hexdigest()}"]:
        with contextlib.suppress(TareError), daemon.call(f"remove {name}", deadline) as api:
            api.remove_image(name)
        details = f"sent {sent.hexdigest()}, has {layers}"
        raise TareError("the image in Docker differs from the root that was sent", details=details, hint="make images")
