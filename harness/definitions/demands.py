"""What a workload of each measure must and may say: the part of its file's validation that differs by measure."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields

from harness.definitions.toml_file import Document, short, suggest
from harness.errors import bad_input
from harness.model import Milestone, Workload, aggressor_of, lifecycle_figures
from harness.paths import data


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number from `least` to `most`."""

    least: float
    most: float
    whole: bool = True
    needed: bool = True

    def holds(self, value: object) -> bool:
        """Whether it may be that value."""
        if not isinstance(value, int | float) or (self.whole and isinstance(value, float)):
            return False
        return self.least <= value <= self.most

    def fix(self, value: object) -> str:
        """What to write instead of a value that it may not be."""
        return f"give a {self}"

    def __str__(self) -> str:
        return f"{'whole ' if self.whole else ''}number from {self.least:,} to {self.most:,}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of some words, `kind` being what a person calls them."""

    kind: str
    words: Callable[[], Collection[str]]
    needed: bool = True

    def holds(self, value: object) -> bool:
        """Whether it may be that value."""
        return value in self.words()

    def fix(self, value: object) -> str:
        """What to write instead of a value that it may not be."""
        return suggest(str(value), self.words())

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What one measure demands of its workloads.

    It cannot do without the fields `needs`; of those in RESERVED it knows besides only what it `takes`. `parameters`
    are its own, beside those that a command's words name. `sources` are the figures that it computes, of which each
    metric names one; none where they are the reader's, or `special` looks at them: a check of what has no form here.
    """

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    parameters: Mapping[str, Number | Choice] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()
    special: Callable[[Document, Workload], None] = lambda document, workload: None


RESERVED: Mapping[str, str] = {
    "server": "nothing is served in such a workload",
    "aggressor": "only an interference workload has an aggressor",
    "cache": "only a boot workload launches anew each time",
}
"""Fields that some measures alone know, and why not all."""
_DEFAULTS = {one.name: one.default for one in fields(Workload)}

PLACEMENTS = ("apart", "shared")
"""Where an aggressor runs: on the shape's CPUs, as the victim does, or on those outside."""
_COUNTED = ("count", "memory-per-instance", "teardown", "teardown-per-instance")
_REACHED = re.compile(r"([a-z0-9_]+)-at-([1-9][0-9]{0,5})")


def check(document: Document, workload: Workload) -> None:
    """What the workload's measure demands of it. Raises TareError (bad input) with line and field."""
    if workload.measure not in MEASURES:
        where = document.where(("measure",))
        raise bad_input(where, f"there is no measure {workload.measure}", suggest(workload.measure, MEASURES))
    demands = MEASURES[workload.measure]
    _check_fields(document, workload, demands)
    for name, kind in demands.parameters.items():
        where = document.where(("parameters", name))
        if name not in workload.parameters:
            if kind.needed:
                raise bad_input(where, "is missing", f"add {name} = … below [parameters]; {kind.fix('')}")
        elif not kind.holds(value := workload.parameters[name]):
            raise bad_input(where, f"{short(value)} is no {kind}", kind.fix(value))
    if demands.sources:
        _check_sources(document, workload, f"the measure {workload.measure}", demands.sources)
    demands.special(document, workload)


def _check_fields(document: Document, workload: Workload, demands: Demands) -> None:
    for name in demands.needs:
        if not getattr(workload, name):
            raise bad_input(document.where((name,)), "is missing", f"its measure, {workload.measure}, needs {name}")
    for name, why in RESERVED.items():
        if name not in demands.needs + demands.takes and getattr(workload, name) != _DEFAULTS[name]:
            able = [measure for measure, one in MEASURES.items() if name in one.needs + one.takes]
            raise bad_input(document.where((name,)), why, f"remove it, or let measure be one of: {', '.join(able)}")


def _check_sources(document: Document, workload: Workload, owner: str, known: Collection[str]) -> None:
    for index, metric in enumerate(workload.metrics):
        if metric.source not in known:
            where = document.where(("metrics", index, "source"))
            raise bad_input(where, f"{owner} has no {short(metric.source)}", suggest(metric.source, known))


def _check_spans(document: Document, workload: Workload) -> None:
    """Boot's metrics are spans between two milestones."""
    for index, metric in enumerate(workload.metrics):
        where = document.where(("metrics", index, "source"))
        milestones = metric.source.split("-")
        if len(milestones) != 2:
            problem = f"{short(metric.source)} is no span between two milestones"
            raise bad_input(where, problem, "write one such as ready-requested")
        for milestone in milestones:
            if milestone not in list(Milestone):
                raise bad_input(where, f"{milestone} is no milestone", suggest(milestone, list(Milestone)))


