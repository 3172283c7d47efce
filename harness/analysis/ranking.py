"""Which variants meet a user's needs, in which order, and why. Needs have an order and no weights.

RULE is the whole rule. Each need is judged as a claim is (see harness.analysis.verdicts): its 90 % interval within the
range or outside it. A variant that meets all does so at that certainty too (an intersection-union test: Berger & Hsu
1996, Statistical Science 11).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

from harness.analysis.need_trials import Measured, Who, measured, people
from harness.analysis.trials import Evidence, Trial, matches
from harness.analysis.verdicts import weighed
from harness.definitions.needs import Need

RULE = (
    "A variant ranks by its worst result: met (by the whole 90 % interval), met by the figure only, not measured, "
    "missed by the figure only, missed. Ties are broken by the result on each need, in the order in which the needs "
    "were stated, then by the figures in that order. There are no weights. A need that was not measured is not met. "
    "Emulated and nested guests are not ranked."
)

Word = Literal["met", "met by the figure only", "not measured", "missed by the figure only", "missed"]
WORDS: tuple[Word, ...] = get_args(Word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One need on one variant: the word and what it rests on.

    With a figure, `value` and its 90 % interval are in the need's unit, or an overhead `against` the baseline; `n`
    counts blocks of run `run`, `variant` is the one that was measured. `why` has the reason in words.
    """

    need: Need
    word: Word
    why: str = ""
    variant: str = ""
    against: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    run: str = ""

    @property
    def cost(self) -> float:
        """The figure such that less is better; infinite where there is none."""
        if self.value is None:
            return math.inf
        return -self.value if self.need.direction == "higher" else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A variant with a reason for each need, in their order; `ahead` is the reason why it ranks before the next one.

    `apart` is the reason why it is not ranked (`emulated (tcg)`).
    """

    variant: str
    reasons: tuple[Reason, ...]
    apart: str = ""
    ahead: str = ""

    @property
    def word(self) -> Word:
        """The worst of its words."""
        return max((one.word for one in self.reasons), key=WORDS.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Candidates in their order and those that are not ranked; variants on which no need was measured; and what did not
    run at all, with the reason."""

    needs: tuple[Need, ...]
    ranked: tuple[Candidate, ...]
    apart: tuple[Candidate, ...]
    unmeasured: tuple[str, ...]
    skips: tuple[tuple[str, str], ...]

    @property
    def chosen(self) -> Candidate | None:
        """The first candidate where it meets every need, by the figure at least."""
        return next((one for one in self.ranked[:1] if one.word in ("met", "met by the figure only")), None)


def advise(
    needs: Sequence[Need],
    evidence: Sequence[Evidence],
    among: Sequence[str] = (),
    same: Mapping[str, str] | None = None,
) -> Advice:
    """The variants of one host's runs (newest first) by the needs (at least one), in RULE's order.

    `among` names variants or runtimes, without any all but the runs' baselines. `same` has for a variant the name of
    one that is configured alike: the figures of both are that one's.
    """
    same = same or {}
    found = [measured(need, evidence) for need in needs]
    baselines = {one.baseline for one in evidence}
    who = dict.fromkeys((same.get(name, name), apart) for name, apart in people(evidence))
    asked = [one for one in who if (_among(one[0], among, same) if among else one[0] not in baselines)]
    everyone = [_candidate(one, found, same) for one in asked]
    candidates = [one for one in everyone if any(reason.word != "not measured" for reason in one.reasons)]
    ranked = sorted((one for one in candidates if not one.apart), key=_place)
    ahead = [replace(one, ahead=_ahead(one, after)) for one, after in pairwise(ranked)] + ranked[-1:]
    there = {name for name, _ in people(evidence)}
    skips = {what: why for one in reversed(evidence) for what, why in one.skips if what not in there}
    return Advice(
        needs=tuple(needs),
        ranked=tuple(ahead),
        apart=tuple(sorted((one for one in candidates if one.apart), key=lambda one: one.variant)),
        unmeasured=tuple(sorted(one.variant for one in everyone if one not in candidates)),
        skips=tuple(sorted((what, why) for what, why in skips.items() if not among or _among(what, among, same))),
    )


def _among(variant: str, among: Sequence[str], same: Mapping[str, str]) -> bool:
    return any(matches(variant, same.get(name, name)) for name in among)


def _candidate(who: Who, found: Sequence[Measured], same: Mapping[str, str]) -> Candidate:
    variant, apart = who
    names = [variant, *(name for name, canonical in same.items() if canonical == variant and name != variant)]
    reasons = (_reason(one, [(name, apart) for name in names]) for one in found)
    return Candidate(variant=variant, reasons=tuple(reasons), apart=apart)


def _reason(found: Measured, who: Sequence[Who]) -> Reason:
    """The word on one need, by the first of the names that was measured."""
    need = found.need
    for one in who:
        if fact := found.facts.get(one):
            word: Word = "met" if fact.word in need.accepts else "missed"
            return Reason(need=need, word=word, why=fact.proof, variant=one[0], run=fact.run)
        if trial := found.trials.get(one):
            return _judged(need, trial)
    why = next((found.absent[one] for one in who if one in found.absent), "no run measured it")
    return Reason(need=need, word="not measured", why="no run proved it" if need.fact else why)


def _judged(need: Need, trial: Trial) -> Reason:
    result, said = weighed(trial, trial.confidence, need.low, need.high)
    inside = need.low <= result.value <= need.high
    word: Word = "met by the figure only" if inside else "missed by the figure only"
    why = trial.flaw
    if said != "inconclusive":
        word = "met" if said == "supported" else "missed"
    elif not why and result.low is not None:
        why = "the interval includes the limit"
    return Reason(
        need=need,
        word=word,
        why=why,
        variant=trial.variant,
        against=trial.against,
        value=result.value,
        low=result.low,
        high=result.high,
        n=trial.n,
        run=trial.run,
    )


def _place(one: Candidate) -> tuple[int, tuple[int, ...], tuple[float, ...], str]:
    """RULE as a sort key; the name comes last, so that the order is the same each time."""
    words = tuple(WORDS.index(reason.word) for reason in one.reasons)
    return max(words), words, tuple(reason.cost for reason in one.reasons), one.variant


def _ahead(one: Candidate, after: Candidate) -> str:
    """Name the rule that ranked this candidate before the next one."""
    if one.word != after.word:
        worst = next(reason for reason in after.reasons if reason.word == after.word)
        return f"{worst.need.name} is {worst.word} on {after.variant}"
    for own, other in zip(one.reasons, after.reasons, strict=True):
        if own.word != other.word:
            return f"{own.need.name} is {own.word}, and {other.word} on {after.variant}"
    for own, other in zip(one.reasons, after.reasons, strict=True):
        if own.cost != other.cost:
            return f"{own.need.name} is better than on {after.variant}{_overlap(own, other)}"
    return "both are equal, so the order is alphabetical"


def _overlap(own: Reason, other: Reason) -> str:
    if own.low is None or own.high is None or other.low is None or other.high is None:
        return ", but one block gives no interval"
    return "" if own.high < other.low or other.high < own.low else ", but the intervals overlap"


def gaps(found: Advice) -> list[str]:
    """The workloads that some variant lacks, each once: what to measure next."""
    lacking = [reason.need for one in found.ranked for reason in one.reasons if reason.word == "not measured"]
    lacking += found.needs if found.unmeasured or not found.ranked else ()
    return [name for name in dict.fromkeys(need.workload for need in lacking) if name]
