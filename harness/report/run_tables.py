"""The tables of a run that belong to no chapter: overheads, host cost, boot, parity, what is missing, the host."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pandas as pd

from harness.analysis.overhead import NO_VERDICT, Overhead
from harness.report import fact_names, number_format, variants
from harness.report.boot_phases import boot_values, milestone_of, phases
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped, plain

EACH_INSTANCES_OWN = frozenset({"pid", "cgroup", "cgroup_path", "name", "uuid", "container"})
"""Facts that differ between any two instances and so explain nothing."""
WEIGHED = "cgroup_cpu_weight"
"""The fact that has a note of its own where it differs."""
PASSING = r"tare-[0-9a-f]{6}-\d+|\b[0-9a-f]{12,}\b"
"""What differs between two failures that are alike: names of instances, ids."""


def overhead_columns(stored: Stored) -> tuple[str, ...]:
    """The overhead table's header."""
    return (
        "variant",
        f"{stored.baseline} value",
        "variant value",
        f"overhead [{100 * stored.confidence:g} %]",
        "change",
        "n",
        "remarks",
    )


def overhead_table(stored: Stored) -> Table:
    """Overheads by resource; emulated guests are groups of their own; host cost is left out (its own table)."""
    own = (found for found in stored.overheads if not number_format.is_host_cost(found.metric))
    shown = [found for found in own if _worth_showing(stored, found)]
    return _overheads(stored, "Overhead", shown)


def together_table(stored: Stored) -> Table:
    """The primary metrics adjusted for multiple comparisons: simultaneous intervals, p after Holm, the cross-check."""
    shown = [found for found in stored.overheads if found.primary and not number_format.is_host_cost(found.metric)]
    shown = [found for found in shown if found.overhead is not None and _worth_showing(stored, found)]
    level = f"simultaneous [{100 * stored.confidence:g} %]"
    columns = ("metric", "variant", "overhead", level, "p (Holm)", "p (sign-flip)", "n")
    lines = (Line(_together_cells(found), found.emulated) for found in shown)
    return grouped("Primary metrics, adjusted for multiple comparisons", columns, lines, numeric=columns[2:])


def _together_cells(found: Overhead) -> tuple[str, ...]:
    wide = replace(found, low=found.lowest, high=found.highest)
    return (
        f"{found.workload} · {found.metric}",
        found.variant,
        number_format.difference(found.overhead, found),
        number_format.interval(wide),
        number_format.probability(found.adjusted),
        number_format.probability(found.flip),
        str(found.n),
    )


def host_cost_table(stored: Stored) -> Table:
    """What each workload costs the whole host in CPU time, above idle, with the overhead against the baseline."""
    return _overheads(
        stored, "Host cost", [found for found in stored.overheads if number_format.is_host_cost(found.metric)]
    )


def _worth_showing(stored: Stored, found: Overhead) -> bool:
    """Whether the figure has a ratio: the baseline has no `kernel` milestone (the boot table shows its seconds) and no
    guest RAM (the footprint chapter shows it)."""
    if found.workload.startswith("footprint."):
        return found.overhead is not None
    milestone = milestone_of(stored, found.workload, found.metric)
    return milestone is None or (found.overhead is not None and milestone in ("ready", "service"))


def _overheads(stored: Stored, title: str, shown: Iterable[Overhead]) -> Table:
    columns = overhead_columns(stored)
    heads: dict[tuple[str, ...], list[Overhead]] = {}
    for found in shown:
        heads.setdefault((found.workload, found.metric, found.direction, found.scale), []).append(found)
    lines = []
    for (workload, metric, direction, scale), rows in heads.items():
        linear = ", overhead as a difference" if scale == "linear" else ""
        section = f"{workload} · {metric} ({number_format.direction_words(direction)}{linear})"
        rows.sort(key=lambda found: variants.order(found.variant, found.accelerator, stored.baseline))
        resource = workload.partition(".")[0]
        lines += [Line(_overhead_cells(found), found.emulated, resource, section) for found in rows]
    return grouped(title, columns, lines, numeric=columns[1:6])


def _overhead_cells(found: Overhead) -> tuple[str, ...]:
    remarks = [flag.replace(NO_VERDICT, "no verdict") for flag in found.flags if not flag.startswith("emulated")]
    return (
        found.variant,
        number_format.humane(found.baseline_value, found.unit),
        number_format.humane(found.variant_value, found.unit),
        number_format.overhead(found),
        number_format.difference(found.change, found),
        str(found.n),
        "; ".join(remarks),
    )


def boot_table(stored: Stored) -> Table:
    """Seconds from requested to each milestone (geometric mean of the block values and its interval), per workload."""
    columns = ("variant", "milestone", f"since requested [{100 * stored.confidence:g} %]", "this phase", "n")
    return grouped("Boot", columns, _boot_lines(stored), numeric=columns[2:], once=True)


def _boot_lines(stored: Stored) -> Iterator[Line]:
    for workload, rows in boot_values(stored).groupby("workload", sort=False):
        for who in variants.subjects(rows, stored.baseline):
            own = who.of(rows)
            for milestone, phase in phases(own).items():
                result = stored.geometric(own[own["milestone"] == milestone])
                since, n = number_format.estimated(result, "s"), str(result.n if result else 0)
                cells = (who.variant, milestone, since, number_format.humane(phase, "s"), n)
                yield Line(cells, who.emulated, str(workload))


