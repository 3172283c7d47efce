"""Claims in reports: judged on the run alone, and as safe to show as everything else of a run."""

from pathlib import Path

import pandas as pd
from lxml import html

import harness.report
from harness.analysis.verdicts import counts
from harness.report import claim_tables as ledger
from harness.report import html as report_html
from harness.report import markdown as report_markdown
from harness.report import plain_text, stored_evidence
from harness.report.stored_run import Stored, load, stored
from tests.unit.report import synthetic
from tests.unit.report.test_render import HOSTILE, text_of


def judged(folder: Path) -> Stored:
    """A made-up run whose container starts in 0.34 s, and whose skips are hostile."""
    facts = synthetic.manifest()
    facts["skips"] = [{"what": name, "reason": HOSTILE, "fix": HOSTILE} for name in ("docker/nat", "memory.random")]
    samples = pd.DataFrame([row | {"valid": row["valid"] == "true"} for row in synthetic.samples(iterations=1)])
    samples["value"] = pd.to_numeric(samples["value"])
    return stored(folder, samples, facts)


def test_pages_have_the_claims(rendered: Path) -> None:
    words = text_of(rendered)
    assert "The document's claims, judged by this run alone." in words
    assert "“Containers: Start in seconds (typically 1-5 seconds)”" in words
    assert "libvirt/tcg ran as an emulated guest, which no verdict about guests uses" in words
    markdown = (rendered / "report.md").read_text()
    assert "\n## Claims\n" in markdown
    assert "| contradicted | “Containers: Start in seconds" in markdown


def test_the_overview_has_only_verdicts_and_counts(rendered: Path) -> None:
    summary = harness.report.summary(rendered, 100)
    assert "contradicted: boot-figure-containers" in summary
    assert "not measured here: " not in summary
    assert "untestable: " not in summary
    number = counts(stored_evidence.of_run(load(rendered)))["not measured here"]
    assert f"{number} not measured here" in " ".join(summary.split())


def test_hostile_reasons_stay_text(tmp_path: Path) -> None:
    run = judged(tmp_path)
    found = stored_evidence.of_run(run)
    assert any("alert(1)" in one.reason for one in found)
    page, markdown = report_html.page(run, [], found), report_markdown.page(run, [], found, "")
    text = ledger.text(found, 100)
    assert not html.fromstring(page.encode()).xpath("//script")
    assert "<script" not in markdown
    for document in (page, markdown, text):
        assert "\x1b" not in document
        assert "\u202e" not in document


def test_text_keeps_its_width_and_order(rendered: Path) -> None:
    found = stored_evidence.of_run(load(rendered))
    lines = ledger.text(found, 80).splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert heads == list(dict.fromkeys(one.claim.where for one in found))


def test_tables_have_every_claim_once(rendered: Path) -> None:
    found = stored_evidence.of_run(load(rendered))
    rows = [
        row
        for table in (ledger.judged_table(found), ledger.open_table(found))
        for group in table.groups
        for section in group.sections
        for row in section.rows
    ]
    assert sum(bool(row[0]) for row in rows) == len(found)
    assert plain_text.text(ledger.open_table(found), 200)


def test_ranges_in_words(rendered: Path) -> None:
    said = {one.claim.id: ledger.range_words(one.claim) for one in stored_evidence.of_run(load(rendered))}
    assert said["cpu-figure-containers"] == "+1 % to +5 % against native"
    assert said["cpu-minimal-containers"] == "at most +5 % against native (our reading)"
    assert said["disk-random"] == "more than 0 % against docker/volume (our reading)"
    assert said["boot-figure-containers"] == "1 s to 5 s"
    assert said["startup-containers"] == "1 ms to 5 s (our reading)"
    assert said["image-size-containers"] == "10 MB to 300 MB"
    assert said["table-density-containers"] == "at least 200 instances (our reading)"
    assert said["guests-security"] == ""
