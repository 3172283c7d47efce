"""Which variants meet needs: the words, the order, and what never counts."""

import math
from typing import Any

import pandas as pd
import pytest

from harness.analysis.overhead import Declared
from harness.analysis.ranking import Advice, advise, gaps
from harness.analysis.trials import Evidence
from harness.definitions.needs import Need
from tests.unit.analysis.claimed import around, boot, run

OWN_KERNEL = Need(name="own-kernel", means="its own", fact="own-kernel", accepts=("yes",))
CPU = Need(name="cpu", means="work", workload="cpu.x", metric="rate", overhead=True, high=0.05)


def start(high: float = 1.0, **fields: Any) -> Need:
    usual = {"workload": "boot.ready", "metric": "ready", "unit": "s", "high": high}
    return Need(**{"name": "start", "means": "ready", **usual, **fields})


def merged(*parts: Evidence, **fields: Any) -> Evidence:
    samples = pd.concat([one.samples for one in parts], ignore_index=True)
    return Evidence(**{"run": "r1", "samples": samples, "declared": Declared(), **fields})


def host() -> Evidence:
    """A container, a guest on KVM, an emulated one and native, in boot and CPU; the guest starts slowly."""
    accelerators = {"libvirt/kvm": "kvm", "libvirt/tcg": "tcg"}
    ready = {"native": 0.01, "docker/bridge": 0.3, "libvirt/kvm": 3.0, "libvirt/tcg": 4.0}
    rates = {"native": 100.0, "docker/bridge": 99.0, "libvirt/kvm": 97.0, "libvirt/tcg": 10.0}
    times = {name: around(value, sd=0.05, seed=3) for name, value in ready.items()}
    works = {name: around(value, seed=4) for name, value in rates.items()}
    parts = (
        run(times, workload="boot.ready", metric="ready", unit="s", direction="lower", accelerators=accelerators),
        run(works, accelerators=accelerators),
    )
    found = merged(*parts)
    return merged(Evidence(run="r1", samples=found.samples.assign(kernel=kernels(found)), declared=Declared()))


def kernels(found: Evidence) -> "pd.Series[str]":
    return found.samples["variant"].map(lambda name: "6.1-guest" if name.startswith("libvirt") else "6.18-host")


def order(found: Advice) -> list[tuple[str, str]]:
    return [(one.variant, one.word) for one in found.ranked]


def test_opposite_needs_have_different_answers() -> None:
    alone = advise([OWN_KERNEL, CPU], [host()])
    quick = advise([start(), CPU], [host()])
    assert alone.chosen is not None
    assert quick.chosen is not None
    assert (alone.chosen.variant, quick.chosen.variant) == ("libvirt/kvm", "docker/bridge")
    assert order(alone) == [("libvirt/kvm", "met"), ("docker/bridge", "missed")]
    assert order(quick) == [("docker/bridge", "met"), ("libvirt/kvm", "missed")]
    assert alone.ranked[0].ahead == "own-kernel is missed on docker/bridge"
    reason = quick.ranked[0].reasons[0]
    assert (reason.run, reason.n, reason.word) == ("r1", 12, "met")
    assert reason.low is not None
    assert 0.28 < reason.low < 0.3 < (reason.high or 0) < 0.32


def test_emulated_guests_never_stand_for_guests() -> None:
    found = advise([OWN_KERNEL, start(10.0)], [host()])
    assert [(one.variant, one.apart) for one in found.apart] == [("libvirt/tcg", "emulated (tcg)")]
    assert "libvirt/tcg" not in [name for name, _ in order(found)]
    only = advise([OWN_KERNEL], [host()], ["libvirt/tcg"])
    assert only.chosen is None
    assert only.ranked == ()
    # Neither under the name of one that could be advised.
    samples = host().samples.assign(accelerator=lambda rows: rows["accelerator"].replace("kvm", "kvm-nested"))
    nested = advise([OWN_KERNEL], [Evidence(run="r1", samples=samples, declared=Declared())])
    assert {one.variant for one in nested.apart} == {"libvirt/kvm", "libvirt/tcg"}


