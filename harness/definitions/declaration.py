"""What a measure declares: the fields, parameters and sources of its workloads, and what a case of it takes.

Validation and planning know measures by these declarations alone; they find them by entry points.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from harness.definitions.toml_file import FieldPath, suggest
from harness.model import Metric, Skip, Workload
from harness.plugins import Plugins, derived_from, load
from harness.readers import FieldNames, readers

GROUP = "tare.measures"
ITERATION_SECONDS = 1.0
"""The estimate for one iteration of a workload without a `seconds` parameter."""
PREPARE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number from `least` to `most`."""

    name: str
    least: float
    most: float
    whole: bool = True
    needed: bool = True

    def accepts(self, value: object) -> bool:
        """Whether the parameter may have that value."""
        if not isinstance(value, int | float) or (self.whole and isinstance(value, float)):
            return False
        return self.least <= value <= self.most

    def fix(self, value: object) -> str:
        """What to write instead of a value that is not accepted."""
        return f"give a {self}"

    def __str__(self) -> str:
        return f"{'whole ' if self.whole else ''}number from {self.least:,} to {self.most:,}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of `words`, which are read only when a value is checked."""

    name: str
    words: Callable[[], Collection[str]]
    needed: bool = True

    def accepts(self, value: object) -> bool:
        """Whether the parameter may have that value."""
        return value in self.words()

    def fix(self, value: object) -> str:
        """What to write instead of a value that is not accepted."""
        return suggest(str(value), self.words())

    def __str__(self) -> str:
        return self.name


class Problem(NamedTuple):
    """What is wrong with a workload: the field, the problem, and what to write instead."""

    field: FieldPath
    problem: str
    fix: str


class Declaration:
    """What one measure declares; the defaults are those of a measure that runs a command in one instance.

    `needs` are fields of Workload that must be given, and `takes` those of `server`, `aggressor` and `cache` that may
    be. `parameters` are the measure's own, beside those that the workload's commands use. `placeholders` are the words
    that the measure fills into commands, beside the usual ones. `figures` are the sources of its workloads' metrics,
    None where those are the reader's fields. `host_costs` are the units of metrics that the measure
    adds to the workload's own. With `lasting`, an instance can be stopped and started again. `iteration_seconds` is
    the estimate for one iteration.
    """

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    parameters: tuple[Number | Choice, ...] = ()
    placeholders: tuple[str, ...] = ()
    figures: FieldNames | None = None
    host_costs: Mapping[str, str] = {}
    lasting: bool = False
    iteration_seconds: float = ITERATION_SECONDS

    def sources(self, workload: Workload, fields: FieldNames) -> FieldNames:
        """The sources that the workload's metrics can have; `fields` are those of its reader, none without one."""
        return self.figures or fields

    def problems(self, workload: Workload) -> Iterator[Problem]:
        """What else is wrong with a workload whose fields and parameters are in order."""
        return iter(())

    def case_seconds(self, workload: Workload, launch_seconds: float) -> float:
        """The estimated length of one case, where one launch with its removal takes `launch_seconds`."""
        seconds = workload.parameters.get("seconds", self.iteration_seconds)
        each = float(seconds) if isinstance(seconds, int | float) else self.iteration_seconds
        return launch_seconds + (PREPARE_SECONDS if workload.prepare else 0.0) + workload.all_iterations * each

    def at_once(self, workload: Workload) -> int:
        """How many instances of the run's full shape a case has at the same time."""
        return 1

    def disk_mib(self, workload: Workload) -> int:
        """The free disk space that a case needs on the host: twice the workload's `scratch_mib`."""
        return 2 * workload.scratch_mib


@cache
def measures() -> Plugins[Declaration]:
    """The declarations of all measures by name, and the measures that cannot be used, each with the reason."""
    return load(GROUP, derived_from(Declaration))


def declaration(workload: Workload) -> Declaration:
    """The declaration of the workload's measure; the defaults for a measure that cannot be used."""
    return measures().found.get(workload.measure) or Declaration()


def broken_plugins() -> tuple[Skip, ...]:
    """The measures and readers that are installed and cannot be used, each with the reason."""
    return (*measures().broken, *readers().broken)


def unusable(workload: Workload) -> Skip | None:
    """Why a workload cannot run on any host: its measure or its reader cannot be used. None where both can."""
    for kind, name, known in (("measure", workload.measure, measures()), ("reader", workload.reader, readers())):
        if skip := known.why_not(name):
            return Skip(what=workload.name, reason=f"{kind} {name}: {skip.reason}", fix=skip.fix)
    return None


def all_metrics(workload: Workload) -> dict[str, Metric]:
    """Every metric that the workload can have, by name: its own, and the host costs that its measure adds."""
    costs = declaration(workload).host_costs.items()
    added = {name: Metric(name=name, source="", unit=unit, direction="lower") for name, unit in costs}
    return added | {metric.name: metric for metric in workload.metrics}
