"""Validate the statistics of tare: simulated data, live A/A comparisons and injected slowdowns, with bounds.

Run by `make validate`, as root: python -m tests.validation [--quick] [--only simulated|aa|injected] [--seed N]
Exits with 1 if a figure misses its bound. Writes the result to results/validation/<date>-<host>.md.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness import paths
from harness.cli.terminal import host_line
from harness.errors import ExitCode
from harness.host.facts import HostFacts, gather
from tests.validation import checks, injected, live, simulated
from tests.validation.page import Part, write

SEED = 1
Run = Callable[[], Iterator[checks.Result]]


def main() -> int:
    """Run the selected parts; return 1 if a figure misses its bound."""
    arguments = _parser().parse_args()
    facts = gather()
    out = _out(arguments, facts)
    heading = [
        f"{host_line(facts)}, kernel {facts.kernel}",
        f"load {os.getloadavg()[0]:.2f} at the start, seed {arguments.seed}{', quick' if arguments.quick else ''}",
    ]
    print(*heading, sep="\n", flush=True)
    done: list[Part] = []
    for name, run in _parts(arguments).items():
        print(f"{name}:", flush=True)
        begun, results = time.monotonic(), []
        for result in run():
            results.append(result)
            print(result.line(), flush=True)
        done.append(Part(name=name, results=tuple(results), seconds=time.monotonic() - begun))
        print(f"  {name} took {done[-1].seconds:.0f} s", flush=True)
        if out:
            # Written after each part, so that an interrupt does not lose hours of results.
            write(out, heading, facts.versions, done)
    print(_end(done, out))
    return 1 if any(checks.bad(result) for part in done for result in part.results) else 0


def _end(done: Sequence[Part], out: Path | None) -> str:
    results = [result for part in done for result in part.results]
    missed, skipped = sum(map(checks.bad, results)), sum(result.status == "skipped" for result in results)
    words = [f"{missed} bounds missed" if missed else "no bound missed", *([f"{skipped} skipped"] if skipped else [])]
    return "; ".join([*words, *([f"written to {out}"] if out else [])])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.validation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small version in a few minutes; writes no file")
    parser.add_argument(
        "--only", choices=("simulated", "aa", "injected"), action="append", help="only this part; repeatable"
    )
    parser.add_argument("--seed", type=int, default=SEED, help=f"the random seed (default: {SEED})")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: in results/validation/)")
    parser.add_argument("--comparisons", type=int, metavar="N", help="number of A/A comparisons per runtime")
    text = "number of A/A rounds of a runtime; 0 excludes it from all live parts"
    parser.add_argument("--rounds", type=_rounds, action="append", default=[], metavar="RUNTIME=N", help=text)
    parser.add_argument("--windows", type=int, metavar="N", help="number of 12-round windows with an injected slowdown")
    return parser


def _rounds(text: str) -> tuple[str, int]:
    runtime, _, number = text.partition("=")
    if runtime not in live.VARIANTS or not number.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not RUNTIME=N with one of {', '.join(live.VARIANTS)}, e.g. native=100"
        )
    return runtime, int(number)


def _parts(arguments: argparse.Namespace) -> Mapping[str, Run]:
    """The function of each selected part."""
    quick, seed = arguments.quick, arguments.seed
    effort = checks.QUICK if quick else checks.FULL
    aa, dose = (live.QUICK, injected.QUICK) if quick else (live.Extent(), injected.Extent())
    wanted = {**aa.rounds, **dict(arguments.rounds)}
    aa = dataclasses.replace(
        aa,
        comparisons=arguments.comparisons or aa.comparisons,
        rounds={name: number for name, number in wanted.items() if number},
    )
    runtimes = tuple(name for name in dose.runtimes if wanted.get(name, 1))
    dose = dataclasses.replace(dose, windows=arguments.windows or dose.windows, runtimes=runtimes)
    # The part that is most sensitive to noise runs first, because the host's load may change later.
    runs: dict[str, Run] = {
        "injected": lambda: injected.checks(dose, seed),
        "aa": lambda: live.checks(aa, seed),
        "simulated": lambda: simulated.checks(effort, seed),
    }
    return {name: run for name, run in runs.items() if not arguments.only or name in arguments.only}


def _out(arguments: argparse.Namespace, facts: HostFacts) -> Path | None:
    """The file to write: --out, or for a full run a file with today's date; None if none is written."""
    if arguments.out or arguments.quick or arguments.only:
        return arguments.out  # type: ignore[no-any-return]
    return paths.data("results") / "validation" / f"{datetime.now(UTC):%Y-%m-%d}-{facts.name.lower()}.md"


if __name__ == "__main__":
    # As for Ctrl-C, so that a running child is terminated and cleans up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
