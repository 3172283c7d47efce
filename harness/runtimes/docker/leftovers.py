"""What carries our labels in a Docker daemon, and its removal."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Leftover
from harness.runtimes.docker.daemon import Daemon, Refused
from harness.runtimes.docker.root_image import COMMITS, COPIES, ROOT_LABEL

BUSY_SECONDS = 0.05
INSTALL, RUN = "tare.install", "tare.run"
CONTAINER, VOLUME, NETWORK, IMAGE = "docker-container", "docker-volume", "docker-network", "docker-image"


def leftovers(daemon: Daemon, deadline: Deadline) -> Iterator[Leftover]:
    """Containers, then what was made of them: volumes, networks, images; the order in which they can be removed."""
    seen: set[tuple[str, str]] = set()
    for label in (INSTALL, RUN):
        for leftover in _labelled(daemon, label, deadline):
            if (leftover.kind, leftover.name) not in seen:
                seen.add((leftover.kind, leftover.name))
                yield leftover


def images(daemon: Daemon, deadline: Deadline) -> Iterator[Leftover]:
    """The imported roots, which are kept between runs."""
    with daemon.call("list images", deadline) as api:
        found = api.images(filters={"label": ROOT_LABEL})
    for image in found:
        yield Leftover(kind=IMAGE, name=(image.get("RepoTags") or [image["Id"]])[0])


def remove(daemon: Daemon, leftover: Leftover, deadline: Deadline) -> None:
    """Remove one; gone already is fine. Raises TareError, also when it does not carry our label."""
    with _gone_is_fine():
        labels = _labels(daemon, leftover, deadline)
        # Whatever a user makes of the root's image inherits the image's label: that one says nothing of a container.
        proof = {INSTALL, RUN} | ({ROOT_LABEL} if leftover.kind == IMAGE else set())
        if not proof & labels.keys():
            raise TareError(f"{leftover.kind} {leftover.name} does not carry tare's label", hint="remove it by hand")
        if leftover.kind == CONTAINER:
            remove_container(daemon, leftover.name, deadline)
        elif leftover.kind == VOLUME:
            remove_volume(daemon, leftover.name, deadline)
        elif leftover.kind == IMAGE:
            remove_image(daemon, leftover.name, deadline)
        else:
            with daemon.call(f"remove {leftover.kind} {leftover.name}", deadline) as api:
                api.remove_network(leftover.name)


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if error.status != 404:
            raise


def remove_volume(daemon: Daemon, name: str, deadline: Deadline) -> None:
    """Remove a volume that no container has any more; gone already is fine. Raises TareError."""
    with _gone_is_fine(), daemon.call(f"remove the volume {name}", deadline) as api:
        api.remove_volume(name)


def remove_image(daemon: Daemon, name: str, deadline: Deadline) -> None:
    """Remove an image, with the layers that nothing else has; gone already is fine. Raises TareError."""
    with _gone_is_fine(), daemon.call(f"remove the image {name}", deadline) as api:
        api.remove_image(name)


def remove_container(daemon: Daemon, name: str, deadline: Deadline) -> None:
    """Kill and remove a container (name or id) with its anonymous volumes.

    Raises Refused (404: there is none), TareError.
    """
    while True:
        try:
            with daemon.call(f"remove the container {name}", deadline) as api:
                api.remove_container(name, v=True, force=True)
            return
        except Refused as error:
            # 409: a removal is under way already; 500: a dying container still holds its mounts.
            if error.status not in (409, 500) or deadline.left < BUSY_SECONDS:
                raise
        time.sleep(BUSY_SECONDS)


def destroy(
    daemon: Daemon, handle: str, name: str, deadline: Deadline, labels: Mapping[str, str] | None = None
) -> None:
    """Kill and remove the container `handle` (name or id) with its anonymous volumes; returns when it is gone.

    With `labels`, one that does not carry them all is left alone: a name that was taken before is somebody else's.
    Raises TareError when it may remain.
    """
    try:
        if labels is not None:
            with daemon.call(f"inspect {name}", deadline) as api:
                found = api.inspect_container(handle)["Config"]["Labels"] or {}
            if not labels.items() <= found.items():
                return
        remove_container(daemon, handle, deadline)
    except Refused as error:
        if error.status != 404:
            raise _may_remain(name, error) from error
    except TareError as error:
        raise _may_remain(name, error) from error


def _may_remain(name: str, error: TareError) -> TareError:
    return TareError(f"the container {name} may remain", details=str(error), hint="tare clean")


def _labelled(daemon: Daemon, label: str, deadline: Deadline) -> Iterator[Leftover]:
    wanted = {"label": label}
    with daemon.call("list containers", deadline) as api:
        containers = api.containers(all=True, filters=wanted)
    for container in containers:
        yield _leftover(CONTAINER, container["Names"][0].lstrip("/"), container.get("Labels"))
    with daemon.call("list volumes", deadline) as api:
        volumes = api.volumes(filters=wanted)["Volumes"] or []
    for volume in volumes:
        yield _leftover(VOLUME, volume["Name"], volume.get("Labels"))
    with daemon.call("list networks", deadline) as api:
        networks = api.networks(filters=wanted)
    for network in networks:
        yield _leftover(NETWORK, network["Id"], network.get("Labels"))
    # By name too: an image that a user has made of one of these inherits its labels.
    for repository in (COMMITS, COPIES):
        with daemon.call("list images", deadline) as api:
            made = api.images(repository, filters=wanted)
        for image in made:
            yield _leftover(IMAGE, image["RepoTags"][0], image.get("Labels"))


def _leftover(kind: str, name: str, labels: Mapping[str, str] | None) -> Leftover:
    # A container can be killed and removed whatever becomes of another; of images one may be made of another.
    return Leftover(kind=kind, name=name, run=(labels or {}).get(RUN, ""), beside=kind == CONTAINER)


def _labels(daemon: Daemon, leftover: Leftover, deadline: Deadline) -> Mapping[str, str]:
    with daemon.call(f"inspect {leftover.kind} {leftover.name}", deadline) as api:
        if leftover.kind == CONTAINER:
            found = api.inspect_container(leftover.name)["Config"].get("Labels")
        elif leftover.kind == VOLUME:
            found = api.inspect_volume(leftover.name).get("Labels")
        elif leftover.kind == NETWORK:
            found = api.inspect_network(leftover.name).get("Labels")
        elif leftover.kind == IMAGE:
            found = api.inspect_image(leftover.name)["Config"].get("Labels")
        else:
            raise TareError(f"Docker has no {leftover.kind} to remove")
    return dict(found or {})
