"""Whole reports: of a full run, of odd ones, and of hostile ones."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lxml import html

import harness.report
from harness.errors import ExitCode, TareError
from harness.report import html as report_html
from harness.report import markdown as report_markdown
from harness.report import plain_text, plots, run_tables, stored_evidence
from harness.report.boot_phases import boot_values, last_milestone, notes, phases, until_last
from harness.report.stored_run import load, stored
from tests.unit.report import synthetic

HOSTILE = '<script>alert(1)</script>|[x](http://evil.example)`$\\frac"\x1b[31m\u202e'


def text_of(folder: Path) -> str:
    """The page's words, each gap one space."""
    return " ".join("".join(map(str, html.fromstring((folder / "report.html").read_bytes()).itertext())).split())


def test_files_are_written_whole(rendered: Path) -> None:
    names = {path.name for path in (rendered / "plots").iterdir()}
    for kind in ("overhead", "distribution"):
        assert {f"{kind}-{resource}.png" for resource in ("cpu", "memory", "network", "disk")} <= names
    assert {"boot-boot.ready.svg", "host-cost.png"} <= names
    assert not [path for path in rendered.rglob(".*") if path.is_file()]
    for path in (rendered / "plots").glob("*.svg"):
        ET.parse(path)
    for path in (rendered / "plots").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_page_fetches_nothing_and_runs_nothing(rendered: Path) -> None:
    page = (rendered / "report.html").read_text()
    tree = html.fromstring(page.encode())
    assert "http://" not in page
    assert "https://" not in page
    assert not tree.xpath("//script | //link | //iframe | //img | //object")
    assert not re.findall(r'(?:href|src)="(?!#)', page)
    ids = re.findall(r' id="(\w+)"', page[: page.index("<figure")])
    assert len(ids) == len(set(ids))


def test_page_says_what_matters(rendered: Path) -> None:
    words = text_of(rendered)
    for said in (
        "itself a kvm guest", "exploratory", "libvirt/tcg, libvirt/tcg-qcow2", "do not apply to KVM guests",
        "No guest ran on hardware virtualization", "no guest kernel boots on /dev/kvm here", "No space left on device",
        "steal of 4.1 %", "seed 20261123", "tare run --suite default", "kvm-clock", "variant value",
        "discarded 1 of 6; no verdict", "The peer shares CPU 0",
    ):  # fmt: skip
        assert said in words


def test_emulated_guests_stand_apart_in_tables(rendered: Path) -> None:
    summary = harness.report.summary(rendered, 110)
    group = ""
    for line in summary.splitlines():
        if line and line[0] not in " -─":
            group = line
        if line.strip().startswith("libvirt/tcg") and "×" in line:
            assert "emulated (tcg)" in group
    assert max(map(len, summary.splitlines())) <= 110


def test_host_cost_is_no_overhead_of_the_workload(rendered: Path) -> None:
    assert "host-cpu" not in harness.report.summary(rendered, 110)
    assert "host-cpu" not in (rendered / "plots" / "overhead-cpu.svg").read_text()
    assert "host-cpu-per-op" in (rendered / "plots" / "host-cost.svg").read_text()


def test_boot_says_what_was_subtracted_what_is_missing_and_how_cold_it_was(rendered: Path) -> None:
    markdown = (rendered / "report.md").read_text().replace("\\", "")
    for said in (
        "signalling overhead is subtracted from the time to ready: "
        "native 61.00 µs (readings from 48.00 µs to 102.0 µs).",
        "could not be measured, so nothing is subtracted: libvirt/tcg (its lines did not come).",
        "The milestones container, task and started of docker/host are not available: no socket.",
        "They had cached (median): native 24.58 kB, of which at most 1.2 % stayed.",
    ):
        assert said in text_of(rendered)
        assert said in markdown


