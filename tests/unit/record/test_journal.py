"""The journal: what is acknowledged survives; what is torn is set aside; what is damaged is refused."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode, TareError
from harness.record.journal import NAME, Journal, read

APPEND = """
import sys
from pathlib import Path
from harness.record.journal import Journal
with Journal.create(Path(sys.argv[1])) as journal:
    for number in range(5):
        journal.append("sample", number=number)
        print(number, flush=True)
"""
INTERRUPTED = """
import signal, sys
from pathlib import Path
from harness.record.journal import Journal
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in the background, where it is ignored
with Journal.create(Path(sys.argv[1])) as journal:
    for number in range(3):
        try:
            journal.append("sample", number=number)
        except KeyboardInterrupt:
            print(number)
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def journal_of(directory: Path, count: int) -> Path:
    with Journal.create(directory) as journal:
        for number in range(count):
            journal.append("sample", number=number, text="é\n\u2028")
    return directory / NAME


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5))
def test_what_is_appended_is_read_back(rows: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        with Journal.create(Path(name)) as journal:
            written = [journal.append("facts", data=row) for row in rows]
        assert read(Path(name)) == written
        assert [event.seq for event in written] == list(range(1, len(rows) + 1))


def test_a_line_is_plain_json_with_its_fields_in_order(tmp_path: Path) -> None:
    line = journal_of(tmp_path, 1).read_text(encoding="ascii")
    assert list(json.loads(line)) == ["seq", "time", "event", "data", "crc"]


def test_every_cut_of_the_last_line_is_readable_and_resumes(tmp_path: Path) -> None:
    whole = journal_of(tmp_path / "whole", 3).read_bytes()
    kept = whole.splitlines(keepends=True)
    for cut in range(len(whole) - len(kept[2]), len(whole)):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / NAME).write_bytes(whole[:cut])
        assert [event.data["number"] for event in read(directory)] == [0, 1]
        with Journal.reopen(directory) as journal:
            assert journal.append("sample", number=9).seq == 3
        assert [event.data["number"] for event in read(directory)] == [0, 1, 9]
        torn = directory / "journal.torn-1"
        assert (torn.read_bytes() if torn.exists() else b"") == whole[len(whole) - len(kept[2]) : cut]


@pytest.mark.parametrize("damage", [bytes(64), b"\n", b'{"seq":4', b"\xff\xfe"])
def test_what_a_crash_may_leave_at_the_end_is_set_aside(tmp_path: Path, damage: bytes) -> None:
    path = journal_of(tmp_path, 3)
    path.write_bytes(path.read_bytes() + damage)
    Journal.reopen(tmp_path).close()
    assert (tmp_path / "journal.torn-1").read_bytes() == damage
    assert len(read(tmp_path)) == 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_never_passes_for_data(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = journal_of(Path(name), 3)
        good = path.read_bytes()
        place = data.draw(st.integers(0, len(good) - 1))
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << data.draw(st.integers(0, 7))]) + good[place + 1 :])
        last = place >= good[:-1].rindex(b"\n") + 1
        if last:
            assert len(read(Path(name))) == 2
        else:
            with pytest.raises(TareError, match=r"line [123]"):
                read(Path(name))


