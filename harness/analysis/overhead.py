"""Overheads from samples: pure numbers, one paired difference per block, Student-t over the blocks.

The block is the only replicate: iterations of one instance are not independent, so each block gives one value per
variant (the metric's declared `summary`), and each pair of values in a block gives one difference.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from harness.errors import TareError

NATURE = ("unit", "direction", "scale", "summary")
"""What may not change within one metric of one workload."""

IDENTITY = ("workload", "metric", *NATURE, "variant", "runtime", "accelerator", "block")
FEW_BLOCKS = 5
SIGN_FLIPS = 10_000
"""Sign patterns tried at most: all of them up to 13 blocks, a seeded draw above."""

NO_VERDICT = "more than a tenth of the blocks missing: no verdict"
ACCELERATOR_WORDS = {"tcg": "emulated (tcg)", "kvm-nested": "nested (kvm-nested)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with its interval; `low` and `high` are None where n is 1 (no interval exists)."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What one variant costs the user against the baseline in one metric; positive costs.

    On the `log` scale `overhead`, `low`, `high` and `change` are relative (0.05 is 5 %), on `linear` they are
    differences in `unit`. `overhead` is None where it cannot be said; `flags` say why in words. `n` counts the paired
    blocks, `planned` the blocks that should have been. `p` is the sign-flip test's, unadjusted: a cross-check only.
    `verdict` is False where more than a tenth of the blocks is missing.
    """

    workload: str
    metric: str
    unit: str
    direction: str
    scale: str
    variant: str
    runtime: str
    accelerator: str
    baseline: str
    n: int
    planned: int
    baseline_value: float | None
    variant_value: float | None
    overhead: float | None
    low: float | None
    high: float | None
    change: float | None
    p: float | None
    flags: tuple[str, ...]
    verdict: bool


def usable(samples: pd.DataFrame) -> pd.DataFrame:
    """The rows that may count: the subject's, measured, valid, with a finite value, of a block's last attempt.

    A case that failed gives none, whatever it measured before: what survives a failure is no fair sample.
    """
    value = pd.to_numeric(samples["value"], errors="coerce").replace([np.inf, -np.inf], np.nan)
    good = (samples["role"] == "subject") & (samples["phase"] == "measured") & _truth(samples["valid"]) & value.notna()
    case = [samples[name] for name in ("workload", "metric", "variant", "block", "attempt", "role")]
    failed = (value.isna() & (samples["phase"] != "warmup")).groupby(case, dropna=False).transform("any")
    rows = samples.assign(value=value)[good & ~failed.astype(bool)]
    attempt = pd.to_numeric(rows["attempt"], errors="coerce").fillna(1)
    last = attempt.groupby([rows[name] for name in ("workload", "metric", "variant", "block")]).transform("max")
    return rows[attempt == last]


def block_values(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per workload, metric, variant and block: the declared `summary` of the usable iterations.

    Columns: those of IDENTITY, `value` and `iterations` (how many entered). Raises TareError when a metric's unit,
    direction, scale or summary changes within the run, or when the summary is not one that we know.
    """
    rows = usable(samples)
    _check_nature(rows)
    parts = []
    for summary, part in rows.groupby("summary", sort=False):
        if summary not in ("median", "mean", "min", "max"):
            raise TareError(f"unknown summary “{summary}” in the samples", hint="use median, mean, min or max")
        grouped = part.groupby(list(IDENTITY), sort=False, dropna=False)["value"]
        parts.append(grouped.agg(value=str(summary), iterations="count").reset_index())
    if not parts:
        return pd.DataFrame(columns=[*IDENTITY, "value", "iterations"])
    return pd.concat(parts, ignore_index=True)


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean and Student-t interval of `values` (Student 1908); raises ValueError on an empty sequence."""
    if not values:
        raise ValueError("no values to estimate from")
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Estimate(value=mean, low=None, high=None, n=1)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n)


