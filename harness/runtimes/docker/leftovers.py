"""Containers, volumes, networks and images that carry tare's labels, and their removal."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Leftover
from harness.runtimes.docker.daemon import Daemon, Refused
from harness.runtimes.docker.root_image import COMMITS, COPIES, ROOT_LABEL

BUSY_SECONDS = 0.05
INSTALL, RUN = "tare.install", "tare.run"
KIND = "docker-"
"""The prefix of a leftover's kind, before Docker's own noun: `docker-container`."""
Found = Mapping[str, Any]
LISTS: tuple[tuple[str, Callable[[Any, Mapping[str, str]], list[Found]], Callable[[Found], str]], ...] = (
    (
        "container",
        lambda api, labels: api.containers(all=True, filters=labels),
        lambda one: one["Names"][0].lstrip("/"),
    ),
    ("volume", lambda api, labels: api.volumes(filters=labels)["Volumes"] or [], lambda one: one["Name"]),
    ("network", lambda api, labels: api.networks(filters=labels), lambda one: one["Id"]),
    # By name too: an image that a user has made of one of these inherits its labels.
    ("image", lambda api, labels: api.images(COMMITS, filters=labels), lambda one: one["RepoTags"][0]),
    ("image", lambda api, labels: api.images(COPIES, filters=labels), lambda one: one["RepoTags"][0]),
)
"""Docker's noun, how the daemon lists its labelled ones, and the name of one; in the order of removal."""


def leftovers(daemon: Daemon, deadline: Deadline) -> Iterator[Leftover]:
    """Containers, then what was made of them: the order in which they can be removed."""
    seen: set[tuple[str, str]] = set()
    for label in (INSTALL, RUN):
        for noun, listed, name_of in LISTS:
            with daemon.call(f"list {noun}s", deadline) as api:
                found = listed(api, {"label": label})
            for one in found:
                if (key := (noun, name_of(one))) not in seen:
                    seen.add(key)
                    # A container can be removed beside others; an image may be made of another one.
                    run = (one.get("Labels") or {}).get(RUN, "")
                    yield Leftover(kind=KIND + noun, name=key[1], run=run, beside=noun == "container")


def images(daemon: Daemon, deadline: Deadline) -> Iterator[Leftover]:
    """The imported roots, which are kept between runs."""
    with daemon.call("list images", deadline) as api:
        found = api.images(filters={"label": ROOT_LABEL})
    for image in found:
        yield Leftover(kind=f"{KIND}image", name=(image.get("RepoTags") or [image["Id"]])[0])


def remove(daemon: Daemon, leftover: Leftover, deadline: Deadline) -> None:
    """Remove one; gone already is fine. Raises TareError, also when it does not carry tare's label."""
    noun = leftover.kind.removeprefix(KIND)
    if noun not in {noun for noun, *_ in LISTS}:
        raise TareError(f"Docker has no {leftover.kind} to remove")
    with gone_is_fine():
        with daemon.call(f"inspect the {noun} {leftover.name}", deadline) as api:
            found = getattr(api, f"inspect_{noun}")(leftover.name)
        labels = found.get("Config", found).get("Labels") or {}
        # A container inherits the label of the root's image, also one that a user made of it: it proves images only.
        if not labels.keys() & ({INSTALL, RUN} | ({ROOT_LABEL} if noun == "image" else set())):
            hint = f"docker {noun} rm {leftover.name}, if it is yours"
            raise TareError(f"the {noun} {leftover.name} does not carry tare's label", hint=hint)
        if noun == "container":
            remove_container(daemon, leftover.name, deadline)
        else:
            remove_object(daemon, noun, leftover.name, deadline)


@contextlib.contextmanager
def gone_is_fine() -> Iterator[None]:
    """Ignore the daemon's answer that there is no such object."""
    try:
        yield
    except Refused as error:
        if error.status != 404:
            raise


def remove_object(daemon: Daemon, noun: str, name: str, deadline: Deadline) -> None:
    """Remove an unused volume, network or image (Docker's noun); gone already is fine. Raises TareError."""
    with gone_is_fine(), daemon.call(f"remove the {noun} {name}", deadline) as api:
        getattr(api, f"remove_{noun}")(name)


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

    With `labels`, one that does not carry them all is left alone: its name was taken by somebody else before.
    Raises TareError when it may remain.
    """
    try:
        with gone_is_fine():
            if labels is not None:
                with daemon.call(f"inspect {name}", deadline) as api:
                    found = api.inspect_container(handle)["Config"]["Labels"] or {}
                if not labels.items() <= found.items():
                    return
            remove_container(daemon, handle, deadline)
    except TareError as error:
        raise TareError(f"the container {name} may remain", details=str(error), hint="tare clean") from error
