"""Output that is cut, forged, huge or absurd is an error and never a number."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.definitions.workloads import load_workloads
from harness.errors import TareError
from harness.paths import data
from harness.readers import reader, readers

GOLDEN = Path(__file__).parent / "golden"
COMMANDS = {name: one for name, one in load_workloads(data("workloads")).items() if one.measure == "command"}


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_cut_output_gives_the_same_number_or_none(name: str) -> None:
    workload, whole = COMMANDS[name], golden(name)
    sources = [metric.source for metric in workload.metrics]
    read = reader(workload.reader).read
    right = [read(whole, workload.parameters)[source] for source in sources]
    for at in range(0, len(whole), max(1, len(whole) // 400)):
        for source, value in zip(sources, right, strict=True):
            try:
                got = read(whole[:at], workload.parameters)[source]
            except TareError:
                continue
            assert got == value, f"cut at {at}"


@pytest.mark.parametrize("name", readers().found)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "null\n",
        "[]\n",
        "{}\n",
        "NaN\n",
        "[" * 100_000 + "\n",
        '{"a":' * 100_000 + "\n",
        "9" * 10_000 + "\n",
        "x" * (5 * 2**20) + "\n",
        "value=nan\n",
        "value=-1\n",
        "value=1e999\n",
        "value=1_000\n",
        "value=١\n",
        "value=1\nvalue=2\n",
        "value=1",
        "\x1b[2J=1\n",
        "---\nmetrics: &a [*a]\n\nmetrics:\n...\n",
        "---\n\nmetrics: [[[[\n\n...\n",
        "---\n\nmetrics:\n  - bogo-ops: .nan\n\n...\n",
    ],
    ids=lambda text: text[:12],
)
def test_absurd_output_is_refused(name: str, text: str) -> None:
    with pytest.raises(TareError):
        reader(name).read(text, {})


@pytest.mark.parametrize("name", readers().found)
@given(text=st.text(max_size=300))
def test_any_text_is_a_tare_error_or_finite(name: str, text: str) -> None:
    try:
        fields = reader(name).read(text, {})
    except TareError as error:
        assert len(str(error)) < 5000
    else:
        assert all(0 <= value < float("inf") for value in fields.values())


SWAPS: list[tuple[str, str, str, str]] = [
    ("cpu.sysbench", r"second:  4329.72", "second:  nan", "events per second"),
    ("cpu.sysbench", r"second:  4329.72", "second:  -4329.72", "events per second"),
    ("cpu.sysbench", r"second:  4329.72", "second:  0.00", "events per second"),
    ("cpu.sysbench", r"General statistics:", "    events per second:  9999.99", "2 events per second"),
    ("cpu.zstd", r"182.55 MB/s", "inf MB/s", "result"),
    ("cpu.zstd", r"bench 1.5.4", "rench", "input size"),
    ("cpu.openssl", r"\+F:25", "+F:25:x:1.00\n+F:25", "2 "),
    ("cpu.openssl", r"3888070656.00", "3.8e9", "result"),
    ("cpu.syscall", r"elapsed=", "elapsed=\n", "name=value"),
    ("cpu.fork", r"bogo-ops: 347", "bogo-ops: yes", "bogo-ops"),
    ("cpu.fork", r"real-time: 346.763219", "real-time: -.inf", "real-time"),
    ("cpu.fork", r"\nmetrics:", "\nmetrics:\n    - stressor: forged\nmetrics:", "metrics"),
    ("cpu.fork", r"    - stressor: fork", "    - stressor: other\n    - stressor: fork", "one stressor"),
    ("network.rr-tcp", r"percentile 99.000 = 4341.378", "percentile 99.000 = nan", "rtt_p99"),
    ("network.rr-tcp", r"Round trip is", "Latency is", "full-rtt"),
    ("network.rr-tcp", r"# dropped", "# lost", "dropped"),
    ("app.redis", r'"rps"', '"qps"', "columns"),
    ("app.redis", r'"GET"', '"SET"', "set twice"),
    ("app.redis", r'"19297.57"', '"inf"', "no number for set per_second"),
    ("app.redis", r',"17.231"', "", "not of one test"),
    ("app.nginx", r"Requests/sec:", "Socket errors: connect 3\nRequests/sec:", "requests failed"),
    ("app.nginx", r"17280 requests", "0 requests", "number of requests"),
    ("app.nginx", r"99%    9.14ms", "99%    9.14h", "99 % latency"),
    ("app.pgbench", r"processed: 190", "processed: 191", "191 transactions"),
    ("app.pgbench", r"failed transactions: 0", "failed transactions: 2", "2 of them failed"),
    ("app.pgbench", r"\n16519\n", "\n-16519\n", "plain list of times"),
    ("app.compile", r'"times": \[', '"times": [0.0, ', "a run that failed"),
    ("app.compile", r'"results": \[', '"results": [{}, ', "one command"),
]


@pytest.mark.parametrize(("name", "pattern", "forged", "said"), SWAPS)
def test_forged_text_is_refused(name: str, pattern: str, forged: str, said: str) -> None:
    text, times = re.subn(pattern, lambda _: forged, golden(name), count=1)
    assert times == 1
    with pytest.raises(TareError, match=re.escape(said)):
        reader(COMMANDS[name].reader).read(text, {})


def _without(*path: str | int) -> Callable[[object], None]:
    def change(report: object) -> None:
        for part in path[:-1]:
            report = report[part]  # type: ignore[index]
        del report[path[-1]]  # type: ignore[attr-defined]

    return change


def _with(value: object, *path: str | int) -> Callable[[object], None]:
    def change(report: object) -> None:
        for part in path[:-1]:
            report = report[part]  # type: ignore[index]
        report[path[-1]] = value  # type: ignore[index]

    return change


CHANGES: list[tuple[str, Callable[[object], None], str]] = [
    ("disk.rand-read-qd1", _without("jobs"), "jobs"),
    ("disk.rand-read-qd1", _with([], "jobs"), "one job"),
    ("disk.rand-read-qd1", _with(28, "jobs", 0, "error"), "error 28"),
    ("disk.rand-read-qd1", _with(0, "jobs", 0, "read", "total_ios"), "no I/O"),
    ("disk.rand-read-qd1", _with("8559", "jobs", 0, "read", "iops"), "iops"),
    ("disk.rand-read-qd1", _with(-1, "jobs", 0, "read", "iops"), "iops"),
    ("disk.rand-read-qd1", _with(10**400, "jobs", 0, "read", "iops"), "iops"),
    ("disk.rand-read-qd1", _with(float("nan"), "jobs", 0, "read", "iops"), "NaN"),
    ("disk.rand-read-qd1", _without("jobs", 0, "read", "lat_ns", "percentile", "99.000000"), "99.000000"),
    ("disk.fsync", _without("jobs", 0, "sync", "lat_ns", "percentile"), "percentile"),
    ("network.tcp-in", _without("end", "sum_received"), "end.sum_received"),
    ("network.tcp-in", _with(True, "end", "sum_received", "bits_per_second"), "bits_per_second"),
    ("network.tcp-in", _with([], "end", "streams"), "one stream"),
    ("network.tcp-in", _with("unable to connect to server", "error"), "error"),
]


@pytest.mark.parametrize(("name", "change", "said"), CHANGES)
def test_forged_json_is_refused(name: str, change: Callable[[object], None], said: str) -> None:
    report = json.loads(golden(name))
    change(report)
    with pytest.raises(TareError, match=re.escape(said)):
        reader(COMMANDS[name].reader).read(json.dumps(report) + "\n", {})


def test_json_with_a_key_twice_is_refused() -> None:
    text = golden("network.tcp-in").replace('"sum_sent":', '"sum_received": {}, "sum_sent":')
    with pytest.raises(TareError, match="twice"):
        reader("iperf3").read(text, {})


def test_silent_server_is_said() -> None:
    silent = "sockperf: Test ended\nsockperf: No messages were received from the server. Is the server down?\n"
    with pytest.raises(TareError, match="no server answered"):
        reader("sockperf").read(silent, {})


def test_escape_sequences_do_not_reach_the_message() -> None:
    with pytest.raises(TareError) as caught:
        reader("pairs").read("\x1b]0;owned\x07\n", {})
    assert "\x1b" not in str(caught.value)
