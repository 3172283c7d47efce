"""The base of runtimes whose guests are child processes of the harness."""

from collections.abc import Iterable

from harness.deadline import Deadline
from harness.model import Leftover
from harness.runtimes.base import Runtime
from harness.runtimes.guests import labelled_processes


class ChildRuntime(Runtime):
    """A runtime whose guests are processes of `programs`, labelled in their environment.

    The rig removes the taps of its guests.
    """

    kind: str
    """The kind of its leftovers."""
    programs: tuple[str, ...]
    """The programs that carry the labels; other processes of a guest end with them."""

    def leftovers(self) -> Iterable[Leftover]:
        """Guests whose processes carry tare's labels, of any run."""
        return labelled_processes.leftovers(self.kind, *self.programs)

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Kill the labelled processes of a guest. Raises DeadlineExceeded when they do not end."""
        labelled_processes.kill(leftover.name, deadline, *self.programs)