def test_on_an_emulated_host_nothing_is_advised() -> None:
    found = advise([start()], [merged(host(), host_virtualized="tcg")])
    assert found.chosen is None
    assert {one.apart for one in found.apart} == {"emulated host"}


def test_what_was_not_measured_is_never_met() -> None:
    found = advise([start(), CPU], [boot(0.3)])
    assert order(found) == [("docker/bridge", "not measured")]
    assert found.chosen is None
    assert gaps(found) == ["cpu.x"]
    none = advise([CPU], [boot(0.3)])
    assert (none.ranked, none.unmeasured) == ((), ("docker/bridge",))
    assert gaps(none) == ["cpu.x"]


@pytest.mark.parametrize(
    ("limit", "blocks", "word"),
    [
        (0.5, 12, "met"),
        (0.301, 12, "met by the figure only"),
        (0.299, 12, "missed by the figure only"),
        (0.2, 12, "missed"),
        (0.5, 4, "met by the figure only"),
        (0.2, 4, "missed by the figure only"),
        (0.5, 1, "met by the figure only"),
        (math.inf, 12, "met"),
    ],
)
def test_the_interval_decides_the_word(limit: float, blocks: int, word: str) -> None:
    values = around(0.3, blocks, sd=0.05) if blocks > 1 else [0.3]
    evidence = run({"docker/bridge": values}, workload="boot.ready", metric="ready", unit="s", direction="lower")
    (only,) = advise([start(limit)], [evidence]).ranked
    assert only.word == word
    assert bool(only.reasons[0].why) == ("only" in word)


def test_met_by_the_figure_comes_before_unknown_and_that_before_missed() -> None:
    ready = {"a/sure": around(0.3), "b/barely": around(0.99, sd=0.1), "d/missed": around(5.0)}
    evidence = merged(
        run(ready, workload="boot.ready", metric="ready", unit="s", direction="lower"),
        run({"native": around(1.0), **{name: around(1.0, seed=2) for name in (*ready, "c/unknown")}}),
    )
    found = advise([replaced(CPU, 0.5), start()], [evidence])
    assert order(found) == [
        ("a/sure", "met"),
        ("b/barely", "met by the figure only"),
        ("c/unknown", "not measured"),
        ("d/missed", "missed"),
    ]


def replaced(need: Need, high: float) -> Need:
    return Need(name=need.name, means="", workload=need.workload, metric=need.metric, overhead=need.overhead, high=high)


def test_the_first_stated_need_ranks_those_that_meet_all() -> None:
    ready = {"a/late": around(0.9), "b/early": around(0.3)}
    rates = {"native": around(100.0), "a/late": around(99.9, seed=2), "b/early": around(97.0, seed=3)}
    evidence = merged(run(ready, workload="boot.ready", metric="ready", unit="s", direction="lower"), run(rates))
    assert [name for name, _ in order(advise([start(), CPU], [evidence]))] == ["b/early", "a/late"]
    found = advise([CPU, start()], [evidence])
    assert [name for name, _ in order(found)] == ["a/late", "b/early"]
    assert found.ranked[0].ahead == "cpu is better than on b/early"
    close = {"a/one": around(0.3, sd=0.2), "b/two": around(0.31, sd=0.2)}
    told = advise([start()], [run(close, workload="boot.ready", metric="ready", unit="s", direction="lower")])
    assert told.ranked[0].ahead.endswith("but the intervals overlap")


def test_more_is_better_where_the_metric_says_so() -> None:
    need = Need(
        name="count", means="", workload="density.x", metric="count", unit="instances", direction="higher", low=200
    )
    values = {"docker/bridge": around(1000.0), "libvirt/kvm": around(50.0), "uml/ext4": around(900.0)}
    evidence = run(values, workload="density.x", metric="count", unit="instances", accelerators={"libvirt/kvm": "kvm"})
    found = advise([need], [evidence])
    assert order(found) == [("docker/bridge", "met"), ("uml/ext4", "met"), ("libvirt/kvm", "missed")]


