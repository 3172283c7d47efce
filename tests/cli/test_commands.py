"""The commands that only tell something."""

import json
import subprocess

import pytest

from tests.cli.conftest import Tare
from tests.unit.report import synthetic


def test_list_names_everything_that_can_be_chosen(tare: Tare) -> None:
    text = tare("list", "--workloads-dir", str(tare.workloads)).stdout
    for word in ("fake/baseline", "fake/slow", "cpu.steady", "boot.fake", "trouble"):
        assert word in text


def test_list_as_json(tare: Tare) -> None:
    found = json.loads(tare("list", "--json", "--workloads-dir", str(tare.workloads)).stdout)
    variants = {variant["name"]: variant for variant in found["variants"]}
    assert variants["fake/slow"]["available"] is True
    for variant in found["variants"]:
        assert variant["available"] or variant["reason"]
    assert {"cpu.steady", "cpu.all"} <= {workload["name"] for workload in found["workloads"]}
    assert {suite["name"] for suite in found["suites"]} == {"smoke", "slow", "trouble"}


def test_doctor_as_json_says_whether_the_host_is_fit(tare: Tare) -> None:
    child = tare.start("doctor", "--json")
    stdout, stderr = child.communicate(timeout=60)
    found = json.loads(stdout)
    assert child.returncode == (0 if found["fit"] else 4), stderr
    assert found["host"]["kernel"]
    assert all(finding["severity"] in ("fine", "note", "unfit", "missing") for finding in found["findings"])


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["plan", "--help"], ["clean", "--help"]])
def test_help_fits_a_screen(tare: Tare, words: list[str]) -> None:
    lines = tare(*words).stdout.splitlines()
    assert lines[0].startswith("usage: tare")
    assert len(lines) < 60


def test_version(tare: Tare) -> None:
    assert tare("--version").stdout.startswith("tare ")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_commands(tare: Tare, shell: str) -> None:
    script = tare("completion", shell).stdout
    assert "--workloads-dir" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_a_reader_that_leaves_is_no_error(tare: Tare) -> None:
    child = tare.start("list", "--workloads-dir", str(tare.workloads))
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(60) == 0


def test_samples_without_a_manifest_are_rendered_by_folder_and_by_file(tare: Tare) -> None:
    folder = synthetic.write(tare.home / "foreign", synthetic.samples(blocks=2, iterations=1), None)
    for word in (folder, folder / "samples.csv"):
        (folder / "report.md").unlink(missing_ok=True)
        assert "docker/bridge" in tare("report", str(word)).stdout
        assert (folder / "report.md").is_file()
    assert "is not the folder of a run" in tare("report", str(tare.home / "absent"), code=2).stderr
