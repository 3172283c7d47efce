"""Workloads × variants → seeded blocks; a workload or variant that cannot run is skipped with a reason."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from harness.definitions.declaration import declaration, unusable
from harness.definitions.toml_file import short, suggest
from harness.errors import bad_input
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
    workloads: Iterable[Workload] | Mapping[str, Workload],
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
    chosen = choose_workloads(suite, by_name(workloads), only_workloads)
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


def by_name(workloads: Iterable[Workload] | Mapping[str, Workload]) -> dict[str, Workload]:
    """Workloads by their names."""
    values = workloads.values() if isinstance(workloads, Mapping) else workloads
    return {workload.name: workload for workload in values}


def choose_workloads(
    suite: Suite, known: Mapping[str, Workload], only: Iterable[str] | None = None
) -> tuple[Workload, ...]:
    """The suite's workloads, or those that `only` names (`cpu.sysbench`, or a resource: `cpu`), with overrides.

    A workload that is named in full need not be in the suite. Raises TareError (bad input) for unknown names.
    """
    for name in suite.workloads:
        if name not in known:
            raise bad_input(f"suite {suite.name}: workloads", f"there is no workload {name}", suggest(name, known))
    have = {workload.resource for workload in known.values()}
    for name in suite.variants:
        if name not in have:
            raise bad_input(
                f"suite {suite.name}: variants", f"no workload has the resource {name}", suggest(name, have)
            )
    names: list[str] = list(suite.workloads)
    if only is not None:
        names = []
        resources = {name.partition(".")[0] for name in suite.workloads}
        for word in only:
            if word not in known and word not in resources:
                raise bad_input("--workload", f"there is no workload {word}", suggest(word, [*known, *resources]))
            names += [word] if word in known else [name for name in suite.workloads if name.startswith(f"{word}.")]
    chosen = [known[name] for name in dict.fromkeys(names)]
    _check_overrides(suite, known.values())
    overridden = tuple(override(workload, suite) for workload in chosen)
    _check_ranges(suite, overridden)
    return overridden


def override(workload: Workload, suite: Suite) -> Workload:
    """The workload with the suite's `parameters`, `iterations` and `warmup`; doing it twice changes nothing.

    The definition stays that of the file: what was overridden is in the parameters that each row carries.
    """
    own = {name: value for name, value in suite.parameters.items() if name in workload.parameters}
    return replace(
        workload,
        parameters={**workload.parameters, **own},
        iterations=workload.iterations if suite.iterations is None else suite.iterations,
        warmup=workload.warmup if suite.warmup is None else suite.warmup,
    )


def choose_variants(
    suite: Suite,
    workload: Workload,
    known: Mapping[str, Variant],
    accelerator: str,
    only: Iterable[str] | None = None,
) -> tuple[str, ...]:
    """The variants for a workload: those that the suite lists for its resource, or those that `only` names.

    A variant that `only` names runs on every workload, whether the suite lists it or not. A runtime stands for those
    of its variants that the suite lists for the resource; if there are none, for those that it lists anywhere; if
    there are none, for all. So each word gives every workload at least one variant. Raises TareError (bad input) for
    unknown names.
    """
    here = suite.on(accelerator)
    listed = {resource: tuple(dict.fromkeys((*names, *here.ladder))) for resource, names in here.variants.items()}
    everywhere = tuple(dict.fromkeys(name for names in listed.values() for name in names))
    runtimes = {variant.runtime for variant in known.values()}
    for name in sorted(set(everywhere) - set(known)):
        if name.partition("/")[0] in runtimes:
            raise bad_input(f"suite {suite.name}: variants", f"there is no variant {name}", suggest(name, known))
    names = next((names for resource, names in listed.items() if resource == workload.resource), ())
    if only is None:
        return names
    chosen: set[str] = set()
    for word in only:
        if word not in known and word not in runtimes:
            raise bad_input("--variant", f"there is no variant {word}", suggest(word, {*known, *runtimes}))
        chosen.update((word,) if word in known else _of_runtime(word, names, everywhere, known))
    return tuple(name for name in dict.fromkeys((*names, *everywhere, *known)) if name in chosen)


def case_seconds(workload: Workload, variant: str, known: Mapping[str, Variant]) -> float:
    """The estimated length of one case in seconds: its launches, its preparation and its iterations."""
    runtime = known[variant].runtime
    launch = LAUNCH_SECONDS.get(runtime, LAUNCH_SECONDS_ELSE)
    if "tcg" in variant:
        launch *= TCG_FACTOR
    if known[variant].form == "system":
        launch *= SYSTEM_FACTOR
    return declaration(workload).case_seconds(workload, launch)


def _of_runtime(runtime: str, *choices: Iterable[str]) -> list[str]:
    """The variants of a runtime in the first of `choices` that has any."""
    return next(filter(None, ([name for name in names if name.partition("/")[0] == runtime] for names in choices)))


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


def _check_overrides(suite: Suite, workloads: Iterable[Workload]) -> None:
    parameters = {name for workload in workloads for name in workload.parameters}
    for name in suite.parameters:
        if name not in parameters:
            raise bad_input(
                f"suite {suite.name}: parameters.{name}", "no workload has this parameter", suggest(name, parameters)
            )


def _check_ranges(suite: Suite, workloads: Iterable[Workload]) -> None:
    """A suite's value for a measure's own parameter is checked like that of a workload's file."""
    for workload in workloads:
        for parameter in declaration(workload).parameters:
            value = suite.parameters.get(parameter.name)
            if value is not None and parameter.name in workload.parameters and not parameter.accepts(value):
                problem = f"{short(value)} is not a {parameter}, which {workload.name} needs"
                raise bad_input(f"suite {suite.name}: parameters.{parameter.name}", problem, parameter.fix(value))
