"""The command that prints a shell completion script."""

import argparse
from pathlib import Path

from harness.errors import ExitCode


def completion(arguments: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    import shtab

    _complete_files(arguments.parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(arguments.parser, arguments.shell))
    return ExitCode.FINE


def _complete_files(parser: argparse.ArgumentParser, file: object, directory: object) -> None:
    """Mark the arguments that are paths for shtab, in all subparsers."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_files(inner, file, directory)
        elif action.type is Path:
            action.complete = directory if action.metavar == "DIR" else file  # type: ignore[attr-defined]
