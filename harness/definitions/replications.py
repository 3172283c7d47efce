"""Published comparisons, row by row, and the workloads that repeat them: `workloads/replications/*.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Len

from harness.definitions.declaration import all_metrics
from harness.definitions.measurements import Text, Wrong, unknown
from harness.definitions.toml_file import read_document, suggest
from harness.definitions.validation import check_file_name, validated
from harness.errors import bad_input
from harness.model import Name, VariantName, Workload

SHARE = "share"
"""The unit of figures that are shares of another variant's: only their ratios can be compared."""
_GUIDE = "see the rows around it, and CONTRIBUTING.md, “add a replication”"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One row of a published comparison.

    `published` has the figures in `unit`, by the variants that stand for what was compared. With `against`, ratios are
    relative to that variant. `workload` and `metric` repeat the row, and `differs` describes the differences. A row
    that cannot be repeated has only `why`, the reason.
    """

    what: Text
    workload: Name | Literal[""] = ""
    metric: Name | Literal[""] = ""
    unit: Annotated[str, Len(0, 20)] = ""
    against: VariantName | Literal[""] = ""
    differs: Annotated[str, Len(0, 300)] = ""
    published: Mapping[VariantName, Annotated[float, Gt(0)]] = field(default_factory=dict)
    why: Annotated[str, Len(0, 300)] = ""

    def ratio(self, variant: str) -> float | None:
        """A variant's published figure over that of `against`; None without such a pair."""
        if not self.against or variant == self.against:
            return None
        return self.published[variant] / self.published[self.against]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """A published comparison: `source` describes what its figures were read from, `address` is its location."""

    name: Name
    title: Text
    source: Text
    address: Text
    rows: Annotated[tuple[Published, ...], Len(1, 100)]

    @property
    def repeated(self) -> tuple[Published, ...]:
        """The rows that a workload repeats."""
        return tuple(row for row in self.rows if row.workload)


def load_replications(folder: Path, workloads: Mapping[str, Workload] | None = None) -> tuple[Replication, ...]:
    """The replications of a workloads folder, by file name; measurements are checked against `workloads` if given.

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


def _incomplete(row: Published) -> Wrong:
    """What is wrong with a row whose types are right."""
    needed = ("workload", "metric", "unit", "published")
    for name in needed:
        if row.why and getattr(row, name):
            yield name, "is given for a row that cannot be repeated", "remove it, or remove why = …"
        if not row.why and not getattr(row, name):
            yield name, "is missing", f"add {name} = …, or why = … if the row cannot be repeated"
    if row.against and row.against not in row.published:
        yield "against", f"there is no published figure of {row.against}", suggest(row.against, row.published)
    if row.unit == SHARE and not row.against:
        yield "against", "is missing: a share is of something", 'add against = "native"'


def _unknown(row: Published, workloads: Mapping[str, Workload] | None) -> Wrong:
    if workloads is None or not row.workload:
        return
    missing = list(unknown(row.workload, row.metric, workloads))
    yield from missing
    if not missing and row.unit not in (SHARE, unit := all_metrics(workloads[row.workload])[row.metric].unit):
        yield "unit", f"{row.workload}:{row.metric} is measured in {unit}", f'write "{unit}"'
