"""Verdicts on claims by equivalence: an interval inside the claim's range, outside it, or neither.

The 90 % interval lying in the range is two one-sided tests at 5 % each (Schuirmann 1987, Journal of Pharmacokinetics
and Biopharmaceutics 15). When the truth is at an end of the range, each verdict therefore comes from at most 5 % of
runs. A claim over several rows is supported when every row is (an intersection-union test, which needs no adjustment:
Berger & Hsu 1996, Statistical Science 11), and contradicted when one row is outside after Bonferroni.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import stats

from harness.analysis.claim_trials import absence, chosen_trials
from harness.analysis.intervals import Estimate, estimate, relative, simultaneous
from harness.analysis.overhead import FEW_BLOCKS
from harness.analysis.trials import CONFIDENCE, Evidence, Trial
from harness.definitions.claims import Claim

MOST_BLOCKS = 10_000
"""More is not asked for: the truth is then at an end of the range, or the host too noisy."""

Word = Literal["supported", "contradicted", "inconclusive", "not measured here", "by design", "untestable"]
WORDS: tuple[Word, ...] = get_args(Word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row that a claim is judged by: an overhead as a fraction, or with `against` empty a value in `unit`.

    `low` and `high` end the 90 % interval over `n` blocks of run `run`. `word` is this row's own verdict, `reason` why
    it has none; `blocks` how many it would probably take, None where none would do or none is needed.
    """

    workload: str
    metric: str
    variant: str
    against: str
    unit: str
    value: float
    low: float | None
    high: float | None
    n: int
    run: str
    word: Word
    reason: str
    blocks: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A claim's verdict, its reason, and the figures that it rests on."""

    claim: Claim
    word: Word
    reason: str
    figures: tuple[Figure, ...] = ()


def judge(low_end: float, high_end: float, low: float, high: float) -> Word:
    """`supported` where the interval `low_end` to `high_end` lies in the range `low` to `high` (open ends: infinite),
    `contradicted` where it lies wholly outside, else `inconclusive`."""
    if low <= low_end and high_end <= high:
        return "supported"
    return "contradicted" if high_end < low or high < low_end else "inconclusive"


def weighed(trial: Trial, confidence: float, low: float, high: float) -> tuple[Estimate, Word]:
    """A trial's figure with an interval, and the verdict by it: `inconclusive` where the trial decides nothing."""
    result = trial.interval(confidence)
    if trial.flaw or result.low is None or result.high is None:
        return result, "inconclusive"
    return result, judge(result.low, result.high, low, high)


def judge_differences(d: Sequence[float], low: float, high: float) -> Word:
    """The verdict on an overhead from its blocks' log-ratios (positive costs); `low` and `high` are overheads.

    Fewer than 5 blocks decide nothing. Raises ValueError on an empty sequence.
    """
    result = estimate(d, CONFIDENCE)
    if result.n < FEW_BLOCKS or result.low is None or result.high is None:
        return "inconclusive"
    return judge(relative(result.low), relative(result.high), low, high)


def blocks_needed(mean: float, sd: float, low: float, high: float, confidence: float = CONFIDENCE) -> int | None:
    """The fewest blocks (5 or more) whose expected t-interval lies wholly inside or wholly outside the range.

    All four on one scale, for overheads that of their logarithms. None above 10,000: a mean at an end of the range
    needs infinitely many.
    """
    room = min(abs(mean - low), abs(mean - high))
    n = np.arange(FEW_BLOCKS, MOST_BLOCKS + 1)
    enough = n[stats.t.ppf(0.5 + confidence / 2, n - 1) * sd <= room * np.sqrt(n)]
    return int(enough[0]) if room > 0 and len(enough) else None


def verdicts(claims: Sequence[Claim], evidence: Sequence[Evidence]) -> list[Verdict]:
    """A verdict on each claim from the runs of one host, the newest first.

    Of each row the newest run with enough blocks counts, else the newest that measured it at all. Emulated and nested
    guests, and everything on a host that is itself emulated, are left out.
    """
    measured = [claim for claim in claims if claim.judged and not claim.needs]
    usable = [one for one in evidence if one.on_hardware]
    trials = chosen_trials(measured, usable)
    return [_verdict(claim, trials, usable, evidence) for claim in claims]


def counts(found: Sequence[Verdict]) -> dict[Word, int]:
    """How many claims got each word, in the words' order, zeros too."""
    return {word: sum(one.word == word for one in found) for word in WORDS}


