"""The input of `tare advise`: needs, candidates, and variants that are configured alike."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.definitions.needs import Need, Term, load_needs, load_terms, parse_needs
from harness.definitions.toml_file import suggest
from harness.definitions.workloads import load_workloads
from harness.errors import bad_input
from harness.model import Variant, Workload
from harness.record.results import no_runs
from harness.run import request

if TYPE_CHECKING:
    from harness.analysis.ranking import Advice
    from harness.report.stored_run import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Glossary:
    """The names that a need can use."""

    terms: tuple[Term, ...]
    workloads: Mapping[str, Workload]


def glossary(arguments: argparse.Namespace) -> Glossary:
    """The terms and workloads of the workloads folder. Raises TareError (bad input) for a wrong file."""
    folder = request.workloads_folder(arguments)
    workloads = load_workloads(folder)
    return Glossary(terms=load_terms(folder, workloads), workloads=workloads)


def needs(arguments: argparse.Namespace, known: Glossary) -> tuple[Need, ...]:
    """The needs of the user's file or flags. Raises TareError (bad input) for wrong ones, both, or none."""
    if (arguments.file is None) == (not arguments.need):
        problem = "the needs are missing" if arguments.file is None else "a file of needs and --need are both given"
        raise bad_input(
            "advise", problem, "give a file of needs, or --need NAME=LIMIT (tare advise --list shows the names)"
        )
    if arguments.file is not None:
        return load_needs(arguments.file, known.terms, known.workloads)
    return parse_needs(arguments.need, known.terms, known.workloads)


def advise(asked: Sequence[Need], stored: "Sequence[Stored]", among: Sequence[str], results: Path) -> "Advice":
    """The advice by runs of one host, the newest first. Raises TareError (bad input) where there is no run, or none
    that measured a variant or runtime of `among`."""
    from harness.analysis.ranking import advise as judge
    from harness.report.stored_evidence import evidence

    if not stored:
        raise no_runs(results, "advise")
    runs = [evidence(one) for one in stored]
    measured = {str(name) for one in runs for name in one.samples["variant"].unique()}
    known = {*measured, *(name.partition("/")[0] for name in measured)}
    for word in among:
        if word not in known:
            raise bad_input("--variant", f"no run of this host measured {word}", suggest(word, known))
    return judge(asked, runs, among, alike(_variants()))


def alike(variants: Iterable[Variant]) -> dict[str, str]:
    """For each variant the first of those that are configured as it is: same runtime, form and options."""
    first: dict[object, str] = {}
    return {
        one.name: first.setdefault((one.runtime, one.form, *sorted(one.options.items())), one.name)
        for one in variants
        if one.options
    }


def _variants() -> list[Variant]:
    from harness.runtimes.catalog import load_catalog

    return list(load_catalog().variants.values())
