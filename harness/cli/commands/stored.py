"""Commands on stored runs: rendered, judged, compared, exported, removed."""

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import paths
from harness.cli.commands.output import print_lines, render, show
from harness.errors import ExitCode, TareError, bad_input
from harness.plugins import contained
from harness.run import request

SAMPLES = "samples.csv"

if TYPE_CHECKING:
    from harness.compare.comparison import Comparison
    from harness.report.stored_run import Stored


def report(arguments: argparse.Namespace) -> int:
    """Render a stored run again, by its name, its folder or its samples.csv."""
    render(_folder(request.results(arguments), arguments.run))
    return ExitCode.FINE


def claims(arguments: argparse.Namespace) -> int:
    """Verdicts on a document's claims by stored runs; GATE when one is contradicted and the user asked for that."""
    from harness.analysis.verdicts import verdicts
    from harness.definitions.claims import load_claims
    from harness.definitions.workloads import load_workloads
    from harness.report import claim_tables as ledger
    from harness.report import markdown, stored_evidence

    folder = request.workloads_folder(arguments)
    known = load_claims(folder, load_workloads(folder))
    stored = _stored(arguments, arguments.runs)
    found = verdicts(known, [stored_evidence.evidence(one) for one in stored])
    host = stored[0].fact("host") if stored else ""
    if arguments.markdown:
        print_lines(markdown.claims(found))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        data = ledger.as_dict(found, [one.fact("run") for one in stored], host)
        show(arguments, data, [ledger.text(found, width), "", ledger.count_words(found)])
    contradicted = any(one.word == "contradicted" for one in found)
    return ExitCode.GATE if arguments.fail_on and contradicted else ExitCode.FINE


def advise(arguments: argparse.Namespace) -> int:
    """Which variants meet the user's needs, by stored runs of this host."""
    from harness.cli import advising

    width = shutil.get_terminal_size((120, 24)).columns
    glossary = advising.glossary(arguments)
    needs = () if arguments.list else advising.needs(arguments, glossary)
    # After what may be refused: these take seconds.
    from harness.report import advice_tables as rendered
    from harness.report import plain_text

    if arguments.list:
        listed = [dataclasses.asdict(term) for term in glossary.terms]
        show(arguments, listed, [plain_text.text(rendered.glossary(glossary.terms), width)])
        return ExitCode.FINE
    stored = _stored(arguments, arguments.run or ())
    found = advising.advise(needs, stored, arguments.variant or (), request.results(arguments))
    if arguments.markdown:
        print_lines(rendered.markdown(found))
    else:
        data = rendered.as_dict(found, [one.fact("run") for one in stored], stored[0].fact("host"))
        show(arguments, data, [rendered.text(found, width)])
    return ExitCode.FINE


def compare(arguments: argparse.Namespace) -> int:
    """Compare sides of runs; GATE when a regression is certain and the user asked for that."""
    from harness.compare import comparison as comparing
    from harness.compare.sides import open_side
    from harness.definitions.options import parse_gate, parse_last
    from harness.report import comparison_page as rendered

    folder, against = request.results(arguments), arguments.against
    threshold = None if arguments.fail_on is None else parse_gate(arguments.fail_on, "--fail-on")
    if arguments.baseline is None and len(arguments.sides) < 2:
        raise bad_input("SIDE", "there is only one side", "name a second side, or add --baseline last:5")
    if arguments.baseline is not None and arguments.baseline.startswith("last:"):
        parse_last(arguments.baseline, "--baseline")
    sides = [open_side(word.split(","), folder, against) for word in arguments.sides]
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
    """Write a stored run's samples to files, each in the format of an exporter; they derive from its journal."""
    from harness.record import derive, journal
    from harness.record.exporters import exporter
    from harness.record.results import find

    usual = ((name, getattr(arguments, name)) for name in ("csv", "parquet"))
    files = [(name, file) for name, file in usual if file is not None]
    files += [(name, Path(file)) for name, file in arguments.to]
    if not files:
        raise bad_input("export", "no file to write is given", "add --csv FILE, --parquet FILE or --to FORMAT FILE")
    for name, file in files:
        if not file.absolute().parent.is_dir():
            raise bad_input(name, f"there is no folder {file.absolute().parent}", "name a file in a folder")
    writers = [(name, exporter(name), file) for name, file in files]
    rows = derive.rows(journal.read(find(request.results(arguments), arguments.run).directory))
    code = ExitCode.FINE
    for name, writer, file in writers:
        try:
            with contained(f"the exporter {name}", writer):
                writer.write(rows, file)
            print(f"{len(rows)} samples written to {file}")
        except TareError as error:
            print(f"tare: {error}", file=sys.stderr)
            code = ExitCode.CASE_FAILED
    return code


def prune(arguments: argparse.Namespace) -> int:
    """Remove all but the newest runs; not while one is being measured."""
    from harness.definitions.options import parse_count
    from harness.record import results as store
    from harness.rig.lock import host_lock

    keep = parse_count(arguments.keep, "--keep", least=0)
    with host_lock(paths.locks(), "prune"):
        removed = store.prune(request.results(arguments), keep)
    print_lines(f"removed {path}" for path in removed)
    print(f"{len(removed)} runs removed, at most {keep} kept")
    return ExitCode.FINE


def _folder(results: Path, word: str) -> Path:
    """The folder of the run that `word` names. A path needs no more than samples.csv there: a manifest may be missing.

    Raises TareError (bad input) where there is none.
    """
    from harness.record.results import find

    path = Path(word)
    folder = path.parent if path.name == SAMPLES else path
    named_by_path = "/" in word or path.name == SAMPLES
    return folder if named_by_path and (folder / SAMPLES).is_file() else find(results, word).directory


def _stored(arguments: argparse.Namespace, words: Sequence[str]) -> "list[Stored]":
    """The runs that were named, newest first, or else all of the newest run's host."""
    from harness.record.results import find, runs
    from harness.report import stored_evidence

    results = request.results(arguments)
    if words:
        # Newest first, whatever the order in which they were named.
        named = {(one := find(results, word)).name: one.directory for word in words}
        return stored_evidence.load_named([named[name] for name in sorted(named, reverse=True)])
    stored, damaged = stored_evidence.load_newest_host([one.directory for one in reversed(runs(results))])
    for line in damaged:
        print(line, file=sys.stderr)
    return stored


def _show_comparisons(arguments: argparse.Namespace, found: "Sequence[Comparison]") -> None:
    from harness.report import comparison_page as rendered

    if arguments.json:
        print(json.dumps([rendered.as_json(one) for one in found], indent=2, ensure_ascii=False))
    elif arguments.markdown:
        print("\n".join(rendered.markdown(one) for one in found))
    else:
        print("\n\n".join(rendered.text(one, shutil.get_terminal_size((120, 24)).columns) for one in found))
    if arguments.html:
        print(f"page: {arguments.html}", file=sys.stderr)