def test_phases_follow_time_and_a_boot_ends_with_ready_or_service(rendered: Path) -> None:
    rows = boot_values(load(rendered))
    docker = rows[rows["variant"] == "docker/bridge"]
    order = ["created", "network", "container", "userspace", "task", "ready", "started"]
    assert list(phases(docker)) == order and min(phases(docker).values()) > 0
    assert (
        last_milestone(docker) == "ready" and last_milestone(rows[rows["variant"] == "libvirt/tcg-system"]) == "service"
    )
    shown = until_last(rows)
    assert "started" not in set(shown["milestone"]) and "service" in set(shown["milestone"])
    drawn = (rendered / "plots" / "boot-boot.ready.svg").read_text()
    assert "until task" in drawn and "until started" not in drawn


def test_notes_of_a_foreign_manifest_are_no_error(rendered: Path) -> None:
    run = load(rendered)
    odd = {
        "beacon": {"a": 3, "b": {"costs": {"ready": {"seconds": "x"}}}},
        "cache": {"w": 1, "v": {"a": {"stayed": -1}}},
    }
    assert notes(stored(rendered, run.samples, odd)) == [
        "The signalling overhead could not be measured, so nothing is subtracted: b (no figure)."
    ]
    assert notes(stored(rendered, run.samples, {})) == []


def test_parity_shows_what_two_runtimes_recorded_differently(rendered: Path) -> None:
    run = load(rendered)
    facts = {row[0] for section in run_tables.parity_table(run).groups[0].sections for row in section.rows if row[0]}
    own = {"clocksource", "containerd events", "cpu-model", "kernel", "seccomp"}
    assert facts == own | {"clock drift from the host"}
    lone = run_tables.parity_table(run, shared=False).groups[0].sections
    assert [section.rows[0][:2] for section in lone] == [("runc version", "1.1.5")]


def test_facts_have_names_and_words_instead_of_keys_and_codes(tmp_path: Path) -> None:
    facts = synthetic.manifest()
    for variant, own in facts["instances"].items():
        own |= {"seccomp": "2" if "docker" in variant else "0", "cpus_online": "2" if "docker" in variant else "1"}
        own["mitigation.spec_v2"] = variant
    facts["host"]["privileged"] = True
    facts["rig"] = {"network-tare-p0-offloads": "tso=on"}
    run = load(synthetic.write(tmp_path / "run", synthetic.samples(blocks=2), facts))
    rows = run_tables.parity_table(run).rows
    first = [row[0] for row in rows].index("seccomp")
    assert {row[1] for row in rows[first : first + 2]} == {"none", "filter"}
    assert {"CPUs online (count)", "mitigation: spec_v2"} <= {row[0] for row in rows}
    assert {("run as root", "yes"), ("network: tare-p0-offloads", "tso=on")} <= set(run_tables.host_table(run).rows)


