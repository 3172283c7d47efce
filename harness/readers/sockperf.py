"""sockperf 3.7 `ping-pong --full-rtt` (text only; it exits 0 even when no server answered).

Fields: `rtt_mean`, `rtt_min`, `rtt_p50`, `rtt_p90`, `rtt_p99`, `rtt_p99.9`, `rtt_max` (s, round trip), `observations`
(count), `dropped`, `duplicated`, `out_of_order` (count, may be 0), `round_trips_per_second` (1/s, of the observations).
"""

import re
from collections.abc import Mapping

from harness.readers.output import NUMBER, USEC, Fields, figure, lines_of, only, unreadable

TOOL = "sockperf"
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,12}m")
_MEAN = rf"sockperf: Summary: Round trip is +{NUMBER} usec *"
_TOTAL = rf"sockperf: Total ([0-9]{{1,15}}) observations; each percentile contains {NUMBER} observations"
_VALID = rf"sockperf: \[Valid Duration\] RunTime={NUMBER} sec; SentMessages=[0-9]+; ReceivedMessages=[0-9]+"
_LOST = r"sockperf: # dropped messages = ([0-9]{1,15}); # duplicated messages = ([0-9]{1,15}); " + (
    r"# out-of-order messages = ([0-9]{1,15})"
)
_PERCENTILES = {
    "rtt_min": r"<MIN> observation",
    "rtt_p50": r"percentile 50\.000",
    "rtt_p90": r"percentile 90\.000",
    "rtt_p99": r"percentile 99\.000",
    "rtt_p99.9": r"percentile 99\.900",
    "rtt_max": r"<MAX> observation",
}


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for a line that is missing, cut or there twice, or a silent server."""
    text = _COLOUR.sub("", lines_of(TOOL, stdout))
    if "No messages were received" in text:
        raise unreadable(TOOL, "says that no server answered", text)
    if "Summary: Latency is" in text:
        raise unreadable(TOOL, "shows half round trips: run it with --full-rtt", text)
    count = figure(TOOL, int(only(TOOL, _TOTAL, text, "total observations")[1]), "number of observations")
    seconds = figure(TOOL, float(only(TOOL, _VALID, text, "valid duration")[1]), "valid duration")
    lost = only(TOOL, _LOST, text, "dropped messages").groups()
    mean = float(only(TOOL, _MEAN, text, "round trip summary")[1])
    figures = {
        "rtt_mean": figure(TOOL, mean * USEC, "mean round trip"),
        "observations": count,
        "round_trips_per_second": count / seconds,
    }
    for name, number in zip(("dropped", "duplicated", "out_of_order"), lost, strict=True):
        figures[name] = figure(TOOL, int(number), name, positive=False)
    for name, label in _PERCENTILES.items():
        value = float(only(TOOL, rf"sockperf: ---> {label} += +{NUMBER}", text, name)[1])
        figures[name] = figure(TOOL, value * USEC, name)
    return Fields(TOOL, figures)
