"""What runs measured of the claims' rows: which run counts, which rows must not, and why nothing is there."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from harness.analysis.blocks import block_values
from harness.analysis.intervals import Estimate, through, two_stage
from harness.analysis.overhead import ACCELERATOR_WORDS, FEW_BLOCKS, NO_VERDICT, Declared, Overhead, overheads
from harness.definitions.claims import Claim
from harness.model import SOFTWARE

CONFIDENCE = 0.90
"""Two one-sided tests at 5 % (see harness.analysis.verdicts)."""

HARDWARE = ("none", "kvm", "")
"""Accelerators that enter verdicts; a case that failed before its instance proved one has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One stored run; `samples` has the CSV's columns, `skips` what did not run and why.

    `facts` are what its instances proved of themselves, by variant; `unable` says of a workload and a variant why it
    gave no figure there without having failed; `host_kernel` is the release of the host's kernel.
    """

    run: str
    samples: pd.DataFrame
    declared: Declared
    host_virtualized: str = "none"
    skips: tuple[tuple[str, str], ...] = ()
    baseline: str = "native"
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unable: Mapping[tuple[str, str], str] = field(default_factory=dict)
    host_kernel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One row of a claim as one run measured it.

    `interval` gives overhead or value with an interval of any confidence; at `confidence` it is the 90 % one, wider
    where the run looked more than once. `logarithms` are the blocks' own, log-ratios or logarithms of values.
    """

    workload: str
    metric: str
    variant: str
    against: str
    unit: str
    run: str
    n: int
    whole: bool
    confidence: float
    logarithms: tuple[float, ...]
    interval: Callable[[float], Estimate]

    @property
    def flaw(self) -> str:
        """Why this row decides nothing; empty where it may."""
        if not self.whole:
            return NO_VERDICT
        return "" if self.n >= FEW_BLOCKS else f"few blocks: {self.n}, at least {FEW_BLOCKS} needed"

    @property
    def fit(self) -> bool:
        """Whether this row may decide."""
        return not self.flaw

    def logarithm(self, end: float) -> float:
        """An end of the claim's range on the scale of `logarithms`."""
        ratio = 1 + end if self.against else end
        return math.log(ratio) if ratio > 0 else -math.inf


def on_hardware(one: Evidence) -> bool:
    """Whether the run's host is real hardware, or a guest on it: an emulated host enters no verdict."""
    return one.host_virtualized not in SOFTWARE


def chosen_trials(claims: Sequence[Claim], evidence: Sequence[Evidence]) -> dict[str, list[Trial]]:
    """The rows of each claim by its id; of several runs (newest first) the newest that is fit, else the newest."""
    found: dict[str, dict[tuple[str, ...], Trial]] = {claim.id: {} for claim in claims}
    for one in evidence:
        blocks = planned_blocks(one)
        ratios = {against: _overheads(claims, one, against, blocks) for against in _baselines(claims, one)}
        values = block_values(_wanted([claim for claim in claims if claim.kind == "absolute"], one.samples))
        for claim in claims:
            absolute = claim.kind == "absolute"
            for trial in _values(claim, values, one, blocks) if absolute else _ratios(claim, ratios, one):
                key = (trial.workload, trial.metric, trial.variant, trial.against)
                if key not in found[claim.id] or (trial.fit and not found[claim.id][key].fit):
                    found[claim.id][key] = trial
    return {name: list(trials.values()) for name, trials in found.items()}


def absence(claim: Claim, evidence: Sequence[Evidence]) -> str:
    """The reason why the claim has no figure: emulated, nested, no runtime, failed, discarded, or not measured."""
    for one in evidence:
        if why := next(_apart(claim, one), ""):
            return why
    for one in evidence:
        if why := _skipped(claim, one):
            return f"runtime absent: {why}"
    for one in evidence:
        if why := _lost(claim, one):
            return why
    workloads = dict.fromkeys(workload for workload, _ in claim.measurements)
    variants = dict.fromkeys((*claim.subjects, claim.against))
    words = [f"--workload {name}" for name in workloads]
    words += [f"--variant {name}" for name in variants if name not in ("", "native")]
    return f"not measured yet: tare run {' '.join(words)}"


def matches(variant: str, name: str) -> bool:
    """Whether `name` is the variant, or the runtime that it is one of."""
    return variant == name or variant.startswith(f"{name}/")


def planned_blocks(one: Evidence) -> dict[str, int]:
    """How many blocks each workload should have: those planned, at least those that left any row."""
    left = one.samples[one.samples["role"] == "subject"].groupby("workload")["block"].nunique()
    names = {*one.declared.planned, *map(str, left.index)}
    return {name: max(one.declared.planned.get(name, 0), int(left.get(name, 0))) for name in names}


def _wanted(claims: Sequence[Claim], samples: pd.DataFrame) -> pd.DataFrame:
    """The rows of the claims' metrics and variants, without emulated and nested ones.

    Failures stay, whatever metric they name.
    """
    pairs = {pair for claim in claims for pair in claim.measurements}
    names = {name for claim in claims for name in _cast(claim)}
    samples = samples[samples["accelerator"].isin(HARDWARE)]
    variants = [one for one in samples["variant"].unique() if any(matches(str(one), name) for name in names)]
    samples = samples[samples["variant"].isin(variants)]
    listed = [pair in pairs for pair in zip(samples["workload"], samples["metric"], strict=True)]
    failed = pd.to_numeric(samples["value"], errors="coerce").isna() & samples["workload"].isin(
        {one for one, _ in pairs}
    )
    return samples[pd.Series(listed, index=samples.index, dtype=bool) | failed]


