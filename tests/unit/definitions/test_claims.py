"""The claims ledger: the shipped one is whole, and bad ones are refused with file, line and field."""

from collections import Counter
from pathlib import Path

import pytest

from harness.definitions.claims import Claim, load_claims
from harness.definitions.workloads import load_workloads
from harness.errors import ExitCode, TareError
from harness.paths import data

WORKLOADS = load_workloads(data("workloads"))
CLAIMS = load_claims(data("workloads"), WORKLOADS)
GOOD = """\
[[claims]]
id = "cpu-minimal"
where = "CPU"
text = "minimal overhead (1-5%)"
kind = "ratio"
about = ["cpu.sysbench:rate"]
subjects = ["docker/bridge"]
against = "native"
low = 0.01
high = 0.05

[[claims]]
id = "boot-seconds"
where = "Boot"
text = "1-5 seconds"
kind = "absolute"
about = ["boot.ready:ready"]
subjects = ["docker/bridge"]
low = 1
high = 5
unit = "s"

[[claims]]
id = "opinion"
where = "Table"
text = "Very mature"
kind = "untestable"
reason = "an opinion"

[[claims]]
id = "later"
where = "Table"
text = "Gigabytes"
kind = "absolute"
high = 1e9
unit = "bytes"
needs = "measure of image size"
"""


def ledger(folder: Path, text: str) -> Path:
    (folder / "claims.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_good_ledger_becomes_claims(tmp_path: Path) -> None:
    ratio, boot, opinion, later = load_claims(ledger(tmp_path, GOOD), WORKLOADS)
    assert (ratio.low, ratio.high, ratio.reading) == (0.01, 0.05, "document")
    assert ratio.measurements == (("cpu.sysbench", "rate"),)
    assert (boot.low, boot.unit) == (1.0, "s")
    assert ratio.judged
    assert not opinion.judged
    assert later.needs


def test_the_ledger_is_no_workload(tmp_path: Path) -> None:
    assert "claims" not in WORKLOADS
    assert load_workloads(ledger(tmp_path, GOOD)) == {}


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("against =", "agianst =", ":8: claims[0].agianst", "unknown key"),
        ('where = "CPU"\n', "", ":1: claims[0].where", "is missing"),
        ('kind = "ratio"', 'kind = "ration"', ":5: claims[0].kind", "'ratio'"),
        ('id = "cpu-minimal"', 'id = "CPU minimal"', ":2: claims[0].id", "not a name"),
        ('id = "cpu-minimal"', 'id = "opinion"', ":2: claims[0].id", "2 times"),
        ("cpu.sysbench:rate", "cpu.sysbnech:rate", ":6: claims[0].about", "no workload 'cpu.sysbnech'"),
        ("cpu.sysbench:rate", "cpu.sysbench:rat", ":6: claims[0].about", "no metric rat"),
        ("cpu.sysbench:rate", "network.tcp-in:retransmits", ":6: claims[0].about", "linear scale"),
        ('["cpu.sysbench:rate"]', '["cpu.sysbench:rate", "cpu.sysbench:rate"]', ":6: claims[0].about", "twice"),
        ("cpu.sysbench:rate", "cpu.sysbench", ":6: claims[0].about[0]", "is_measurement"),
        ("cpu.sysbench:rate", "../x:rate", ":6: claims[0].about[0]", "is_measurement"),
        ('about = ["cpu.sysbench:rate"]\n', "", ":1: claims[0].about", "is missing"),
        ('subjects = ["docker/bridge"]\nagainst', "against", ":1: claims[0].subjects", "is missing"),
        ('against = "native"\n', "", ":1: claims[0].against", "is missing"),
        ('against = "native"', 'against = "docker/bridge"', ":8: claims[0].against", "among the subjects"),
        ("low = 0.01\nhigh = 0.05\n", "", ":1: claims[0].low", "no range"),
        ("low = 0.01\nhigh = 0.05", "low = 0.05\nhigh = 0.01", ":10: claims[0].high", "not above low"),
        ("low = 0.01", "low = -1.5", ":9: claims[0].low", "greater than -1"),
        ("low = 0.01", 'low = "1 %"', ":9: claims[0].low", "valid number"),
        ("low = 0.01", "low = nan", ":9: claims[0].low", "nan"),
        ("low = 0.01", "low = -inf", ":9: claims[0].low", "inf"),
        ('kind = "ratio"', 'kind = "ratio"\nunit = "s"', ":6: claims[0].unit", "no unit"),
        ('kind = "ratio"', 'kind = "ratio"\nreason = "x"', ":6: claims[0].reason", "judged by figures"),
        ('kind = "ratio"', 'kind = "ratio"\nreading = "mine"', ":6: claims[0].reading", "'ours'"),
        ('kind = "ratio"', 'kind = "fact"', ":1: claims[0].reason", "is missing"),
        ('unit = "s"\n', "", ":12: claims[1].unit", "is missing"),
        ('unit = "s"\n', 'unit = "bytes"\n', ":21: claims[1].unit", "measured in s"),
        ("low = 1\n", "low = -0.5\n", ":19: claims[1].low", "below zero"),
        ("low = 1\n", 'low = 1\nagainst = "native"\n', ":20: claims[1].against", "own value"),
        ('reason = "an opinion"\n', "", ":23: claims[2].reason", "is missing"),
        ('reason = "an opinion"', 'reason = "x"\nhigh = 1', ":29: claims[2].high", "not judged by figures"),
        ('text = "Very mature"', 'text = "Very \\u001b[31m"', ":26: claims[2].text", "control character"),
        ("[[claims]]\nid = \"later\"", "[[claim]]\nid = \"later\"", ":30: claim", "unknown key"),
    ],
)  # fmt: skip
def test_a_bad_ledger_is_refused_with_line_and_field(tmp_path: Path, old: str, new: str, where: str, says: str) -> None:
    assert old in GOOD
    folder = ledger(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(TareError) as caught:
        load_claims(folder, WORKLOADS)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert caught.value.hint
    assert f"{folder / 'claims.toml'}{where}" in caught.value.brief
    assert says in caught.value.brief


def test_similar_needs_both_ends(tmp_path: Path) -> None:
    text = GOOD.replace('kind = "ratio"', 'kind = "similar"').replace("low = 0.01\n", "")
    with pytest.raises(TareError, match="needs both ends"):
        load_claims(ledger(tmp_path, text), WORKLOADS)


def test_the_right_word_is_suggested(tmp_path: Path) -> None:
    for wrong, right in (("cpu.sysbnech:rate", "cpu.sysbench"), ("cpu.sysbench:rat", "rate")):
        with pytest.raises(TareError) as caught:
            load_claims(ledger(tmp_path, GOOD.replace("cpu.sysbench:rate", wrong)), WORKLOADS)
        assert caught.value.hint == f"did you mean {right}?"


def test_a_missing_or_empty_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TareError, match="does not exist"):
        load_claims(tmp_path, WORKLOADS)
    with pytest.raises(TareError, match=r"claims: is missing"):
        load_claims(ledger(tmp_path, ""), WORKLOADS)


