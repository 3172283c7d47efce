"""Progress is one live line on a terminal and plain lines elsewhere; nothing a tool prints can move the cursor."""

import io

from harness.cli.terminal import TerminalProgress, duration, plain, plan_lines, table
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


def test_a_live_line_is_taken_away_before_a_line_that_stays() -> None:
    text = shown(live=True)
    assert "\r\x1b[K[1/2] cpu.x" in text
    assert "left\r\x1b[Kfailed: " in text
    assert text.count("\x1b") == 2


def test_a_plan_says_what_is_skipped_and_how_long_it_takes() -> None:
    lines = plan_lines(PLAN)
    assert "  skipped: libvirt/kvm: no guest boots" in lines
    assert lines[-1] == "2 cases, seed 3, about 2 min"


def test_words_and_columns() -> None:
    assert plain("a\x1b[31mb\n\tc\u202e") == "a[31mb c"
    assert [duration(seconds) for seconds in (5, 89, 600, 7500)] == ["5 s", "89 s", "10 min", "2 h 05 min"]
    assert table(("a", "b"), [("xx", "y")]) == ["a   b", "xx  y"]
