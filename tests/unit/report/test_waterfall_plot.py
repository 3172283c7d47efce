"""The waterfall: a step for each knob, what it changed from paired blocks, honest words where a step is missing."""

import math
from pathlib import Path
from typing import Any

import pytest

import harness.report
from harness.report.plots import EMULATED_HOST, draw
from harness.report.stored_run import load
from harness.report.waterfall_plot import ladder
from tests.unit.report import synthetic

COST = {"untuned": 1.5, "to-cpu": 1.2, "to-raw": 1.25, "tuned": 1.05}
KNOBS = {"cpu": "default", "data": "qcow2", "memory": "lazy"}
TURNS = {"to-cpu": {"cpu": "host"}, "to-raw": {"data": "raw"}, "tuned": {"memory": "huge"}}
WORKLOAD = "disk.rand-read-4k"


def run(folder: Path, flavours: tuple[str, ...] = tuple(COST), on: str = "kvm") -> Path:
    rows: list[dict[str, Any]] = []
    for block in range(1, 9):
        host = 1 + 0.05 * math.sin(block)
        costs = {"native": 1.0, **{f"libvirt/kvm-{name}": COST[name] for name in flavours}}
        for position, (variant, cost) in enumerate(costs.items(), 1):
            case = synthetic.row(WORKLOAD, variant, block, position)
            value = 80_000 * host / cost * (1 + 0.001 * math.sin(block * position))
            case["host_virtualized"] = on
            rows.append(case | synthetic.measured("iops", "IOPS", "higher", value, 1, "measured"))
    options, turned = {}, dict(KNOBS)
    for name in COST:
        turned = {**turned, **TURNS.get(name, {})}
        options[f"libvirt/kvm-{name}"] = turned
    metrics = [{"name": "iops", "source": "iops", "primary": True, "scale": "log"}]
    manifest = synthetic.manifest() | {
        "ladder": list(options),
        "options": options,
        "workloads": {WORKLOAD: {"metrics": metrics}},
    }
    return synthetic.write(folder, rows, manifest)


def test_each_step_is_a_knob_and_what_it_changed(tmp_path: Path) -> None:
    ((workload, metric, steps),) = ladder(load(run(tmp_path / "r")))
    assert (workload, metric) == (WORKLOAD, "iops")
    assert [step.words for step in steps[1:]] == ["cpu: default → host", "data: qcow2 → raw", "memory: lazy → huge"]
    assert steps[0].turned is None
    for step, before, after in zip(steps[1:], list(COST.values()), list(COST.values())[1:], strict=False):
        assert step.turned is not None and step.turned.overhead == pytest.approx(after / before - 1, abs=0.002)
        assert step.turned.low is not None and step.turned.low < after / before - 1 < (step.turned.high or 0)
        assert step.whole.overhead == pytest.approx(after - 1, abs=0.003)


def test_a_step_that_did_not_run_leaves_two_knobs_in_the_next(tmp_path: Path) -> None:
    ((_, _, steps),) = ladder(load(run(tmp_path / "r", ("untuned", "to-raw", "tuned"))))
    assert [step.words for step in steps[1:]] == ["cpu: default → host, data: qcow2 → raw", "memory: lazy → huge"]


def test_one_variant_makes_no_waterfall(tmp_path: Path) -> None:
    assert not list(ladder(load(run(tmp_path / "r", ("untuned",)))))


@pytest.mark.parametrize("on", ["kvm", "tcg"])
def test_a_picture_says_itself_that_the_host_was_emulated(tmp_path: Path, on: str) -> None:
    said = [EMULATED_HOST in plot.svg for plot in draw(load(run(tmp_path / "r", on=on)), png=False)]
    assert said and set(said) == {on == "tcg"}


def test_the_report_draws_it(tmp_path: Path) -> None:
    folder = run(tmp_path / "r")
    harness.report.render(folder)
    assert (folder / "plots" / f"ladder-{WORKLOAD}-iops.png").stat().st_size > 10_000
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "from untuned to tuned" in page and "memory: lazy → huge" in page
    assert "From untuned to tuned" in (folder / "report.md").read_text(encoding="utf-8")
