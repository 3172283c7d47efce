"""The sentences at the top of a report. They state facts, and draw nothing about guests from emulated ones."""

from collections.abc import Iterator, Sequence

from harness.analysis.intervals import estimate
from harness.analysis.overhead import Overhead
from harness.model import SOFTWARE
from harness.report import number_format, variants
from harness.report.boot_phases import boot_values
from harness.report.stored_run import Stored

PILOT = 10
"""Blocks of Stein's first stage: below it intervals are exploratory."""


def sentences(stored: Stored) -> list[str]:
    """What the run was and what it found, one or two sentences an item."""
    return [*_run(stored), *_certainty(stored), *_families(stored), *_boot(stored), *_emulated(stored), *_gaps(stored)]


def _run(stored: Stored) -> Iterator[str]:
    on = stored.fact("host_virtualized")
    host = stored.fact("host") or "unknown"
    nature = f"itself a {on} guest" if on not in ("", "none", "no") else "not virtualized"
    shape = f", shape {stored.fact('shape')}" if "shape" in stored.samples and stored.fact("shape") else ""
    facts = stored.mapping("host")
    named = (("name", "{}"), ("cpu_model", "{}"), ("logical_cpus", "{} CPUs"), ("os", "{}"), ("kernel", "kernel {}"))
    machine = [words.format(facts[key]) for key, words in named if facts.get(key)]
    if machine:
        host = f"{', '.join(machine)} ({host})"
    yield f"Host {host}, {nature}. Suite {stored.fact('suite') or 'unknown'}, run {stored.fact('run')}{shape}."
    if on in SOFTWARE:
        yield "The host itself is emulated. No verdict uses these figures."
    if stored.manifest.get("status") == "interrupted":
        yield "The run was interrupted. The report shows what was finished."


def _certainty(stored: Stored) -> Iterator[str]:
    counts = [found.n for found in stored.overheads if found.overhead is not None]
    if not counts:
        yield f"No overhead: no block has values of both {stored.baseline} and another variant."
        return
    n = f"n = {max(counts)}" if min(counts) == max(counts) else f"n = {min(counts)} to {max(counts)}"
    level = f"{100 * stored.confidence:g} %"
    if max(counts) == 1:
        yield "One block: no interval. An effect cannot be told from noise."
        return
    yield f"Each figure has a {level} interval from {n} blocks, not adjusted for multiple comparisons."
    if max(counts) < PILOT:
        yield f"Fewer than {PILOT} blocks: the results are exploratory."


def _families(stored: Stored) -> Iterator[str]:
    families: dict[str, list[Overhead]] = {}
    for found in stored.overheads:
        beside = found.workload.startswith("boot.") or number_format.is_host_cost(found.metric) or found.scale != "log"
        if not beside and not found.emulated and found.low is not None:
            families.setdefault(variants.family(found.runtime, found.accelerator), []).append(found)
    for family, rows in families.items():
        dearer = [row for row in rows if (row.low or 0) > 0]
        gain = sum(1 for row in rows if (row.high or 0) < 0)
        yield (
            f"{family} against {stored.baseline}, {len(rows)} figures: {len(dearer)} cost more, {gain} cost less, "
            f"{len(rows) - len(dearer) - gain} have an interval that includes zero.{_dearest(dearer)}"
        )


def _dearest(rows: Sequence[Overhead]) -> str:
    """The largest overhead among those whose whole interval is above zero."""
    if not rows:
        return ""
    most = max(rows, key=lambda row: row.overhead or 0)
    return (
        f" The largest cost: {most.workload} {most.metric} on {most.variant}, "
        f"{number_format.overhead(most)}, n = {most.n}."
    )


def _boot(stored: Stored) -> Iterator[str]:
    rows = boot_values(stored)
    for workload, part in rows[rows["milestone"] == "ready"].groupby("workload", sort=False):
        said = []
        for who in variants.subjects(part, stored.baseline):
            own = who.of(part)
            whole = stored.geometric(own) or estimate(own["value"].tolist(), stored.confidence)
            if not who.emulated:
                said.append(f"{who.variant} {number_format.estimated(whole, 's')}, n = {whole.n}")
        if said:
            yield f"{workload}, from requested to ready: {'; '.join(said)}."


def _emulated(stored: Stored) -> Iterator[str]:
    seen = stored.values[["variant", "accelerator"]].drop_duplicates()
    apart = _names(seen[seen["accelerator"].isin(variants.EMULATED)]["variant"].tolist())
    if apart:
        yield f"Emulated in software (tcg): {apart}. These figures do not apply to KVM guests."
    nested = _names(seen[seen["accelerator"] == "kvm-nested"]["variant"].tolist())
    if nested:
        yield f"Nested guests (kvm-nested): {nested}. Their hypervisor runs on another hypervisor."
    beside = _names(seen[seen["accelerator"].isin(["xen-pv", "xen-pvh"])]["variant"].tolist())
    if beside:
        yield f"Guests of Xen: {beside}. The native variant runs in Xen's privileged guest, not on bare metal."
    own = _names(stored.values[stored.values["runtime"] == "uml"]["variant"].tolist())
    if own:
        yield (
            f"User Mode Linux: {own}. These kernels are processes of the host, and their figures do not apply to KVM "
            "guests. Their disk figures are those of the host's page cache."
        )
    if apart and not seen["accelerator"].isin(variants.HARDWARE_GUEST).any():
        yield "No guest ran on hardware virtualization in this run."


def _gaps(stored: Stored) -> Iterator[str]:
    rows = stored.samples[(stored.samples["role"] == "subject") & (stored.samples["phase"] != "warmup")]
    failed = rows[rows["value"].isna()][["workload", "variant", "block"]].drop_duplicates()
    discarded = rows[rows["value"].notna() & ~rows["valid"].astype(bool)][["workload", "block"]].drop_duplicates()
    skipped = len(stored.entries("skips"))
    counts = ((len(failed), "failed cases"), (len(discarded), "discarded blocks"), (skipped, "skips"))
    missing = [f"{what}: {count}" for count, what in counts if count]
    if missing:
        yield f"Missing: {'; '.join(missing)}. The reasons are below."


def _names(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
