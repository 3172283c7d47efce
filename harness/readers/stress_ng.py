"""stress-ng 0.15 `--STRESSOR 1 … --metrics --yaml /proc/self/fd/1` (YAML; one stressor).

Fields: `operations` (count; what one is, the stressor's manual says), `elapsed` (s), `operations_per_second` (1/s, by
the wall clock), `user` and `system` (CPU s), and each figure of the stressor's own that is in nanoseconds as seconds
(`nanosecs-per-page-fault` → `seconds-per-page-fault`).
"""

from collections.abc import Mapping
from typing import Any

import yaml

from harness.readers.output import NSEC, Fields, figure, lines_of, member, unreadable

TOOL = "stress-ng"
_LARGEST = 64 * 1024
_END = "\n...\n"
_OWN = "nanosecs-per-"


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for YAML that is cut or wrong, several stressors, or none that ran."""
    entry = _entry(lines_of(TOOL, stdout, largest=_LARGEST))

    def number(key: str, positive: bool = True) -> float:
        return figure(TOOL, member(TOOL, entry, key), key, positive=positive)

    figures = {
        "operations": number("bogo-ops"),
        "elapsed": number("wall-clock-time"),
        "operations_per_second": number("bogo-ops-per-second-real-time"),
        "user": number("user-time", positive=False),
        "system": number("system-time", positive=False),
    }
    for key in entry:
        if isinstance(key, str) and key.startswith(_OWN):
            figures["seconds-per-" + key.removeprefix(_OWN)] = number(key) * NSEC
    return Fields(TOOL, figures)


def _entry(text: str) -> dict[Any, Any]:
    if not text.endswith(_END):
        raise unreadable(TOOL, "is not whole: its YAML has no end", text)
    if text.count("\nmetrics:") != 1:
        raise unreadable(TOOL, "has not one metrics section (was --metrics given?)", text)
    try:
        metrics = member(TOOL, yaml.safe_load(text), "metrics")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise unreadable(TOOL, "is not the YAML expected", str(error)) from None
    if not isinstance(metrics, list) or len(metrics) != 1 or not isinstance(metrics[0], dict):
        raise unreadable(TOOL, "is not of one stressor", text)
    entry: dict[Any, Any] = metrics[0]
    return entry
