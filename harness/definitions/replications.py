"""Published comparisons, row by row, beside what repeats them here: data in `workloads/replications/*.toml`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Len

from harness.definitions.declaration import metric_units
from harness.definitions.toml_file import read_document, suggest
from harness.definitions.validation import check_file_name, validated
from harness.errors import bad_input
from harness.model import Name, VariantName, Workload

SHARE = "share"
"""The unit of figures that are shares of another variant's: only their ratio compares."""
_GUIDE = "see the rows around it, and CONTRIBUTING.md, “add a replication”"
Words = Annotated[str, Len(1, 300)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One row of a published comparison.

    `published` has its figures in `unit` by the variants that stand for what was compared; with `against`, ratios are
    taken to that one of them. `workload` and `metric` repeat it here, and `differs` says in what they do not. Of a row
    that cannot be repeated `why` says the reason, and nothing else is given.
    """

    what: Words
    workload: Name | Literal[""] = ""
    metric: Name | Literal[""] = ""
    unit: Annotated[str, Len(0, 20)] = ""
    against: VariantName | Literal[""] = ""
    differs: Annotated[str, Len(0, 300)] = ""
    published: Mapping[VariantName, Annotated[float, Gt(0)]] = field(default_factory=dict)
    why: Annotated[str, Len(0, 300)] = ""

    def ratio(self, variant: str) -> float | None:
        """A variant's published figure by that of `against`; None where there is no such pair."""
        if not self.against or variant == self.against:
            return None
        return self.published[variant] / self.published[self.against]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """A published comparison: `source` says in words what its figures were read from, `address` where that is."""

    name: Name
    title: Words
    source: Words
    address: Words
    rows: Annotated[tuple[Published, ...], Len(1, 100)]

    @property
    def repeated(self) -> tuple[Published, ...]:
        """The rows that a workload repeats."""
        return tuple(row for row in self.rows if row.workload)


def load_replications(folder: Path, workloads: Mapping[str, Workload] | None = None) -> tuple[Replication, ...]:
    """Those of a workloads folder, by file name; measurements are checked against `workloads` where given.

    Raises TareError (bad input) with file, line and field for the first one that is wrong.
    """
    return tuple(_load(path, workloads) for path in sorted((folder / "replications").glob("*.toml")))


def _load(path: Path, workloads: Mapping[str, Workload] | None) -> Replication:
    document = read_document(path)
    found = validated(Replication, document, _GUIDE)
    check_file_name(document, found.name)
    for number, row in enumerate(found.rows):
        for name, problem, fix in (*_incomplete(row), *_unknown(row, workloads)):
            raise bad_input(document.where(("rows", number, name)), problem, fix)
    return found


def _incomplete(row: Published) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a row beside its types: field, problem, fix."""
    needed = ("workload", "metric", "unit", "published")
    for name in needed:
        if row.why and getattr(row, name):
            yield name, "stands in a row that cannot be repeated", "remove it, or the reason why"
        if not row.why and not getattr(row, name):
            yield name, "is missing", f"add {name} = …, or say why the row cannot be repeated"
    if row.against and row.against not in row.published:
        yield "against", f"there is no published figure of {row.against}", suggest(row.against, row.published)
    if row.unit == SHARE and not row.against:
        yield "against", "is missing: a share is of something", 'add against = "native"'


def _unknown(row: Published, workloads: Mapping[str, Workload] | None) -> Iterator[tuple[str, str, str]]:
    if workloads is None or not row.workload:
        return
    if row.workload not in workloads:
        yield "workload", f"there is no workload {row.workload}", suggest(row.workload, workloads)
        return
    units = metric_units(workloads[row.workload])
    if row.metric not in units:
        yield "metric", f"{row.workload} has no metric {row.metric}", suggest(row.metric, units)
    elif row.unit not in (SHARE, units[row.metric]):
        yield "unit", f"{row.workload}:{row.metric} is measured in {units[row.metric]}", f'write "{units[row.metric]}"'