def _check_scenario(document: Document, workload: Workload) -> None:
    """A scenario has figures of its own."""
    name = str(workload.parameters["scenario"])
    _check_sources(document, workload, name, lifecycle_figures.FIGURES[name])


def _check_counts(document: Document, workload: Workload) -> None:
    """Density's metrics are of what it counts (harness.measures.density.fields_of), at counts that it reaches."""
    for index, metric in enumerate(workload.metrics):
        reached = _REACHED.fullmatch(metric.source)
        if metric.source in _COUNTED or (reached and int(reached[2]) % int(workload.parameters["batch"]) == 0):
            continue
        where = document.where(("metrics", index, "source"))
        fix = f"use one of: {', '.join(_COUNTED)}, ready-at-N, FIELD-at-N of the reader's; N is a multiple of batch"
        raise bad_input(where, f"the measure density has no {short(metric.source)}", fix)


def _check_neighbour(document: Document, workload: Workload) -> None:
    """Victim and aggressor both serve or neither does; one figure of the victim's, and slowdowns of it."""
    assert workload.aggressor is not None
    if bool(workload.server) != bool(workload.aggressor.server):
        where = document.where(("aggressor", "server") if workload.aggressor.server else ("server",))
        raise bad_input(where, "only one of victim and aggressor serves", "give both a server, or neither")
    if sum(not aggressor_of(metric.source) for metric in workload.metrics) != 1:
        raise bad_input(
            document.where(("metrics",)),
            "not exactly one metric is the victim's own figure",
            'one has a source of the reader, all others one such as "beside docker/bridge"',
        )


def _recipes() -> Collection[str]:
    return {path.stem for path in data("images").glob("*.toml")} - {"system"}


MEASURES: Mapping[str, Demands] = {
    "command": Demands(needs=("argv", "reader"), takes=("server",)),
    "boot": Demands(takes=("cache",), special=_check_spans),
    "chain": Demands(
        needs=("argv", "reader", "server"),
        parameters={"length": Number(1, 1000), "mib": Number(1, 10**6)},
    ),
    "footprint": Demands(
        parameters={
            "instances": Number(1, 100),
            "instance_mib": Number(64, 10**6),
            "settle_seconds": Number(1, 60),
            "watch_seconds": Number(1, 600),
            "touch_mib": Number(0, 10**6),
            "read_mib": Number(0, 10**6),
            "free_seconds": Number(0, 600),
        },
        sources=frozenset(
            ("pss", "cgroup", "cgroup-uncached", "vmm", "available", "daemons", "daemons-each", "returned", "idle-cpu")
        ),
    ),
    "image": Demands(
        parameters={
            "recipe": Choice("recipe", _recipes, needed=False),
            "level": Number(1, 19, needed=False),
            "instances": Number(1, 16, needed=False),
            "write_mib": Number(1, 1024, needed=False),
        },
        sources=frozenset(
            {"disk", "transfer", "build", "export", "import", "start", "deploy"}
            | {"linked", "linked-disk", "full", "full-disk", "growth", "written"}
        ),
    ),
    "density": Demands(
        needs=("argv", "reader"),
        parameters={
            "most": Number(1, 100_000),
            "batch": Number(1, 100),
            "instance_mib": Number(32, 10**6),
            "floor_share": Number(0.05, 0.95, whole=False),
            "latency_seconds": Number(0.1, 3600, whole=False),
        },
        special=_check_counts,
    ),
    "churn": Demands(
        parameters={"jobs": Number(1, 10_000), "most_s": Number(1, 600), "together": Number(1, 64)},
        sources=frozenset({"rate", "p50", "p95", "longest", "elapsed"}),
    ),
    "lifecycle": Demands(
        needs=("argv", "server"),
        parameters={
            "scenario": Choice("scenario", lifecycle_figures.FIGURES.keys),
            "pause_ms": Number(0, 600_000),
            "settle_ms": Number(0, 600_000),
            "file_mib": Number(1, 65_536),
        },
        special=_check_scenario,
    ),
    "interference": Demands(
        needs=("argv", "reader", "aggressor"),
        takes=("server",),
        parameters={
            "placement": Choice("placement", lambda: PLACEMENTS),
            "settle": Number(0, 3600, whole=False),
        },
        special=_check_neighbour,
    ),
    "isolation": Demands(
        needs=("argv",),
        sources=frozenset(
            {"syscalls-allowed", "capabilities", "devices", "own-namespaces", "host-syscalls", "host-functions"}
        ),
    ),
}
"""By measure, what its workloads say."""
