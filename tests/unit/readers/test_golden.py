"""Every reader against real output of its tool; expected values were read off the golden files by eye."""

from pathlib import Path

import pytest

from harness.errors import ExitCode, TareError
from harness.readers import reader, readers

GOLDEN = Path(__file__).parent / "golden"

EXPECTED = [
    (
        "sysbench",
        "cpu.sysbench",
        {
            "events_per_second": 4329.72,
            "events": 4334,
            "elapsed": 1.0003,
            "latency_mean": 0.00023,
            "latency_p95": 0.00026,
            "latency_max": 0.00637,
            "threads": 1,
        },
    ),
    ("sysbench", "cpu.sysbench-all", {"threads": 2}),
    (
        "zstd",
        "cpu.zstd",
        {
            "compress_bytes_per_second": 182.55e6,
            "decompress_bytes_per_second": 878.8e6,
            "ratio": 2.591,
            "level": 3,
            "input_bytes": 4194304,
            "compressed_bytes": 1618634,
        },
    ),
    ("gate", "isolation.gate", {"allowed": 357, "refused": 0, "absent": 112, "killed": 0, "skipped": 1}),
    ("openssl", "cpu.openssl", {"bytes_per_second": 3888070656.0, "block_bytes": 16384}),
    ("openssl", "cpu.openssl-sign", {"sign_per_second": 47038, "verify_per_second": 14437, "key_bits": 256}),
    (
        "pairs",
        "cpu.syscall",
        {"operations": 1732000, "elapsed": 1.001021888, "syscall_per_second": 1730231.896788},
    ),
    (
        "stress-ng",
        "cpu.fork",
        {
            "operations": 347,
            "operations_per_second": 346.763219,
            "elapsed": 1.000683,
            "user": 0.137371,
            "system": 0.109983,
        },
    ),
    (
        "stress-ng",
        "stress-ng-switch",
        {"operations": 224475, "seconds-per-context-switch-pipe-method": 4452.906017e-9},
    ),
    (
        "sockperf",
        "network.rr-tcp",
        {
            "rtt_mean": 234.776e-6,
            "rtt_p50": 36.794e-6,
            "rtt_p90": 66.889e-6,
            "rtt_p99": 4341.378e-6,
            "rtt_p99.9": 23763.057e-6,
            "rtt_max": 133598.188e-6,
            "rtt_min": 18.347e-6,
            "observations": 2361,
            "dropped": 0,
            "round_trips_per_second": 2361 / 0.554,
        },
    ),
    (
        "iperf3",
        "network.tcp-out",
        {
            "received_bytes_per_second": 28965029063.371349 / 8,
            "sent_bytes_per_second": 28844516338.579933 / 8,
            "retransmits": 0,
            "elapsed": 0.999884,
            "client_cpu": 0.441909361585825,
            "server_cpu": 0.91946687420955342,
        },
    ),
    (
        "fio",
        "disk.rand-read-qd1",
        {
            "read.bytes_per_second": 35059468,
            "read.iops": 8559.440559,
            "read.latency_mean": 115786.098739e-9,
            "read.latency_p50": 80384e-9,
            "read.latency_p99": 995328e-9,
            "read.latency_p99.9": 4079616e-9,
            "read.latency_max": 8961948e-9,
            "elapsed": 1.0,
        },
    ),
    (
        "fio",
        "disk.fsync",
        {
            "write.iops": 528.471528,
            "sync.latency_mean": 1867184.589792e-9,
            "sync.latency_p50": 1105920e-9,
            "sync.latency_p99": 8093696e-9,
            "sync.latency_p99.9": 14614528e-9,
        },
    ),
    (
        "redis-benchmark",
        "app.redis",
        {
            "set_per_second": 19297.57,
            "set_p50": 0.863e-3,
            "set_p99": 17.231e-3,
            "get_per_second": 40290.09,
            "get_p95": 1.119e-3,
            "get_max": 8.207e-3,
        },
    ),
    (
        "pgbench",
        "app.pgbench",
        {
            "transactions": 190,
            "transactions_per_second": 198.243355,
            "latency_mean": 3723698e-6 / 190,
            "latency_p50": 16519e-6,
            "latency_p99": 73759e-6,
            "latency_max": 99708e-6,
        },
    ),
    (
        "wrk",
        "app.nginx",
        {"requests": 17280, "requests_per_second": 17262.17, "latency_p50": 860e-6, "latency_p99": 9.14e-3},
    ),
    ("wrk", "app.chain", {"requests": 2043, "latency_p50": 146e-6, "latency_p75": 2.69e-3}),
    ("hyperfine", "app.sqlite", {"runs": 3, "time_p50": 4.063946032, "time_max": 7.607705137}),
    ("hyperfine", "app.python-start", {"runs": 20, "time_p50": 0.292232488, "time_p90": 0.44426562}),
]


@pytest.mark.parametrize(("name", "golden", "expected"), EXPECTED, ids=[case[1] for case in EXPECTED])
def test_reads_real_output(name: str, golden: str, expected: dict[str, float]) -> None:
    fields = reader(name).read((GOLDEN / f"{golden}.txt").read_text(), {})
    assert [key for key in fields if key not in reader(name).names({})] == []
    assert {key: fields[key] for key in expected} == pytest.approx(expected, rel=1e-12)


def test_every_reader_has_a_golden_file() -> None:
    assert {case[0] for case in EXPECTED} == set(readers().found)


def test_read_only_job_has_no_write_figures() -> None:
    fields = reader("fio").read((GOLDEN / "disk.rand-read-qd1.txt").read_text(), {})
    assert not [key for key in fields if key.startswith(("write", "sync"))]
    with pytest.raises(TareError, match=r"has no write\.iops"):
        fields["write.iops"]


def test_unknown_reader_names_those_there_are() -> None:
    with pytest.raises(TareError) as caught:
        reader("fioo")
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "fio" in caught.value.hint


def test_names_of_a_reader_are_what_it_declares() -> None:
    known = reader("stress-ng").names({})
    assert "operations" in known and "seconds-per-page-fault" in known
    assert "operation" not in known and "" not in known
    assert "operations_per_second" not in reader("hyperfine").names({})
    assert "operations_per_second" in reader("hyperfine").names({"operations": 5})
