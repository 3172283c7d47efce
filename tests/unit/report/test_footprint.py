"""The chapter on footprint and the table of efficiency, from a made-up run."""

from pathlib import Path
from typing import Any

import pytest

import harness.report
from harness.report import stored_run
from harness.report.chapters.footprint import Footprint
from harness.report.efficiency_table import efficiency_table
from harness.report.stored_run import Stored
from tests.unit.report import synthetic

MIB = 2**20
SIZES = {"native": 10.0, "docker/bridge": 14.0, "libvirt/tcg-lazy": 260.0}
BLOCKS = 3


def samples() -> list[dict[str, Any]]:
    rows = []
    for block in range(1, BLOCKS + 1):
        for position, (variant, mib) in enumerate(SIZES.items(), 1):
            size = mib * MIB * (1 + block / 100)
            figures = {"pss": size, "available": size - 11 * MIB, "returned": 0.0 if "tcg" in variant else 1.0}
            figures |= {"cgroup": size / 2} if "docker" in variant else {}
            figures |= {"vmm": 90.0 * MIB} if "tcg" in variant else {}
            case = synthetic.row("footprint.loaded", variant, block, position)
            for name, value in figures.items():
                unit = "1" if name == "returned" else "bytes"
                direction = "higher" if name == "returned" else "lower"
                scale = "linear" if name in ("available", "returned") else "log"
                rows.append(case | synthetic.measured(name, unit, direction, value, 0, "measured") | {"scale": scale})
    return rows


def observed(variant: str, block: int) -> dict[str, Any]:
    """What the measure records: two instances, of which containers give back what they held."""
    idle = int(2 * (SIZES[variant] - 8) * MIB)
    held = idle + 2 * 128 * MIB
    freed = held if "tcg" in variant else idle
    looks = {name: {"resident": {"pss": pss}} for name, pss in (("idle", idle), ("held", held), ("freed", freed))}
    return {
        "what": "footprint", "workload": "footprint.loaded", "variant": variant, "block": block,
        "wanted": {"instances": 2, "instance_mib": 384}, "looks": looks, "curve": [[0.0, held], [0.5, freed]],
        "merging": {"before": {"run": 0}, "after": {"run": 0, "pages_sharing": 0}},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Stored:
    """A run of one footprint workload."""
    facts = synthetic.manifest()
    facts["observed"] = [observed(variant, block) for variant in SIZES for block in range(1, BLOCKS + 1)]
    facts["instances"] |= {"libvirt/tcg-lazy": {"memory_preallocated": "no"}, "docker/bridge": {}}
    return stored_run.load(synthetic.write(tmp_path / "run", samples(), facts))


def test_methods_stand_side_by_side_and_emulated_guests_apart(run: Stored) -> None:
    sizes, freed = Footprint().tables(run)
    assert [(group.title, group.emulated) for group in sizes.groups] == [
        ("footprint.loaded", False),
        ("footprint.loaded · emulated (tcg)", True),
    ]
    rows = {
        row[0]: dict(zip(sizes.columns, row, strict=True)) for g in sizes.groups for s in g.sections for row in s.rows
    }
    assert rows["native"]["its cgroup [95 %]"] == "–", "what is not there is no zero"
    assert rows["native"]["ΔMemAvailable ÷ N [95 %]"].startswith("−838.9 kB ["), "it may be negative"
    assert rows["docker/bridge"]["its cgroup [95 %]"].startswith("7.487 MB [")
    assert rows["libvirt/tcg-lazy"]["VMM without guest RAM [95 %]"].startswith("94.37 MB [")
    back = {row[0]: row[4:] for group in freed.groups for section in group.sections for row in section.rows}
    assert back["docker/bridge"] == ("100 % [100, 100]", "500.0 ms", "3")
    assert back["libvirt/tcg-lazy"] == ("0 % [0, 0]", "–", "3")


def test_the_pages_have_it_and_its_pictures(run: Stored) -> None:
    html, markdown = (path.read_text() for path in _pages(run))
    for text in (html, markdown):
        assert "Host memory of one instance" in text and "Memory freed inside" in text
        assert "Samepage merging (KSM) is off" in text
    assert "no baseline value" not in markdown, "a cgroup that native has not is in the chapter alone"
    plot = (run.directory / "plots" / "footprint-footprint.loaded.svg").read_text()
    assert "does not apply to KVM guests" in plot and "ΔMemAvailable" in plot
    assert (run.directory / "plots" / "footprint-footprint.loaded-freed.svg").exists()


def test_what_anybody_may_have_written_breaks_nothing(tmp_path: Path) -> None:
    facts = synthetic.manifest()
    wrong: list[Any] = [{}, {"looks": 3}, {"looks": {"idle": 1, "held": {"resident": {"pss": "x"}}}}, {"looks": {}}]
    wrong += [
        {"looks": {"held": {}, "freed": {}}, "curve": [[1]], "merging": {}},
        {"looks": {}, "merging": {"after": 1}},
    ]
    facts["observed"] = [
        one | {"what": "footprint", "workload": "footprint.loaded", "variant": "native"} for one in wrong
    ]
    found = stored_run.load(synthetic.write(tmp_path / "run", samples(), facts))
    assert list(Footprint().notes(found))
    assert not any(table.empty for table in [*Footprint().tables(found)][:1])
    assert list(Footprint().drawings(found))


def test_a_run_without_footprint_has_no_chapter(tmp_path: Path) -> None:
    found = stored_run.load(synthetic.write(tmp_path / "run", synthetic.samples(), synthetic.manifest()))
    assert all(table.empty for table in Footprint().tables(found))
    assert not list(Footprint().drawings(found)) and not list(Footprint().notes(found))


def test_efficiency_ranks_by_work_for_a_cpu_second(tmp_path: Path) -> None:
    table = efficiency_table(stored_run.load(synthetic.write(tmp_path, synthetic.samples(), synthetic.manifest())))
    assert [group.emulated for group in table.groups] == [False, True]
    (section,) = (one for one in table.groups[0].sections if one.title.startswith("network.tcp "))
    assert section.title == "network.tcp (op)"
    assert section.rows[-1][0] == "docker/nat", "it does least"
    assert section.rows[0][1].endswith("/s]")
    assert "work per joule" not in " ".join(table.columns), "nothing counted energy"


def test_work_for_a_joule_where_energy_is_counted(tmp_path: Path) -> None:
    case = synthetic.row("cpu.sysbench", "native", 1, 1)
    rows = [
        case | synthetic.measured("host-cpu-per-op", "s/event", "lower", 0.001, 1, "measured"),
        case | synthetic.measured("host-energy-per-op", "J/event", "lower", 0.02, 1, "measured"),
        case | synthetic.measured("events", "event/s", "higher", 900.0, 1, "measured"),
    ]
    rows.append(case | {"workload": "boot.ready"} | synthetic.measured("host-cpu", "s", "lower", 0.25, 1, "measured"))
    table = efficiency_table(stored_run.load(synthetic.write(tmp_path / "run", rows, synthetic.manifest())))
    (row,), (boot,) = (section.rows for section in table.groups[0].sections)
    assert boot == ("native", "4.000 boot/s [no interval]", "–", "1"), "a boot is a unit of work"
    assert row == ("native", "1,000.0 event/s [no interval]", "50.00 event/J [no interval]", "1")


def _pages(run: Stored) -> list[Path]:
    harness.report.render(run.directory, formats=("html", "md", "svg"))
    return [run.directory / "report.html", run.directory / "report.md"]
