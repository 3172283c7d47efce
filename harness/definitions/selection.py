"""Workloads and variants that a suite and the command line select; every name and overridden value is checked here."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.definitions.declaration import declaration
from harness.definitions.toml_file import short, suggest
from harness.errors import bad_input
from harness.model import Suite, Variant, Workload


def choose_workloads(
    suite: Suite, known: Mapping[str, Workload], only: Iterable[str] | None = None
) -> tuple[Workload, ...]:
    """The suite's workloads, or those that `only` names (`cpu.sysbench`, or a resource: `cpu`), with overrides.

    A workload that is named in full need not be in the suite. Raises TareError (bad input) for unknown names.
    """
    for name in suite.workloads:
        if name not in known:
            raise bad_input(f"suite {suite.name}: workloads", f"there is no workload {name!r}", suggest(name, known))
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
                raise bad_input("--workload", f"there is no workload {word!r}", suggest(word, [*known, *resources]))
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
            raise bad_input(f"suite {suite.name}: variants", f"there is no variant {name!r}", suggest(name, known))
    names = next((names for resource, names in listed.items() if resource == workload.resource), ())
    if only is None:
        return names
    chosen: set[str] = set()
    for word in only:
        if word not in known and word not in runtimes:
            raise bad_input("--variant", f"there is no variant {word!r}", suggest(word, {*known, *runtimes}))
        chosen.update((word,) if word in known else _of_runtime(word, names, everywhere, known))
    return tuple(name for name in dict.fromkeys((*names, *everywhere, *known)) if name in chosen)


def _of_runtime(runtime: str, *choices: Iterable[str]) -> list[str]:
    """The variants of a runtime in the first of `choices` that has any."""
    return next(filter(None, ([name for name in names if name.partition("/")[0] == runtime] for names in choices)))


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
