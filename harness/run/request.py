"""The request for a run: from the command line, or from the journal of an interrupted run."""

import argparse
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import paths
from harness.errors import bad_input
from harness.model import Stopping, Suite, Workload

SEEDS = 10**9
BLOCKS_OF_THE_SUITE = Stopping()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request for a run; `resume` is the folder of the interrupted run to finish, or None."""

    suite: Suite
    workloads: Mapping[str, Workload]
    workloads_dir: Path
    variants: tuple[str, ...] | None = None
    only_workloads: tuple[str, ...] | None = None
    stopping: Stopping = BLOCKS_OF_THE_SUITE
    seed: int = 0
    out: Path
    command_line: tuple[str, ...] = ()
    resume: Path | None = None
    baseline: str = "native"


def from_arguments(arguments: argparse.Namespace) -> Request:
    """The request in the arguments of `run` or `plan`; checks every name and number.

    The baseline is always one of the variants. Raises TareError (bad input). Creates nothing.
    """
    from harness.definitions.options import parse_count
    from harness.definitions.suites import load_suite
    from harness.definitions.workloads import load_workloads

    folder = workloads_folder(arguments).absolute()
    seed = arguments.seed
    found = Request(
        suite=load_suite(arguments.suite, folder),
        workloads=load_workloads(folder),
        workloads_dir=folder,
        variants=tuple(dict.fromkeys([arguments.baseline, *arguments.variant])) if arguments.variant else None,
        only_workloads=tuple(arguments.workload) if arguments.workload else None,
        stopping=_stopping(arguments),
        seed=secrets.randbelow(SEEDS) if seed is None else parse_count(seed, "--seed", least=0, most=SEEDS - 1),
        out=results(arguments),
        command_line=arguments.command_line,
        baseline=arguments.baseline,
    )
    _check_names(found)
    return found


def resumed(arguments: argparse.Namespace) -> Request:
    """The request of an interrupted run, from its journal; other options have no effect.

    Raises TareError (bad input) if there is no such run, or if its workloads no longer exist.
    """
    from harness.definitions.suites import load_suite
    from harness.definitions.workloads import load_workloads
    from harness.record import derive
    from harness.record.results import find

    directory = find(results(arguments), arguments.resume, "--resume").directory
    opened = derive.read(directory).opened
    folder = Path(opened["workloads_dir"])
    found = Request(
        suite=load_suite(opened["suite"], folder),
        workloads=load_workloads(folder),
        workloads_dir=folder,
        variants=_tuple(opened["variants"]),
        only_workloads=_tuple(opened["only_workloads"]),
        stopping=Stopping(**{**opened["stopping"], "looks": tuple(opened["stopping"]["looks"])}),
        seed=opened["seed"],
        out=directory.parent,
        command_line=arguments.command_line,
        resume=directory,
        baseline=opened["baseline"],
    )
    _check_names(found)
    return found


def _stopping(arguments: argparse.Namespace) -> Stopping:
    """The stopping rule of the arguments; at most one of four options is allowed."""
    from harness.definitions.options import parse_count, parse_duration, parse_looks, parse_percent

    given = [name for name in ("blocks", "precision", "looks", "time") if getattr(arguments, name) is not None]
    if len(given) > 1:
        fix = f"use either --{given[0]} or --{given[1]}"
        raise bad_input(f"--{given[0]}, --{given[1]}", "two stopping rules given, one allowed", fix)
    if arguments.precision is not None:
        return Stopping(rule="precision", precision=parse_percent(arguments.precision, "--precision"))
    if arguments.looks is not None:
        return Stopping(rule="looks", looks=parse_looks(arguments.looks, "--looks"))
    if arguments.time is not None:
        return Stopping(rule="time", seconds=parse_duration(arguments.time, "--time"))
    blocks = arguments.blocks
    return Stopping(blocks=None if blocks is None else parse_count(blocks, "--blocks", most=10_000))


def _check_names(found: Request) -> None:
    from harness.run.preview import check_names
    from harness.runtimes.catalog import load_catalog

    check_names(
        found.suite,
        found.workloads,
        load_catalog(),
        only_workloads=found.only_workloads,
        only_variants=found.variants,
        baseline=found.baseline,
    )


def _tuple(words: list[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


def workloads_folder(arguments: argparse.Namespace) -> Path:
    """The folder of workloads: --workloads-dir, or the checkout's."""
    return arguments.workloads_dir or paths.data("workloads")


def results(arguments: argparse.Namespace) -> Path:
    """The results folder: --out, or the checkout's. It need not exist. Raises TareError (bad input) if it is a file."""
    out: Path = getattr(arguments, "out", None) or paths.data("results")
    if out.exists() and not out.is_dir():
        raise bad_input("--out", f"{out} is not a folder", "pass a folder to --out")
    return out
