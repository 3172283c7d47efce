"""The sides of a comparison: runs, folders of runs, CSV and Parquet files of any host, reduced to what compares."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.blocks import differences, moments
from harness.compare.contrast import Versions
from harness.errors import bad_input
from harness.record import results as store
from harness.record.columnar import open_source
from harness.record.manifest import NAME as MANIFEST
from harness.record.manifest import fact, primary_metrics, read_manifest

SAMPLES = "samples.csv"
BASELINE = "native"
_FIX = "name a run, a folder of runs, or a .csv or .parquet file"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """One file of samples, and what is known of its run from the manifest beside it (empty without one)."""

    samples: Path
    manifest: Mapping[str, Any]

    @property
    def baseline(self) -> str:
        """The variant that the run's others are divided by."""
        return str(self.manifest.get("baseline") or BASELINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: its name, its files, and the moments of all of its runs."""

    label: str
    files: tuple[SampleFile, ...]
    moments: pd.DataFrame

    @property
    def runs(self) -> frozenset[str]:
        """The ids of its runs."""
        return frozenset(map(str, self.moments["run"].unique()))

    def primary(self) -> set[tuple[str, str]]:
        """Workload and metric of every primary metric that the manifests name."""
        return {
            (str(name), metric)
            for file in self.files
            for name in fact(file.manifest, "workloads") or ()
            for metric in primary_metrics(file.manifest, str(name))
        }


def open_side(words: Sequence[str], results: Path, against: str | None = None, where: str = "SIDE") -> Side:
    """The side that one or more words name: a run, its folder, a folder of runs, a `.csv` or `.parquet` file.

    Each run is normalized to its own baseline, or to `against`. `where` is the argument or option that has the words.
    Raises TareError (bad input) for names that are not there, files that are not samples, and a run that is there
    twice.
    """
    files = [file for word in words for file in _resolve(word, results, where)]
    frames = []
    for file in files:
        with open_source(file.samples) as source:
            frames.append(moments(source, against or file.baseline))
    seen: set[str] = set()
    for file, frame in zip(files, frames, strict=True):
        own = set(map(str, frame["run"].unique()))
        if twice := sorted(own & seen):
            raise bad_input(str(file.samples), f"the run {twice[0]} is already on this side", "name each run once")
        seen |= own
    whole = pd.concat(frames, ignore_index=True)
    if whole.empty:
        fix = "name runs or exported files that have samples with valid=true"
        raise bad_input(", ".join(words), "there is no sample to compare", fix)
    return Side(label=", ".join(words), files=tuple(files), moments=whole)


def shared_run(before: Side, after: Side, against: str | None = None) -> Versions | None:
    """The block values of the one run that both sides are versions of; None where they have no run in common.

    Raises TareError (bad input) where a run is on both sides beside others: it would be compared with itself.
    """
    common = before.runs & after.runs
    if not common:
        return None
    if len(common | before.runs | after.runs) > 1:
        raise bad_input(f"{before.label} and {after.label}", f"both hold the run {min(common)}", "name it on one side")
    (run,) = common
    return Versions(before=_values(before, run, against), after=_values(after, run, against))


def _values(side: Side, run: str, against: str | None) -> dict[Any, dict[tuple[str, ...], dict[int, float]]]:
    found: dict[Any, dict[tuple[str, ...], dict[int, float]]] = {"normalized": {}, "raw": {}}
    with ExitStack() as stack:
        for file in side.files:
            source = stack.enter_context(open_source(file.samples))
            rows = differences(source, run, against or file.baseline)
            for *key, block, d, own in rows.itertuples(index=False, name=None):
                for view, value in (("normalized", d), ("raw", own)):
                    if not pd.isna(value):
                        found[view].setdefault(tuple(map(str, key)), {})[int(block)] = float(value)
    return found


def _resolve(word: str, results: Path, where: str) -> list[SampleFile]:
    path = Path(word)
    if path.suffix in (".csv", ".parquet"):
        if not path.exists():
            fix = f"check the path, or export the run: tare export RUN --{path.suffix[1:]} FILE"
            raise bad_input(where, f"there is no file {word}", fix)
        return [SampleFile(samples=path, manifest=_beside(path))]
    if path.is_dir() and not (path / SAMPLES).exists():
        inside = [run.directory for run in store.runs(path) if (run.directory / SAMPLES).is_file()]
        if not inside:
            raise bad_input(where, f"the folder {word} has no runs", _FIX)
        return _of_folders(inside)
    if "/" not in word and not store.runs(results):
        raise bad_input(where, f"there is no file {word}, and there are no runs in {results}", _FIX)
    folder = path if path.is_dir() and "/" in word else store.find(results, word, where).directory
    if not (folder / SAMPLES).is_file():
        raise bad_input(str(folder), f"has no {SAMPLES}", f"tare export {folder.name} --csv {folder / SAMPLES}")
    return _of_folders([folder])


def _of_folders(folders: Iterable[Path]) -> list[SampleFile]:
    return [SampleFile(samples=at / SAMPLES, manifest=_beside(at / SAMPLES)) for at in folders]


def _beside(samples: Path) -> Mapping[str, Any]:
    """The manifest in a run's folder; empty beside a file that is no run's."""
    own = samples.name == SAMPLES and (samples.parent / MANIFEST).is_file()
    return read_manifest(samples.parent) if own else {}