def parity_table(stored: Stored, *, shared: bool = True) -> Table:
    """Facts that differ between the variants: each value with the variants that have it.

    Without `shared` instead those that are alike in all variants of the one runtime that knows of them (an engine's
    version), which are no differences but are nowhere else to be read.
    """
    instances = {name: facts for name, facts in stored.mapping("instances").items() if isinstance(facts, dict)}
    rows: list[tuple[str, ...]] = []
    for fact in sorted({fact for facts in instances.values() for fact in facts} - EACH_INSTANCES_OWN):
        held: dict[str, list[str]] = {}
        for variant, facts in instances.items():
            if fact in facts:
                held.setdefault(fact_names.value(fact, _as_text(facts[fact])), []).append(variant)
        runtimes = {variant.partition("/")[0] for those in held.values() for variant in those}
        if len(held) > 1 if shared else len(held) == len(runtimes) == 1:
            rows += [(fact_names.name(fact), value, ", ".join(those)) for value, those in held.items()]
    if shared:
        rows += [("clock drift from the host", *clock) for clock in _clocks(stored)]
    title = "Parity" if shared else "Facts of one runtime"
    return plain(title, ("fact", "value", "variants"), rows, once=True)


def parity_notes(stored: Stored) -> list[str]:
    """Notes below the parity table: what different CPU weights do to figures."""
    facts = [one for one in stored.mapping("instances").values() if isinstance(one, dict) and WEIGHED in one]
    if len({_as_text(one[WEIGHED]) for one in facts} - {"unknown"}) < 2:
        return []
    return [
        f"“{fact_names.name(WEIGHED)}” lists the cgroups above an instance whose weight is not the kernel's default. "
        "The kernel divides contended CPU time by these weights. Beside an aggressor or on shared CPUs, variants of "
        "different weights are not compared fairly."
    ]


def _clocks(stored: Stored) -> Iterable[tuple[str, str]]:
    """By variant: how far the clock of what ran its commands strayed from the host's at most, as far as it was read."""
    for variant, one in stored.mapping("clocks").items():
        ppm = one.get("ppm") if isinstance(one, dict) else None
        if isinstance(ppm, int | float) and math.isfinite(ppm):
            yield (
                f"{number_format.digits(ppm)} ppm at most, in {_as_text(one.get('instances'))} instances",
                str(variant),
            )


def skips_table(stored: Stored) -> Table:
    """What was skipped, why, and the fix."""
    rows = [
        tuple(str(entry.get(key) or "") for key in ("what", "reason", "fix"))
        for entry in stored.entries("skips")
        if isinstance(entry, dict)
    ]
    return plain("Skipped", ("what", "reason", "fix"), rows)


def discards_table(stored: Stored) -> Table:
    """Failed cases and discarded blocks with their reasons (last attempt of each block); their rows stay in the CSV."""
    samples = stored.samples[stored.samples["role"] == "subject"]
    last = samples.groupby(["workload", "block"])["attempt"].transform("max")
    samples = samples[samples["attempt"].fillna(1) == last.fillna(1)]
    failed = samples[samples["value"].isna() & (samples["phase"] != "warmup")]
    invalid = samples[samples["value"].notna() & ~samples["valid"].astype(bool)]
    rows = [*_reasons("failed", failed), *_reasons("discarded", invalid)]
    known = {f"{block:g}" for block in invalid["block"]} | {f"{block:g}" for block in failed["block"]}
    for entry in stored.entries("discards"):
        if isinstance(entry, dict) and (block := str(entry.get("block", ""))) not in known:
            rows.append(("discarded", str(entry.get("workload", "")), "all", block, str(entry.get("reason", ""))))
    return plain("Failed and discarded", ("what", "workload", "variant", "blocks", "reason"), rows)


def _reasons(kind: str, rows: pd.DataFrame) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    # Names of instances and ids differ each time: without them, what failed alike stands in one row.
    rows = rows.assign(reason=rows["reason"].astype(str).str.replace(PASSING, "…", regex=True))
    keys = ["workload", "variant", "reason"] if kind == "failed" else ["workload", "block", "reason"]
    for (workload, _, reason), part in rows.groupby(keys, sort=False):
        blocks = ", ".join(f"{block:g}" for block in sorted(part["block"].unique()))
        variants = ", ".join(part["variant"].unique())
        found.append((kind, str(workload), variants, blocks, str(reason) or "no reason given"))
    return found


def workloads_table(stored: Stored) -> Table:
    """What each workload is and runs, as the manifest keeps it."""
    rows = []
    for name, one in stored.mapping("workloads").items():
        if isinstance(one, dict):
            argv = one.get("argv")
            command = " ".join(map(str, argv)) if isinstance(argv, list) else ""
            rows.append((name, str(one.get("title", "")), command))
    return plain("Workloads", ("workload", "what it is", "command"), rows)


def host_table(stored: Stored) -> Table:
    """The host, the rig and what the run was, as facts."""
    rows = [
        (fact_names.name(key), fact_names.value(key, _as_text(value)))
        for key, value in stored.mapping("host").items()
        if value not in ("", None, [], {})
    ]
    rows += [(fact_names.rig(key), _as_text(value)) for key, value in stored.mapping("rig").items()]
    rows += [(f"version: {key}", _as_text(value)) for key, value in stored.mapping("versions").items()]
    named = {
        "shape": "shape",
        "root": "root (digest)",
        "system": "full system (digest)",
        "harness_cpus": "CPUs of harness and peer",
        "tare": "tare",
    }
    rows += [(label, _as_text(stored.manifest[key])) for key, label in named.items() if stored.manifest.get(key)]
    return plain("Host", ("fact", "value"), rows)


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_as_text(item)}" for key, item in value.items())
    return ", ".join(map(_as_text, value)) if isinstance(value, list) else str(value)
