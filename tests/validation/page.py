"""Write the validation result as Markdown: every figure with its error, bound, sample size and seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness import __version__, paths
from harness.durable import atomic_write
from tests.validation.checks import Absent, Result, bad

TITLES = {
    "simulated": "Simulated data with known truth",
    "aa": "Live A/A: identical workloads",
    "injected": "Injected slowdown of known size",
}
LIBRARIES = ("numpy", "scipy", "statsmodels")
HEAD = "| result | figure | value | standard error | bound | n | seed | note |\n|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The results of one part, and its duration in seconds."""

    name: str
    results: tuple[Result, ...]
    seconds: float


def write(path: Path, heading: Sequence[str], versions: Mapping[str, str], parts: Sequence[Part]) -> None:
    """Write the page atomically; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, "\n".join(lines(heading, versions, parts)).encode())
    paths.give_to_caller(path.parent)


def lines(heading: Sequence[str], versions: Mapping[str, str], parts: Sequence[Part]) -> Iterator[str]:
    """The page, line by line."""
    results = [result for part in parts for result in part.results]
    kept = sum(result.status == "ok" for result in results)
    yield f"# Validation of tare {__version__}, {datetime.now(UTC):%Y-%m-%d}\n"
    yield from (f"{line}  " for line in heading)
    libraries = {name: version(name) for name in LIBRARIES}
    yield ", ".join(f"{name} {text}" for name, text in {**libraries, **versions}.items())
    yield f"\n{kept} bounds met, {sum(map(bad, results))} missed, {_count(results, 'info')} figures without bound, "
    yield f"{_count(results, 'skipped')} skipped. Created by `python -m tests.validation`.\n"
    for part in parts:
        yield f"## {TITLES[part.name]} ({part.seconds:.0f} s)\n"
        yield HEAD
        yield from map(_row, part.results)
        yield ""


def _count(results: Sequence[Result], status: str) -> int:
    return sum(result.status == status for result in results)


def _row(result: Result) -> str:
    if isinstance(result, Absent):
        cells = [result.status, result.name, "", "", "", "", "", result.reason]
    else:
        error = "" if result.error is None else f"{result.error:.4f}"
        numbers = [f"{result.n:,}", str(result.seed), result.note]
        cells = [result.status, result.name, result.shown, error, result.bound, *numbers]
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |"