def test_the_shipped_ledger_has_every_kind() -> None:
    kinds = Counter(claim.kind for claim in CLAIMS)
    assert set(kinds) == {"ratio", "absolute", "order", "similar", "fact", "untestable"}
    assert len(CLAIMS) > 90
    assert sum(claim.where == "Comparison Table" for claim in CLAIMS) > 12


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_shipped_claim_is_fair(claim: Claim) -> None:
    """Words that became ranges say so, and only sentences with numbers of their own do not."""
    if claim.judged:
        assert claim.reading == "ours" or any(character.isdigit() for character in claim.text)
    if claim.kind in ("similar", "order"):
        assert claim.reading == "ours"
    assert not any("tcg" in name or "qemu" in name for name in (*claim.subjects, claim.against))


def test_what_takes_a_whole_system_is_about_one() -> None:
    for claim in CLAIMS:
        if claim.unit == "s" and claim.subjects[0].startswith("libvirt"):
            assert claim.subjects == ("libvirt/kvm-system",)
            assert claim.measurements == (("boot.ready", "service"),)


def test_sentences_about_both_compare_directly() -> None:
    direct = {
        claim.id: claim.against for claim in CLAIMS if claim.kind == "order" and claim.subjects == ("libvirt/kvm",)
    }
    assert direct["cpu-slightly-higher"] == direct["network-latency"] == "docker/bridge"
    assert direct["disk-random"] == "docker/volume"
    assert direct["network-devices"] == "native"
