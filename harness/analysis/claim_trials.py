"""Which trials each claim is judged by: of several runs the newest that may decide; and why a claim has none."""

from collections.abc import Iterator, Sequence

import pandas as pd

from harness.analysis.overhead import ACCELERATOR_WORDS
from harness.analysis.trials import Evidence, Trial, matches, ratios, values
from harness.definitions.claims import Claim

HARDWARE = ("none", "kvm", "")
"""Accelerators that enter verdicts; a case that failed before its instance proved one has none."""


def chosen_trials(claims: Sequence[Claim], evidence: Sequence[Evidence]) -> dict[str, list[Trial]]:
    """The trials of each claim by its id: of several runs (newest first) the newest that decides, else the newest."""
    found: dict[str, dict[tuple[str, ...], Trial]] = {claim.id: {} for claim in claims}
    for one in evidence:
        measured = list(_measured(claims, one))
        for claim in claims:
            known = found[claim.id]
            for trial in (trial for trial in measured if _about(claim, trial)):
                key = (trial.workload, trial.metric, trial.variant, trial.against)
                if key not in known or (known[key].flaw and not trial.flaw):
                    known[key] = trial
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


def _measured(claims: Sequence[Claim], one: Evidence) -> Iterator[Trial]:
    """Every trial of a run that a claim could be about."""
    names = {claim.against for claim in claims if claim.against}
    for against in map(str, one.samples["variant"].unique()):
        if any(matches(against, name) for name in names):
            compared = [claim for claim in claims if claim.against and matches(against, claim.against)]
            yield from ratios(_wanted(compared, one.samples), one, against)
    yield from values(_wanted([claim for claim in claims if claim.kind == "absolute"], one.samples), one)


def _about(claim: Claim, trial: Trial) -> bool:
    if (trial.workload, trial.metric) not in claim.measurements:
        return False
    if not any(matches(trial.variant, name) for name in claim.subjects):
        return False
    if claim.kind == "absolute":
        return not trial.against and trial.unit == claim.unit and (trial.scale == "log" or min(trial.points) > 0)
    return bool(trial.against) and matches(trial.against, claim.against) and trial.scale == "log"


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
            kind = "a nested" if accelerator == "kvm-nested" else "an emulated"
            beside = f" ({why})" if why else ""
            yield f"{variant} ran as {kind} guest, which no verdict about guests uses{beside}"


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