def _verdict(
    claim: Claim,
    trials: Mapping[str, Sequence[Trial]],
    usable: Sequence[Evidence],
    evidence: Sequence[Evidence],
) -> Verdict:
    if not claim.judged:
        return Verdict(claim=claim, word="by design" if claim.kind == "fact" else "untestable", reason=claim.reason)
    if claim.needs:
        return Verdict(claim=claim, word="not measured here", reason=f"tare has no {claim.needs} yet")
    if evidence and not usable:
        why = f"emulated host ({evidence[0].host_virtualized}): no verdict uses its figures"
        return Verdict(claim=claim, word="not measured here", reason=why)
    if not (own := trials.get(claim.id)):
        return Verdict(claim=claim, word="not measured here", reason=absence(claim, usable))
    return _judged(claim, own)


def _judged(claim: Claim, trials: Sequence[Trial]) -> Verdict:
    """The verdict on a claim of which at least one row was measured."""
    low, high = _ends(claim)
    family = max(sum(not trial.flaw for trial in trials), 1)
    rows = tuple(_figure(trial, low, high, family) for trial in trials)
    outside = [row for row, trial in zip(rows, trials, strict=True) if _outside(trial, low, high, family)]
    there = {(trial.workload, trial.metric) for trial in trials}
    missing = [f"{workload}:{metric}" for workload, metric in claim.measurements if (workload, metric) not in there]
    if outside:
        said = "; ".join(f"{row.workload} {row.metric} is {_side(row, low)} the range" for row in outside)
        return Verdict(claim=claim, word="contradicted", reason=said, figures=rows)
    if not missing and all(row.word == "supported" for row in rows):
        said = (
            "the interval is inside the range" if len(rows) == 1 else f"all {len(rows)} intervals are inside the range"
        )
        return Verdict(claim=claim, word="supported", reason=said, figures=rows)
    said = "; ".join(_open(rows, missing, family))
    return Verdict(claim=claim, word="inconclusive", reason=said, figures=rows)


def _ends(claim: Claim) -> tuple[float, float]:
    return (-math.inf if claim.low is None else claim.low, math.inf if claim.high is None else claim.high)


def _outside(trial: Trial, low: float, high: float, family: int) -> bool:
    """Whether a row contradicts its claim although it is one of `family` that could."""
    return weighed(trial, simultaneous(trial.confidence, family), low, high)[1] == "contradicted"


def _figure(trial: Trial, low: float, high: float, family: int) -> Figure:
    result, word = weighed(trial, trial.confidence, low, high)
    inside = low <= result.value <= high
    needed = None
    if word == "inconclusive" and trial.n > 1 and trial.whole:
        confidence = trial.confidence if inside else simultaneous(trial.confidence, family)
        mean, sd = float(np.mean(trial.points)), float(np.std(trial.points, ddof=1))
        needed = blocks_needed(mean, sd, trial.on_scale(low), trial.on_scale(high), confidence)
        # The interval's own method may ask for a little more than the expected one.
        needed = None if needed is None else max(needed, trial.n + 1)
    return Figure(
        workload=trial.workload,
        metric=trial.metric,
        variant=trial.variant,
        against=trial.against,
        unit=trial.unit,
        value=result.value,
        low=result.low,
        high=result.high,
        n=trial.n,
        run=trial.run,
        word=word,
        reason=trial.flaw,
        blocks=needed,
    )


def _side(row: Figure, low: float) -> str:
    return "below" if row.value < low else "above"


def _open(rows: Sequence[Figure], missing: Sequence[str], family: int) -> Iterator[str]:
    """Why a claim is inconclusive, in words."""
    for reason in dict.fromkeys(row.reason for row in rows if row.reason):
        concerned = [row for row in rows if row.reason == reason]
        yield reason if len(concerned) == len(rows) else f"{reason} ({_names(concerned)})"
    undecided = [row for row in rows if row.word == "inconclusive" and not row.reason]
    if undecided:
        most = max(undecided, key=lambda row: math.inf if row.blocks is None else row.blocks)
        need = f"more than {MOST_BLOCKS:,} blocks" if most.blocks is None else f"about {most.blocks:,} blocks"
        yield f"the interval includes a limit of the range; {need} are needed in total, {most.n} exist"
    if any(row.word == "contradicted" for row in rows):
        yield f"one interval is outside the range, but not after adjusting for {family} rows"
    if missing:
        yield f"not measured yet: {', '.join(missing)}"


def _names(rows: Sequence[Figure]) -> str:
    return ", ".join(f"{row.workload} {row.metric}" for row in rows)
