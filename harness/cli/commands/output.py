"""Print the output of commands."""

import argparse
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import paths


def show(arguments: argparse.Namespace, data: Any, lines: Iterable[str]) -> None:
    """Print `data` as JSON if --json was given, else the lines."""
    if arguments.json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        print_lines(lines)


def print_lines(lines: Iterable[str]) -> None:
    """Print each line as soon as it is available."""
    for line in lines:
        print(line)


def render(directory: Path) -> None:
    """Render the report of a run's folder; print its summary table and the path of the report."""
    from harness import report

    print(report.summary(directory, shutil.get_terminal_size((100, 24)).columns))
    written = report.render(directory)
    paths.give_to_caller(directory)
    print(f"\nreport: {written[0]}")
