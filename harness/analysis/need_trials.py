"""Which trial or fact each need is judged by, for every variant: from the newest runs that are alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.analysis.overhead import ACCELERATOR_WORDS
from harness.analysis.trials import Evidence, Trial, ratios, values
from harness.definitions.needs import Need
from harness.model import Accelerator

OWN_KERNEL = "own-kernel"
"""The fact that the samples themselves prove."""
EMULATED_HOST = "emulated host"

Who = tuple[str, str]
"""A variant, and why its figures stand for nothing else (`emulated (tcg)`), empty where they may be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact of a variant in a run, and its proof."""

    word: str
    proof: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One need over all variants; `absent` gives the reason why others have none."""

    need: Need
    trials: Mapping[Who, Trial] = field(default_factory=dict)
    facts: Mapping[Who, Fact] = field(default_factory=dict)
    absent: Mapping[Who, str] = field(default_factory=dict)


def measured(need: Need, evidence: Sequence[Evidence]) -> Measured:
    """The trials or facts of a need in runs of one host (newest first).

    Figures of one need are alike in the workload's definition, parameters, shape and host's kernel: of the groups of
    runs that are, the newest with a figure of enough blocks counts, else the newest. In it each variant has the figure
    of its newest run with enough blocks, else of its newest. Facts are the newest.
    """
    if need.fact:
        return Measured(need=need, facts=_facts(need.fact, evidence))
    groups: dict[object, dict[Who, Trial]] = {}
    absent: dict[Who, str] = {}
    for one in evidence:
        for who in people([one]):
            if why := one.unable.get((need.workload, who[0])):
                absent.setdefault(who, f"no such operation: {why}")
        rows = _rows(need, one)
        if rows.empty:
            continue
        known = groups.setdefault(_circumstances(rows, one), {})
        for who, trial in _trials(need, rows, one):
            if who not in known or (known[who].flaw and not trial.flaw):
                known[who] = trial
        for who, why in _lost(rows, one):
            absent.setdefault(who, why)
    chosen = next((group for group in groups.values() if any(not trial.flaw for trial in group.values())), None)
    chosen = chosen or next((group for group in groups.values() if group), {})
    for group in groups.values():
        for who, trial in group.items():
            if who not in chosen:
                absent[who] = f"measured only with another definition, other parameters or another shape: {trial.run}"
    return Measured(need=need, trials=chosen, absent={who: why for who, why in absent.items() if who not in chosen})


def people(evidence: Sequence[Evidence]) -> list[Who]:
    """Every variant that left a row, in the order of the runs, newest first.

    Cases that failed before their instance proved an accelerator tell nothing where others of the variant did.
    """
    found: dict[tuple[str, str], Who] = {}
    for one in evidence:
        pairs = one.samples[["variant", "accelerator"]][one.samples["role"] == "subject"].drop_duplicates()
        for variant, accelerator in pairs.astype(str).itertuples(index=False, name=None):
            found.setdefault((variant, accelerator), (variant, _apart(accelerator, one)))
    proved = {variant for variant, accelerator in found if accelerator}
    return list(dict.fromkeys(who for (name, accelerator), who in found.items() if accelerator or name not in proved))


def _rows(need: Need, one: Evidence) -> pd.DataFrame:
    """The rows of the need's metric, and failures, whatever metric these name."""
    own = one.samples[(one.samples["workload"] == need.workload) & (one.samples["role"] == "subject")]
    return own[(own["metric"] == need.metric) | pd.to_numeric(own["value"], errors="coerce").isna()]


def _circumstances(rows: pd.DataFrame, one: Evidence) -> object:
    alike = rows.assign(shape=rows["shape"].astype(str).str.partition("@")[0])
    seen = alike[["definition", "parameters", "shape"]].drop_duplicates()
    return (one.host_kernel, *sorted(map(str, seen.itertuples(index=False, name=None))))


def _trials(need: Need, rows: pd.DataFrame, one: Evidence) -> Iterator[tuple[Who, Trial]]:
    found = ratios(rows, one, one.baseline) if need.overhead else values(rows, one)
    for trial in found:
        if trial.metric == need.metric and (need.overhead or trial.unit == need.unit):
            yield (trial.variant, _apart(trial.accelerator, one)), trial


def _lost(rows: pd.DataFrame, one: Evidence) -> Iterator[tuple[Who, str]]:
    """Variants whose cases failed or were discarded, with the last reason."""
    for (variant, accelerator), part in rows[rows["phase"] != "warmup"].groupby(["variant", "accelerator"], sort=False):
        bad = part[part["value"].isna() | ~part["valid"].astype(bool)]
        if not bad.empty:
            word = "failed" if bad["value"].isna().any() else "discarded"
            yield (
                (str(variant), _apart(str(accelerator), one)),
                f"{word}: {str(bad.iloc[-1]['reason']).partition(';')[0] or 'no reason given'}",
            )


def _apart(accelerator: str, one: Evidence) -> str:
    return ACCELERATOR_WORDS.get(accelerator, "") if one.on_hardware else EMULATED_HOST


def _facts(name: str, evidence: Sequence[Evidence]) -> dict[Who, Fact]:
    found: dict[Who, Fact] = {}
    for one in evidence:
        for who in people([one]):
            variant = who[0]
            fact = _kernel(one, variant) if name == OWN_KERNEL else None
            if fact is None and (word := one.facts.get(variant, {}).get(name)) is not None:
                fact = Fact(word=word, proof=f"{name}: {word}", run=one.run)
            if fact is not None:
                found.setdefault(who, fact)
    return found


def _kernel(one: Evidence, variant: str) -> Fact | None:
    """Whether a variant's kernel is its own: a guest's is, by its accelerator; of others a measure of isolation has
    compared it with the host's, or else its release tells."""
    subjects = one.samples[(one.samples["role"] == "subject") & (one.samples["kernel"] != "")]
    own = subjects[subjects["variant"] == variant]
    host = {*subjects[subjects["runtime"] == "native"]["kernel"], *([one.host_kernel] if one.host_kernel else [])}
    if own.empty:
        return None
    release, accelerator = str(own.iloc[-1]["kernel"]), str(own.iloc[-1]["accelerator"])
    if accelerator not in ("", Accelerator.NONE):
        return Fact(word="yes", proof=f"a guest's, {release} on {accelerator}", run=one.run)
    if (shared := one.facts.get(variant, {}).get("shared_kernel")) is not None:
        return Fact(word="no" if shared == "True" else "yes", proof=f"compared with the host's: {release}", run=one.run)
    if not host:
        return None
    if release in host:
        return Fact(word="no", proof=f"it runs on the host's, {release}", run=one.run)
    return Fact(word="yes", proof=f"{release}; the host's is {', '.join(sorted(host))}", run=one.run)
