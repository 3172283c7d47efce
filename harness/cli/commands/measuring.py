"""Commands that measure: what there is to measure, what a run would do, and the run."""

import argparse
import dataclasses
import json

from harness.cli.commands.host import say_host
from harness.cli.commands.output import render, show
from harness.errors import ExitCode
from harness.run import request


def list_(arguments: argparse.Namespace) -> int:
    """Runtimes with their variants, workloads and suites."""
    from harness.cli import listing

    found = listing.gather(request.workloads_folder(arguments))
    show(arguments, found.as_dict(), found.lines())
    return ExitCode.FINE


def plan(arguments: argparse.Namespace) -> int:
    """What a run would do."""
    from harness.cli.terminal import expectation_lines, plan_lines
    from harness.host.facts import gather
    from harness.run.preview import expectations, plan_as_dict, preview

    asked = request.asked(arguments)
    found = preview(
        asked.suite,
        asked.workloads,
        only_workloads=asked.only_workloads,
        only_variants=asked.variants,
        stopping=asked.stopping,
        seed=asked.seed,
    )
    expected = expectations(found, asked.stopping, asked.out, gather().fingerprint)
    show(arguments, plan_as_dict(found, expected), [*plan_lines(found), *expectation_lines(expected)])
    return ExitCode.FINE


def run(arguments: argparse.Namespace) -> int:
    """Measure; the table goes to stdout, progress to stderr."""
    if arguments.dry_run:
        return plan(arguments)
    from harness.cli.terminal import TerminalProgress
    from harness.run.loop import execute

    asked = request.resumed(arguments) if arguments.resume else request.asked(arguments)
    progress = TerminalProgress()
    say_host(progress)
    try:
        outcome = execute(asked, progress)
    finally:
        progress.close()
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(outcome), "directory": str(outcome.directory)}))
    elif not outcome.interrupted:
        render(outcome.directory)
    if outcome.interrupted:
        progress.say(f"interrupted; finish it with: tare run --resume {outcome.directory.name}")
        return ExitCode.INTERRUPTED
    return ExitCode.CASE_FAILED if outcome.failed else ExitCode.FINE