def test_only_runs_that_are_alike_are_put_beside_each_other() -> None:
    newest = run({"docker/bridge": around(0.3, 2)}, workload="boot.ready", metric="ready", unit="s", direction="lower")
    newest = Evidence(run="r2", samples=newest.samples.assign(parameters='{"x":1}'), declared=Declared())
    both = {"docker/bridge": around(0.4), "docker/host": around(0.2)}
    older = run(both, workload="boot.ready", metric="ready", unit="s", direction="lower")
    found = advise([start()], [newest, older])
    assert [(one.variant, one.reasons[0].run) for one in found.ranked] == [
        ("docker/host", "r1"),
        ("docker/bridge", "r1"),
    ]
    few = Evidence(run="r1", samples=older.samples[older.samples["block"] < 2], declared=Declared())
    found = advise([start()], [newest, few])
    assert [(one.variant, one.reasons[0].run) for one in found.ranked] == [("docker/bridge", "r2")]
    assert found.unmeasured == ("docker/host",)


def test_a_variant_that_is_configured_alike_has_the_same_figures() -> None:
    rates = {"native": around(100.0), "docker/overlay": around(99.0, seed=2)}
    evidence = merged(boot(0.3), run(rates))
    found = advise(
        [start(), CPU], [evidence], same={"docker/bridge": "docker/bridge", "docker/overlay": "docker/bridge"}
    )
    assert order(found) == [("docker/bridge", "met")]
    assert found.ranked[0].reasons[1].variant == "docker/overlay"


def test_own_kernels_are_proved_by_the_samples() -> None:
    samples = run({"native": [1.0], "uml/ext4": [1.0], "docker/bridge": [1.0], "odd/one": [1.0]}).samples
    names = {"uml/ext4": "6.1-uml", "native": "6.18", "docker/bridge": "6.18", "odd/one": ""}
    evidence = Evidence(
        run="r1", samples=samples.assign(kernel=samples["variant"].map(names)), declared=Declared(), host_kernel="6.18"
    )
    found = advise([OWN_KERNEL], [evidence])
    assert order(found) == [("uml/ext4", "met"), ("docker/bridge", "missed")]
    assert found.unmeasured == ("odd/one",)
    # What a measure of isolation compared is known better than by a release that two kernels may share.
    compared = Evidence(
        run="r1",
        samples=samples.assign(kernel="6.18"),
        declared=Declared(),
        facts={"uml/ext4": {"shared_kernel": "False"}},
    )
    assert order(advise([OWN_KERNEL], [compared]))[0] == ("uml/ext4", "met")


def test_facts_that_instances_told() -> None:
    need = Need(name="seccomp", means="", fact="seccomp", accepts=("2",))
    facts = {"docker/bridge": {"seccomp": "2"}, "libvirt/kvm": {"seccomp": "0"}}
    found = advise([need], [merged(host(), facts=facts)])
    assert order(found) == [("docker/bridge", "met"), ("libvirt/kvm", "missed")]


def test_failures_and_lacking_operations_are_named() -> None:
    failed = run({"docker/bridge": [None, None]}, workload="boot.ready", metric="ready", unit="s", direction="lower")
    found = advise([start(), CPU], [merged(failed, run({"native": around(1.0), "docker/bridge": around(1.0)}))])
    assert found.ranked[0].reasons[0].why == "failed: no space"
    able = merged(
        run({"native": around(1.0), "docker/bridge": around(1.0)}), unable={("boot.ready", "docker/bridge"): "no"}
    )
    assert advise([start(), CPU], [able]).ranked[0].reasons[0].why == "no such operation: no"
