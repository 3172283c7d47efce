"""`tare claims` on runs of the fake runtime, on none, and on odd ones."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Tare

LEDGER = """\
[[claims]]
id = "slow-costs-a-quarter"
where = "CPU"
text = "slow costs about a quarter"
kind = "ratio"
about = ["cpu.steady:rate", "cpu.steady:latency"]
subjects = ["fake/slow"]
against = "fake/baseline"
low = 0.2
high = 0.3

[[claims]]
id = "slow-costs-nothing"
where = "CPU"
text = "slow costs <nothing> | at all"
kind = "similar"
about = ["cpu.steady:rate"]
subjects = ["fake/slow"]
against = "fake/baseline"
low = -0.05
high = 0.05
reading = "ours"

[[claims]]
id = "minutes"
where = "Boot"
text = "minutes"
kind = "absolute"
about = ["boot.fake:ready"]
subjects = ["fake/slow"]
low = 60
unit = "s"

[[claims]]
id = "guests"
where = "Boot"
text = "guests are slower"
kind = "order"
about = ["boot.fake:ready"]
subjects = ["libvirt/kvm"]
against = "fake/baseline"
low = 0
reading = "ours"

[[claims]]
id = "mature"
where = "Table"
text = "Very mature"
kind = "untestable"
reason = "an opinion"
"""


@pytest.fixture
def judged(tare: Tare) -> Tare:
    """With a ledger about the fake runtime and one run of its CPU workload."""
    (tare.workloads / "claims.toml").write_text(LEDGER)
    tare.run("--suite", "smoke", "--workload", "cpu.steady", "--blocks", "6", "--json")
    unvoid(tare.only_run() / "samples.csv")
    return tare


def unvoid(path: Path) -> None:
    """A host that is busy with other tests discards blocks, which is not what these tests are about."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update(valid="true", reason="")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def words(tare: Tare, *more: str) -> list[str]:
    return ["claims", "--workloads-dir", str(tare.workloads), "--out", str(tare.results), *more]


def test_a_run_is_judged(judged: Tare) -> None:
    text = judged(*words(judged)).stdout
    assert "supported: slow-costs-a-quarter" in text
    assert "contradicted: slow-costs-nothing" in text
    assert "fake/slow cpu.steady rate: +2" in text
    assert "n = 6" in text
    assert "(our reading)" in text
    assert "not measured yet: tare run --workload boot.fake --variant libvirt/kvm" in text
    assert text.splitlines()[-1] == ("5 claims: 1 supported, 1 contradicted, 2 not measured here, 1 untestable.")


def test_json_and_markdown(judged: Tare) -> None:
    found = json.loads(judged(*words(judged, "latest", "--json")).stdout)
    assert found["counts"] == {
        "supported": 1, "contradicted": 1, "inconclusive": 0, "not measured here": 2, "by design": 0,
        "untestable": 1,
    }  # fmt: skip
    first, second, *_ = found["claims"]
    assert (first["id"], first["verdict"]) == ("slow-costs-a-quarter", "supported")
    assert [row["metric"] for row in first["figures"]] == ["rate", "latency"]
    assert second["figures"][0]["n"] == 6
    markdown = judged(*words(judged, "--markdown")).stdout
    assert "| contradicted | “slow costs &lt;nothing&gt; \\| at all” |" in markdown


def test_a_gate_fails_on_a_contradicted_claim(judged: Tare) -> None:
    judged(*words(judged, "--fail-on", "contradicted"), code=3)
    judged(*words(judged, "--fail-on", "inconclusive"), code=2)
    text = LEDGER.replace("high = 0.05", "high = 0.5")
    (judged.workloads / "claims.toml").write_text(text)
    judged(*words(judged, "--fail-on", "contradicted"))


def test_without_a_run_nothing_is_measured(tare: Tare) -> None:
    text = tare("claims", "--out", str(tare.results)).stdout
    last = text.splitlines()[-1]
    assert "not measured here" in last
    assert "supported" not in last
    assert "Virtualization Level | Hardware | Operating System" in text
    tare("claims", "latest", "--out", str(tare.results), code=2)


def test_runs_that_do_not_belong_are_left_out(judged: Tare) -> None:
    run = judged.only_run()
    foreign = copy(run, "20200101T000000Z-foreign-aaaaaa")
    for name in ("samples.csv", "manifest.json"):
        path = foreign / name
        host = json.loads((run / "manifest.json").read_text())["host"]["fingerprint"]
        path.write_text(path.read_text().replace(host, "0123456789ab"))
    damaged = copy(run, "20200101T000000Z-damaged-bbbbbb")
    (damaged / "samples.csv").write_text("not,a,run\n")
    done = judged(*words(judged, "--json"))
    assert len(json.loads(done.stdout)["runs"]) == 1
    assert "left out: " in done.stderr
    done = judged(*words(judged, run.name, foreign.name), code=2)
    assert "the runs are of 2 hosts" in done.stderr
    judged(*words(judged, damaged.name), code=2)


def copy(run: Path, name: str) -> Path:
    shutil.copytree(run, run.parent / name)
    return run.parent / name


def test_a_bad_ledger_is_refused(judged: Tare) -> None:
    (judged.workloads / "claims.toml").write_text(LEDGER.replace("against", "agianst", 1))
    done = judged(*words(judged), code=2)
    assert "claims.toml:8: claims[0].agianst: unknown key" in done.stderr
    assert "did you mean against?" in done.stderr
    (judged.workloads / "claims.toml").unlink()
    judged(*words(judged), code=2)
