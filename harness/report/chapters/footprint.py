"""Footprint: host memory of an instance by several methods, and how much of the memory freed inside came back."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.intervals import Estimate, estimate, geometric
from harness.report import number_format, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.foreign_input import all_numbers, listed, numbers, table
from harness.report.size_plots import Row, bars, moves
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped
from harness.report.variants import Subject

METHODS = {
    "pss": "PSS of its processes",
    "cgroup": "its cgroup",
    "vmm": "VMM without guest RAM",
    "available": "ΔMemAvailable ÷ N",
}
MOMENTS = {"idle": "idle", "held": "holding memory", "freed": "after freeing it"}
COUNTED = (
    "PSS counts the pages that the serving processes have mapped; a page that n processes share counts 1/n for each. "
    "It excludes kernel memory, page tables and unmapped page cache. For a guest it includes all RAM that was ever "
    "touched, with the guest's page cache and free pages. Shared daemons are listed separately.",
    "A cgroup is charged for its processes' own pages and for kernel memory (slab, stacks, page tables). It is also "
    "charged for page cache that it read first, until that is reclaimed; files that were cached before are free. "
    "Processes outside the cgroup (shim, proxy) are not counted.",
    "“VMM without guest RAM” is the resident set of the guest's process without the mapping of the guest's RAM: the "
    "cost of the virtual machine itself. With emulation it includes translated code.",
    "ΔMemAvailable is the host's view: it includes all kernel memory, page tables, network devices and daemons. Page "
    "cache hardly counts, since it can be dropped. Everything else that happened on the host meanwhile counts.",
)
CACHED = (
    "Files that were read inside stay cached when memory is freed. For containers and native they are in the host's "
    "page cache: in no PSS, and dropped when the host needs memory. For a guest they are in its RAM, which the host "
    "cannot tell from memory in use, and also in the host's cache of the guest's disk where that is used."
)
KERNEL = ("Slab", "PageTables", "KernelStack")
"""Of /proc/meminfo."""
Rows = Callable[[str, pd.DataFrame, str], Iterator[tuple[str, ...]]]
"""A table's rows of one workload's values and one variant."""


class Footprint(Chapter):
    """Memory by three methods, idle CPU time, and memory freed inside."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """A plot of the methods for each workload, and one of what came back."""
        for workload, values in _values(stored):
            measured = variants.subjects(values, stored.baseline)
            rows = [_row(stored, values, who) for who in measured]
            note = f"whiskers: {100 * stored.confidence:g} % interval over n blocks; what each counts: see the notes"
            if figure := bars(f"{workload}: host memory of one instance", note, rows, METHODS):
                yield Drawing(topic=workload, alt=_words(workload, rows), figure=figure)
            freed = [_moved(stored, workload, who) for who in measured]
            note = "PSS of its processes, and the share that came back"
            if figure := moves(f"{workload}: memory freed inside", note, freed, MOMENTS):
                alt = "; ".join(f"{row.variant}: {row.words}" for row in freed if row.words)
                yield Drawing(topic=f"{workload}-freed", alt=f"{workload}, freed inside: {alt}", figure=figure)

    def tables(self, stored: Stored) -> Iterator[Table]:
        """The methods in figures, and what came back."""
        level = f"[{100 * stored.confidence:g} %]"
        columns = ("variant", *(f"{words} {level}" for words in METHODS.values()), "cgroup without page cache")
        columns += ("idle CPU", "shared daemons, each more", "n")
        yield _table(stored, "Host memory of one instance", columns, partial(_sizes, stored))
        columns = ("variant", *MOMENTS.values(), f"came back {level}", "half of that within", "n")
        yield _table(stored, "Memory freed inside", columns, partial(_returns, stored))

    def notes(self, stored: Stored) -> Iterator[str]:
        """What each method counts, and what is known of this run that makes them differ."""
        sets = _sets(stored)
        if not sets:
            return
        yield from COUNTED
        if any("freed" in one.pss for one in sets):
            yield CACHED
        yield from _touched(stored)
        yield from _kernel(sets)
        yield from _merging(sets)


def _values(stored: Stored) -> Iterator[tuple[str, pd.DataFrame]]:
    for name, rows in stored.of_resource("footprint").groupby("workload", sort=False):
        yield str(name), rows


def _estimate(values: pd.DataFrame, variant: str, metric: str, confidence: float) -> Estimate | None:
    """The geometric mean and interval of a size; of one that may be negative the plain mean. None without values."""
    rows = values[(values["variant"] == variant) & (values["metric"] == metric)]
    found = rows["value"].astype(float).tolist()
    if not found:
        return None
    linear = rows["scale"].iloc[0] == "linear"
    return estimate(found, confidence) if linear else geometric(found, confidence)


def _row(stored: Stored, values: pd.DataFrame, who: Subject) -> Row:
    sizes = {name: _estimate(values, who.variant, name, stored.confidence) for name in METHODS}
    return Row(subject=who, sizes={name: size for name, size in sizes.items() if size is not None})


def _words(workload: str, rows: Iterable[Row]) -> str:
    parts = []
    for row in rows:
        sizes = (f"{METHODS[name]} {number_format.humane(one.value, 'bytes')}" for name, one in row.sizes.items())
        parts.append(f"{row.variant}: {', '.join(sizes)}")
    return f"{workload}, host memory of one instance: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """What was recorded of one set of instances, for one of them: bytes of PSS by moment, of the host's kernel memory
    when they were idle (None where not recorded), and seconds since the memory was freed with the PSS then; and the
    state of the host's samepage merging."""

    workload: str
    variant: str
    pss: Mapping[str, float]
    kernel: float | None
    curve: Sequence[tuple[float, float]]
    merging: Mapping[str, float]


