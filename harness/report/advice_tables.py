"""Advice as tables and as text: the answer first, then each variant's results, then the ranking rule."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from harness.analysis.ranking import RULE, Advice, Candidate, Reason, gaps
from harness.definitions.needs import Need, Term
from harness.report import number_format, plain_text
from harness.report.table import Group, Line, Table, grouped

INTERVAL = "[90 %]"


def answer(found: Advice) -> str:
    """What is advised, or why nothing is, as one sentence."""
    if not found.ranked:
        apart = " Emulated and nested guests are not ranked." if found.apart else ""
        return f"No variant can be advised: no need was measured.{apart}"
    first = found.ranked[0]
    if found.chosen is None:
        lacking = [one for one in first.reasons if one.word not in ("met", "met by the figure only")]
        said = "; ".join(f"{one.need.name} is {one.word}" for one in lacking)
        return f"No variant is known to meet all needs. The nearest is {first.variant}: {said}."
    also = [one.variant for one in found.ranked[1:] if one.word == first.word]
    sure = "" if first.word == "met" else " by the figure only; more blocks are needed to be certain"
    count = "the need" if len(first.reasons) == 1 else f"all {len(first.reasons)} needs"
    others = f" {_listed(also)} {'does' if len(also) == 1 else 'do'} too, ranked lower." if also else ""
    return f"{first.variant} meets {count}{sure}.{others}"


def need_words(need: Need) -> str:
    """A need with its meaning, its limit, and the fact or metric that measures it."""
    by = f"fact {need.fact}" if need.fact else f"{need.workload} {need.metric}"
    return f"{need.name}: {', '.join(part for part in (need.means, limit(need)) if part)} ({by})"


def limit(need: Need) -> str:
    """A need's limit in words."""
    if need.fact:
        return ""
    if not need.limited:
        return number_format.direction_words(need.direction)
    if need.overhead:
        return f"overhead at most {100 * need.high:g} %"
    return f"at most {_amount(need.high, need)}" if need.high < math.inf else f"at least {_amount(need.low, need)}"


def ranked_table(found: Advice) -> Table:
    """One group per candidate, best first, one row per need."""
    return _table("Variants, best first", ((f"{one.variant}: {_verdict(one)}", one) for one in found.ranked))


def apart_table(found: Advice) -> Table:
    """Variants that were emulated, nested or measured on an emulated host: shown, but not ranked."""
    groups = ((f"{one.variant}: {one.apart}", one) for one in found.apart)
    return _table("Emulated or nested guests: not ranked", groups, apart=True)


def notes(found: Advice) -> Iterator[str]:
    """Why each candidate stands before the next, what did not run, what to measure next, and the rule."""
    for one, after in pairwise(found.ranked):
        yield f"{one.variant} ranks before {after.variant}: {one.ahead}."
    if found.unmeasured:
        yield f"No need was measured on {_listed(found.unmeasured)}."
    for what, why in found.skips:
        yield f"{what} did not run: {why}."
    if lacking := " ".join(f"--workload {name}" for name in gaps(found)):
        yield f"Some needs are not measured. Measure them with: tare run --suite full {lacking}"
    yield f"Ranking: {RULE}"


def text(found: Advice, width: int) -> str:
    """All of it for a terminal, wrapped at `width` (at least 60)."""
    parts = [
        "\n".join(f"{number}. {need_words(need)}" for number, need in enumerate(found.needs, 1)),
        plain_text.wrapped([answer(found)], width).removeprefix("- "),
        *("\n".join(_entry(f"{number}. ", one, width)) for number, one in enumerate(ranked_table(found).groups, 1)),
    ]
    if found.apart:
        parts += [f"{apart_table(found).title}:"]
        parts += ["\n".join(_entry("", one, width)) for one in apart_table(found).groups]
    parts += [plain_text.wrapped(list(notes(found)), width)]
    return "\n\n".join(part for part in parts if part)


def markdown(found: Advice) -> Iterator[str]:
    """Lines: what is needed, the answer, every variant's reasons, and the rule."""
    from harness.report.markdown import escape, table

    yield "# tare: which variant\n"
    for number, need in enumerate(found.needs, 1):
        yield f"{number}. {escape(need_words(need))}"
    yield f"\n**{escape(answer(found))}**\n"
    for one in (ranked_table(found), apart_table(found)):
        if not one.empty:
            yield f"## {escape(one.title)}\n"
        for group in one.groups:
            yield f"### {escape(group.title)}\n"
            yield from table(replace(one, groups=(group,)))
    yield from (f"- {escape(note)}" for note in notes(found))


