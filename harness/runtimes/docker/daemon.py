"""The connection to one Docker daemon: every call has a deadline, every failure becomes a TareError."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.daemons.reach import docker_url
from harness.host.unix_socket import listener_of

log = logging.getLogger(__name__)
UNIX = "unix://"
LEAST_SECONDS = 0.05


class Refused(TareError):
    """The daemon answered with an error; `status` is HTTP's (404: no such object, 409: busy)."""

    def __init__(self, brief: str, details: str, status: int) -> None:
        super().__init__(brief, details=details)
        self.status = status


class Daemon:
    """One daemon. Raises TareError when it cannot be reached before `deadline`."""

    def __init__(self, url: str, deadline: Deadline) -> None:
        self.url = url
        self._warned: set[str] = set()
        # The import of the SDK takes 0.2 s, which a list of runtimes without a daemon must not take.
        import docker

        self._about: dict[str, Any] | None = None
        with _translated("connect", url, deadline):
            # This requests the API version, once, so that no later call does.
            self._api: Any = docker.APIClient(base_url=url, version="auto", timeout=math.ceil(_seconds(deadline)))
            # Else requests looks for proxies and a netrc at every call, within measured time.
            self._api.trust_env = False

    @contextmanager
    def call(self, what: str, deadline: Deadline) -> Iterator[Any]:
        """The SDK's APIClient (whose stubs are partial) for one call, `what` in the infinitive ("start the container").

        Raises DeadlineExceeded, Refused, or TareError when the daemon is gone.
        """
        with _translated(what, self.url, deadline):
            self._api.timeout = _seconds(deadline)
            yield self._api

    def about(self, deadline: Deadline) -> Mapping[str, Any]:
        """The daemon's description of itself (`docker info`), requested once."""
        if self._about is None:
            with self.call("describe itself", deadline) as api:
                self._about = dict(api.info())
        return self._about

    def warn(self, about: str, warnings: Iterable[str]) -> None:
        """Log the daemon's warnings about something, each warning once for all containers."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("docker, about %s: %s", about, warning)

    def pid(self) -> int | None:
        """The process that opened the daemon's socket; under socket activation the service manager."""
        if not self.url.startswith(UNIX):
            return None
        return listener_of(Path(self.url.removeprefix(UNIX)))

    def close(self) -> None:
        """Close the connections."""
        self._api.close()


def chosen_url(url: str | None) -> str:
    """The URL that the run has set, else the user's own (DOCKER_HOST, the Docker context, Docker's default)."""
    return url or docker_url()


def _seconds(deadline: Deadline) -> float:
    return max(deadline.left, LEAST_SECONDS)


@contextmanager
def _translated(what: str, url: str, deadline: Deadline) -> Iterator[None]:
    import requests
    from docker.errors import APIError, DockerException

    late = f"Docker did not {what} in time"
    if deadline.left == 0.0:
        raise DeadlineExceeded(late, details=url)
    try:
        yield
    except APIError as error:
        details = str(error.explanation or error)
        raise Refused(f"Docker did not {what}", details, error.status_code or 0) from error
    except (DockerException, requests.RequestException) as error:
        if isinstance(error, requests.Timeout) or deadline.left == 0.0:
            raise DeadlineExceeded(
                late, details=url, hint="docker info; if that hangs too, systemctl restart docker"
            ) from error
        raise TareError(f"Docker could not {what}", details=f"{url}: {error}", hint="make doctor") from error
