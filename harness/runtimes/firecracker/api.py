"""Firecracker's API: JSON over HTTP over a unix socket, by the standard library.

https://github.com/firecracker-microvm/firecracker/blob/main/src/firecracker/swagger/firecracker.yaml
"""

import http.client
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.unix_socket import HttpConnection

POLL_SECONDS = 0.002
NO_CONTENT = 204


def await_socket(path: Path, deadline: Deadline) -> None:
    """Wait until something listens at `path`, Firecracker's only sign that it is ready. Raises DeadlineExceeded."""
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                return
            except OSError as error:
                if deadline.left == 0.0:
                    raise DeadlineExceeded("Firecracker did not open its API", details=f"{path}: {error}") from error
        time.sleep(POLL_SECONDS)


def put(path: Path, resource: str, body: Mapping[str, object], deadline: Deadline) -> None:
    """PUT one resource; raises TareError with Firecracker's answer when it refuses or is gone."""
    connection = HttpConnection(path, deadline)
    try:
        connection.request("PUT", resource, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except TimeoutError as late:
        raise DeadlineExceeded(f"Firecracker did not answer PUT {resource} in time") from late
    except (OSError, http.client.HTTPException) as error:
        raise TareError(f"Firecracker did not answer PUT {resource}", details=str(error)) from error
    finally:
        connection.close()
    if answer.status != NO_CONTENT:
        raise TareError(f"Firecracker refused PUT {resource}", details=f"status {answer.status}: {text[:1000]}")
