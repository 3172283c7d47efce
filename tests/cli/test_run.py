"""From `tare run` to the report, on the fake runtime."""

import csv
import json
import math
import statistics

from tests.cli.conftest import Tare


def test_a_run_ends_with_a_table_a_report_and_a_csv(tare: Tare) -> None:
    done = tare.run("--suite", "smoke", "--seed", "7")
    folder = tare.only_run()
    assert "fake/slow" in done.stdout
    assert str(folder) in done.stdout
    assert "[ 1/18]" in done.stderr
    assert {"manifest.json", "journal.jsonl", "samples.csv", "raw", "report.html"} <= {p.name for p in folder.iterdir()}
    with (folder / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["workload"] for row in rows} == {"cpu.steady", "memory.noisy", "boot.fake"}
    assert {row["phase"] for row in rows} == {"warmup", "measured"}
    rates = {
        variant: [
            float(row["value"])
            for row in rows
            if (row["workload"], row["metric"], row["variant"], row["phase"])
            == ("cpu.steady", "rate", variant, "measured")
        ]
        for variant in ("fake/baseline", "fake/slow")
    }
    assert {len(values) for values in rates.values()} == {9}
    ratio = statistics.median(rates["fake/baseline"]) / statistics.median(rates["fake/slow"])
    assert math.isclose(ratio, 1.25, rel_tol=0.03)


def test_failing_cases_are_rows_and_the_run_goes_on(tare: Tare) -> None:
    done = tare.run("--suite", "trouble", code=1)
    assert "fake was told to fail" in done.stderr
    assert "cannot be launched" in done.stderr
    with (tare.only_run() / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if row["workload"] == "cpu.failing" and row["variant"] == "fake/baseline"]
    assert failed
    assert all(row["value"] == "" and row["valid"] == "false" and row["reason"] for row in failed)
    assert any(row["value"] for row in rows if row["workload"] == "cpu.steady")


def test_a_cold_boot_says_what_was_dropped_and_subtracted(tare: Tare) -> None:
    path = tare.workloads / "boot.fake.toml"
    path.write_text(path.read_text().replace('measure = "boot"', 'measure = "boot"\ncache = "cold"'))
    done = tare.run("--suite", "smoke", "--workload", "boot", "--blocks", "2")
    words = " ".join(done.stdout.split())
    assert "boot.fake is a cold start: before each launch the variant's files are dropped" in words
    assert "The signalling overhead is subtracted from the time to ready: " in words
    for variant in ("fake/baseline", "fake/slow"):
        assert f"{variant} 100.0 µs (readings from 100.0 µs to 100.0 µs)" in words
    events = tare.events()
    data = {name: [one["data"] for one in events if one["event"] == name] for name in ("beacon", "cache", "milestones")}
    assert {one["variant"]: one["failed"] for one in data["beacon"]} == {"fake/baseline": "", "fake/slow": ""}
    assert len(data["beacon"]) == 2 and len(data["cache"]) == len(data["milestones"]) == 4
    assert {(one["before"], one["after"], one["stayed"]) for one in data["cache"]} == {(0, 0, 0.0)}
    with (tare.only_run() / "samples.csv").open(newline="") as file:
        ready = [row for row in csv.DictReader(file) if row["metric"] == "ready"]
    values = {(row["variant"], row["block"]): float(row["value"]) for row in ready}
    for one in data["milestones"]:
        block = one["case"].split("_")[2].removeprefix("b").lstrip("0") or "0"
        stamped = one["milestones"]["ready"] - one["milestones"]["requested"]
        assert math.isclose(values[one["variant"], block], stamped - 1e-4, abs_tol=1e-7)


def test_the_outcome_as_json(tare: Tare) -> None:
    done = tare.run("--suite", "smoke", "--workload", "cpu", "--blocks", "1", "--json")
    outcome = json.loads(done.stdout)
    assert outcome == {"directory": str(tare.only_run()), "failed": 0, "interrupted": False}


def test_a_dry_run_creates_nothing(tare: Tare) -> None:
    before = sorted(tare.home.rglob("*"))
    done = tare.run("--suite", "trouble", "--dry-run")
    assert "cpu.steady" in done.stdout
    assert sorted(tare.home.rglob("*")) == before


def test_a_plan_as_json_is_the_same_for_the_same_seed(tare: Tare) -> None:
    words = ["plan", "--suite", "smoke", "--seed", "3", "--json", "--workloads-dir", str(tare.workloads)]
    words += ["--baseline", "fake/baseline"]
    first = json.loads(tare(*words).stdout)
    assert first == json.loads(tare(*words).stdout)
    assert first["cases"] == 18
    assert first["estimate_seconds"] > 0


def test_report_export_and_prune_a_stored_run(tare: Tare) -> None:
    for _ in range(2):
        tare.run("--suite", "smoke", "--workload", "cpu", "--blocks", "1")
    newest = sorted(path.name for path in tare.results.iterdir())[-1]
    (tare.results / newest / "report.html").unlink()
    assert newest in tare("report", "latest", "--out", str(tare.results)).stdout
    assert (tare.results / newest / "report.html").is_file()
    copy = tare.home / "copy.csv"
    tare("export", newest, "--csv", str(copy), "--out", str(tare.results))
    assert copy.read_bytes() == (tare.results / newest / "samples.csv").read_bytes()
    precious = tare.home / "precious"
    precious.mkdir()
    (precious / "journal.jsonl").write_text("")
    (tare.results / "0-link").symlink_to(precious)
    (tare.results / "0-mine").mkdir()
    tare("prune", "--keep", "1", "--out", str(tare.results))
    assert sorted(path.name for path in tare.results.iterdir()) == sorted(["0-link", "0-mine", newest])
    assert (precious / "journal.jsonl").is_file()
