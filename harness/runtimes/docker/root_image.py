"""The root as a Docker image: imported once, known by its digest, checked after the import."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import RootForms
from harness.runtimes.docker.daemon import Daemon, Refused

REPOSITORY = "tare-root"
COPIES, COMMITS = "tare-copy", "tare-made"
"""Images of one case, removed at its end: copies of the root, and what was made of a container."""
ROOT_LABEL = "tare.root"
"""On images only. A container inherits its image's labels, so the labels by which leftovers are found are not here."""
CHUNK = 2**20


def ensure(daemon: Daemon, root: RootForms, deadline: Deadline) -> str:
    """The id of the image of `root`, imported unless it is there. Raises TareError."""
    if (found := _find(daemon, root.digest, deadline)) is not None:
        return found
    _import(daemon, root, deadline)
    if (made := _find(daemon, root.digest, deadline)) is None:
        raise TareError("Docker imported the root and does not have it", details=tag(root.digest), hint="docker images")
    return made


def tag(digest: str) -> str:
    """The image's name: `tare-root:` and twelve digits of the root's digest."""
    return f"{REPOSITORY}:{digest.rpartition(':')[2][:12]}"


def folders(daemon: Daemon, image: str, deadline: Deadline) -> tuple[Path, ...]:
    """The folders in which the daemon keeps an image's layers. Raises TareError where none can be read."""
    with daemon.call("say where an image is", deadline) as api:
        driver = api.inspect_image(image).get("GraphDriver") or {}
    data = driver.get("Data") or {}
    # overlay2 names every layer but the topmost in LowerDir.
    named = [data.get("UpperDir") or "", *(data.get("LowerDir") or "").split(":")]
    found = tuple(Path(name) for name in named if name)
    if not found or not all(os.access(folder, os.R_OK | os.X_OK) for folder in found):
        details = f"storage driver {driver.get('Name') or 'unknown'}: {', '.join(map(str, found)) or 'no folders'}"
        hint = "a cold start of containers needs overlay2, and to be root"
        raise TareError("an image's files cannot be found or read", details=details, hint=hint)
    return found


def _find(daemon: Daemon, digest: str, deadline: Deadline) -> str | None:
    """The image's id; one under our tag with another digest is not ours to use."""
    try:
        with daemon.call("look for the root's image", deadline) as api:
            image = api.inspect_image(tag(digest))
    except Refused as error:
        if error.status == 404:
            return None
        raise
    labels = (image.get("Config") or {}).get("Labels") or {}
    return str(image["Id"]) if labels.get(ROOT_LABEL) == digest else None


def _import(daemon: Daemon, root: RootForms, deadline: Deadline) -> None:
    """Stream the tar to the daemon and compare what it unpacked with what was sent."""
    repository, _, version = tag(root.digest).partition(":")
    sent = hashlib.sha256()
    try:
        with daemon.call("import the root", deadline) as api:
            answer = api.import_image(
                src=_chunks(root.tar, sent, deadline),
                stream_src=True,
                repository=repository,
                tag=version,
                changes=[f"LABEL {ROOT_LABEL}={root.digest}"],
            )
            refuse_errors(answer)
            image = api.inspect_image(f"{repository}:{version}")
    except OSError as error:
        raise TareError("the root cannot be read", details=str(error), hint="make images") from error
    # The layer's id is the SHA-256 of the tar stream that the daemon unpacked (Image Specification, "DiffID").
    layers = image["RootFS"]["Layers"]
    if layers != [f"sha256:{sent.hexdigest()}"]:
        with contextlib.suppress(TareError), daemon.call("drop a bad image", deadline) as api:
            api.remove_image(f"{repository}:{version}")
        raise TareError(
            "Docker unpacked something else than the root that was sent",
            details=f"sent {sent.hexdigest()}, has {layers}",
        )


def _chunks(path: Path, digest: Any, deadline: Deadline) -> Iterator[bytes]:
    with path.open("rb") as tar:
        while chunk := tar.read(CHUNK):
            deadline.check("the import of the root into Docker")
            digest.update(chunk)
            yield chunk


def refuse_errors(answer: object) -> None:
    """Raise TareError for a failed import: the daemon answers 200 before it unpacks, and a failure is in the body."""
    for line in str(answer).splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("error"):
                raise TareError(
                    "Docker could not import it", details=str(said["error"]), hint="make images; docker system df"
                )
