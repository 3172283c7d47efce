"""Cleaning goes on past what it cannot remove, and says what that was."""

from collections.abc import Iterable

from harness.clean import clean
from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Leftover


class Shelf:
    """A sweeper over a list."""

    def __init__(self, *names: str, blind: bool = False) -> None:
        self.names = list(names)
        self.blind = blind

    def leftovers(self) -> Iterable[Leftover]:
        if self.blind:
            raise TareError("nobody answers", hint="start it")
        return [Leftover(kind="thing", name=name) for name in self.names]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        if leftover.name == "stuck":
            raise TareError("it is held", hint="let go")
        self.names.remove(leftover.name)


def test_what_can_be_removed_is_and_the_rest_is_listed() -> None:
    shelf, other = Shelf("a", "stuck", "b"), Shelf("c")
    done = clean([("shelf", shelf), ("blind", Shelf(blind=True)), ("other", other)], Deadline.after(5))
    assert [one.name for one in done.removed] == ["a", "b", "c"]
    assert shelf.names == ["stuck"]
    assert [(one.what, one.fix) for one in done.stuck] == [("thing stuck", "let go"), ("blind", "start it")]
