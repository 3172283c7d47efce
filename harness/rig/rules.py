"""Packet-filter rules with the run's label as a comment, which is how leftovers are found."""

import contextlib
import shlex
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from harness import process
from harness.deadline import Deadline
from harness.host.links import ALIAS, alias, inside
from harness.model import Leftover

KIND = "packet-filter-rule"
UNDO_SECONDS = 30.0


@contextlib.contextmanager
def open_rules(netns: str, run: str, deadline: Deadline, *rules: str) -> Iterator[None]:
    """Insert rules such as `filter FORWARD -i tare0 -j ACCEPT` (table, chain) before all others, until the end.

    Raises TareError when one cannot be inserted; then none is left.
    """
    with ExitStack() as undo:
        for rule in rules:
            table, chain, *words = rule.split()
            labelled = (chain, "-m", "comment", "--comment", alias(run), *words)
            undo.callback(_undo, netns, table, labelled)
            process.run(_iptables(netns, table, "-I", labelled), deadline)
        yield


def leftovers(netns: str, deadline: Deadline) -> Iterator[Leftover]:
    """Every rule with our label, of any table and run; nothing without iptables."""
    if process.have("iptables-save"):
        return
    table = ""
    for line in process.run(inside(netns, "iptables-save"), deadline, check=False).stdout.splitlines():
        if line.startswith("*"):
            table = line[1:]
        if line.startswith("-A") and ALIAS in line:
            words = shlex.split(line)
            comment = words[words.index("--comment") + 1] if "--comment" in words else ""
            if comment.startswith(ALIAS):
                yield Leftover(kind=KIND, name=" ".join((table, *words)), run=comment.removeprefix(ALIAS))


def remove(netns: str, leftover: Leftover, deadline: Deadline) -> None:
    """Remove a rule that `leftovers` found. Raises TareError."""
    table, _, *words = leftover.name.split()
    process.run(_iptables(netns, table, "-D", words), deadline)


def _undo(netns: str, table: str, words: Iterable[str]) -> None:
    """Delete a rule; one that is not there is fine."""
    process.run(_iptables(netns, table, "-D", words), Deadline.after(UNDO_SECONDS), check=False)


def _iptables(netns: str, table: str, action: str, words: Iterable[str]) -> tuple[str, ...]:
    return inside(netns, "iptables", "-w", "-t", table, action, *words)
