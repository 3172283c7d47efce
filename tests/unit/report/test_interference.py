"""The interference chapter: a victim and an aggressor a cell, emulated ones apart, and who had the CPU."""

import random
from pathlib import Path
from typing import Any

import harness.report
from harness.report.chapters.interference import Interference, pairs, slowdown_text
from harness.report.stored_run import Stored, load
from tests.unit.report import synthetic

VARIANTS = ("native", "docker/bridge", "libvirt/tcg")
WORKLOAD = "interference.cpu"


def name(variant: str) -> str:
    return f"slowdown.{variant.replace('/', '.')}"


def rows(blocks: int = 4) -> list[dict[str, Any]]:
    chance = random.Random(3)
    found = []
    for block in range(1, blocks + 1):
        for position, victim in enumerate(VARIANTS, 1):
            case = synthetic.row(WORKLOAD, victim, block, position)
            found.append(case | synthetic.measured("alone", "event/s", "higher", 4000.0, 1, "measured"))
            for other in VARIANTS:
                value = (2.0 if other == "native" else 3.0) * 2.718281828 ** chance.gauss(0, 0.02)
                found.append(case | synthetic.measured(name(other), "1", "lower", value, 1, "measured"))
    return found


def facts() -> dict[str, Any]:
    metrics = [{"name": name(one), "source": f"beside {one}", "primary": one == "native"} for one in VARIANTS]
    own = {"name": "alone", "source": "events_per_second", "primary": False}
    seen = {"what": "aggressor", "workload": WORKLOAD, "variant": "native", "block": 1, "cpus": "1"}
    observed = [{**seen, "aggressor": one, "placement": "shared", "shares": [0.5, 0.52]} for one in VARIANTS]
    return synthetic.manifest() | {
        "workloads": {WORKLOAD: {"title": "t", "argv": ["x"], "metrics": [own, *metrics]}},
        "observed": observed,
    }


def stored(tmp_path: Path, manifest: dict[str, Any]) -> Stored:
    return load(synthetic.write(tmp_path / "run", rows(), manifest))


def test_every_victim_meets_every_neighbour_and_emulated_ones_come_last(tmp_path: Path) -> None:
    found = pairs(stored(tmp_path, facts()))
    assert len(found) == 9
    assert [one.emulated for one in found if one.victim == "native"] == [False, False, True]
    assert all(one.emulated for one in found if one.victim == "libvirt/tcg")
    first = found[0]
    assert (first.victim, first.aggressor, first.slowdown.n) == ("native", "native", 4)
    assert (1.9 < first.slowdown.value < 2.1 and slowdown_text(first).startswith("2.0")) or slowdown_text(
        first
    ).startswith("1.9")


def test_the_table_keeps_pairs_with_an_emulated_guest_apart(tmp_path: Path) -> None:
    (table,) = Interference().tables(stored(tmp_path, facts()))
    assert [(group.emulated, len(group.sections[0].rows)) for group in table.groups] == [(False, 4), (True, 5)]
    words = " ".join(Interference().notes(stored(tmp_path, facts())))
    assert "on the same CPUs as the victim (CPU 1)" in words and "docker/bridge 51 %" in words


def test_the_map_is_in_the_report_with_every_figure_in_words(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "run", rows(), facts())
    harness.report.render(folder)
    page = (folder / "report.html").read_text()
    assert "docker/bridge beside libvirt/tcg: " in page and "hatched: with an emulated guest" in page
    assert (folder / "plots" / f"interference-{WORKLOAD}.png").stat().st_size > 5000
    assert "Slowdown beside an aggressor" in (folder / "report.md").read_text()


def test_a_manifest_that_anybody_may_have_written_breaks_nothing(tmp_path: Path) -> None:
    bad = facts() | {"observed": [{"what": "aggressor", "workload": WORKLOAD, "shares": "x", "placement": 3}, 7]}
    assert list(Interference().notes(stored(tmp_path, bad)))
    assert not pairs(stored(tmp_path, {}))
    assert not list(Interference().drawings(stored(tmp_path, {})))
