import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.images import guest
from harness.images.recipe import INSIDE

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: apt-get install gcc libc6-dev")


@pytest.fixture(scope="module")
def beacon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("beacon") / "beacon"
    scratch = tmp_path_factory.mktemp("scratch")
    target.write_bytes(guest.compiled((INSIDE / "beacon.c").read_bytes(), scratch, Deadline.after(30)))
    target.chmod(0o755)
    return target


@pytest.fixture
def listener(tmp_path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "channel"))
    server.listen(1)
    server.settimeout(5)
    return server


def test_writes_one_line_and_stays_until_sigterm(beacon: Path, listener: socket.socket, tmp_path: Path) -> None:
    before = time.monotonic()
    with subprocess.Popen([beacon, tmp_path / "channel", "ready"]) as child:
        connection, _ = listener.accept()
        word, stamp = connection.recv(100).split()
        assert word == b"ready"
        assert before <= float(stamp) <= time.monotonic()
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0
        assert connection.recv(100) == b""


def test_becomes_the_program(beacon: Path, listener: socket.socket, tmp_path: Path) -> None:
    done = subprocess.run([beacon, tmp_path / "channel", "up", "/bin/echo", "here"], capture_output=True, check=True)
    assert done.stdout == b"here\n"
    connection, _ = listener.accept()
    assert connection.recv(100).startswith(b"up ")
    assert connection.recv(100) == b""


def test_a_missing_channel_does_not_stop_it(beacon: Path, tmp_path: Path) -> None:
    done = subprocess.run([beacon, tmp_path / "none", "up", "/bin/echo", "here"], capture_output=True, check=True)
    assert done.stdout == b"here\n"


def test_a_terminal_gets_the_line_without_a_carriage_return(beacon: Path) -> None:
    ours, theirs = os.openpty()
    subprocess.run([beacon, os.ttyname(theirs), "userspace", "/bin/true"], check=True)
    line = os.read(ours, 100)
    assert line.startswith(b"userspace ")
    assert line.endswith(b"\n")
    assert not line.endswith(b"\r\n")
    os.close(ours)
    os.close(theirs)