def test_cpu_weights_that_differ_are_shown_and_explained(tmp_path: Path) -> None:
    odd = "machine=4096 (4 × the default)"
    facts = synthetic.manifest()
    for variant, own in facts["instances"].items():
        own["cgroup_cpu_weight"] = odd if "libvirt" in variant else "default"
    folder = synthetic.write(tmp_path / "run", synthetic.samples(blocks=2), facts)
    run = load(folder)
    rows = run_tables.parity_table(run).rows
    first = [row[0] for row in rows].index("CPU weights of the cgroups")
    assert {row[1] for row in rows[first : first + 2]} == {"default", odd}
    assert rows[first + 1][0] == "", "the fact is named once"
    harness.report.render(folder)
    for said in (text_of(folder), (folder / "report.md").read_text()):
        assert odd in said and said.count("are not compared fairly") == 1
    for own in facts["instances"].values():
        own["cgroup_cpu_weight"] = odd
    assert not run_tables.parity_notes(stored(tmp_path, run.samples, facts)), "an odd weight that all have is fair"
    unseen = {"instances": {"a": 3, "b": {"cgroup_cpu_weight": "unknown"}, "c": {"cgroup_cpu_weight": []}}}
    assert not run_tables.parity_notes(stored(tmp_path, run.samples, unseen)), "what is not known is no difference"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """Past the strict reader of samples.csv, too, which lets none of these names through."""
    rows = [row | {"reason": HOSTILE, "valid": row["valid"] == "true"} for row in synthetic.samples(blocks=2)]
    for row in rows:
        for name in ("workload", "metric", "variant", "host", "suite"):
            row[name] = f"{row[name]}{HOSTILE}"
    facts = synthetic.manifest() | {"baseline": f"native{HOSTILE}", "notes": [HOSTILE], "command_line": [HOSTILE]}
    facts["skips"] = [{"what": HOSTILE, "reason": HOSTILE, "fix": HOSTILE}]
    facts["instances"] = {HOSTILE: {HOSTILE: HOSTILE}, "b": {HOSTILE: "other"}, "c": {HOSTILE: "one"}}
    facts["host"] = {HOSTILE: HOSTILE}
    facts["clocks"] = {HOSTILE: {"ppm": 1.0, "instances": HOSTILE}, "b": {"ppm": HOSTILE}}
    samples = pd.DataFrame(rows)
    samples["value"] = pd.to_numeric(samples["value"])
    run = stored(tmp_path, samples, facts)
    drawn = plots.draw(run, png=False)
    found = stored_evidence.of_run(run)
    page, markdown = report_html.page(run, drawn, found), report_markdown.page(run, drawn, found, "svg")
    assert len(drawn) > 5
    assert all("/" not in plot.name and "<" not in plot.name for plot in drawn)
    assert not html.fromstring(page.encode()).xpath("//script")
    for document in (page, markdown, plain_text.text(run_tables.overhead_table(run), 100)):
        assert "\x1b" not in document
        assert "\u202e" not in document
    assert "<script" not in page
    assert "<script" not in markdown
    assert not re.search(r"(?<!\\)\]\(http|://", markdown)
    for plot in drawn:
        assert not [one for one in ET.fromstring(plot.svg).iter() if one.tag.endswith("script")]


def odd(name: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Runs that lack something."""
    rows = synthetic.samples(blocks=2, iterations=1)
    failed = {"value": "", "valid": "false", "reason": "no space"}
    runs: dict[str, tuple[list[dict[str, Any]], dict[str, Any] | None]] = {
        "one block": (synthetic.samples(blocks=1, iterations=1), None),
        "one variant": ([row for row in rows if row["variant"] == "native"], None),
        "no baseline": ([row for row in rows if row["variant"] != "native"], None),
        "only emulated": ([row for row in rows if row["accelerator"] == "tcg"], {}),
        "all failed": ([row | failed for row in rows], {"skips": "odd"}),
        "no values above zero": ([row | {"value": "0"} for row in rows], {"host": None, "plan": 3, "discards": [3]}),
        "no rows": ([], {}),
    }
    return runs[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("one block", "One block: no interval"),
        ("one variant", "No overhead: no block has values of both"),
        ("no baseline", "no baseline value"),
        ("only emulated", "do not apply to KVM guests"),
        ("all failed", "no space"),
        ("no values above zero", "zero or negative value"),
        ("no rows", "No overhead: no block has values of both"),
    ],
)
def test_odd_runs_render_with_words(tmp_path: Path, name: str, said: str) -> None:
    rows, facts = odd(name)
    folder = synthetic.write(tmp_path / "run", rows, facts)
    assert harness.report.render(folder, formats=["html", "md"])
    assert said in text_of(folder)
    assert harness.report.summary(folder, 100)


def test_only_the_formats_asked_for(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "run", synthetic.samples(blocks=2), None)
    assert [path.name for path in harness.report.render(folder, formats=["md"])] == ["report.md"]
    assert "![" not in (folder / "report.md").read_text()
    with pytest.raises(TareError) as caught:
        harness.report.render(folder, formats=["pdf"])
    assert caught.value.code is ExitCode.BAD_INPUT


@pytest.mark.parametrize("content", [None, b"", b"a,b\n1,2\n", b"\xff\xfe", b'"open\n'])
def test_a_bad_folder_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "samples.csv").write_bytes(content)
    with pytest.raises(TareError) as caught:
        harness.report.summary(tmp_path)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert caught.value.hint


def test_importing_is_light() -> None:
    code = "import sys, harness.report; print([n for n in ('pandas', 'scipy', 'matplotlib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
