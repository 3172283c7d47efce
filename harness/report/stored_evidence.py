"""Stored runs as evidence for verdicts: what each measured, and which of them belong together."""

from collections.abc import Sequence
from pathlib import Path

from harness.analysis.trials import Evidence
from harness.analysis.verdicts import Verdict, verdicts
from harness.definitions.claims import load_claims
from harness.errors import TareError, bad_input
from harness.model import SOFTWARE
from harness.paths import data
from harness.report.stored_run import Stored, load


def evidence(stored: Stored) -> Evidence:
    """A stored run in the form that verdicts take."""
    natures = [
        *map(str, stored.samples["host_virtualized"].unique()),
        str(stored.mapping("host").get("host_virtualized")),
    ]
    skips = [one for one in stored.entries("skips") if isinstance(one, dict)]
    return Evidence(
        run=stored.fact("run"),
        samples=stored.samples,
        declared=stored.declared,
        host_virtualized=next((nature for nature in natures if nature in SOFTWARE), natures[0]),
        skips=tuple((str(one.get("what", "")), str(one.get("reason", ""))) for one in skips),
        baseline=stored.baseline,
        facts=proved(stored),
        unable=_unable(stored),
        host_kernel=str(stored.mapping("host").get("kernel") or ""),
    )


def proved(stored: Stored) -> dict[str, dict[str, str]]:
    """The facts of each variant's instances, and what a measure of isolation observed of them."""
    found: dict[str, dict[str, str]] = {}
    seen = [{"variant": name, "facts": facts} for name, facts in stored.mapping("instances").items()]
    for one in [*seen, *stored.observed("isolation")]:
        parts = [one, *(part for part in one.values() if isinstance(part, dict))]
        plain = {str(key): value for part in parts for key, value in part.items()}
        told = {key: str(value) for key, value in plain.items() if isinstance(value, str | int | float)}
        found.setdefault(str(one.get("variant")), {}).update(told)
    return found


def _unable(stored: Stored) -> dict[tuple[str, str], str]:
    """By workload and variant, why a measure has no such operation there."""
    entries = (one for one in stored.entries("observed") if isinstance(one, dict))
    return {
        (str(one.get("workload")), str(one.get("variant"))): str(one.get("reason"))
        for one in entries
        if one.get("what") == "unsupported"
    }


def of_run(stored: Stored) -> list[Verdict]:
    """The checkout's claims judged on this run alone. Raises TareError (bad input) for a wrong ledger."""
    return verdicts(load_claims(data("workloads")), [evidence(stored)])


def load_named(directories: Sequence[Path]) -> list[Stored]:
    """The runs that a user named. Raises TareError (bad input) for a damaged one, and for runs of several hosts."""
    found = [load(directory) for directory in directories]
    hosts = sorted({stored.fact("host") for stored in found})
    if len(hosts) > 1:
        raise bad_input("RUN", f"the runs are of {len(hosts)} hosts: {', '.join(hosts)}", "name runs of one host")
    return found


def load_newest_host(directories: Sequence[Path]) -> tuple[list[Stored], list[str]]:
    """Of all runs (newest first) those of the newest one's host; and why others that are damaged were left out."""
    found: list[Stored] = []
    damaged = []
    for directory in directories:
        try:
            stored = load(directory)
            # Asked for here, so that a metric whose unit changes damages this run and not the verdicts.
            _ = stored.values
        except TareError as error:
            damaged.append(f"left out: {error.brief}")
            continue
        if not found or stored.fact("host") == found[0].fact("host"):
            found.append(stored)
    return found, damaged
