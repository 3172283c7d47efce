"""What each command of `tare` calls, one function per command; each imports what it needs when it runs."""

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths, requests
from harness.errors import ExitCode, bad_input

if TYPE_CHECKING:
    from harness.comparing.compare import Comparison
    from harness.report.stored import Stored
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
    from harness.host.facts import gather
    from harness.preview import expectations, plan_as_dict, preview
    from harness.terminal import expectation_lines, plan_lines

    asked = requests.asked(arguments)
    found = preview(
        asked.suite,
        asked.workloads,
        only_workloads=asked.only_workloads,
        only_variants=asked.variants,
        stopping=asked.stopping,
        seed=asked.seed,
    )
    expected = expectations(found, asked.stopping, asked.out, gather().fingerprint)
    _show(arguments, plan_as_dict(found, expected), [*plan_lines(found), *expectation_lines(expected)])
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


def claims(arguments: argparse.Namespace) -> int:
    """Verdicts on a document's claims by stored runs; GATE when one is contradicted and the user asked for that."""
    from harness.analysis.verdicts import verdicts
    from harness.claims import load_claims
    from harness.config import load_workloads
    from harness.report import claims as ledger
    from harness.report import markdown

    folder = requests.workloads_folder(arguments)
    known = load_claims(folder, load_workloads(folder))
    stored = _stored(arguments, arguments.runs)
    found = verdicts(known, [ledger.evidence(one) for one in stored])
    host = stored[0].fact("host") if stored else ""
    if arguments.markdown:
        _lines(markdown.claims(found))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        data = ledger.as_dict(found, [one.fact("run") for one in stored], host)
        _show(arguments, data, [ledger.text(found, width), "", ledger.count_words(found)])
    contradicted = any(one.word == "contradicted" for one in found)
    return ExitCode.GATE if arguments.fail_on and contradicted else ExitCode.FINE


def advise(arguments: argparse.Namespace) -> int:
    """Which variants meet the user's needs, by stored runs of this host."""
    from harness import advising

    width = shutil.get_terminal_size((120, 24)).columns
    glossary = advising.glossary(arguments)
    needs = () if arguments.list else advising.needs(arguments, glossary)
    # After what may be refused: these take seconds.
    from harness.report import advice as rendered
    from harness.report import terminal

    if arguments.list:
        listed = [dataclasses.asdict(term) for term in glossary.terms]
        _show(arguments, listed, [terminal.text(rendered.glossary(glossary.terms), width)])
        return ExitCode.FINE
    stored = _stored(arguments, arguments.run or ())
    found = advising.advise(needs, stored, arguments.variant or (), requests.results(arguments))
    if arguments.markdown:
        _lines(rendered.markdown(found))
    else:
        data = rendered.as_dict(found, [one.fact("run") for one in stored], stored[0].fact("host"))
        _show(arguments, data, [rendered.text(found, width)])
    return ExitCode.FINE


def compare(arguments: argparse.Namespace) -> int:
    """Compare sides of runs; GATE when a regression is certain and the user asked for that."""
    from harness.comparing import compare as comparing
    from harness.comparing.sides import open_side
    from harness.flags import parse_gate
    from harness.report import comparison as rendered

    folder, against = requests.results(arguments), arguments.against
    threshold = None if arguments.fail_on is None else parse_gate(arguments.fail_on, "--fail-on")
    sides = [open_side(word.split(","), folder, against) for word in arguments.sides]
    if arguments.baseline is None and len(sides) < 2:
        raise bad_input("SIDE", "one side cannot be compared", "name a second one, or --baseline last:5")
    if arguments.baseline is None:
        first, *sides = sides
        found = [comparing.compare(first, side, against=against, allowed=set(arguments.allow)) for side in sides]
    else:
        found = []
        for side in sides:
            first = comparing.baseline_side(arguments.baseline, side, folder, against)
            found.append(comparing.compare(first, side, against=against, allowed=set(arguments.allow)))
    if arguments.html:
        rendered.write_page(found, arguments.html)
    _show_comparisons(arguments, found)
    if threshold is None:
        return ExitCode.FINE
    gates = [comparing.gate(one.rows, threshold) for one in found]
    for one in gates:
        for line in rendered.gate_lines(one, threshold):
            print(line, file=sys.stderr)
    return ExitCode.GATE if any(one.failed for one in gates) else ExitCode.FINE


def export(arguments: argparse.Namespace) -> int:
    """Write a stored run's samples as CSV, Parquet or both, derived from its journal."""
    from harness import journal, records, samples
    from harness.store import find

    asked = {"--csv": arguments.csv, "--parquet": arguments.parquet}
    files = {flag: file for flag, file in asked.items() if file is not None}
    if not files:
        raise bad_input("export", "there is no file to write", "add --csv FILE, --parquet FILE or both")
    for flag, file in files.items():
        if not file.absolute().parent.is_dir():
            raise bad_input(flag, f"there is no folder {file.absolute().parent}", "name a file in a folder")
    rows = records.rows(journal.read(find(requests.results(arguments), arguments.run).directory))
    if arguments.csv is not None:
        samples.write_csv(rows, arguments.csv)
    if arguments.parquet is not None:
        from harness.scan import write_parquet

        write_parquet(rows, arguments.parquet)
    _lines(f"{len(rows)} samples written to {file}" for file in files.values())
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


def _stored(arguments: argparse.Namespace, words: Sequence[str]) -> "list[Stored]":
    """The runs that were named, newest first, or else all of the newest run's host."""
    from harness.report import claims as ledger
    from harness.store import find, runs

    results = requests.results(arguments)
    if words:
        # Newest first, whatever the order in which they were named.
        named = {(one := find(results, word)).name: one.directory for word in words}
        return ledger.load_named([named[name] for name in sorted(named, reverse=True)])
    stored, damaged = ledger.load_newest_host([one.directory for one in reversed(runs(results))])
    for line in damaged:
        print(line, file=sys.stderr)
    return stored


def _render(directory: Path) -> None:
    """The table on stdout, and the path of the report."""
    from harness import report

    print(report.summary(directory, shutil.get_terminal_size((100, 24)).columns))
    written = report.render(directory)
    paths.give_to_caller(directory)
    print(f"\nreport: {written[0]}")


def _show_comparisons(arguments: argparse.Namespace, found: "Sequence[Comparison]") -> None:
    from harness.report import comparison as rendered

    if arguments.json:
        print(json.dumps([rendered.as_json(one) for one in found], indent=2, ensure_ascii=False))
    elif arguments.markdown:
        print("\n".join(rendered.markdown(one) for one in found))
    else:
        print("\n\n".join(rendered.text(one, shutil.get_terminal_size((120, 24)).columns) for one in found))
    if arguments.html:
        print(f"page: {arguments.html}", file=sys.stderr)


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
