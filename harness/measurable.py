"""What a workload of each measure must say: the part of its file's validation that differs by measure."""

import re
from collections.abc import Mapping

from harness import scenarios
from harness.documents import Document, short, suggest
from harness.errors import bad_input
from harness.model import Mark, Workload, neighbour
from harness.paths import data

DENSITY: Mapping[str, tuple[float, float]] = {
    "most": (1, 100_000),
    "batch": (1, 100),
    "instance_mib": (32, 10**6),
    "floor_share": (0.05, 0.95),
    "latency_seconds": (0.1, 3600),
}
"""What a density workload must say, with the least and the most of each; see harness.measures.density."""

PARAMETERS: Mapping[str, frozenset[str]] = {
    "density": frozenset(DENSITY),
    "lifecycle": scenarios.PARAMETERS,
    "footprint": frozenset(
        ("instances", "instance_mib", "settle_seconds", "watch_seconds", "touch_mib", "read_mib", "free_seconds")
    ),
    "interference": frozenset({"placement", "settle"}),
    "chain": frozenset({"length", "mib"}),
    "churn": frozenset({"jobs", "most_s", "together"}),
    "image": frozenset({"recipe", "level", "instances", "write_mib"}),
}
"""By measure, the parameters that it knows by itself, beside those that a command's words name."""

RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "footprint": {
        "instances": (1, 100),
        "instance_mib": (64, 10**6),
        "settle_seconds": (1, 60),
        "watch_seconds": (1, 600),
        "touch_mib": (0, 10**6),
        "read_mib": (0, 10**6),
        "free_seconds": (0, 600),
    },
    "churn": {"jobs": (1, 10_000), "most_s": (1, 600), "together": (1, 64)},
    "image": {"level": (1, 19), "instances": (1, 16), "write_mib": (1, 1024)},
}
"""By measure, the least and the most that a parameter of its own may be."""

NEEDED: Mapping[str, frozenset[str]] = {"footprint": PARAMETERS["footprint"], "churn": PARAMETERS["churn"]}
"""By measure, the parameters that it cannot do without."""

SOURCES: Mapping[str, frozenset[str]] = {
    "footprint": frozenset(
        ("pss", "cgroup", "cgroup-uncached", "vmm", "available", "daemons", "daemons-each", "returned", "idle-cpu")
    ),
    "isolation": frozenset(
        {"syscalls-allowed", "capabilities", "devices", "own-namespaces", "host-syscalls", "host-functions"}
    ),
    "churn": frozenset({"rate", "p50", "p95", "longest", "elapsed"}),
    "image": frozenset(
        {"disk", "transfer", "build", "export", "import", "start", "deploy"}
        | {"linked", "linked-disk", "full", "full-disk", "growth", "written"}
    ),
}
"""By measure, the figures that it computes, of which a metric names one as its source."""

NEEDS: Mapping[str, tuple[str, ...]] = {
    "command": ("argv", "reader"),
    "density": ("argv", "reader"),
    "chain": ("argv", "reader"),
    "interference": ("argv", "reader", "aggressor"),
    "isolation": ("argv",),
}
"""By measure, the fields that its workloads cannot be without."""

PLACEMENTS = ("apart", "shared")
"""Where a neighbour runs: on the shape's CPUs, as the victim does, or on those outside."""
_REACHED = re.compile(r"([a-z0-9_]+)-at-([1-9][0-9]{0,5})")


def check(document: Document, workload: Workload) -> None:
    """What the workload's measure demands of it. Raises TareError (bad input) with line and field."""
    if workload.measure == "density":
        _check_density(document, workload)
    _check_own(document, workload)
    for field in NEEDS.get(workload.measure, ()):
        if not getattr(workload, field):
            raise bad_input(document.where((field,)), "is missing", f"its measure, {workload.measure}, needs {field}")
    if workload.measure != "boot" and workload.cache == "cold":
        fix = 'remove that line, or write measure = "boot"'
        raise bad_input(document.where(("cache",)), "only a boot workload launches anew each time", fix)
    _check_sources(document, workload)
    if workload.measure == "interference":
        _check_interference(document, workload)
    elif workload.aggressor:
        fix = 'remove that table, or write measure = "interference"'
        raise bad_input(document.where(("aggressor",)), "only an interference workload has a neighbour", fix)
    if workload.measure == "chain":
        _check_chain(document, workload)
    if workload.measure == "boot":
        if workload.server:
            raise bad_input(document.where(("server",)), "a boot workload serves nothing", "remove that table")
        for index, metric in enumerate(workload.metrics):
            _check_span(document, index, metric.source)
    if workload.measure == "lifecycle":
        _check_scenario(document, workload)


