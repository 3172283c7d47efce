"""A channel whose other end is replaced, or begins anew, while the host's end stays."""

import socket
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded
from harness.runtimes.agent.line import Line


def connected(path: Path) -> socket.socket:
    other = socket.socket(socket.AF_UNIX)
    other.connect(str(path))
    return other


def test_the_next_connection_takes_over_and_nothing_of_the_old_one_is_lost(tmp_path: Path) -> None:
    line = Line(tmp_path / "channel")
    old = connected(line.path)
    line.take()
    line.listen_anew()
    old.sendall(b"one\nha")
    line.take()
    new = connected(line.path)
    old.sendall(b"lf ")
    old.close()
    line.switch(Deadline.after(5))
    new.sendall(b"whole\n")
    line.take()
    assert [text for _, text in line.lines] == ["one", "half whole"]
    assert not line.closed, "only the old end was closed"
    line.send(b"back\n", Deadline.after(5))
    assert new.recv(9) == b"back\n"
    new.close()
    line.close()
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_connect_again_is_an_error(tmp_path: Path) -> None:
    line = Line(tmp_path / "channel")
    line.listen_anew()
    with pytest.raises(DeadlineExceeded, match="did not connect"):
        line.switch(Deadline.after(0.05))
    line.close()


def test_one_that_begins_anew_starts_with_an_empty_line(tmp_path: Path) -> None:
    line = Line(tmp_path / "channel")
    with connected(line.path) as old:
        line.take()
        old.sendall(b"hello\nha")
        line.take()
    line.take()
    assert line.closed
    line.begin()
    assert not line.closed and line.lines == []
    with connected(line.path) as new:
        line.take()
        new.sendall(b"hello again\n")
        line.take()
    assert [text for _, text in line.lines] == ["hello again"]
    line.close()
