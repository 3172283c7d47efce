"""The chapters of images and of short-lived jobs: figures by recipe and variant, emulated ones apart, hostile files."""

from pathlib import Path
from typing import Any

import pytest

import harness.report
from harness.report.chapters import CHAPTERS
from harness.report.stored_run import Stored, load
from harness.report.table import Table
from tests.unit.report import synthetic

SIZES = {"native": 310e6, "docker/bridge": 312e6, "libvirt/tcg": 405e6, "libvirt/tcg-system": 560e6}
TIMES = {"native": 2.0, "docker/bridge": 4.0, "libvirt/tcg": 6.0}
RATES = {"native": 3000.0, "docker/bridge": 180.0, "libvirt/tcg": 14.0}
BLOCKS = 3


def rows() -> list[dict[str, Any]]:
    found = []

    def add(workload: str, variant: str, block: int, **figures: tuple[float, str]) -> None:
        case = synthetic.row(workload, variant, block, 1)
        for name, (value, unit) in figures.items():
            direction = "higher" if name == "rate" else "lower"
            found.append(case | synthetic.measured(name.replace("_", "-"), unit, direction, value, 0, "measured"))

    for block in range(1, BLOCKS + 1):
        for variant, size in SIZES.items():
            add("image.size", variant, block, disk=(size, "bytes"), transfer=(size / 3, "bytes"))
            add("image.size-slim", variant, block, disk=(size / 2, "bytes"), transfer=(size / 6, "bytes"))
        for variant, seconds in TIMES.items():
            add("image.size", variant, block, export=(seconds, "s"), **{"import": (seconds, "s")})
            add("image.clone", variant, block, full=(seconds / 10, "s"), full_disk=(3e8, "bytes"))
        add("image.growth", "docker/bridge", block, growth=(5e4, "bytes"), written=(1.7e7, "bytes"))
        for variant, rate in RATES.items():
            add("churn.sequential", variant, block, rate=(rate * (1 + block / 50), "job/min"))
    return found


def manifest() -> dict[str, Any]:
    workloads = {
        name: {"parameters": {"recipe": recipe}}
        for name, recipe in (("image.size", "root"), ("image.size-slim", "slim"))
    }
    jobs = [
        {"workload": "churn.sequential", "variant": variant, "block": block, "what": "jobs", **said}
        for variant, said in (
            ("native", {"seconds": [0.02] * 19 + [0.06], "elapsed": 0.5}),
            ("libvirt/tcg", {"seconds": [4.0, 4.2], "elapsed": 8.3}),
        )
        for block in range(BLOCKS)
    ]
    root = {"workload": "image.size", "variant": "native", "block": 0, "what": "root", "packages": 150, "tar": 287e6}
    growth = {"image.growth": {"parameters": {"write_mib": 16}}}
    return {**synthetic.manifest(), "workloads": workloads | growth, "observed": [*jobs, root]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder = synthetic.write(tmp_path_factory.mktemp("images") / "run", rows(), manifest())
    harness.report.render(folder)
    return load(folder)


def cells(table: Table, *, emulated: bool) -> list[tuple[str, ...]]:
    groups = [group for group in table.groups if group.emulated == emulated]
    return [row for group in groups for section in group.sections for row in section.rows]


def test_sizes_are_by_recipe_and_emulated_guests_are_apart(run: Stored) -> None:
    sizes, clones = CHAPTERS["image"].tables(run)
    plain, apart = cells(sizes, emulated=False), cells(sizes, emulated=True)
    assert [row[:3] for row in plain] == [
        ("root", "native", "310.0 MB"),
        ("", "docker/bridge", "312.0 MB"),
        ("slim", "native", "155.0 MB"),
        ("", "docker/bridge", "156.0 MB"),
    ]
    assert [row[1] for row in apart] == ["libvirt/tcg", "libvirt/tcg-system"] * 2
    assert "16 MiB add" in clones.columns
    assert any("17.00 MB" in row for row in cells(clones, emulated=False))


def test_percentiles_are_over_all_jobs(run: Stored) -> None:
    (table,) = CHAPTERS["churn"].tables(run)
    assert cells(table, emulated=False) == [
        ("churn.sequential", "native", "20.00 ms", "20.00 ms", "60.00 ms", "60"),
    ]
    assert [row[1] for row in cells(table, emulated=True)] == ["libvirt/tcg"]
    assert any("native 0.88" in note for note in CHAPTERS["churn"].notes(run)), "0.44 s of jobs in 0.5 s"


def test_report_has_pictures_tables_and_notes_of_both(run: Stored) -> None:
    page = (run.directory / "report.html").read_text()
    for words in (
        "150 packages",
        "not what is typical",
        "A guest&#39;s disk does not depend on the accelerator",
        "A job&#39;s time",
    ):
        assert words in page
    for name in ("image-sizes", "churn-rate"):
        assert (run.directory / f"plots/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Sizes and times, by recipe" in (run.directory / "report.md").read_text()


def test_without_a_manifest_or_with_nonsense_in_it_what_was_measured_is_shown(tmp_path: Path) -> None:
    bad = {"workload": "churn.sequential", "variant": 7, "what": "jobs", "seconds": ["x", -1, None], "elapsed": "y"}
    for number, facts in enumerate((None, {"observed": [bad, "x", {}], "workloads": {"image.size": []}})):
        odd = load(synthetic.write(tmp_path / str(number), rows(), facts))
        for name in ("image", "churn"):
            assert list(CHAPTERS[name].notes(odd))
            assert all(one.figure for one in CHAPTERS[name].drawings(odd))
        assert next(iter(CHAPTERS["churn"].tables(odd))).empty
        sizes, _ = CHAPTERS["image"].tables(odd)
        assert {row[0] for row in cells(sizes, emulated=False)} == {"root", "", "slim"}


def test_a_run_without_them_has_neither_chapter(rendered: Path) -> None:
    other = load(rendered)
    for name in ("image", "churn"):
        chapter = CHAPTERS[name]
        assert list(chapter.drawings(other)) == []
        assert list(chapter.notes(other)) == []
        assert all(table.empty for table in chapter.tables(other))
