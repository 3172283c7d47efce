"""The claims ledger: the sentences of the source document, as data in `workloads/claims.toml`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Len

from harness.definitions.declaration import all_metrics
from harness.definitions.measurements import Measurement, Text, Wrong, unknown
from harness.definitions.toml_file import read_document
from harness.definitions.validation import validated
from harness.definitions.workloads import CLAIMS_FILE
from harness.errors import bad_input
from harness.model import Name, VariantName, Workload

_GUIDE = "see the claims around it in workloads/claims.toml"


Kind = Literal["ratio", "absolute", "order", "similar", "fact", "untestable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence or table cell of the source document, and how it is judged.

    `text` is quoted from the document; ` | ` separates the cells of a table row. `where` is the heading above it.
    For `ratio`, `order` and `similar`, the range from `low` to `high` is the overhead of each of `subjects` against
    `against` (0.05 is 5 %; positive is slower or larger). For `absolute` it is the subject's own value in `unit`. A
    missing end is open. `about` names the measurements, as `workload:metric`. `reading` is `ours` where tare turned a
    word of the document into a range. `needs` is a feature that tare lacks. `reason` is why a `fact` (so by design) or
    an `untestable` sentence is not measured.
    """

    id: Name
    where: Text
    text: Text
    kind: Kind
    about: Annotated[tuple[Measurement, ...], Len(0, 20)] = ()
    subjects: Annotated[tuple[VariantName, ...], Len(0, 20)] = ()
    against: VariantName | Literal[""] = ""
    low: Annotated[float, Gt(-1)] | None = None
    high: Annotated[float, Gt(-1)] | None = None
    unit: Literal["", "s", "bytes", "instances"] = ""
    reading: Literal["document", "ours"] = "document"
    needs: Annotated[str, Len(0, 100)] = ""
    reason: Annotated[str, Len(0, 300)] = ""

    @property
    def judged(self) -> bool:
        """Whether measured figures decide it."""
        return self.kind not in ("fact", "untestable")

    @property
    def measurements(self) -> tuple[tuple[str, str], ...]:
        """`about` as pairs of workload and metric."""
        pairs = (one.partition(":") for one in self.about)
        return tuple((workload, metric) for workload, _, metric in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The whole file."""

    claims: Annotated[tuple[Claim, ...], Len(1, 1000)]


def load_claims(folder: Path, workloads: Mapping[str, Workload] | None = None) -> tuple[Claim, ...]:
    """The claims of a workloads folder, in the file's order; measurements are checked against `workloads` if given.

    Raises TareError (bad input) with file, line and field for the first one that is wrong.
    """
    document = read_document(folder / CLAIMS_FILE)
    claims = validated(Ledger, document, _GUIDE).claims
    times = Counter(claim.id for claim in claims)
    for number, claim in enumerate(claims):
        for field, problem, fix in _problems(claim, times[claim.id], workloads):
            raise bad_input(document.where(("claims", number, field)), problem, fix)
    return claims


def _problems(claim: Claim, times: int, workloads: Mapping[str, Workload] | None) -> Wrong:
    """What is wrong with a claim whose types are right."""
    if times > 1:
        yield "id", f"{claim.id} occurs {times} times", "give each claim an id of its own"
    if not claim.judged:
        yield from _unmeasured(claim)
        return
    yield from _range(claim)
    if claim.reason:
        yield "reason", f"a claim of kind {claim.kind} is judged by figures", 'remove it, or write kind = "untestable"'
    if claim.kind == "absolute" and claim.against:
        yield "against", "an absolute claim is about the subject's own value", "remove that line"
    if claim.kind == "absolute" and not claim.unit:
        yield "unit", "is missing", 'add unit = "s" or unit = "bytes"'
    if claim.kind != "absolute" and claim.unit:
        yield "unit", "an overhead has no unit", "remove that line"
    if not claim.needs:
        yield from _incomplete(claim)
    if twice := next((name for name, number in Counter(claim.about).items() if number > 1), ""):
        yield "about", f"{twice} occurs twice", "name each measurement once"
    if workloads is not None:
        yield from _unknown(claim, workloads)


def _unmeasured(claim: Claim) -> Wrong:
    if not claim.reason:
        yield "reason", "is missing", 'add reason = "…": why it cannot be measured'
    for field in ("about", "subjects", "against", "low", "high", "unit"):
        if getattr(claim, field) not in ((), "", None):
            yield field, f"a claim of kind {claim.kind} is not judged by figures", "remove it, or choose another kind"


def _range(claim: Claim) -> Wrong:
    if claim.low is None and claim.high is None:
        yield "low", "low and high are missing: there is no range", "add low = … or high = …, or both"
    if claim.kind == "similar" and (claim.low is None or claim.high is None):
        yield "low" if claim.low is None else "high", "is missing: a similar claim needs both ends", "add it"
    if claim.low is not None and claim.high is not None and claim.low >= claim.high:
        yield "high", f"{claim.high:g} is not above low", "give the lower end as low"
    if claim.kind == "absolute" and min(claim.low or 0, claim.high or 0) < 0:
        yield "low" if (claim.low or 0) < 0 else "high", "is below zero", "give 0 or more"


def _incomplete(claim: Claim) -> Wrong:
    for field in ("about", "subjects"):
        if not getattr(claim, field):
            yield field, "is missing", f"add {field} = […], or needs = … for what tare cannot measure yet"
    if claim.kind != "absolute" and not claim.against:
        yield "against", "is missing", 'add against = "native" or another variant'
    if claim.against in claim.subjects:
        yield "against", f"{claim.against} is also among the subjects", "compare it with another variant"


def _unknown(claim: Claim, workloads: Mapping[str, Workload]) -> Wrong:
    """Measurements that no workload has, or that a claim of this kind cannot be about."""
    for workload, metric in claim.measurements:
        missing = list(unknown(workload, metric, workloads))
        yield from (("about", problem, fix) for _, problem, fix in missing)
        if missing:
            continue
        found = all_metrics(workloads[workload])[metric]
        if claim.unit and found.unit != claim.unit:
            yield "unit", f"{workload}:{metric} is measured in {found.unit}", f'write unit = "{found.unit}"'
        elif found.scale == "linear":
            yield "about", f"{workload}:{metric} is on a linear scale: it has no ratio", "choose another metric"