def _sets(stored: Stored, workload: str = "", variant: str = "") -> list[Set]:
    """All sets, or those of a workload's variant; what is no number in a manifest is not there."""
    found = [_set(one) for one in stored.observed("footprint") if one.get("what") == "footprint"]
    return [one for one in found if workload in ("", one.workload) and variant in ("", one.variant)]


def _set(one: Mapping[str, Any]) -> Set:
    many = (numbers(table(one.get("wanted")), "instances") or [1.0])[0] or 1.0
    looks = {name: table(table(one.get("looks")).get(name)) for name in MOMENTS}
    pss = {name: numbers(table(look.get("resident")), "pss") for name, look in looks.items()}
    change = table(looks["idle"].get("meminfo"))
    kernel = [size for name in KERNEL if isinstance(size := change.get(name), int)]
    pairs = (dict(zip(("at", "pss"), listed(pair), strict=False)) for pair in listed(one.get("curve")))
    read = [numbers(pair, "at", "pss") for pair in pairs]
    return Set(
        workload=str(one.get("workload")),
        variant=str(one.get("variant")),
        pss={name: size[0] / many for name, size in pss.items() if size},
        kernel=sum(kernel) / many if len(kernel) == len(KERNEL) else None,
        curve=[(at, size / many) for at, size in filter(None, read)],
        merging=all_numbers(table(one.get("merging")).get("after")),
    )


def _moments(stored: Stored, workload: str, variant: str) -> dict[str, list[float]]:
    """Bytes of PSS for one instance at each moment that was looked at, one of each set."""
    sets = _sets(stored, workload, variant)
    found = {name: [one.pss[name] for one in sets if name in one.pss] for name in MOMENTS}
    return {name: sizes for name, sizes in found.items() if sizes}


def _moved(stored: Stored, workload: str, who: Subject) -> Row:
    sizes = {name: estimate(found) for name, found in _moments(stored, workload, who.variant).items()}
    values = stored.values[stored.values["workload"] == workload]
    back = _estimate(values, who.variant, "returned", stored.confidence)
    words = f"{_shares(back)}  n = {back.n}" if back else ""
    return Row(subject=who, sizes=sizes if back else {}, words=words)


def _shares(share: Estimate | None) -> str:
    """A share with its interval, in percent."""
    if share is None:
        return "–"
    ends = [share.low, share.high]
    low, high = (number_format.minus(f"{100 * end:.0f}") if end is not None else "" for end in ends)
    return number_format.minus(f"{100 * share.value:.0f} %") + (f" [{low}, {high}]" if low else " [no interval]")


