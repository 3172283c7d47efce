"""What must never enter a verdict, and what is said instead."""

from tests.unit.analysis.claimed import around, claim, guests, run, word_of


def test_containers_and_guests_are_compared_directly() -> None:
    """Guests cost more than native and less than containers: against native the word would be the other one."""
    values = {"native": around(100.0, seed=2), "docker/bridge": around(80.0), "libvirt/kvm": around(90.0, seed=3)}
    evidence = run(values, accelerators={"libvirt/kvm": "kvm"})
    found = word_of(guests(), evidence)
    assert found.word == "contradicted"
    assert found.figures[0].against == "docker/bridge"
    assert word_of(guests(against="native"), evidence).word == "supported"


def test_emulated_guests_never_enter() -> None:
    values = {"native": around(100.0), "docker/bridge": around(99.0, seed=2), "libvirt/tcg": around(5.0, seed=3)}
    skips = (("libvirt/kvm", "no guest kernel boots on /dev/kvm"),)
    found = word_of(guests(), run(values, accelerators={"libvirt/tcg": "tcg"}, skips=skips))
    assert found.word == "not measured here"
    assert found.reason.startswith("libvirt/tcg ran as an emulated guest, which no verdict")
    assert "no guest kernel boots" in found.reason
    # Neither under a name that is eligible, nor as what is compared with.
    forged = {"docker/bridge": around(99.0, seed=2), "libvirt/kvm": around(5.0, seed=3)}
    assert word_of(guests(), run(forged, accelerators={"libvirt/kvm": "tcg"})).word == "not measured here"
    turned = guests(subjects=("docker/bridge",), against="libvirt/kvm")
    assert word_of(turned, run(forged, accelerators={"libvirt/kvm": "tcg"})).word == "not measured here"
    assert word_of(guests(subjects=("libvirt",)), run(values, accelerators={"libvirt/tcg": "tcg"})).figures == ()


def test_emulation_in_another_workload_is_the_hosts_nature() -> None:
    other = run(
        {"native": around(1.0), "libvirt/tcg": around(1.0)}, workload="cpu.y", accelerators={"libvirt/tcg": "tcg"}
    )
    assert word_of(guests(), other).reason.startswith("libvirt/tcg ran as an emulated guest")
    beside = run(
        {"native": around(1.0), "libvirt/kvm": around(1.0)}, workload="cpu.y", accelerators={"libvirt/kvm": "kvm"}
    )
    assert word_of(guests(), beside).reason.startswith(
        "not measured yet: tare run --workload cpu.x --variant libvirt/kvm"
    )


def test_nested_guests_never_enter() -> None:
    values = {"docker/bridge": around(99.0, seed=2), "libvirt/kvm": around(50.0, seed=3)}
    found = word_of(guests(), run(values, accelerators={"libvirt/kvm": "kvm-nested"}))
    assert (found.word, found.figures) == ("not measured here", ())
    assert found.reason.startswith("libvirt/kvm ran as a nested guest, which no verdict")


def test_an_emulated_host_enters_no_verdict() -> None:
    values = {"native": around(100.0, seed=2), "docker/bridge": around(98.0)}
    found = word_of(claim(), run(values, host_virtualized="tcg"))
    assert (found.word, found.figures) == ("not measured here", ())
    assert found.reason.startswith("emulated host")
    assert word_of(claim(), run(values, host_virtualized="kvm")).word == "supported"
    assert (
        word_of(claim(kind="untestable", reason="an opinion"), run(values, host_virtualized="tcg")).word == "untestable"
    )


def test_an_absent_runtime_is_named_with_its_reason() -> None:
    skips = (("docker/bridge", "the Docker daemon does not answer"),)
    found = word_of(claim(), run({"native": around(100.0)}, skips=skips))
    assert (found.word, found.reason) == (
        "not measured here",
        "runtime absent: docker/bridge: the Docker daemon does not answer",
    )


def test_what_was_not_measured_says_how_to() -> None:
    found = word_of(claim(about=("cpu.x:rate", "cpu.y:rate")))
    assert found.word == "not measured here"
    assert found.reason == "not measured yet: tare run --workload cpu.x --workload cpu.y --variant docker/bridge"
    found = word_of(claim(needs="measure of footprint", about=()), run({"native": around(1.0)}))
    assert (found.word, found.reason) == ("not measured here", "tare has no measure of footprint yet")


def test_what_failed_says_why() -> None:
    found = word_of(claim(), run({"native": around(100.0), "docker/bridge": [None] * 12}))
    assert (found.word, found.reason) == ("not measured here", "failed: cpu.x on docker/bridge: no space")


def test_what_was_voided_says_why() -> None:
    busy = run({"native": around(100.0), "docker/bridge": around(99.0)})
    busy.samples["valid"] = False
    busy.samples["reason"] = "block discarded: host load"
    found = word_of(claim(), busy)
    assert (found.word, found.reason) == (
        "not measured here",
        "discarded: cpu.x on docker/bridge: block discarded: host load",
    )


def test_facts_and_untestable_sentences_give_their_reason() -> None:
    for kind, word in (("fact", "by design"), ("untestable", "untestable")):
        bare = claim(kind=kind, about=(), subjects=(), against="", high=None, reason="an opinion")
        assert (word_of(bare).word, word_of(bare).reason) == (word, "an opinion")


def test_the_newest_run_that_is_fit_counts() -> None:
    old = run({"native": around(100.0), "docker/bridge": around(50.0, seed=2)}, run="old")
    new = run({"native": around(100.0), "docker/bridge": around(99.0, seed=2)}, run="new")
    short = run({"native": around(100.0, 2), "docker/bridge": around(10.0, 2, seed=2)}, run="short")
    found = word_of(claim(), short, new, old)
    assert (found.word, found.figures[0].run) == ("supported", "new")
    assert word_of(claim(), short).reason.startswith("few blocks")


def test_a_runtime_stands_for_its_variants() -> None:
    values = {"native": around(100.0), "docker/bridge": around(99.0, seed=2), "docker/host": around(98.0, seed=3)}
    found = word_of(claim(subjects=("docker",)), run(values))
    assert {row.variant for row in found.figures} == {"docker/bridge", "docker/host"}
    assert found.reason == "all 2 intervals are inside the range"


def test_values_that_have_no_ratio_are_left_out() -> None:
    zeros = run({"native": [0.0] * 6, "docker/bridge": [0.0] * 6})
    zeros.samples["value"] = 0.0
    zeros.samples["valid"] = True
    assert word_of(claim(), zeros).word == "not measured here"
    assert word_of(claim(kind="absolute", against="", unit="s"), zeros).word == "not measured here"


def test_a_guest_without_virtualization_is_no_kvm_guest() -> None:
    """User Mode Linux runs on accelerator `none`, which may enter verdicts: its name alone keeps it out of those."""
    values = {"native": around(100.0, seed=2), "docker/bridge": around(98.0), "uml/ext4": around(50.0, seed=3)}
    for about in (guests(), guests(subjects=("libvirt",))):
        found = word_of(about, run(values))
        assert (found.word, found.figures) == ("not measured here", ())
    assert [figure.variant for figure in word_of(claim(), run(values)).figures] == ["docker/bridge"]