def test_damage_in_the_middle_is_refused_with_file_line_and_fix_and_nothing_is_changed(tmp_path: Path) -> None:
    path = journal_of(tmp_path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in ([*lines[:1], *lines[2:]], [lines[1], lines[0], *lines[2:]], [lines[0], b"{}\n", *lines[2:]], lines * 2):
        path.write_bytes(b"".join(bad))
        with pytest.raises(TareError) as refused:
            Journal.reopen(tmp_path)
        assert f"{path}, line " in refused.value.brief and refused.value.hint
        assert refused.value.code == ExitCode.BAD_INPUT
        assert path.read_bytes() == b"".join(bad)


def test_two_writers_cannot_share_a_journal(tmp_path: Path) -> None:
    with Journal.create(tmp_path):
        with pytest.raises(TareError, match="another process"):
            Journal.reopen(tmp_path)
        with pytest.raises(TareError, match="exists already"):
            Journal.create(tmp_path)
    Journal.reopen(tmp_path).close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused_and_the_journal_goes_on(tmp_path: Path, value: float) -> None:
    with Journal.create(tmp_path) as journal:
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.append("sample", value=value)
        journal.append("sample", value=1.5)
    assert [event.data["value"] for event in read(tmp_path)] == [1.5]


def test_a_full_disk_is_an_error_that_names_the_file_and_keeps_the_rest(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append("sample", number=1)
        full = os.open("/dev/full", os.O_WRONLY)
        kept = os.dup(journal._descriptor)
        try:
            with pytest.raises(TareError, match="cannot write") as refused:
                _append_to(journal, full)
            assert str(tmp_path / NAME) in refused.value.brief and "free disk space" in refused.value.hint
            with pytest.raises(TareError):
                journal.append("sample", number=3)
        finally:
            os.close(full)
            os.close(kept)
    assert [event.data["number"] for event in read(tmp_path)] == [1]


def _append_to(journal: Journal, descriptor: int) -> None:
    """Append where the kernel says ENOSPC: /dev/full has size 0, so the journal must be at its beginning."""
    os.dup2(descriptor, journal._descriptor, inheritable=False)
    journal._end = (1, 0)
    journal.append("sample", number=2)


def test_an_interrupted_append_leaves_no_trace(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append("sample", number=1)
        with (tmp_path / NAME).open("ab") as handle:
            handle.write(b'{"seq":2,"ti')
        journal.append("sample", number=2)
    assert [event.data["number"] for event in read(tmp_path)] == [1, 2]


def _with_fault(script: str, directory: Path, fault: str) -> "subprocess.CompletedProcess[str]":
    call = fault.partition(":")[0]
    # -P: only calls on the journal count, not the interpreter's own.
    trace = directory.with_suffix(".trace")
    argv = ["strace", "-f", "-qq", "-o", str(trace), "-P", str(directory / NAME), "-e", f"trace={call}"]
    argv += ["-e", f"inject={fault}", sys.executable, "-c", script, str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("ptrace is not allowed here: run the tests on a host that lets strace attach")
    return done


@pytest.mark.skipif(shutil.which("strace") is None, reason="apt-get install strace")
def test_an_interrupt_after_a_whole_line_leaves_it(tmp_path: Path) -> None:
    done = _with_fault(INTERRUPTED, tmp_path / "run", "fdatasync:signal=INT:when=2")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert [event.data["number"] for event in read(tmp_path / "run")] == [0, 1, 2]


@pytest.mark.skipif(shutil.which("strace") is None, reason="apt-get install strace")
@pytest.mark.parametrize("fault", ["fdatasync:signal=KILL", "fdatasync:error=EIO", "write:error=ENOSPC"])
@pytest.mark.parametrize("when", [1, 3])
def test_killed_or_failing_at_a_system_call_keeps_what_was_acknowledged(tmp_path: Path, fault: str, when: int) -> None:
    directory = tmp_path / "run"
    done = _with_fault(APPEND, directory, f"{fault}:when={when}")
    assert done.returncode != 0
    acknowledged = [int(line) for line in done.stdout.split()]
    found = [event.data["number"] for event in read(directory)]
    assert acknowledged == list(range(when - 1)) and found[: len(acknowledged)] == acknowledged
    assert len(found) <= when
    with Journal.reopen(directory) as journal:
        journal.append("run-closed")


def test_absent_journal_is_bad_input(tmp_path: Path) -> None:
    for attempt in (read, Journal.reopen):
        with pytest.raises(TareError) as refused:
            attempt(tmp_path)
        assert refused.value.code == ExitCode.BAD_INPUT
