"""hyperfine 1.15 `--export-json=/proc/self/fd/1`, of one command.

Fields: `runs` (count), `time_mean`, `time_min`, `time_p50`, `time_p90`, `time_max` (s, of one run), and where the
workload has a parameter `operations` (those of one run) `operations_per_second` (1/s, of the median run).
"""

from collections.abc import Mapping

from harness.readers.output import Fields, figure, json_object, member, percentile, unreadable

TOOL = "hyperfine"


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for JSON that is wrong, several commands, or a run that failed."""
    results = member(TOOL, json_object(TOOL, stdout), "results")
    if not isinstance(results, list) or len(results) != 1:
        raise unreadable(TOOL, "is not of one command", stdout)
    listed, codes = member(TOOL, results[0], "times"), member(TOOL, results[0], "exit_codes")
    if not isinstance(listed, list) or not listed or codes != [0] * len(listed):
        raise unreadable(TOOL, "has a run that failed, or none", stdout)
    times = [figure(TOOL, one, "time of a run") for one in listed]
    figures = {
        "runs": float(len(times)),
        "time_mean": sum(times) / len(times),
        "time_min": min(times),
        "time_p50": percentile(times, 50),
        "time_p90": percentile(times, 90),
        "time_max": max(times),
    }
    if "operations" in parameters:
        operations = figure(TOOL, parameters["operations"], "number of operations")
        figures["operations_per_second"] = operations / figures["time_p50"]
    return Fields(TOOL, figures)
