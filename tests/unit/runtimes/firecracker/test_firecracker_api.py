"""The API's client against a real HTTP server on a unix socket."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.runtimes.firecracker.api import await_socket, put


class Handler(BaseHTTPRequestHandler):
    """Takes what is PUT at /fine, and refuses all else as Firecracker does."""

    taken: ClassVar[list[object]] = []

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/fine":
            self.taken.append(json.loads(body))
            self.send_response(204)
            self.end_headers()
            return
        said = b'{"fault_message": "no such thing"}'
        self.send_response(400)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(path: Path) -> Iterator[None]:
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_what_is_put_arrives_and_a_refusal_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "api"
    with serving(path):
        await_socket(path, Deadline.after(5))
        put(path, "/fine", {"a": 1}, Deadline.after(5))
        assert Handler.taken == [{"a": 1}]
        with pytest.raises(TareError) as caught:
            put(path, "/other", {}, Deadline.after(5))
    assert "no such thing" in caught.value.details


def test_an_api_that_is_not_there_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        await_socket(tmp_path / "none", Deadline.after(0.05))
    with pytest.raises(TareError, match="did not answer"):
        put(tmp_path / "none", "/fine", {}, Deadline.after(1))
