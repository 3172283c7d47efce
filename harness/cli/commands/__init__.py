"""The commands of `tare`, one function per command. Each imports heavy modules only when it runs."""

from harness.cli.commands.completion import completion
from harness.cli.commands.host import clean, doctor, image
from harness.cli.commands.measuring import list_, plan, run
from harness.cli.commands.stored import advise, claims, compare, export, prune, report

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
