"""What each command of `tare` calls, one function per command; each imports what it needs when it runs."""

import argparse
import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths, requests
from harness.errors import ExitCode, bad_input

if TYPE_CHECKING:
    from harness.terminal import TerminalProgress

IMAGE_SECONDS = 3600.0
CLEAN_SECONDS = 300.0
DOCTOR_SECONDS = 30.0


def doctor(arguments: argparse.Namespace) -> int:
    """What this host is and whether it is fit; HOST_NOT_FIT when it is not."""
    from harness.deadline import Deadline
    from harness.host.doctor import examine, fit, install_line
    from harness.host.facts import gather
    from harness.terminal import doctor_lines

    facts = gather()
    findings = examine(facts, Deadline.after(DOCTOR_SECONDS))
    data = {
        "fit": fit(findings),
        "install": install_line(findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "host": dataclasses.asdict(facts),
    }
    _show(arguments, data, doctor_lines(facts, findings, install_line(findings), fit(findings)))
    return ExitCode.FINE if fit(findings) else ExitCode.HOST_NOT_FIT


def list_(arguments: argparse.Namespace) -> int:
    """Runtimes with their variants, workloads and suites."""
    from harness import listing

    found = listing.gather(requests.workloads_folder(arguments))
    _show(arguments, found.as_dict(), found.lines())
    return ExitCode.FINE


def plan(arguments: argparse.Namespace) -> int:
    """What a run would do."""
    from harness.preview import plan_as_dict, preview
    from harness.terminal import plan_lines

    asked = requests.asked(arguments)
    found = preview(
        asked.suite,
        asked.workloads,
        only_workloads=asked.only_workloads,
        only_variants=asked.variants,
        stopping=asked.stopping,
        seed=asked.seed,
    )
    _show(arguments, plan_as_dict(found), plan_lines(found))
    return ExitCode.FINE


def run(arguments: argparse.Namespace) -> int:
    """Measure; the table goes to stdout, progress to stderr."""
    if arguments.dry_run:
        return plan(arguments)
    from harness.run import execute
    from harness.terminal import TerminalProgress

    asked = requests.resumed(arguments) if arguments.resume else requests.asked(arguments)
    progress = TerminalProgress()
    _say_host(progress)
    try:
        outcome = execute(asked, progress)
    finally:
        progress.close()
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(outcome), "directory": str(outcome.directory)}))
    elif not outcome.interrupted:
        _render(outcome.directory)
    if outcome.interrupted:
        progress.say(f"interrupted; finish it with: tare run --resume {outcome.directory.name}")
        return ExitCode.INTERRUPTED
    return ExitCode.CASE_FAILED if outcome.failed else ExitCode.FINE


def report(arguments: argparse.Namespace) -> int:
    """Render a stored run again."""
    from harness.store import find

    _render(find(requests.results(arguments), arguments.run).directory)
    return ExitCode.FINE


def export(arguments: argparse.Namespace) -> int:
    """Write a stored run's samples as CSV, derived from its journal."""
    from harness import journal, records, samples
    from harness.store import find

    directory = find(requests.results(arguments), arguments.run).directory
    if not arguments.csv.absolute().parent.is_dir():
        raise bad_input("--csv", f"there is no folder {arguments.csv.absolute().parent}", "name a file in a folder")
    rows = records.rows(journal.read(directory))
    samples.write_csv(rows, arguments.csv)
    print(f"{len(rows)} samples written to {arguments.csv}")
    return ExitCode.FINE


def image(arguments: argparse.Namespace) -> int:
    """Build, export or import the one root."""
    from harness import images
    from harness.deadline import Deadline
    from harness.terminal import TerminalProgress

    if (arguments.file is None) != (arguments.action == "build"):
        raise bad_input(f"image {arguments.action}", "FILE belongs to export and import", "tare image --help")
    say, deadline = TerminalProgress().say, Deadline.after(IMAGE_SECONDS)
    recipe, store = paths.data("images") / "root.toml", paths.state() / "images"
    if arguments.action == "import":
        root = images.import_root(arguments.file, store, recipe, deadline, say)
    else:
        root = images.ensure(recipe, store, deadline, say, rebuild=arguments.action == "build")
    if arguments.action == "export":
        images.export_root(root, arguments.file, deadline)
    print(f"root {root.digest} in {root.tar.parent}")
    return ExitCode.FINE


def prune(arguments: argparse.Namespace) -> int:
    """Remove all but the newest runs; not while one is being measured."""
    from harness import store
    from harness.flags import parse_count
    from harness.rig.lock import host_lock

    keep = parse_count(arguments.keep, "--keep", least=0)
    with host_lock(paths.locks(), "prune"):
        removed = store.prune(requests.results(arguments), keep)
    _lines(f"removed {path}" for path in removed)
    print(f"{len(removed)} runs removed, at most {keep} kept")
    return ExitCode.FINE


def clean(arguments: argparse.Namespace) -> int:
    """Remove what interrupted runs left on this host; CASE_FAILED when something of ours stays."""
    from harness import clean as cleaning
    from harness.deadline import Deadline
    from harness.rig.lock import host_lock
    from harness.terminal import TerminalProgress, skip_lines

    deadline = Deadline.after(CLEAN_SECONDS)
    with host_lock(paths.locks(), "clean"):
        done = cleaning.clean_host(deadline, TerminalProgress().say)
        _lines(f"removed {one.kind} {one.name}" for one in done.removed)
        _lines(skip_lines(done.stuck))
        if arguments.images:
            _lines(f"removed {folder}" for folder in cleaning.remove_images())
        if arguments.packages:
            _lines(f"removed package {name}" for name in cleaning.remove_packages(deadline))
    print(f"{len(done.removed)} leftovers removed, {len(done.stuck)} could not be")
    return ExitCode.CASE_FAILED if done.stuck else ExitCode.FINE


def completion(arguments: argparse.Namespace) -> int:
    """Print a shell's completion script."""
    import shtab

    _complete_files(arguments.parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(arguments.parser, arguments.shell))
    return ExitCode.FINE


def _render(directory: Path) -> None:
    """The table on stdout, and the path of the report."""
    from harness import report

    print(report.summary(directory, shutil.get_terminal_size((100, 24)).columns))
    written = report.render(directory)
    paths.give_to_caller(directory)
    print(f"\nreport: {written[0]}")


def _say_host(progress: "TerminalProgress") -> None:
    """Before a run: what this host is, and what makes it unfit or is missing."""
    from harness.deadline import Deadline
    from harness.host.doctor import examine
    from harness.host.facts import gather
    from harness.terminal import finding_lines, host_line

    facts = gather()
    progress.say(host_line(facts))
    troubles = [one for one in examine(facts, Deadline.after(DOCTOR_SECONDS)) if one.severity in ("unfit", "missing")]
    for line in finding_lines(troubles):
        progress.say(line)


def _show(arguments: argparse.Namespace, data: Any, lines: Iterable[str]) -> None:
    if arguments.json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        _lines(lines)


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _complete_files(parser: argparse.ArgumentParser, file: object, directory: object) -> None:
    """Tell shtab which arguments are paths (in all subparsers)."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_files(inner, file, directory)
        elif action.type is Path:
            action.complete = directory if action.metavar == "DIR" else file  # type: ignore[attr-defined]
