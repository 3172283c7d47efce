"""The signalling overhead, from the stamps and clocks of lines that were sent."""

import pytest

from harness.deadline import Deadline
from harness.runtimes.agent.signalling import BOOT_ID, LINES, ROUNDS, SignalledLines, interval, signalling_overhead

HERE = BOOT_ID.read_text().strip()


def sent(boot: str, *, apart: float, writing: float, between: float, ahead: float = 0.0) -> SignalledLines:
    """Lines stamped `apart`, whose writes took `writing`, `between` after each, by a clock `ahead` of the host's."""
    begins = [100.0 + ahead + number * (writing + between) for number in range(LINES)]
    return SignalledLines(
        stamps=tuple(100.0 + writing + number * apart for number in range(LINES)),
        begins=tuple(begins),
        ends=tuple(begin + writing for begin in begins),
        boot=boot,
    )


class Script:
    """A channel with given answers."""

    def __init__(self, *answers: SignalledLines) -> None:
        self.answers = list(answers)
        self.requested: list[tuple[float, str, str]] = []

    def signal(
        self, lines: int, deadline: Deadline, *, pause: float = 0.0, device: str = "", watched: str = ""
    ) -> SignalledLines:
        self.requested.append((pause, device, watched))
        return self.answers.pop(0)


def test_one_clock_on_both_ends_shows_each_lines_way() -> None:
    script = Script(sent(HERE, apart=0.006, writing=0.0005, between=0.0055))
    cost = signalling_overhead(script, Deadline.after(10))
    assert (cost.method, cost.readings) == ("clock", LINES)
    assert cost.seconds == pytest.approx(0.0005) and cost.low == pytest.approx(cost.high)
    assert [pause > 0 for pause, _, _ in script.requested] == [True], "one by one, as the beacon's come"


def test_a_clock_of_its_own_leaves_the_interval() -> None:
    way = [sent("other", apart=apart, writing=0.001, between=0.0, ahead=-90.0) for apart in (1, 2, 3, 2, 2, 9)]
    script = Script(*way)
    cost = signalling_overhead(script, Deadline.after(10), device="/dev/ttyS1", watched="milestones")
    assert (cost.method, cost.readings) == ("interval", ROUNDS)
    assert [cost.low, cost.seconds, cost.high] == pytest.approx([2, 2, 9]), (
        "the first answer only said whose clock it is"
    )
    assert [pause for pause, _, _ in script.requested[1:]] == [0.0] * ROUNDS
    assert set(script.requested) <= {(pause, "/dev/ttyS1", "milestones") for pause, _, _ in script.requested}


def test_what_the_sender_did_between_its_writes_is_not_the_lines_cost() -> None:
    held_up = sent("other", apart=0.003, writing=0.001, between=0.002)
    assert interval(held_up) == pytest.approx(0.001), "the sender was the slowest part: its write is what remains"
    assert interval(sent("other", apart=0.003, writing=0.001, between=0.0)) == pytest.approx(0.003)
    at_once = sent("other", apart=0.0, writing=0.001, between=0.002)
    assert interval(at_once) == 0.0, "never less than nothing"
