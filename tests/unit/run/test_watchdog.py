"""The watchdog ends by itself after a run that ended well, and sweeps after one whose harness is gone."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from harness import paths
from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Leftover, Skip
from harness.rig import lock
from harness.rig.lock import host_lock
from harness.run import clean, watchdog
from harness.run.clean import Cleaned

RUN = "abc123"
DONE = Cleaned(
    removed=(Leftover(kind="domain", name="tare-abc123-1", run=RUN),),
    stuck=(Skip(what="scratch /x", reason="it is held"),),
)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARE_RUNTIME", str(tmp_path / "run"))
    monkeypatch.setenv("TARE_STATE", str(tmp_path / "state"))


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were swept."""
    runs: list[str] = []

    def clean_host(deadline: Deadline, notify: object, *, run: str) -> Cleaned:
        runs.append(run)
        return DONE

    monkeypatch.setattr(clean, "clean_host", clean_host)
    return runs


def test_after_a_good_end_it_is_gone_and_has_done_nothing(tmp_path: Path) -> None:
    with watchdog.guarded(RUN, tmp_path):
        (fifo,) = paths.runtime().iterdir()
        deadline = Deadline.after(20)
        while not (found := _readers(fifo)):
            deadline.check("the watchdog reading")
            time.sleep(0.01)
        assert os.getsid(found[0]) == found[0], "in a session of its own"
    assert not list(paths.runtime().iterdir())
    assert not (tmp_path / watchdog.LOG).exists()
    assert not Path(f"/proc/{found[0]}").exists()


def test_one_that_was_killed_itself_is_not_waited_for(tmp_path: Path) -> None:
    with watchdog.guarded(RUN, tmp_path):
        (fifo,) = paths.runtime().iterdir()
        deadline = Deadline.after(20)
        while not (found := _readers(fifo)):
            deadline.check("the watchdog reading")
            time.sleep(0.01)
        os.kill(found[0], signal.SIGKILL)
    assert not list(paths.runtime().iterdir())


def test_the_end_of_the_harness_without_a_word_is_swept_and_told(tmp_path: Path, swept: list[str]) -> None:
    watchdog.watch(RUN, _fifo(tmp_path), tmp_path)
    assert swept == [RUN]
    log = (tmp_path / watchdog.LOG).read_text()
    assert "removed domain tare-abc123-1" in log
    assert "cannot remove scratch /x: it is held; fix: tare clean" in log
    assert not (tmp_path / "fifo").exists()


def test_a_new_run_that_has_the_lock_sweeps_by_itself(
    tmp_path: Path, swept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOCK_SECONDS", 0.1)
    with host_lock(paths.locks(), "run", "fff000"):
        watchdog.watch(RUN, _fifo(tmp_path), tmp_path)
    assert swept == []
    assert "another run holds the lock" in (tmp_path / watchdog.LOG).read_text()


def test_a_new_run_waits_for_a_watchdog_and_for_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    for purpose, patience, got in ((lock.WATCHDOG, 20.0, True), (lock.WATCHDOG, 0.2, False), ("run", 20.0, False)):
        monkeypatch.setattr(lock, "WATCHDOG_SECONDS", patience)
        taken = context.Event()
        holder = context.Process(target=_hold, args=(purpose, taken), daemon=True)
        holder.start()
        assert taken.wait(20)
        try:
            with host_lock(paths.locks(), "run"):
                assert got
        except TareError as error:
            assert not got and "another run" in error.brief
        holder.join()


def test_a_unit_gets_what_it_needs_and_nothing_of_it_stays() -> None:
    environment = {"TARE_STATE": "/var/lib/x", "PATH": "/bin", "SECRET": "s"}
    words = watchdog.unit_command(RUN, ["python", "-m", "harness.run.watchdog"], environment)
    assert words[0] == "systemd-run" and words[-3:] == ["python", "-m", "harness.run.watchdog"]
    assert {"--collect", "--setenv=TARE_STATE=/var/lib/x", "--unit=tare-watchdog-abc123.service"} <= set(words)
    assert not [word for word in words if "SECRET" in word]


def _hold(purpose: str, taken: "multiprocessing.synchronize.Event") -> None:
    with host_lock(paths.locks(), purpose):
        taken.set()
        time.sleep(1.0)


def _fifo(folder: Path) -> Path:
    """A FIFO whose other end nobody holds any more."""
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def _readers(fifo: Path) -> list[int]:
    """The other processes that have it open."""
    found = []
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if path.readlink() == fifo and path.parts[2] != str(os.getpid()):
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found