def _check_scenario(document: Document, workload: Workload) -> None:
    name, where = str(workload.parameters.get("scenario", "")), document.where(("parameters", "scenario"))
    if name not in scenarios.FIGURES:
        raise bad_input(where, f"{short(name)} is no scenario", suggest(name, scenarios.FIGURES))
    for field, given in (("server", workload.server), ("argv", workload.argv)):
        if not given:
            fix = "write it as in workloads/lifecycle.pause.toml"
            raise bad_input(document.where((field,)), "is missing: the witness, and the client that asks it", fix)
    if missing := sorted(scenarios.PARAMETERS - set(workload.parameters)):
        raise bad_input(document.where(("parameters", missing[0])), "is missing", f"add {missing[0]} = …")
    for index, metric in enumerate(workload.metrics):
        if metric.source not in scenarios.FIGURES[name]:
            source = document.where(("metrics", index, "source"))
            fix = suggest(metric.source, scenarios.FIGURES[name])
            raise bad_input(source, f"{name} has no {short(metric.source)}", fix)


def _check_density(document: Document, workload: Workload) -> None:
    """Its rule, and metrics of what it counts (harness.measures.density.fields_of)."""
    for name, (least, most) in DENSITY.items():
        value = workload.parameters.get(name)
        whole = least == int(least)
        if not isinstance(value, int if whole else (int, float)) or not least <= value <= most:
            problem = f"{short(value)} is no {'whole ' if whole else ''}number from {least:,} to {most:,}"
            raise bad_input(document.where(("parameters", name)), problem, f"write {name} = … below [parameters]")
    own = ("count", "memory-per-instance", "teardown", "teardown-per-instance")
    for index, metric in enumerate(workload.metrics):
        reached = _REACHED.fullmatch(metric.source)
        if metric.source in own or (reached and int(reached[2]) % int(workload.parameters["batch"]) == 0):
            continue
        fix = f"use one of: {', '.join(own)}; ready-at-N, or FIELD-at-N of the reader's, with N a multiple of batch"
        raise bad_input(document.where(("metrics", index, "source")), f"{short(metric.source)} is no figure of it", fix)


def _check_sources(document: Document, workload: Workload) -> None:
    if known := SOURCES.get(workload.measure):
        for index, metric in enumerate(workload.metrics):
            if metric.source not in known:
                where = document.where(("metrics", index, "source"))
                raise bad_input(
                    where,
                    f"the measure {workload.measure} has no {short(metric.source)}",
                    suggest(metric.source, known),
                )


def _check_interference(document: Document, workload: Workload) -> None:
    """A victim's command, its neighbour's, one figure of the victim and slowdowns of it."""
    assert workload.aggressor is not None
    if bool(workload.server) != bool(workload.aggressor.server):
        where = document.where(("aggressor", "server") if workload.aggressor.server else ("server",))
        raise bad_input(where, "only one of victim and neighbour serves", "give both a server, or neither")
    if (placed := workload.parameters.get("placement")) not in PLACEMENTS:
        where = document.where(("parameters", "placement"))
        raise bad_input(where, f"{placed!r} is no placement", suggest(str(placed), PLACEMENTS))
    if not isinstance(workload.parameters.get("settle"), int | float):
        raise bad_input(document.where(("parameters", "settle")), "is no number of seconds", "add settle = 1")
    if sum(not neighbour(metric.source) for metric in workload.metrics) != 1:
        raise bad_input(
            document.where(("metrics",)),
            "not exactly one metric is the victim's own figure",
            'one has a source of the reader, all others one such as "beside docker/bridge"',
        )


def _check_chain(document: Document, workload: Workload) -> None:
    if workload.server is None:
        raise bad_input(document.where(("server",)), "is missing", "say what each instance of the chain serves")
    for name in sorted(PARAMETERS["chain"]):
        value = workload.parameters.get(name)
        if not isinstance(value, int) or value < 1:
            where = document.where(("parameters", name))
            raise bad_input(where, "is no whole number from 1 up", f"a chain needs {name} = …")


def _check_own(document: Document, workload: Workload) -> None:
    """A measure's own parameters."""
    for name in sorted(NEEDED.get(workload.measure, frozenset()) - workload.parameters.keys()):
        raise bad_input(document.where(("parameters",)), f"{name} is missing", f"add {name} = …")
    for name, (least, most) in RANGES.get(workload.measure, {}).items():
        value = workload.parameters.get(name, least)
        if type(value) is not int or not least <= value <= most:
            problem = f"{short(value)} is no whole number from {least} to {most}"
            raise bad_input(document.where(("parameters", name)), problem, "give one")
    recipes = {path.stem for path in data("images").glob("*.toml")} - {"system"}
    if (recipe := str(workload.parameters.get("recipe", "root"))) not in recipes and workload.measure == "image":
        raise bad_input(
            document.where(("parameters", "recipe")), f"there is no recipe {recipe}", suggest(recipe, recipes)
        )


def _check_span(document: Document, index: int, source: str) -> None:
    where = document.where(("metrics", index, "source"))
    marks = source.split("-")
    if len(marks) != 2:
        raise bad_input(where, f"{short(source)} is no span between two marks", "write one such as ready-asked")
    for mark in marks:
        if mark not in list(Mark):
            raise bad_input(where, f"{mark} is no mark", suggest(mark, list(Mark)))