def geometric(values: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Geometric mean and its interval (Student-t on the logarithms); None if a value is not positive or none is."""
    if not values or min(values) <= 0:
        return None
    return _through(math.exp, estimate([math.log(value) for value in values], confidence))


def sign_flip(differences: Sequence[float]) -> float | None:
    """Two-sided sign-flip p of mean zero (Fisher 1935); None below two differences. Least possible: 2 / 2^n."""
    if len(differences) < 2:
        return None
    result = stats.permutation_test(
        (np.asarray(differences),),
        lambda d, axis: np.mean(d, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=SIGN_FLIPS,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def overheads(
    samples: pd.DataFrame,
    baseline: str = "native",
    confidence: float = 0.95,
    planned: Mapping[str, int] | None = None,
) -> list[Overhead]:
    """Every variant's overhead against `baseline`, per workload and metric, in the samples' order.

    d = ±log(variant / baseline) per block (differences on the linear scale), signed so that positive costs the user;
    overhead = exp(mean d) − 1. `planned` is the number of blocks planned per workload; by default the blocks that
    left any row. A variant whose every case failed is listed without an overhead.
    """
    values = block_values(samples)
    subjects = samples[samples["role"] == "subject"]
    found = []
    for (workload, metric), rows in values.groupby(["workload", "metric"], sort=False):
        cases = subjects[subjects["workload"] == workload]
        known = max((planned or {}).get(str(workload), 0), cases["block"].nunique())
        base = _by_block(rows[rows["variant"] == baseline])
        for variant, accelerator, runtime in _subjects(cases, str(metric), baseline):
            own = _by_block(rows[(rows["variant"] == variant) & (rows["accelerator"] == accelerator)])
            relation = _relate(base, own, rows.iloc[0], confidence)
            paired = base.keys() & own.keys()
            missing = known - len(paired)
            flags = [ACCELERATOR_WORDS[accelerator]] if accelerator in ACCELERATOR_WORDS else []
            flags += relation.words
            flags += _lost(cases[cases["variant"].isin([variant, baseline])], str(metric), paired, known)
            if paired and missing * 10 > known:
                flags.append(NO_VERDICT)
            result = relation.result
            found.append(
                Overhead(
                    **{name: str(rows.iloc[0][name]) for name in ("workload", "metric", "unit", "direction", "scale")},
                    variant=variant,
                    runtime=runtime,
                    accelerator=accelerator,
                    baseline=baseline,
                    n=len(paired),
                    planned=known,
                    baseline_value=_median(base, paired),
                    variant_value=_median(own, paired),
                    overhead=result.value if result else None,
                    low=result.low if result else None,
                    high=result.high if result else None,
                    change=relation.change,
                    p=relation.p,
                    flags=tuple(flags),
                    verdict=result is not None and missing * 10 <= known,
                )
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Relation:
    """What the paired blocks of two variants say; `words` become flags."""

    result: Estimate | None = None
    change: float | None = None
    p: float | None = None
    words: tuple[str, ...] = ()


def _relate(
    base: Mapping[str, float], own: Mapping[str, float], nature: "pd.Series[str]", confidence: float
) -> _Relation:
    blocks = [block for block in base if block in own]
    if not blocks:
        why = "no value" if not own else "no baseline value" if not base else "no block in common with the baseline"
        return _Relation(words=(why,))
    log, sign = nature["scale"] == "log", -1.0 if nature["direction"] == "higher" else 1.0
    if log and min(min(base[block], own[block]) for block in blocks) <= 0:
        return _Relation(words=("zero or negative value on a log scale: no ratio",))
    raw = [math.log(own[block] / base[block]) if log else own[block] - base[block] for block in blocks]
    result, change = estimate([sign * d for d in raw], confidence), float(np.mean(raw))
    words = tuple(_about_n(result, raw))
    if log:
        result, change = _through(math.expm1, result), math.expm1(change)
    return _Relation(result=result, change=change, p=sign_flip(raw), words=words)


def _about_n(result: Estimate, differences: Sequence[float]) -> Iterator[str]:
    if result.n == 1:
        yield "one block: no interval"
    elif result.n < FEW_BLOCKS:
        yield "few blocks"
    if result.n > 1 and len(set(differences)) == 1:
        yield "no variation between blocks"


def _lost(cases: pd.DataFrame, metric: str, paired: AbstractSet[str], planned: int) -> list[str]:
    """How many blocks were voided and how many failed, in words; a failed case may name only one of its metrics."""
    rows = cases[(cases["phase"] != "warmup") & ~cases["block"].isin(paired)]
    empty = pd.to_numeric(rows["value"], errors="coerce").isna()
    failed = set(rows[empty]["block"])
    voided = set(rows[~_truth(rows["valid"]) & ~empty & (rows["metric"] == metric)]["block"]) - failed
    words = [("voided", len(voided)), ("failed", len(failed))]
    return [f"{word} {count} of {planned}" for word, count in words if count]


def _subjects(cases: pd.DataFrame, metric: str, baseline: str) -> Iterator[tuple[str, str, str]]:
    """Variant, accelerator and runtime that were to give `metric`; an accelerator unknown in failure is filled in."""
    rows = cases[cases["metric"].isin([metric, ""]) & (cases["variant"] != baseline)]
    seen = rows[["variant", "accelerator", "runtime"]].drop_duplicates().itertuples(index=False, name=None)
    triples = [(str(variant), str(accelerator), str(runtime)) for variant, accelerator, runtime in seen]
    proved = {variant for variant, accelerator, _ in triples if accelerator}
    yield from (triple for triple in triples if triple[1] or triple[0] not in proved)


def _by_block(rows: pd.DataFrame) -> dict[str, float]:
    return dict(zip(rows["block"], rows["value"].astype(float), strict=True))


def _check_nature(rows: pd.DataFrame) -> None:
    for name in NATURE:
        counts = rows.groupby(["workload", "metric"])[name].nunique()
        for where in counts[counts > 1].index:
            raise TareError(
                f"{' '.join(where)}: {name} changes within the run",
                details="values in different units or directions cannot be compared",
                hint="remove the foreign rows from samples.csv, or run `tare export --csv` again",
            )


def _truth(column: "pd.Series[str]") -> "pd.Series[bool]":
    return column.astype(str).str.lower().eq("true")


def _through(function: Callable[[float], float], result: Estimate) -> Estimate:
    low, high = (None if end is None else function(end) for end in (result.low, result.high))
    return Estimate(value=function(result.value), low=low, high=high, n=result.n)


def _median(values: Mapping[str, float], paired: AbstractSet[str]) -> float | None:
    """Median over the paired blocks, or over all where none is paired."""
    chosen = [values[block] for block in paired] or list(values.values())
    return float(np.median(chosen)) if chosen else None
