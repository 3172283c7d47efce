"""What each command of `tare` calls, one function per command; each imports what it needs when it runs."""

from harness.commands.host import clean, doctor, image
from harness.commands.measuring import list_, plan, run
from harness.commands.shells import completion
from harness.commands.stored import advise, claims, compare, export, prune, report

__all__ = [
    "advise",
    "claims",
    "clean",
    "compare",
    "completion",
    "doctor",
    "export",
    "image",
    "list_",
    "plan",
    "prune",
    "report",
    "run",
]
