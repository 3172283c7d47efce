"""The choices of the command line: runtimes with their variants, workloads and suites."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli.terminal import plain, skip_lines, table
from harness.definitions.declaration import broken_plugins
from harness.definitions.suites import load_suite, suite_names
from harness.definitions.workloads import load_workloads
from harness.model import Available, Skip, Suite, Variant, Workload
from harness.record.exporters import exporters
from harness.run.preview import survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Everything that can be named on the command line."""

    variants: Mapping[str, Variant]
    availability: Mapping[str, Available]
    broken: tuple[Skip, ...]
    workloads: Mapping[str, Workload]
    suites: tuple[Suite, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "variants": [
                {
                    "name": name,
                    "runtime": variant.runtime,
                    "summary": variant.summary,
                    "available": self.availability[name].ok,
                    "reason": self.availability[name].reason,
                    "fix": self.availability[name].fix,
                }
                for name, variant in self.variants.items()
            ],
            "broken": [{"runtime": one.what, "reason": one.reason, "fix": one.fix} for one in self.broken],
            "workloads": [
                {
                    "name": name,
                    "title": workload.title,
                    "resource": workload.resource,
                    "threads": workload.threads,
                    "definition": workload.definition,
                    "metrics": [metric.name for metric in workload.metrics],
                }
                for name, workload in self.workloads.items()
            ],
            "suites": [
                {"name": suite.name, "summary": suite.summary, "blocks": suite.blocks, "workloads": suite.workloads}
                for suite in self.suites
            ],
        }

    def lines(self) -> list[str]:
        """As lines of text."""
        lines = table(
            ("variant", "available", "what it is"), (self._row(variant) for variant in self.variants.values())
        )
        lines += skip_lines([*self._unavailable(), *self.broken])
        lines += [
            "",
            *table(("workload", "CPUs used", "what it measures"), map(_workload_row, self.workloads.values())),
        ]
        rows = [(suite.name, str(suite.blocks), f"{len(suite.workloads)}", suite.summary) for suite in self.suites]
        return [*lines, "", *table(("suite", "blocks", "workloads", "what it is for"), rows)]

    def _unavailable(self) -> Iterator[Skip]:
        """The variants that cannot run here, in one skip for each reason and fix."""
        shared: dict[tuple[str, str], list[str]] = {}
        for name, found in self.availability.items():
            if not found.ok:
                shared.setdefault((found.reason, found.fix), []).append(name)
        for (reason, fix), names in shared.items():
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield Skip(what=f"{names[0]}{others}", reason=reason, fix=fix)

    def _row(self, variant: Variant) -> tuple[str, str, str]:
        return variant.name, "yes" if self.availability[variant.name].ok else "no", variant.summary


def gather(folder: Path) -> Listing:
    """Read a workloads folder and ask the runtimes. Raises TareError (bad input) for a wrong file."""
    workloads = load_workloads(folder)
    suites = tuple(load_suite(name, folder) for name in suite_names(folder))
    with survey() as found:
        return Listing(
            variants=found.catalog.variants,
            availability=found.availability,
            broken=(*found.catalog.broken, *broken_plugins(), *exporters().broken),
            workloads=workloads,
            suites=suites,
        )


def _workload_row(workload: Workload) -> tuple[str, str, str]:
    return workload.name, "one" if workload.threads == "one" else "all of the shape", plain(workload.title)
