"""Workloads × variants → seeded blocks; a workload or variant that cannot run is skipped with a reason."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from harness.definitions.declaration import declaration, unusable
from harness.definitions.selection import choose_variants, choose_workloads
from harness.model import Available, Block, Shape, Skip, Suite, Variant, Workload, aggressor_of

LAUNCH_SECONDS = {"native": 0.3, "docker": 1.5, "libvirt": 5.0, "uml": 4.0, "fake": 0.01}
"""Seconds to launch and remove one instance, by runtime: rough values of one small host, for the estimate only."""
LAUNCH_SECONDS_ELSE = 2.0
TCG_FACTOR = 3.0
"""The ratio of an emulated guest's launch time to an accelerated one's."""
SYSTEM_FACTOR = 2.5
"""The ratio of a full system's launch time to that of the root alone."""
ALL_THREADS = "identical to the single-thread workload on one vCPU"
ALL_THREADS_FIX = "use a host with more CPUs, which gives each instance more vCPUs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The blocks that will run, in order, and what is skipped.

    `workloads` are those of the blocks with the suite's overrides applied, by name; `estimate_seconds` is the
    estimated length of the whole run.
    """

    blocks: tuple[Block, ...]
    skips: tuple[Skip, ...]
    seed: int
    estimate_seconds: float
    workloads: Mapping[str, Workload] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """The number of cases in all blocks."""
        return sum(len(block.variants) for block in self.blocks)


def make_plan(
    suite: Suite,
    workloads: Mapping[str, Workload],
    variants_by_name: Mapping[str, Variant],
    availability: Mapping[str, Available],
    shape: Shape,
    accelerator: str,
    *,
    only_variants: Iterable[str] | None = None,
    only_workloads: Iterable[str] | None = None,
    obstacle: Callable[[Workload], Skip | None] = lambda _: None,
    blocks: int | None = None,
    seed: int,
) -> Plan:
    """Plan `blocks` rounds (the suite's own number by default).

    Each round holds every workload once, in a shuffled order; each block its variants in a shuffled order. The same
    arguments give the same plan. `accelerator` is what guests run on here (`kvm`, `tcg`); `obstacle` returns why
    the host cannot run a workload at all.
    Raises TareError (bad input) for names that do not exist and when nothing at all was asked for.
    """
    chosen = choose_workloads(suite, workloads, only_workloads)
    skips: list[Skip] = []
    met: dict[str, Workload] = {}
    variants: dict[str, tuple[str, ...]] = {}
    for workload in chosen:
        # An interference workload has no single-thread counterpart.
        if workload.threads == "all" and shape.vcpus == 1 and not workload.aggressor:
            skips.append(Skip(what=workload.name, reason=ALL_THREADS, fix=ALL_THREADS_FIX))
            continue
        if blocked := unusable(workload) or obstacle(workload):
            skips.append(blocked)
            continue
        names = choose_variants(suite, workload, variants_by_name, accelerator, only_variants)
        skips += _unavailable(names, variants_by_name, availability)
        able = tuple(name for name in names if name in availability and availability[name].ok)
        narrow = _narrow(workload, able, variants_by_name, shape)
        skips += narrow.values()
        variants[workload.name] = tuple(name for name in able if name not in narrow)
        if workload.aggressor:
            met[workload.name] = _beside(workload, variants[workload.name])
        if not names:
            skips.append(
                Skip(
                    what=workload.name, reason="none of the chosen variants runs it", fix="choose others with --variant"
                )
            )
        elif not variants[workload.name]:
            skips.append(Skip(what=workload.name, reason="none of its variants can run here", fix="tare doctor"))
    runnable = {one.name: met.get(one.name, one) for one in chosen if variants.get(one.name)}
    casts = {name: variants[name] for name in runnable}
    many = dict.fromkeys(runnable, suite.blocks if blocks is None else blocks)
    rounds = _rounds(casts, many, 0, random.Random(seed))
    estimate = sum(
        case_seconds(runnable[block.workload], name, variants_by_name) for block in rounds for name in block.variants
    )
    return Plan(
        blocks=rounds, skips=tuple(dict.fromkeys(skips)), seed=seed, estimate_seconds=estimate, workloads=runnable
    )


def extended(plan: Plan, wanted: Mapping[str, int]) -> Plan:
    """The plan with further rounds, so that each workload has `wanted` blocks; the same each time for the same seed."""
    casts = {block.workload: tuple(sorted(block.variants)) for block in plan.blocks}
    done = Counter(block.workload for block in plan.blocks)
    missing = {name: wanted.get(name, 0) - done[name] for name in casts}
    generator = random.Random(f"{plan.seed} after {len(plan.blocks)}")
    more = _rounds(dict(sorted(casts.items())), missing, len(plan.blocks), generator)
    return replace(plan, blocks=(*plan.blocks, *more))


def case_seconds(workload: Workload, variant: str, known: Mapping[str, Variant]) -> float:
    """The estimated length of one case in seconds: its launches, its preparation and its iterations."""
    runtime = known[variant].runtime
    launch = LAUNCH_SECONDS.get(runtime, LAUNCH_SECONDS_ELSE)
    if "tcg" in variant:
        launch *= TCG_FACTOR
    if known[variant].form == "system":
        launch *= SYSTEM_FACTOR
    return declaration(workload).case_seconds(workload, launch)


def _unavailable(
    names: Iterable[str], known: Mapping[str, Variant], availability: Mapping[str, Available]
) -> Iterable[Skip]:
    for name in names:
        if name not in known or name not in availability:
            yield Skip(what=name, reason=f"there is no runtime {name.partition('/')[0]}", fix="tare list")
        elif not availability[name].ok:
            yield Skip(what=name, reason=availability[name].reason, fix=availability[name].fix)


def _beside(workload: Workload, names: tuple[str, ...]) -> Workload:
    """The interference workload without the aggressors that cannot run here."""
    kept = tuple(one for one in workload.metrics if aggressor_of(one.source) in ("", *names))
    return replace(workload, metrics=kept)


def _narrow(workload: Workload, names: Iterable[str], known: Mapping[str, Variant], shape: Shape) -> dict[str, Skip]:
    """The variants with too few vCPUs for a workload that uses all of the shape's, each with its skip."""
    found: dict[str, Skip] = {}
    for name in names:
        most = known[name].most_vcpus
        if workload.threads == "all" and most is not None and most < shape.vcpus:
            reason = f"it supports {most} vCPU at most, and the other variants use {shape.vcpus}"
            found[name] = Skip(
                what=f"{workload.name} on {name}", reason=reason, fix="compare the single-thread workload"
            )
    return found


def _rounds(
    casts: Mapping[str, tuple[str, ...]], missing: Mapping[str, int], first: int, generator: random.Random
) -> tuple[Block, ...]:
    """Rounds of every workload that lacks blocks, in shuffled order; the variants of a block are shuffled too."""
    blocks: list[Block] = []
    for turn in range(max([0, *missing.values()])):
        order = [name for name in casts if missing[name] > turn]
        generator.shuffle(order)
        for workload in order:
            cast = list(casts[workload])
            generator.shuffle(cast)
            blocks.append(Block(number=first + len(blocks), workload=workload, variants=tuple(cast)))
    return tuple(blocks)
