"""hyperfine 1.15 `--export-json=/proc/self/fd/1`, of one command.

Fields: `runs` (count), `time_mean`, `time_min`, `time_p50`, `time_p90`, `time_max` (s, of one run). Where the workload
has a parameter `operations` (in one run): `operations_per_second` (1/s, of the median run).
"""

from harness.readers.base import FieldNames, Parameters, Reader, percentile


class Hyperfine(Reader):
    """Times of repeated runs."""

    tool = "hyperfine"
    fields = ("runs", "time_mean", "time_min", "time_p50", "time_p90", "time_max")

    def names(self, parameters: Parameters) -> FieldNames:
        """With the rate where the workload has `operations`."""
        rate = ("operations_per_second",) if "operations" in parameters else ()
        return FieldNames((*self.fields, *rate))

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for wrong JSON, several commands, or a run that failed."""
        results = self.member(self.json_object(stdout), "results")
        if not isinstance(results, list) or len(results) != 1:
            raise self.unreadable("is not of one command", stdout)
        listed, codes = self.member(results[0], "times"), self.member(results[0], "exit_codes")
        if not isinstance(listed, list) or not listed or codes != [0] * len(listed):
            raise self.unreadable("has a run that failed, or none", stdout)
        times = [self.figure(one, "time of a run") for one in listed]
        figures = {
            "runs": float(len(times)),
            "time_mean": sum(times) / len(times),
            "time_min": min(times),
            "time_p50": percentile(times, 50),
            "time_p90": percentile(times, 90),
            "time_max": max(times),
        }
        if "operations" in parameters:
            operations = self.figure(parameters["operations"], "number of operations")
            figures["operations_per_second"] = operations / figures["time_p50"]
        return figures