def _baselines(claims: Sequence[Claim], one: Evidence) -> list[str]:
    names = {claim.against for claim in claims if claim.against}
    return [str(found) for found in one.samples["variant"].unique() if any(matches(str(found), name) for name in names)]


def _overheads(claims: Sequence[Claim], one: Evidence, against: str, blocks: Mapping[str, int]) -> list[Overhead]:
    """What has a figure; adjusting for many is the verdicts' own matter."""
    wanted = _wanted([claim for claim in claims if claim.against and matches(against, claim.against)], one.samples)
    declared = replace(one.declared, planned=blocks, primary=frozenset())
    found = overheads(wanted, against, CONFIDENCE, declared)
    return [one for one in found if one.overhead is not None and one.scale == "log"]


def _ratios(claim: Claim, ratios: dict[str, list[Overhead]], evidence: Evidence) -> Iterator[Trial]:
    for against, rows in ratios.items():
        if not matches(against, claim.against):
            continue
        for one in rows:
            if (one.workload, one.metric) in claim.measurements and _eligible(claim, one.variant):
                yield Trial(
                    workload=one.workload,
                    metric=one.metric,
                    variant=one.variant,
                    against=against,
                    unit="",
                    run=evidence.run,
                    n=one.n,
                    whole=one.verdict,
                    confidence=one.confidence,
                    logarithms=one.differences,
                    interval=interval_of(one),
                )


def interval_of(one: Overhead) -> Callable[[float], Estimate]:
    """An overhead that there is, with an interval of any confidence."""

    def interval(confidence: float) -> Estimate:
        found = one.interval(confidence)
        assert found is not None, "only overheads that there are become trials"
        return found

    return interval


def _values(claim: Claim, values: pd.DataFrame, evidence: Evidence, blocks: Mapping[str, int]) -> Iterator[Trial]:
    """The geometric mean of a variant's own block values, in the claim's unit."""
    for (workload, metric, variant, unit), rows in values.groupby(
        ["workload", "metric", "variant", "unit"], sort=False
    ):
        own = rows.sort_values("block")
        if (workload, metric) not in claim.measurements or not _eligible(claim, str(variant)) or unit != claim.unit:
            continue
        if (own["value"] <= 0).any():
            continue
        known = blocks[str(workload)]
        logarithms = tuple(math.log(value) for value in own["value"])
        end = evidence.declared.second_stage
        pilot = len(own) if end is None else int((own["block"] < end).sum())
        yield Trial(
            workload=str(workload),
            metric=str(metric),
            variant=str(variant),
            against="",
            unit=str(unit),
            run=evidence.run,
            n=len(own),
            whole=(known - len(own)) * 10 <= known,
            confidence=1 - (1 - CONFIDENCE) * evidence.declared.shares.get(str(workload), 1.0),
            logarithms=logarithms,
            interval=geometric_interval(logarithms, pilot),
        )


def geometric_interval(logarithms: Sequence[float], pilot: int) -> Callable[[float], Estimate]:
    """The geometric mean with an interval of any confidence; `pilot` as in two_stage."""
    return lambda confidence: through(math.exp, two_stage(logarithms, pilot, confidence))


def _eligible(claim: Claim, variant: str) -> bool:
    return any(matches(variant, name) for name in claim.subjects)


def _cast(claim: Claim) -> tuple[str, ...]:
    return tuple(name for name in (*claim.subjects, claim.against) if name)


def _apart(claim: Claim, one: Evidence) -> Iterator[str]:
    """Guests that ran, but not on hardware: nested under a variant's own name, emulated beside it.

    Also in other workloads: what guests run on is the host's nature. Not where others of the run are on hardware.
    """
    rows = one.samples[one.samples["runtime"].isin({name.partition("/")[0] for name in _cast(claim)})]
    own = rows[rows["workload"].isin([workload for workload, _ in claim.measurements])]
    parts = [own] if rows["accelerator"].eq("kvm").any() else [own, rows]
    why = _skipped(claim, one)
    seen = pd.concat(parts)[["variant", "accelerator"]].drop_duplicates().itertuples(index=False, name=None)
    for variant, accelerator in seen:
        if accelerator in ACCELERATOR_WORDS:
            kind = "nested" if accelerator == "kvm-nested" else "emulated"
            beside = f" ({why})" if why else ""
            yield f"{kind}: {variant} ran on {accelerator} here, which enters no verdict about guests{beside}"


def _skipped(claim: Claim, one: Evidence) -> str:
    concerned = [*_cast(claim), *(workload for workload, _ in claim.measurements)]
    concerned += [name.partition("/")[0] for name in _cast(claim)]
    return next((f"{what}: {reason}" for what, reason in one.skips if what in concerned), "")


def _lost(claim: Claim, one: Evidence) -> str:
    """What failed or was discarded and left no figure, with the newest reason; failures before discards."""
    rows = one.samples[one.samples["workload"].isin([workload for workload, _ in claim.measurements])]
    variants = [name for name in rows["variant"].unique() if any(matches(str(name), word) for word in _cast(claim))]
    rows = rows[rows["variant"].isin(variants) & (rows["phase"] != "warmup")]
    failed = rows[rows["value"].isna()]
    discarded = rows[rows["value"].notna() & ~rows["valid"].astype(bool)]
    for word, part in (("failed", failed), ("discarded", discarded)):
        if not part.empty:
            last = part.iloc[-1]
            return f"{word}: {last['workload']} on {last['variant']}: {last['reason'] or 'no reason given'}"
    return ""
