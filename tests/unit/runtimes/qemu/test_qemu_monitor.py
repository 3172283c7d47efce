"""The monitor against a server that speaks QEMU's protocol over a real socket, and against one that never does."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.runtimes.qemu.monitor import Monitor

SPEAKER = """
import json, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
def say(**what):
    line.sendall(json.dumps(what).encode() + b"\\r\\n")
say(QMP={"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []})
while text := line.recv(65536):  # one command at a time, without a newline
    request = json.loads(text)
    echo = {"id": request["id"]} if "id" in request else {}
    known = {"qmp_capabilities": {}, "query-kvm": {"enabled": False, "present": True}, "quit": {}}
    if request["execute"] == "hang":
        continue
    if request["execute"] in known:
        say(**{"return": known[request["execute"]]}, **echo)
    else:
        say(error={"class": "CommandNotFound", "desc": "no such command"}, **echo)
    if request["execute"] == "quit":
        break
"""


@contextmanager
def speaking(path: Path, program: str) -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen([sys.executable, "-c", program, str(path)])
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_it_asks_and_is_answered_refused_or_left(tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    with Monitor(path) as monitor, speaking(path, SPEAKER) as child:
        monitor.accept(child, Deadline.after(20))
        assert monitor.ask("query-kvm", Deadline.after(5)) == {"enabled": False, "present": True}
        with pytest.raises(TareError) as refused:
            monitor.ask("nonsense", Deadline.after(5))
        assert "no such command" in refused.value.details
        with pytest.raises(DeadlineExceeded):
            monitor.ask("hang", Deadline.after(0.2))
        monitor.ask("quit", Deadline.after(5))
        child.wait(5)
        with pytest.raises(TareError):
            monitor.ask("query-kvm", Deadline.after(5))
    assert not path.exists()


def test_a_qemu_that_ends_before_it_connects_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    with Monitor(path) as monitor, speaking(path, "pass") as child, pytest.raises(TareError, match="connect") as caught:
        monitor.accept(child, Deadline.after(30))
    assert not isinstance(caught.value, DeadlineExceeded)


def test_a_qemu_that_never_connects_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    silent = "import time; time.sleep(60)"
    with Monitor(path) as monitor, speaking(path, silent) as child, pytest.raises(DeadlineExceeded):
        monitor.accept(child, Deadline.after(0.3))
