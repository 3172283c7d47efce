"""stress-ng 0.15 `--STRESSOR 1 … --metrics --yaml /proc/self/fd/1` (YAML; one stressor).

Fields: `operations` (count; the stressor's manual defines one), `elapsed` (s), `operations_per_second` (1/s, by the
wall clock), `user` and `system` (CPU s). Each figure of the stressor's own that is in nanoseconds becomes seconds
(`nanosecs-per-page-fault` → `seconds-per-page-fault`).
"""

from typing import Any

import yaml

from harness.readers.base import NSEC, Parameters, Reader

_END = "\n...\n"
_OWN = "nanosecs-per-"


class StressNg(Reader):
    """The rate of one stressor."""

    tool = "stress-ng"
    fields = ("operations", "elapsed", "operations_per_second", "user", "system")
    pattern = "seconds-per-.+"
    form = "seconds-per-NAME"
    largest = 64 * 1024

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for YAML that is cut or wrong, several stressors, or none that ran."""
        entry = self._entry(self.text(stdout))

        def number(key: str, positive: bool = True) -> float:
            return self.figure(self.member(entry, key), key, positive=positive)

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
        return figures

    def _entry(self, text: str) -> dict[Any, Any]:
        if not text.endswith(_END):
            raise self.unreadable("is not whole: its YAML has no end", text)
        if text.count("\nmetrics:") != 1:
            raise self.unreadable("does not have one metrics section (was --metrics given?)", text)
        try:
            metrics = self.member(yaml.safe_load(text), "metrics")
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.unreadable("is not the YAML expected", str(error)) from None
        if not isinstance(metrics, list) or len(metrics) != 1 or not isinstance(metrics[0], dict):
            raise self.unreadable("is not of one stressor", text)
        entry: dict[Any, Any] = metrics[0]
        return entry