def _table(stored: Stored, title: str, columns: tuple[str, ...], rows: Rows) -> Table:
    """Groups by workload, emulated guests apart, with the rows that `rows` gives for each variant."""
    lines = (
        Line(cells, who.emulated, workload)
        for workload, values in _values(stored)
        for who in variants.subjects(values, stored.baseline)
        for cells in rows(workload, values, who.variant)
    )
    return grouped(title, columns, lines, numeric=columns[1:])


def _sizes(stored: Stored, workload: str, values: pd.DataFrame, variant: str) -> Iterator[tuple[str, ...]]:
    def one(metric: str) -> Estimate | None:
        return _estimate(values, variant, metric, stored.confidence)

    def middle(metric: str, unit: str) -> str:
        found = one(metric)
        return number_format.humane(found.value, unit) if found else "–"

    pss = one("pss") or one("available")
    shared = ", ".join((middle("daemons", "bytes"), middle("daemons-each", "bytes")))
    sizes = (number_format.estimated(one(name), "bytes") for name in METHODS)
    rest = (middle("cgroup-uncached", "bytes"), middle("idle-cpu", "s/s"), shared if one("daemons") else "–")
    yield (variant, *sizes, *rest, str(pss.n if pss else 0))


def _returns(stored: Stored, workload: str, values: pd.DataFrame, variant: str) -> Iterator[tuple[str, ...]]:
    back = _estimate(values, variant, "returned", stored.confidence)
    moments = _moments(stored, workload, variant)
    if back is None or moments.keys() != MOMENTS.keys():
        return
    sizes = (number_format.humane(statistics.median(moments[name]), "bytes") for name in MOMENTS)
    yield (variant, *sizes, _shares(back), _half(stored, workload, variant), str(back.n))


def _half(stored: Stored, workload: str, variant: str) -> str:
    """How long it took until half of what came back had: the median over the sets; an en dash where little did."""
    found = []
    for one in _sets(stored, workload, variant):
        held, freed = one.pss.get("held", 0.0), one.pss.get("freed", 0.0)
        if held - freed > 0.1 * held and one.curve:
            found.append(next((at for at, pss in one.curve if pss <= (held + freed) / 2), one.curve[-1][0]))
    if not found:
        return "–"
    return number_format.humane(seconds, "s") if (seconds := statistics.median(found)) else "at the first look"


def _touched(stored: Stored) -> Iterator[str]:
    """Which guests' RAM was all touched before they began."""
    facts = {name: one for name, one in stored.mapping("instances").items() if isinstance(one, dict)}
    here = {str(variant) for _, values in _values(stored) for variant in values["variant"]}
    touched = sorted(name for name, one in facts.items() if name in here and one.get("memory_preallocated") == "yes")
    if touched:
        yield (
            f"Preallocated RAM, as in all guests that are measured: {', '.join(touched)}. All of it counts from the "
            "start by every method. Guests that allocate memory on first use count what they have used so far."
        )


def _kernel(sets: Iterable[Set]) -> Iterator[str]:
    """How much more kernel memory the host had for each idle instance: what no process's PSS has."""
    found: dict[str, list[float]] = {}
    for one in sets:
        if one.workload == "footprint.idle" and one.kernel is not None:
            found.setdefault(one.variant, []).append(one.kernel)
    if found:
        said = "; ".join(
            f"{name} {number_format.humane(statistics.median(all_), 'bytes')}" for name, all_ in found.items()
        )
        yield f"Kernel memory of the host (slab, page tables, stacks) for each idle instance, not in any PSS: {said}."


def _merging(sets: Iterable[Set]) -> Iterator[str]:
    """Whether the host merges pages that are alike, which would make guests cheaper the more they resemble."""
    states = [one.merging for one in sets]
    if not any(states):
        yield "The host's kernel does not report samepage merging (KSM)."
    elif any(state.get("run") == 1 for state in states):
        most = max(state.get("pages_sharing", 0) for state in states)
        yield f"The host merges identical pages (KSM): at most {most:,.0f} pages were shared and cost nothing."
    else:
        yield "Samepage merging (KSM) is off on this host: identical guests share nothing."
