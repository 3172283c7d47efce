"""Published figures beside a run's: what is shown, when, and never an emulated guest as KVM's."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.record.columnar import read_samples
from harness.record.row import frame
from harness.report import plots, published_figures, stored_evidence, style
from harness.report.markdown import page
from harness.report.stored_run import Stored, stored
from tests.unit.report import synthetic

RATES = {"native": 100_000.0, "docker/host": 98_000.0, "docker/bridge": 80_000.0, "libvirt/tcg": 9_000.0}


def samples() -> list[dict[str, Any]]:
    rows = []
    for block in range(1, 7):
        for position, (variant, rate) in enumerate(RATES.items(), 1):
            case = synthetic.row("app.redis", variant, block, position) | {"suite": "felter2014"}
            value = rate * (1 + 0.01 * (block % 3))
            rows.append(case | synthetic.measured("set-rate", "request/s", "higher", value, 1, "measured"))
            for percent, seconds in ((50, 1e-3), (99, 4e-3)):
                named = synthetic.measured(f"set-p{percent}", "s", "lower", seconds * 1e5 / rate, 1, "measured")
                rows.append(case | named)
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder = synthetic.write(tmp_path_factory.mktemp("run"), samples(), None)
    return stored(folder, frame(read_samples(folder / "samples.csv")), {})


def test_a_published_figure_stands_beside_this_runs(run: Stored) -> None:
    (one,) = published_figures.shown(run)
    sections = {section.title: section.rows for section in published_figures.table(run, one).groups[0].sections}
    native, host, bridge, _ = sections["Redis, SET, 50 clients · app.redis:set-rate"]
    assert native[:2] == ("native", "106,000 request/s")
    assert host[3] == "+1.3 %"
    assert bridge[0] == "docker/bridge"
    assert bridge[3] == "+36.6 %"
    assert bridge[4].startswith("+25.0 % [")
    assert bridge[5] == "6"


def test_an_emulated_guest_stands_for_none(run: Stored) -> None:
    (one,) = published_figures.shown(run)
    sections = {section.title: section.rows for section in published_figures.table(run, one).groups[0].sections}
    guest = sections["Redis, SET, 50 clients · app.redis:set-rate"][-1]
    assert guest[0] == "libvirt/kvm"
    assert guest[2] == guest[4] == "–"
    assert "emulated guests do not count" in guest[6]
    assert "libvirt" not in published_figures.alt(run, one)


def test_what_is_not_repeated_says_why(run: Stored) -> None:
    (one,) = published_figures.shown(run)
    said = "RandomAccess, two sockets (GUPS .01261, .01240, .01248): not repeated: needs a host with two sockets"
    assert any(note.startswith(said) for note in published_figures.notes(one))


def test_only_a_run_that_repeats_it_shows_it(run: Stored) -> None:
    other = dataclasses.replace(run, samples=run.samples.assign(suite="default"))
    assert published_figures.shown(other) == []
    needed: dict[str, Any] = {row.workload: {} for one in published_figures.shown(run) for row in one.repeated}
    assert [
        one.name for one in published_figures.shown(dataclasses.replace(other, manifest={"workloads": needed}))
    ] == ["felter2014"]


def test_pages_and_pictures_have_both(run: Stored) -> None:
    drawn = plots.draw(run, png=False)
    names = {plot.name for plot in drawn}
    assert {"published-felter2014", "app-app.redis-latency"} <= names
    latency = next(plot for plot in drawn if plot.name == "app-app.redis-latency")
    assert "set on libvirt/tcg (emulated): p50" in latency.alt
    assert style.EMULATED in latency.svg
    text = page(run, drawn, stored_evidence.of_run(run), "png")
    assert "## Published and measured: Felter et al." in text
    assert "plots/published-felter2014.png" in text
    assert "thewmf/kvm-docker-comparison" in text


def test_a_run_without_figures_has_no_picture(tmp_path: Path) -> None:
    bare = synthetic.row("app.redis", "native", 1, 1) | {"suite": "felter2014"}
    rows = [bare | synthetic.failed(("set-rate", "request/s", "higher", 1.0), "it broke")]
    folder = synthetic.write(tmp_path / "run", rows, None)
    found = stored(folder, frame(read_samples(folder / "samples.csv")), {})
    (one,) = published_figures.shown(found)
    assert published_figures.drawing(found, one) is None
    assert isinstance(found.samples, pd.DataFrame)
