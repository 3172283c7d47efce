"""The isolation chapter: facts by variant beside what it costs, and bars that say whose kernel they are about."""

from pathlib import Path
from typing import Any

import harness.report
from harness.report.chapters.isolation import Isolation, latest
from harness.report.stored_run import Stored, load
from tests.unit.report import synthetic

COUNTS = {
    "native": {"syscalls-allowed": 357, "capabilities": 41, "host-syscalls": 61},
    "docker/bridge": {"syscalls-allowed": 290, "capabilities": 14, "host-syscalls": 60},
    "libvirt/tcg": {"syscalls-allowed": 334, "capabilities": 41},
}
KERNELS = {"native": "the host's", "docker/bridge": "the host's", "libvirt/tcg": "its own: 6.1.0"}


def rows() -> list[dict[str, Any]]:
    found = [one for one in synthetic.samples(blocks=3) if one["workload"] == "cpu.syscall"]
    for block in (1, 2):
        for position, (variant, counts) in enumerate(COUNTS.items(), 1):
            case = synthetic.row("isolation.facts", variant, block, position)
            for name, value in counts.items():
                one = synthetic.measured(name, "1", "lower", float(value), 1, "measured") | {"scale": "linear"}
                found.append(case | one)
    return found


def facts() -> dict[str, Any]:
    observed = [
        {
            "what": "isolation", "workload": "isolation.facts", "variant": variant, "block": block,
            "shared_kernel": "tcg" not in variant, "counts": counts,
            "told": {"kernel": KERNELS[variant], "seccomp": "filter" if "docker" in variant else "none"},
        }
        for block in (1, 2) for variant, counts in reversed(COUNTS.items())
    ]  # fmt: skip
    return synthetic.manifest() | {"observed": observed}


def stored(tmp_path: Path, manifest: dict[str, Any]) -> Stored:
    return load(synthetic.write(tmp_path / "run", rows(), manifest))


def test_facts_are_rows_and_variants_columns_with_what_they_cost_below(tmp_path: Path) -> None:
    run = stored(tmp_path, facts())
    assert list(latest(run)) == ["native", "docker/bridge", "libvirt/tcg"]
    (table,) = Isolation().tables(run)
    assert table.columns == ("fact", "native", "docker/bridge", "libvirt/tcg (emulated)")
    (section,) = table.groups[0].sections
    told = {row[0]: row[1:] for row in section.rows}
    assert told["kernel"] == ("the host's", "the host's", "its own: 6.1.0")
    assert told["seccomp"] == ("none", "filter", "none")
    cost = told["overhead of cpu.syscall · calls"]
    assert cost[0] == "baseline" and cost[1].startswith("+2") and "×" in cost[2]


def test_bars_say_what_is_not_known_and_whose_kernel_it_is(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "run", rows(), facts())
    harness.report.render(folder)
    page = (folder / "report.html").read_text()
    assert "hatched: to its own kernel" in page
    svg = (folder / "plots" / "isolation-counts.svg").read_text()
    assert svg.count("not known") == 1, "host-syscalls of the guest; what no variant has is no panel"
    assert "What separates each variant from the host" in (folder / "report.md").read_text()


def test_a_manifest_that_anybody_may_have_written_breaks_nothing(tmp_path: Path) -> None:
    bad = facts() | {
        "observed": [{"what": "isolation", "workload": "isolation.facts", "told": 1, "counts": {"x": None}}]
    }
    run = stored(tmp_path, bad)
    assert list(Isolation().tables(run)) and not list(Isolation().drawings(run))
    assert not list(Isolation().notes(stored(tmp_path, {})))


def test_facts_are_shown_where_every_block_was_void(tmp_path: Path) -> None:
    discarded = [
        one | {"valid": "false", "reason": "host load"} for one in rows() if one["workload"] == "isolation.facts"
    ]
    folder = synthetic.write(tmp_path / "run", discarded, facts())
    harness.report.render(folder)
    assert "What separates each variant from the host" in (folder / "report.html").read_text()