def _entry(number: str, group: Group, width: int) -> Iterator[str]:
    """One variant: each need with its word, figure, source and why."""
    yield f"{number}{group.title}"
    for section in group.sections:
        for name, word, value, source, why in section.rows:
            told = f"{value} ({source})" if value else source
            said = f"{name}: {word}; {'; '.join(part for part in (told, why) if part)}"
            yield from textwrap.wrap(said, max(width, 60), initial_indent=" " * 5, subsequent_indent=" " * 7)


def glossary(terms: Sequence[Term]) -> Table:
    """The short names of needs, under the factors of the source document."""
    lines = (Line((one.name, one.about or f"fact: {one.fact}", one.means), group=one.factor) for one in terms)
    return grouped("Needs", ("name", "measured by", "meaning"), lines)


def as_dict(found: Advice, runs: Sequence[str], host: str) -> dict[str, Any]:
    """For a script."""
    return {
        "host": host,
        "runs": list(runs),
        "needs": [{**_need(need), "limit": limit(need)} for need in found.needs],
        "answer": answer(found),
        "chosen": found.chosen.variant if found.chosen else None,
        "ranking": [{"rank": number, **_candidate(one)} for number, one in enumerate(found.ranked, 1)],
        "apart": [_candidate(one) for one in found.apart],
        "unmeasured": list(found.unmeasured),
        "skips": [{"what": what, "reason": why} for what, why in found.skips],
        "measure_next": list(gaps(found)),
        "rule": RULE,
    }


def _amount(end: float, need: Need) -> str:
    number, _, unit = number_format.humane(end, need.unit).partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}".rstrip()


def _verdict(one: Candidate) -> str:
    if one.word == "met":
        return "meets all"
    if one.word == "met by the figure only":
        return "meets all, by the figure only"
    return f"{_listed([reason.need.name for reason in one.reasons if reason.word == one.word])} {one.word}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _cells(one: Candidate) -> Iterator[tuple[str, ...]]:
    for reason in one.reasons:
        need = reason.need
        measured = (f"{need.workload} {need.metric}", f"n = {reason.n}") if reason.n else ()
        run = f"run {reason.run}" if reason.run else ""
        other = f"measured as {reason.variant}" if reason.variant not in ("", one.variant) else ""
        yield (
            ": ".join(filter(None, (need.name, limit(need)))),
            _word(reason, one),
            _figure(reason),
            ", ".join(filter(None, (*measured, run))),
            "; ".join(filter(None, (reason.why, other))),
        )


def _word(reason: Reason, one: Candidate) -> str:
    """The reason's word; what is measured of a candidate that stands apart has none but that."""
    return one.apart if one.apart and reason.word != "not measured" else reason.word


def _figure(reason: Reason) -> str:
    if reason.value is None:
        return ""
    return number_format.figure(reason.value, reason.low, reason.high, None if reason.against else reason.need.unit)


def _table(title: str, groups: Iterable[tuple[str, Candidate]], *, apart: bool = False) -> Table:
    columns = ("need", "result", f"figure {INTERVAL}", "measured by", "why")
    lines = (Line(cells, apart, heading) for heading, one in groups for cells in _cells(one))
    return grouped(title, columns, lines, numeric=columns[2:3], apart="")


def _need(need: Need) -> dict[str, Any]:
    ends = {name: None if math.isinf(end) else end for name, end in (("low", need.low), ("high", need.high))}
    return {**asdict(need), **ends}


def _candidate(one: Candidate) -> dict[str, Any]:
    reasons = []
    for reason in one.reasons:
        told = {key: value for key, value in asdict(reason).items() if key != "need"}
        ends = {key: None if told[key] is None or math.isinf(told[key]) else told[key] for key in ("low", "high")}
        reasons.append({"need": reason.need.name, **told, **ends, "word": _word(reason, one)})
    verdict = one.apart or one.word
    return {"variant": one.variant, "verdict": verdict, "ahead": one.ahead, "reasons": reasons}
