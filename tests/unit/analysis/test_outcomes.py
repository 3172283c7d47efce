"""Which variants were to give a metric, and which of their blocks were lost."""

from typing import Any

import pandas as pd

from harness.analysis.outcomes import Cases, sorted_out


def cases(*rows: dict[str, Any]) -> Cases:
    """One workload's cases: measured rows of native, unless told otherwise."""
    usual: dict[str, Any] = {
        "workload": "cpu.test", "metric": "rate", "variant": "native", "accelerator": "none", "runtime": "native",
        "role": "subject", "block": 1, "phase": "measured", "value": 1.0, "valid": True, "reason": "", "steal": 0.0,
        "elapsed": 1.0, "cpus": "1", "mhz": None,
    }  # fmt: skip
    return sorted_out(pd.DataFrame([usual | row for row in rows]))["cpu.test"]


def kvm(**fields: Any) -> dict[str, Any]:
    return {"variant": "libvirt/kvm", "runtime": "libvirt", "accelerator": "kvm", **fields}


def test_a_failed_case_without_a_metric_was_to_give_each() -> None:
    found = cases({}, kvm(metric="", value=None), kvm(variant="libvirt/tcg", accelerator="tcg", metric="latency"))
    assert found.others("rate", "native") == [("libvirt/kvm", "kvm", "libvirt")]
    assert [who for who, _, _ in found.others("latency", "native")] == ["libvirt/kvm", "libvirt/tcg"]


def test_an_accelerator_unknown_in_failure_is_that_of_the_other_cases() -> None:
    failed = kvm(accelerator="", value=None)
    assert cases({}, failed, kvm(block=2)).others("rate", "native") == [("libvirt/kvm", "kvm", "libvirt")]
    assert cases({}, failed).others("rate", "native") == [("libvirt/kvm", "", "libvirt")]


def test_a_block_is_lost_once_and_a_failure_counts_for_every_metric() -> None:
    both = ("native", "libvirt/kvm")
    discarded, failed = {"block": 2, "valid": False}, kvm(block=3, metric="latency", value=None, valid=False)
    found = cases({}, discarded, kvm(block=2, valid=False), failed, kvm(block=3, valid=False))
    assert found.blocks == 3
    assert found.lost("rate", both, frozenset({1})) == [("discarded", 1), ("failed", 1)]
    assert found.lost("latency", both, frozenset({1})) == [("discarded", 0), ("failed", 1)]
    assert found.lost("rate", both, frozenset({1, 2, 3})) == [("discarded", 0), ("failed", 0)]


def test_a_warm_up_loses_no_block() -> None:
    found = cases({}, {"block": 2, "phase": "warmup", "value": None, "valid": False})
    assert found.lost("rate", ("native",), frozenset({1})) == [("discarded", 0), ("failed", 0)]


def test_rows_of_a_peer_are_no_cases() -> None:
    assert cases({}, kvm(role="peer")).others("rate", "native") == []
