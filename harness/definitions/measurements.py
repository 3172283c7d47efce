"""Measurements: names such as `cpu.sysbench:rate`, by which claims, needs and replications refer to a metric."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from annotated_types import Len, Predicate

from harness.definitions.declaration import all_metrics
from harness.definitions.toml_file import suggest
from harness.model import Workload

MEASUREMENT = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}:[a-z0-9][a-z0-9.-]{0,40}")


def is_measurement(text: str) -> bool:
    """Whether `text` may name a metric of a workload: `workload:metric`."""
    return MEASUREMENT.fullmatch(text) is not None


Measurement = Annotated[str, Predicate(is_measurement)]
Text = Annotated[str, Len(1, 300)]
Wrong = Iterator[tuple[str, str, str]]
"""Fields of a table that are wrong, with the problem and the fix, the most serious first."""


def unknown(workload: str, metric: str, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, str, str]]:
    """What does not exist of a measurement, `workload` or `metric`, with the problem and the fix."""
    if workload not in workloads:
        yield "workload", f"there is no workload {workload!r}", suggest(workload, workloads)
    elif metric not in (known := all_metrics(workloads[workload])):
        yield "metric", f"{workload} has no metric {metric}", suggest(metric, known)
