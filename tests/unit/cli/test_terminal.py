"""Progress is one live line on a terminal and plain lines elsewhere; nothing a tool prints can move the cursor."""

import io
import re
import threading

import pytest

from harness.cli.terminal import TerminalProgress, doctor_lines, duration, plain, plan_lines, table
from harness.host.doctor import Finding
from harness.host.facts import gather
from harness.model import Block, Case, Role, Skip
from harness.run.plan import Plan

CASE = Case(block=0, position=0, attempt=1, workload="cpu.x", cast={Role.SUBJECT: "docker/bridge"})
PLAN = Plan(
    blocks=(Block(number=0, workload="cpu.x", variants=("native", "docker/bridge")),),
    skips=(Skip(what="libvirt/kvm", reason="no guest boots", fix="use another host"),),
    seed=3,
    estimate_seconds=100,
)


def shown(live: bool) -> str:
    stream = io.StringIO()
    progress = TerminalProgress(stream, live)
    progress.plan(PLAN)
    progress.case_started(CASE, 0, 2, 75.0)
    progress.case_ended(CASE, "it said \x1b[2J\nno")
    progress.close()
    return stream.getvalue()


def test_plain_lines() -> None:
    text = shown(live=False)
    assert "\x1b" not in text
    assert "\r" not in text
    assert "[1/2] cpu.x on docker/bridge, block 1 of 1, 75 s left\n" in text
    assert "failed: cpu.x on docker/bridge, block 1: it said [2J no\n" in text


def on_screen(text: str) -> str:
    """The lines of a terminal after `text`, which moves by line feeds, carriage returns, CSI A and CSI K alone."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part[0] not in "\x1b\r":
            lines[row] += part
    return "\n".join(lines).rstrip("\n")


def test_a_live_line_is_taken_away_before_a_line_that_stays() -> None:
    stream = io.StringIO()
    progress = TerminalProgress(stream, live=True)
    for done in range(2):
        progress.case_started(CASE, done, 2, 75.0)
        assert on_screen(stream.getvalue()) == f"[{done + 1}/2] cpu.x on docker/bridge, block 1 of 0, 75 s left"
    progress.case_ended(CASE, "it said \x1b[2J\nno")
    assert on_screen(stream.getvalue()) == "failed: cpu.x on docker/bridge, block 1: it said [2J no"
    progress.case_started(CASE, 1, 2, None)
    progress.close()
    assert on_screen(stream.getvalue()) == "failed: cpu.x on docker/bridge, block 1: it said [2J no"


def test_a_live_line_runs_no_thread_and_leaves_the_cursor() -> None:
    stream = io.StringIO()
    before = threading.active_count()
    progress = TerminalProgress(stream, live=True)
    progress.case_started(CASE, 0, 2, 75.0)
    assert threading.active_count() == before
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")
    progress.close()


def test_a_long_live_line_stays_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    progress = TerminalProgress(stream, live=True)
    progress.case_started(CASE, 0, 2, 75.0)
    assert on_screen(stream.getvalue()) == "[1/2] cpu.x on docker/bridge, block 1 o…"
    progress.close()


def test_a_plan_says_what_is_skipped_and_how_long_it_takes() -> None:
    lines = plan_lines(PLAN)
    assert "  skipped: libvirt/kvm: no guest boots" in lines
    assert lines[-1] == "2 cases, seed 3, about 2 min"


def test_doctor_names_the_notes_in_its_verdict() -> None:
    facts = gather()
    note, unfit = Finding(severity="note", what="load"), Finding(severity="unfit", what="memory")
    assert doctor_lines(facts, [], "", True)[-1] == "this host is fit to measure"
    assert doctor_lines(facts, [note], "", True)[-1] == "this host is fit to measure, with 1 note: load"
    assert "not fit" in doctor_lines(facts, [note, unfit], "", False)[-1]


def test_words_and_columns() -> None:
    assert plain("a\x1b[31mb\n\tc\u202e") == "a[31mb c"
    assert [duration(seconds) for seconds in (5, 89, 600, 7500)] == ["5 s", "89 s", "10 min", "2 h 05 min"]
    assert table(("a", "b"), [("xx", "y")]) == ["a   b", "xx  y"]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_table_fits_a_terminal_and_is_plain_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    rows = [("日本", "one two three four five six")]
    assert table(("a", "b"), rows, io.StringIO()) == ["a     b", "日本  one two three four five six"]
    head, *body = table(("a", "b"), rows, Terminal())
    assert head.startswith("\x1b[1ma")
    assert body == ["日本  one two three four five", "      six"]
    monkeypatch.setenv("CI", "true")
    assert table(("a", "b"), rows, Terminal())[0] == "a     b"
