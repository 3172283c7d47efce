"""The claims ledger: what the source document says, sentence by sentence, as data in `workloads/claims.toml`."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Len, Predicate

from harness.definitions.declaration import metric_units
from harness.definitions.toml_file import read_document, suggest
from harness.definitions.validation import validated
from harness.definitions.workloads import CLAIMS_FILE
from harness.errors import bad_input
from harness.model import Name, VariantName, Workload

MEASUREMENT = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}:[a-z0-9][a-z0-9.-]{0,40}")
_GUIDE = "see the claims around it in workloads/claims.toml"


def is_measurement(text: str) -> bool:
    """Whether `text` may name a metric of a workload: `workload:metric`."""
    return MEASUREMENT.fullmatch(text) is not None


Measurement = Annotated[str, Predicate(is_measurement)]
Kind = Literal["ratio", "absolute", "order", "similar", "fact", "untestable"]
Words = Annotated[str, Len(1, 300)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence or table cell of the source document, and how it is judged.

    `text` is the document's own, of a table row its cells with ` | ` between them; `where` is the heading it stands
    under. Of `ratio`, `order` and `similar` the range `low` to `high` is the overhead of a `subjects` variant against
    `against` (0.05 is 5 %, positive costs the user), of `absolute` the subject's own value in `unit`; an end that is
    not given is open. `about` names what is measured, as `workload:metric`. `reading` is `ours` where a word of the
    document became a range. `needs` is what tare must first be able to do. `reason` says why nothing can be measured
    of a `fact` (so by design) or of an `untestable` sentence.
    """

    id: Name
    where: Words
    text: Words
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
        """Whether figures can decide it."""
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
    """The claims of a workloads folder, in the file's order; measurements are checked against `workloads` where given.

    Raises TareError (bad input) with file, line and field for the first one that is wrong.
    """
    document = read_document(folder / CLAIMS_FILE)
    claims = validated(Ledger, document, _GUIDE).claims
    times = Counter(claim.id for claim in claims)
    for number, claim in enumerate(claims):
        for field, problem, fix in _problems(claim, times[claim.id], workloads):
            raise bad_input(document.where(("claims", number, field)), problem, fix)
    return claims


def _problems(claim: Claim, times: int, workloads: Mapping[str, Workload] | None) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a claim beside its types, the gravest first: field, problem, fix."""
    if times > 1:
        yield "id", f"{claim.id} is there {times} times", "give each claim an id of its own"
    if not claim.judged:
        yield from _told(claim)
        return
    yield from _range(claim)
    if claim.reason:
        yield "reason", f"a claim of kind {claim.kind} is judged by figures", "remove it, or make it untestable"
    if claim.kind == "absolute" and claim.against:
        yield "against", "an absolute claim is about the subject's own value", "remove that line"
    if claim.kind == "absolute" and not claim.unit:
        yield "unit", "is missing", 'add unit = "s" or unit = "bytes"'
    if claim.kind != "absolute" and claim.unit:
        yield "unit", "an overhead has no unit", "remove that line"
    if not claim.needs:
        yield from _incomplete(claim)
    if twice := next((name for name, number in Counter(claim.about).items() if number > 1), ""):
        yield "about", f"{twice} is there twice", "name each measurement once"
    if workloads is not None:
        yield from _unknown(claim, workloads)


def _told(claim: Claim) -> Iterator[tuple[str, str, str]]:
    if not claim.reason:
        yield "reason", "is missing", "say why nothing can be measured of it"
    for field in ("about", "subjects", "against", "low", "high", "unit"):
        if getattr(claim, field) not in ((), "", None):
            yield field, f"a claim of kind {claim.kind} is not judged by figures", "remove it, or choose another kind"


def _range(claim: Claim) -> Iterator[tuple[str, str, str]]:
    if claim.low is None and claim.high is None:
        yield "low", "is missing, and high too: there is no range to judge by", "add low = … or high = …, or both"
    if claim.kind == "similar" and (claim.low is None or claim.high is None):
        yield "low" if claim.low is None else "high", "is missing: similar has two ends", "add it"
    if claim.low is not None and claim.high is not None and claim.low >= claim.high:
        yield "high", f"{claim.high:g} is not above low", "give the lower end as low"
    if claim.kind == "absolute" and min(claim.low or 0, claim.high or 0) < 0:
        yield "low" if (claim.low or 0) < 0 else "high", "is below zero", "give 0 or more"


def _incomplete(claim: Claim) -> Iterator[tuple[str, str, str]]:
    for field in ("about", "subjects"):
        if not getattr(claim, field):
            yield field, "is missing", f"add {field} = […], or needs = … where tare cannot measure it yet"
    if claim.kind != "absolute" and not claim.against:
        yield "against", "is missing", 'add against = "native" or another variant'
    if claim.against in claim.subjects:
        yield "against", f"{claim.against} is among the subjects too", "compare it with another variant"


def _unknown(claim: Claim, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, str, str]]:
    """Measurements that no workload gives, or that the claim's kind cannot be about."""
    for workload, metric in claim.measurements:
        if workload not in workloads:
            yield "about", f"there is no workload {workload}", suggest(workload, workloads)
            continue
        found = {one.name: one for one in workloads[workload].metrics}
        units = metric_units(workloads[workload])
        if metric not in units:
            yield "about", f"{workload} has no metric {metric}", suggest(metric, units)
        elif claim.unit and units[metric] != claim.unit:
            yield "unit", f"{workload}:{metric} is measured in {units[metric]}", f'write unit = "{units[metric]}"'
        elif metric in found and found[metric].scale == "linear":
            yield "about", f"{workload}:{metric} is on a linear scale: it has no ratio", "choose another metric"
