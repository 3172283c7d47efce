"""A stored run, read for rendering: samples.csv and manifest.json, with every text made safe to show."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.blocks import block_values
from harness.analysis.intervals import Estimate, geometric
from harness.analysis.overhead import Declared, Overhead, overheads
from harness.errors import bad_input
from harness.model import RESOURCES
from harness.record.columnar import read_samples
from harness.record.row import frame
from harness.report.foreign_input import all_numbers
from harness.report.number_format import is_host_cost
from harness.report.variants import Subject, order, subjects

# Terminal escapes, and marks that turn the direction of text around, would let a name in a foreign CSV rewrite a page.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Stored:
    """One run as stored. `samples` has the CSV's columns, `manifest` may lack any key."""

    directory: Path
    samples: pd.DataFrame
    manifest: Mapping[str, Any]
    confidence: float

    @property
    def baseline(self) -> str:
        """The variant that others are divided by."""
        return str(self.manifest.get("baseline") or "native")

    @cached_property
    def overheads(self) -> list[Overhead]:
        """Every overhead of the run, in the samples' order."""
        return overheads(self.samples, self.baseline, self.confidence, self.declared)

    def against(self, baseline: str, workload: str) -> list[Overhead]:
        """A workload's overheads against any variant; against another than the baseline not adjusted for each other."""
        if baseline == self.baseline:
            return [one for one in self.overheads if one.workload == workload]
        if (baseline, workload) not in self._against:
            own = self.samples[self.samples["workload"] == workload]
            declared = replace(self.declared, primary=frozenset())
            self._against[baseline, workload] = overheads(own, baseline, self.confidence, declared)
        return self._against[baseline, workload]

    @cached_property
    def _against(self) -> dict[tuple[str, str], list[Overhead]]:
        return {}

    @cached_property
    def declared(self) -> Declared:
        """What the run declared beforehand; of a CSV without a manifest nothing is known."""
        plan = Counter(str(block.get("workload")) for block in self.entries("plan") if isinstance(block, dict))
        stopping, cpus = self.mapping("stopping"), self.mapping("host").get("logical_cpus")
        second, loads = stopping.get("second_stage"), self.mapping("loads")
        return Declared(
            planned=plan,
            primary=self._primary(),
            second_stage=second if type(second) is int else None,
            shares=all_numbers(stopping.get("shares")),
            loads={int(block): load for block, load in all_numbers(loads).items() if block.isdecimal()},
            cpus=cpus if type(cpus) is int and cpus > 0 else 1,
        )

    def _primary(self) -> set[tuple[str, str]]:
        """The primary metrics as the manifest's workloads have them, without one all that are no host cost."""
        known = {
            (workload, metric)
            for workload, metric in self.samples[["workload", "metric"]].drop_duplicates().itertuples(index=False)
        }
        declared = {pair for pair in known if self.metric(*pair).get("primary") is True}
        return declared or {pair for pair in known if not is_host_cost(pair[1])}

    @cached_property
    def values(self) -> pd.DataFrame:
        """The block values (see harness.analysis.overhead.block_values)."""
        return block_values(self.samples)

    def of_resource(self, resource: str) -> pd.DataFrame:
        """The block values of a resource's workloads."""
        return self.values[self.values["workload"].str.startswith(f"{resource}.").astype(bool)]

    def geometric(self, rows: pd.DataFrame) -> Estimate | None:
        """The geometric mean of block values and its interval; None where one is not positive, or none is there."""
        return geometric(rows["value"].astype(float).tolist(), self.confidence)

    @cached_property
    def subjects(self) -> dict[str, Subject]:
        """Each variant as it was measured; one whose every case failed early has no accelerator."""
        known = sorted(subjects(self.samples, self.baseline), key=lambda one: one.accelerator != "")
        return {one.variant: one for one in known}

    def order(self, variant: str) -> tuple[int, str]:
        """Sort key of a variant in the report."""
        subject = self.subjects.get(variant)
        return order(variant, subject.accelerator if subject else "", self.baseline)

    def emulated(self, variant: str) -> bool:
        """Whether a variant ran on software emulation."""
        subject = self.subjects.get(variant)
        return subject is not None and subject.emulated

    def mapping(self, key: str) -> dict[str, Any]:
        """A table of the manifest, empty where absent."""
        found = self.manifest.get(key)
        return dict(found) if isinstance(found, Mapping) else {}

    def entries(self, key: str) -> list[Any]:
        """A list of the manifest, empty where absent."""
        found = self.manifest.get(key)
        return list(found) if isinstance(found, list | tuple) else []

    def observed(self, resource: str) -> list[dict[str, Any]]:
        """What the measures of a resource's workloads recorded besides samples, each with its variant and block."""
        found = (one for one in self.entries("observed") if isinstance(one, dict))
        return [one for one in found if str(one.get("workload")).partition(".")[0] == resource]

    def metric(self, workload: str, metric: str) -> dict[str, Any]:
        """A metric's definition in the manifest's copy of the workload (source, primary …), empty where absent."""
        definition = self.mapping("workloads").get(workload)
        listed = definition.get("metrics") if isinstance(definition, dict) else None
        named = (one for one in listed or () if isinstance(one, dict) and one.get("name") == metric)
        return next(named, {})

    def fact(self, column: str) -> str:
        """The value of a column that is the same in all rows (`host`, `suite` …), or all its values, joined."""
        return ", ".join(str(value) for value in self.samples[column].unique() if value != "")


def load(directory: Path, confidence: float = 0.95) -> Stored:
    """Read a run folder. Raises TareError where samples.csv is missing, or it or manifest.json is damaged."""
    if not 0 < confidence < 1:
        raise bad_input("confidence", f"{confidence} is not between 0 and 1", "use a fraction such as 0.95")
    samples = frame(read_samples(directory / "samples.csv"))
    return stored(directory, samples, _manifest(directory / "manifest.json"), confidence)


def stored(directory: Path, samples: pd.DataFrame, manifest: Any, confidence: float = 0.95) -> Stored:
    """A run from its parts, every text in them made safe to show."""
    texts = [name for name in samples.columns if not pd.api.types.is_numeric_dtype(samples[name])]
    samples = _ordered(samples.assign(**{name: samples[name].astype(object).map(safe) for name in texts}))
    cleaned = _clean(manifest)
    return Stored(directory, samples, cleaned if isinstance(cleaned, dict) else {}, confidence)


def _ordered(samples: pd.DataFrame) -> pd.DataFrame:
    """By resource in the model's order, then workload; within them as measured: tables and plots follow the rows."""

    def rank(name: str) -> tuple[int, str]:
        resource = name.partition(".")[0]
        return (RESOURCES.index(resource) if resource in RESOURCES else len(RESOURCES), name)

    ranks = {name: number for number, name in enumerate(sorted(samples["workload"].unique(), key=rank))}
    return samples.sort_values("workload", key=lambda names: names.map(ranks), kind="stable", ignore_index=True)


def safe(text: str) -> str:
    """`text` on one line, without terminal escapes or direction marks."""
    return UNSAFE.sub("�", text.replace("\n", " ").replace("\t", " ")) if UNSAFE.search(text) else text


def _manifest(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise bad_input(str(path), f"not JSON ({error})", "restore it, or report without it") from error


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, dict):
        return {safe(str(key)): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
