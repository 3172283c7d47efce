"""The outcome of a workload's cases beside its block values: which failed, which were discarded, and circumstances."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import pandas as pd

from harness.analysis.diagnosis import Arm, arms

READ = (
    *("workload", "metric", "variant", "accelerator", "runtime", "block", "phase", "value", "valid"),
    *("reason", "steal", "elapsed", "cpus", "mhz"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """The cases of one workload's subjects.

    `blocks` counts those that left any row. `subjects` are metric, variant, accelerator and runtime in the rows' order,
    each four once. `arms` and `discarded` are by metric and variant, `failed` is by variant: blocks with a row that is
    discarded, or without a value.
    """

    blocks: int
    subjects: Sequence[tuple[str, str, str, str]]
    arms: Mapping[tuple[str, str], Arm]
    discarded: Mapping[tuple[str, str], AbstractSet[int]]
    failed: Mapping[str, AbstractSet[int]]

    def others(self, metric: str, baseline: str) -> list[tuple[str, str, str]]:
        """Variant, accelerator and runtime that were to give `metric`, the baseline's left out.

        An accelerator that a failure left unknown is that of the variant's other cases, where there are any.
        """
        own = (who for who in self.subjects if who[0] in (metric, "") and who[1] != baseline)
        triples = dict.fromkeys((variant, accelerator, runtime) for _, variant, accelerator, runtime in own)
        proved = {variant for variant, accelerator, _ in triples if accelerator}
        return [triple for triple in triples if triple[1] or triple[0] not in proved]

    def lost(self, metric: str, variants: Sequence[str], paired: AbstractSet[int]) -> list[tuple[str, int]]:
        """Count the blocks of `variants` that are not paired: how many were discarded, then how many failed.

        A failed case may name only one of its metrics, and counts for each.
        """
        failed = {block for name in variants for block in self.failed.get(name, ())} - paired
        discarded = {block for name in variants for block in self.discarded.get((metric, name), ())} - paired
        return [("discarded", len(discarded - failed)), ("failed", len(failed))]


def sorted_out(samples: pd.DataFrame) -> dict[str, Cases]:
    """The subjects' cases by workload; `samples` has the CSV's columns."""
    subjects = samples[samples["role"] == "subject"][[*READ]]
    return {str(workload): _cases(rows) for workload, rows in subjects.groupby("workload", sort=False)}


def _cases(rows: pd.DataFrame) -> Cases:
    tried = rows[rows["phase"] != "warmup"]
    empty = pd.to_numeric(tried["value"], errors="coerce").isna()
    discarded = tried[~tried["valid"].astype(bool) & ~empty].groupby(["metric", "variant"])["block"]
    seen = rows[["metric", "variant", "accelerator", "runtime"]].drop_duplicates().astype(str)
    return Cases(
        blocks=rows["block"].nunique(),
        subjects=list(seen.itertuples(index=False, name=None)),
        arms=arms(rows[rows["phase"] == "measured"]),
        discarded={(str(metric), str(variant)): frozenset(blocks) for (metric, variant), blocks in discarded},
        failed={str(variant): frozenset(blocks) for variant, blocks in tried[empty].groupby("variant")["block"]},
    )
