"""iperf3 3.12 `-J`, TCP, one stream, either direction.

Fields, after the omitted seconds: `received_bytes_per_second` and `sent_bytes_per_second` (payload, bytes/s),
`retransmits` (count by the sender, may be 0), `elapsed` (s), `client_cpu` and `server_cpu` (CPU seconds per second).
"""

from collections.abc import Mapping

from harness.readers.output import Fields, figure, json_object, member, unreadable

TOOL = "iperf3"
BITS = 8


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError with iperf3's own error, or for what is missing or impossible."""
    report = json_object(TOOL, stdout)
    if "error" in report:
        raise unreadable(TOOL, "is an error", str(report["error"]))
    streams = member(TOOL, report, "end", "streams")
    if not isinstance(streams, list) or len(streams) != 1:
        raise unreadable(TOOL, "is not of one stream")

    def number(*path: str, positive: bool = True) -> float:
        return figure(TOOL, member(TOOL, report, "end", *path), ".".join(path), positive=positive)

    return Fields(
        TOOL,
        {
            "received_bytes_per_second": number("sum_received", "bits_per_second") / BITS,
            "sent_bytes_per_second": number("sum_sent", "bits_per_second") / BITS,
            "retransmits": number("sum_sent", "retransmits", positive=False),
            "elapsed": number("sum_received", "seconds"),
            "client_cpu": number("cpu_utilization_percent", "host_total", positive=False) / 100,
            "server_cpu": number("cpu_utilization_percent", "remote_total", positive=False) / 100,
        },
    )
