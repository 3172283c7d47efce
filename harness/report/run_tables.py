"""The report's own tables; the chapters have theirs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from harness.analysis.intervals import geometric
from harness.analysis.overhead import NO_VERDICT, Overhead
from harness.report import formatting
from harness.report.boot_phases import boot_values, milestone_of, phases
from harness.report.stored_run import Stored
from harness.report.table import Group, Section, Table, plain

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
        stored.baseline,
        "here",
        f"overhead [{100 * stored.confidence:g} %]",
        "plain change",
        "n",
        "remarks",
    )


def overhead_table(stored: Stored) -> Table:
    """Overheads by resource; emulated guests are groups of their own; host cost is left out (its own table)."""
    own = (found for found in stored.overheads if not formatting.is_host_cost(found.metric))
    shown = [found for found in own if _worth_showing(stored, found)]
    return _grouped(stored, "Overhead", shown)


def together_table(stored: Stored) -> Table:
    """The primary metrics, adjusted for each other: intervals that hold together, p after Holm, the cross-check."""
    shown = [found for found in stored.overheads if found.primary and not formatting.is_host_cost(found.metric)]
    shown = [found for found in shown if found.overhead is not None and _worth_showing(stored, found)]
    groups: dict[bool, list[Overhead]] = {}
    for found in shown:
        groups.setdefault(formatting.emulated(found.accelerator), []).append(found)
    columns = ("metric", "variant", "overhead", f"all together [{100 * stored.confidence:g} %]", "p (Holm)", "n")
    return Table(
        title="Primary metrics, adjusted for each other",
        columns=(*columns[:-1], "p (sign-flip)", "n"),
        numeric=frozenset((*columns[2:], "p (sign-flip)")),
        groups=tuple(
            Group(
                title="emulated (tcg)" if emulated else "",
                sections=(Section(title="", rows=tuple(map(_together_row, members))),),
                emulated=emulated,
            )
            for emulated, members in sorted(groups.items())
        ),
    )


def _together_row(found: Overhead) -> tuple[str, ...]:
    wide = replace(found, low=found.lowest, high=found.highest)
    return (
        f"{found.workload} · {found.metric}",
        found.variant,
        formatting.difference(found.overhead, found),
        formatting.interval(wide),
        formatting.probability(found.adjusted),
        formatting.probability(found.flip),
        str(found.n),
    )


def host_cost_table(stored: Stored) -> Table:
    """What each workload costs the whole host in CPU time, above idle, with the overhead against the baseline."""
    return _grouped(stored, "Host cost", [found for found in stored.overheads if formatting.is_host_cost(found.metric)])


def _worth_showing(stored: Stored, found: Overhead) -> bool:
    """Whether the figure has a ratio: the baseline has no `kernel` milestone (the boot table shows its seconds) and no
    guest RAM (the footprint chapter shows it)."""
    if found.workload.startswith("footprint."):
        return found.overhead is not None
    milestone = milestone_of(stored, found.workload, found.metric)
    return milestone is None or (found.overhead is not None and milestone in ("ready", "service"))


def _grouped(stored: Stored, title: str, shown: Iterable[Overhead]) -> Table:
    columns = overhead_columns(stored)
    groups: dict[tuple[str, str], list[Overhead]] = {}
    for found in shown:
        label = formatting.family(found.runtime, found.accelerator) if formatting.emulated(found.accelerator) else ""
        groups.setdefault((found.workload.partition(".")[0], label), []).append(found)
    resources = list(dict.fromkeys(resource for resource, _ in groups))
    ranked = sorted(groups, key=lambda key: (resources.index(key[0]), key[1]))
    return Table(
        title=title,
        columns=columns,
        numeric=frozenset(columns[1:6]),
        groups=tuple(
            Group(
                title=f"{resource} · {label}" if label else resource,
                sections=tuple(_sections(stored, groups[resource, label])),
                emulated=bool(label),
            )
            for resource, label in ranked
        ),
    )


def _sections(stored: Stored, members: Sequence[Overhead]) -> Iterable[Section]:
    for head in dict.fromkeys((found.workload, found.metric, found.direction, found.scale) for found in members):
        rows = [found for found in members if (found.workload, found.metric, found.direction, found.scale) == head]
        rows.sort(key=lambda found: formatting.order(found.variant, found.accelerator, stored.baseline))
        linear = ", overhead as a difference" if head[3] == "linear" else ""
        yield Section(
            title=f"{head[0]} · {head[1]} ({formatting.direction_words(head[2])}{linear})",
            rows=tuple(_overhead_row(found) for found in rows),
        )


def _overhead_row(found: Overhead) -> tuple[str, ...]:
    remarks = [flag.replace(NO_VERDICT, "no verdict") for flag in found.flags if not flag.startswith("emulated")]
    return (
        found.variant,
        formatting.humane(found.baseline_value, found.unit),
        formatting.humane(found.variant_value, found.unit),
        f"{formatting.difference(found.overhead, found)} {formatting.interval(found)}".rstrip(),
        formatting.difference(found.change, found),
        str(found.n),
        "; ".join(remarks),
    )


def boot_table(stored: Stored) -> Table:
    """Seconds from requested to each milestone (geometric mean of the block values and its interval), per workload."""
    values = boot_values(stored)
    groups = []
    for workload, rows in values.groupby("workload", sort=False):
        for emulated, part in rows.groupby(rows["accelerator"].isin(formatting.EMULATED)):
            label = " · emulated (tcg)" if emulated else ""
            sections = tuple(_boot_sections(stored, part))
            groups.append(Group(title=f"{workload}{label}", sections=sections, emulated=bool(emulated)))
    columns = ("variant", "milestone", f"since requested [{100 * stored.confidence:g} %]", "of it, this phase", "n")
    return Table(title="Boot", columns=columns, numeric=frozenset(columns[2:]), groups=tuple(groups))


def _boot_sections(stored: Stored, rows: pd.DataFrame) -> Iterable[Section]:
    seen = rows[["variant", "accelerator"]].drop_duplicates().itertuples(index=False, name=None)
    for variant, accelerator in sorted(seen, key=lambda pair: formatting.order(pair[0], pair[1], stored.baseline)):
        own = rows[(rows["variant"] == variant) & (rows["accelerator"] == accelerator)]
        spans = phases(own)
        cells: list[tuple[str, ...]] = []
        for milestone, phase in spans.items():
            result = geometric(own[own["milestone"] == milestone]["value"].tolist(), stored.confidence)
            name = str(variant) if not cells else ""
            n = str(result.n if result else 0)
            cells.append((name, milestone, formatting.estimated(result, "s"), formatting.humane(phase, "s"), n))
        yield Section(title="", rows=tuple(cells))


def parity_table(stored: Stored, *, shared: bool = True) -> Table:
    """Facts that differ between the variants: each value with the variants that have it.

    Without `shared` instead those that are alike in all variants of the one runtime that knows of them (an engine's
    version), which are no differences but are nowhere else to be read.
    """
    instances = {name: facts for name, facts in stored.mapping("instances").items() if isinstance(facts, dict)}
    sections = []
    for fact in sorted({fact for facts in instances.values() for fact in facts} - EACH_INSTANCES_OWN):
        held: dict[str, list[str]] = {}
        for variant, facts in instances.items():
            if fact in facts:
                held.setdefault(_said(facts[fact]), []).append(variant)
        runtimes = {variant.partition("/")[0] for variants in held.values() for variant in variants}
        if len(held) > 1 if shared else len(held) == len(runtimes) == 1:
            rows = tuple(("", value, ", ".join(variants)) for value, variants in held.items())
            sections.append(Section(title="", rows=((fact, *rows[0][1:]), *rows[1:])))
    if shared and (strayed := tuple(_clocks(stored))):
        rows = tuple(("", *row) for row in strayed[1:])
        sections.append(Section(title="", rows=(("clock strayed from the host's", *strayed[0]), *rows)))
    group = Group(title="", sections=tuple(sections))
    title = "Parity" if shared else "Facts of one runtime only"
    return Table(title=title, columns=("fact", "value", "variants"), numeric=frozenset(), groups=(group,))


def parity_notes(stored: Stored) -> list[str]:
    """What must be known to read the parity table: what a difference of CPU weights does to figures."""
    facts = [one for one in stored.mapping("instances").values() if isinstance(one, dict) and WEIGHED in one]
    if len({_said(one[WEIGHED]) for one in facts} - {"unknown"}) < 2:
        return []
    return [
        f"{WEIGHED} names the control groups around an instance, from the top of the host's hierarchy down, that have "
        "another CPU weight than the kernel's default. CPU time that several groups want is divided by their weights: "
        "beside an aggressor, or on CPUs that they share, variants of different weights are not compared fairly."
    ]


def _clocks(stored: Stored) -> Iterable[tuple[str, str]]:
    """By variant: how far the clock of what ran its commands strayed from the host's at most, as far as it was read."""
    for variant, one in stored.mapping("clocks").items():
        ppm = one.get("ppm") if isinstance(one, dict) else None
        if isinstance(ppm, int | float) and math.isfinite(ppm):
            yield f"{formatting.digits(ppm)} ppm at most, in {_said(one.get('instances'))} instances", str(variant)


def skips_table(stored: Stored) -> Table:
    """What did not run here, why, and what would change that."""
    rows = [
        tuple(str(entry.get(key) or "") for key in ("what", "reason", "fix"))
        for entry in stored.entries("skips")
        if isinstance(entry, dict)
    ]
    return plain("Not run here", ("what", "reason", "fix"), rows)


def voids_table(stored: Stored) -> Table:
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
    rows = [(key, _said(value)) for key, value in stored.mapping("host").items() if value not in ("", None, [], {})]
    rows += [(f"rig: {key}", _said(value)) for key, value in stored.mapping("rig").items()]
    rows += [(f"version: {key}", _said(value)) for key, value in stored.mapping("versions").items()]
    named = {
        "shape": "shape",
        "root": "root (digest)",
        "system": "full system (digest)",
        "harness_cpus": "CPUs of harness and peer",
        "tare": "tare",
    }
    rows += [(label, _said(stored.manifest[key])) for key, label in named.items() if stored.manifest.get(key)]
    return plain("Host", ("fact", "value"), rows)


def _said(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_said(item)}" for key, item in value.items())
    return ", ".join(map(_said, value)) if isinstance(value, list) else str(value)
