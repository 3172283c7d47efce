"""iperf3 3.12 `-J`, TCP, one stream, either direction.

Fields, after the omitted seconds: `received_bytes_per_second` and `sent_bytes_per_second` (payload, bytes/s),
`retransmits` (count by the sender, may be 0), `elapsed` (s), `client_cpu` and `server_cpu` (CPU seconds per second).
"""

from harness.readers.base import Parameters, Reader

BITS = 8


class Iperf3(Reader):
    """Throughput of one stream."""

    tool = "iperf3"
    fields = (
        "received_bytes_per_second",
        "sent_bytes_per_second",
        "retransmits",
        "elapsed",
        "client_cpu",
        "server_cpu",
    )

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError with iperf3's own error, and for a figure that is missing or impossible."""
        report = self.json_object(stdout)
        if "error" in report:
            raise self.unreadable("is an error", str(report["error"]))
        streams = self.member(report, "end", "streams")
        if not isinstance(streams, list) or len(streams) != 1:
            raise self.unreadable("is not of one stream")

        def number(*path: str, positive: bool = True) -> float:
            return self.figure(self.member(report, "end", *path), ".".join(path), positive=positive)

        return {
            "received_bytes_per_second": number("sum_received", "bits_per_second") / BITS,
            "sent_bytes_per_second": number("sum_sent", "bits_per_second") / BITS,
            "retransmits": number("sum_sent", "retransmits", positive=False),
            "elapsed": number("sum_received", "seconds"),
            "client_cpu": number("cpu_utilization_percent", "host_total", positive=False) / 100,
            "server_cpu": number("cpu_utilization_percent", "remote_total", positive=False) / 100,
        }
