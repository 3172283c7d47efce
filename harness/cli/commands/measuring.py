"""Commands about measurements: list, plan and run."""

import argparse
import dataclasses
import json

from harness.cli.commands.host import show_host
from harness.cli.commands.output import render, show
from harness.errors import ExitCode
from harness.run import request


def list_(arguments: argparse.Namespace) -> int:
    """Print runtimes, variants, workloads and suites."""
    from harness.cli import listing

    found = listing.gather(request.workloads_folder(arguments))
    show(arguments, found.as_dict(), found.lines())
    return ExitCode.FINE


def plan(arguments: argparse.Namespace) -> int:
    """Print what a run would do."""
    from harness.cli.terminal import expectation_lines, plan_lines
    from harness.host.facts import gather
    from harness.run.preview import expectations, plan_as_dict, preview

    wanted = request.from_arguments(arguments)
    found = preview(
        wanted.suite,
        wanted.workloads,
        only_workloads=wanted.only_workloads,
        only_variants=wanted.variants,
        stopping=wanted.stopping,
        seed=wanted.seed,
    )
    expected = expectations(found, wanted.stopping, wanted.out, gather().fingerprint)
    show(arguments, plan_as_dict(found, expected), [*plan_lines(found), *expectation_lines(expected)])
    return ExitCode.FINE


def run(arguments: argparse.Namespace) -> int:
    """Measure. The table goes to stdout, progress to stderr."""
    if arguments.dry_run:
        return plan(arguments)
    from harness.cli.terminal import TerminalProgress
    from harness.run.loop import execute

    wanted = request.resumed(arguments) if arguments.resume else request.from_arguments(arguments)
    progress = TerminalProgress()
    show_host(progress)
    try:
        outcome = execute(wanted, progress)
    finally:
        progress.close()
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(outcome), "directory": str(outcome.directory)}))
    elif not outcome.interrupted:
        render(outcome.directory)
    if outcome.interrupted:
        progress.notify(f"interrupted; to finish the run: tare run --resume {outcome.directory.name}")
        return ExitCode.INTERRUPTED
    return ExitCode.CASE_FAILED if outcome.failed else ExitCode.FINE
