"""What a user needs of a variant, from a TOML file or from flags; the first need is the most important."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Len

from harness.definitions.declaration import all_metrics
from harness.definitions.measurements import Measurement, Text, Wrong, is_measurement, unknown
from harness.definitions.options import parse_amount
from harness.definitions.toml_file import read_document, suggest
from harness.definitions.validation import validated
from harness.definitions.workloads import NEEDS_FILE
from harness.errors import bad_input
from harness.model import Direction, Metric, Name, Workload

MOST = 50
"""The largest number of needs."""
_GUIDE = "see docs/advice.md"
_BETTER = {"lower": "at_most", "higher": "at_least"}
Amount = Annotated[int | float, Ge(0)] | Annotated[str, Len(1, 40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A short name for a measurement or a fact that the source document asks about, in `workloads/needs.toml`.

    `about` is `workload:metric`. `fact` names a fact of an instance, and `accepts` are the values that meet the need.
    """

    name: Name
    means: Text
    factor: Text
    about: Measurement | None = None
    fact: Annotated[str, Len(1, 80)] | None = None
    accepts: Annotated[tuple[Text, ...], Len(0, 20)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Glossary:
    """The file of terms."""

    terms: Annotated[tuple[Term, ...], Len(1, 200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """One need as the user wrote it: `about` is a term or `workload:metric`, with at most one limit.

    `at_most` and `at_least` are numbers in the metric's own unit, or texts such as `64 MiB`; `overhead` is a text such
    as `5 %`. Without a limit a measurement only ranks.
    """

    about: Annotated[str, Len(1, 90)]
    at_most: Amount | None = None
    at_least: Amount | None = None
    overhead: Annotated[str, Len(1, 40)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The user's file."""

    needs: Annotated[tuple[Stated, ...], Len(1, MOST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A need in terms of facts or figures.

    With `fact` it is met by a value among `accepts`; else by a value from `low` to `high` in `unit`. With `overhead`
    the range is of the overhead against the run's baseline (0.05 is 5 %). Open ends are infinite.
    """

    name: str
    means: str
    fact: str = ""
    accepts: tuple[str, ...] = ()
    workload: str = ""
    metric: str = ""
    unit: str = ""
    direction: Direction = "lower"
    overhead: bool = False
    low: float = -math.inf
    high: float = math.inf

    @property
    def limited(self) -> bool:
        """Whether it has a limit; without one it only ranks."""
        return bool(self.fact) or self.low > -math.inf or self.high < math.inf


def load_terms(folder: Path, workloads: Mapping[str, Workload]) -> tuple[Term, ...]:
    """The terms of a workloads folder; none without the file.

    Raises TareError (bad input) with file, line and field for the first that is wrong.
    """
    path = folder / NEEDS_FILE
    if not path.exists() and not path.is_symlink():
        return ()
    document = read_document(path)
    found = validated(Glossary, document, _GUIDE)
    times = Counter(term.name for term in found.terms)
    for number, term in enumerate(found.terms):
        for field, problem, fix in _term_problems(term, times[term.name], workloads):
            raise bad_input(document.where(("terms", number, field)), problem, fix)
    return found.terms


def load_needs(path: Path, terms: Sequence[Term], workloads: Mapping[str, Workload]) -> tuple[Need, ...]:
    """The needs of a user's file, in its order. Raises TareError (bad input) with file, line and field."""
    document = read_document(path)
    found = validated(Statement, document, _GUIDE)

    def where(number: int) -> Callable[[str], str]:
        return lambda field: document.where(("needs", number, field))

    return _distinct([(_need(one, where(at), terms, workloads), where(at)) for at, one in enumerate(found.needs)])


def parse_needs(texts: Sequence[str], terms: Sequence[Term], workloads: Mapping[str, Workload]) -> tuple[Need, ...]:
    """The needs of `--need` flags: `TERM`, `TERM=1s` (the required limit), `TERM=5%` (the maximum overhead).

    Raises TareError (bad input), naming the flag.
    """
    found = []
    for text in texts:

        def where(field: str, text: str = text) -> str:
            return f"--need {text}"

        about, equals, amount = text.partition("=")
        stated = Stated(about=about)
        if equals and amount.endswith("%"):
            stated = Stated(about=about, overhead=amount)
        elif equals:
            better = _BETTER[_metric(_measurement(about, where, terms, workloads), workloads).direction]
            stated = Stated(about=about, **{better: amount})
        found.append((_need(stated, where, terms, workloads), where))
    return _distinct(found)


def _distinct(found: Sequence[tuple[Need, Callable[[str], str]]]) -> tuple[Need, ...]:
    seen: set[tuple[object, ...]] = set()
    for need, where in found:
        key = (need.fact, need.workload, need.metric, need.overhead)
        if key in seen:
            raise bad_input(where("about"), f"{need.name} is stated twice", "state it once")
        seen.add(key)
    return tuple(need for need, _ in found)


def _need(
    stated: Stated, where: Callable[[str], str], terms: Sequence[Term], workloads: Mapping[str, Workload]
) -> Need:
    ends = {name: value for name in ("at_most", "at_least", "overhead") if (value := getattr(stated, name)) is not None}
    term = next((one for one in terms if one.name == stated.about), None)
    if term and term.fact:
        for field in ends:
            raise bad_input(where(field), f"{stated.about} is a fact: it has no limit", "remove it")
        return Need(name=term.name, means=term.means, fact=term.fact, accepts=term.accepts)
    if len(ends) > 1:
        first, second, *_ = ends
        raise bad_input(
            where(second), f"it stands beside {first}", "state one limit; write another need for the second"
        )
    about = _measurement(stated.about, where, terms, workloads)
    workload, metric = _split(about)
    found, overhead = _metric(about, workloads), stated.overhead is not None
    low, high = _range(stated, where, found.unit, found.direction)
    if overhead and found.scale == "linear":
        raise bad_input(where("overhead"), f"{about} is on a linear scale: it has no overhead", "write at_most = …")
    return Need(
        name=stated.about,
        means=term.means if term else workloads[workload].title,
        workload=workload,
        metric=metric,
        unit="" if overhead else found.unit,
        direction="lower" if overhead else found.direction,
        overhead=overhead,
        low=low,
        high=high,
    )


def _range(stated: Stated, where: Callable[[str], str], unit: str, direction: Direction) -> tuple[float, float]:
    """The range that meets the need; it is open on the better side."""
    if stated.overhead is not None:
        return -math.inf, parse_amount(stated.overhead, "%", where("overhead")) / 100
    for field, other, wrong in (("at_least", "at_most", "lower"), ("at_most", "at_least", "higher")):
        if getattr(stated, field) is not None and direction == wrong:
            raise bad_input(where(field), f"{wrong} is better for {stated.about}", f"write {other} = …")
    if stated.at_most is not None:
        return -math.inf, parse_amount(stated.at_most, unit, where("at_most"))
    if stated.at_least is not None:
        return parse_amount(stated.at_least, unit, where("at_least")), math.inf
    return -math.inf, math.inf


def _measurement(
    about: str, where: Callable[[str], str], terms: Sequence[Term], workloads: Mapping[str, Workload]
) -> str:
    """The `workload:metric` that `about` names, directly or as a term."""
    for term in terms:
        if term.name == about:
            if term.about is None:
                raise bad_input(where("about"), f"{about} is a fact: it has no limit", f"write {about} alone")
            return term.about
    if not is_measurement(about):
        near = suggest(about, [term.name for term in terms], "tare advise --list")
        fix = f"{near} (or write workload:metric, for example cpu.sysbench:rate)"
        raise bad_input(where("about"), f"{about!r} is not the name of a need", fix)
    for _, problem, fix in unknown(*_split(about), workloads):
        raise bad_input(where("about"), problem, fix)
    return about


def _term_problems(term: Term, times: int, workloads: Mapping[str, Workload]) -> Wrong:
    if times > 1:
        yield "name", f"{term.name} occurs {times} times", "give each term a name of its own"
    if (term.about is None) == (term.fact is None):
        yield "about", "a term is a measurement or a fact", "write either about = … or fact = …"
    if (term.fact is None) == bool(term.accepts):
        yield "accepts", "is needed for a fact, and only for a fact", "list the values that meet the need"
    if term.about is not None:
        for _, problem, fix in unknown(*_split(term.about), workloads):
            yield "about", problem, fix


def _split(about: str) -> tuple[str, str]:
    """The workload and the metric of a measurement."""
    workload, _, metric = about.partition(":")
    return workload, metric


def _metric(about: str, workloads: Mapping[str, Workload]) -> Metric:
    """The metric of a measurement."""
    workload, metric = _split(about)
    return all_metrics(workloads[workload])[metric]
