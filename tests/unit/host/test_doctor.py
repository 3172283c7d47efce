"""Findings on real facts and on facts with one thing changed."""

import dataclasses
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.host import dom0
from harness.host.doctor import Finding, examine, fit, has_module, install_line
from harness.host.facts import HostFacts, gather


@pytest.fixture(scope="module")
def facts() -> HostFacts:
    return gather()


def named(findings: Iterable[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


def test_everything_that_is_not_fine_says_why(facts: HostFacts) -> None:
    findings = examine(facts, Deadline.after(30))
    assert {"docker", "libvirt", "kvm", "disk", "memory", "load", "cgroup"} <= {finding.what for finding in findings}
    assert all(finding.detail for finding in findings)
    assert all(finding.fix for finding in findings if finding.severity in ("missing", "unfit"))


def test_an_emulated_host_is_not_fit(facts: HostFacts) -> None:
    findings = examine(dataclasses.replace(facts, host_virtualized="tcg"), Deadline.after(30))
    assert named(findings, "emulated host").severity == "unfit"
    assert not fit(findings)


@pytest.mark.parametrize(
    ("options", "severity", "says"),
    [
        ("placeholder dom0_mem=2G", "note", "Xen was booted without dom0_vcpus_pin"),
        ("dom0_vcpus_pin", "fine", "pinned to the physical CPUs"),
        (None, "note", "cannot detect whether Xen was booted with dom0_vcpus_pin"),
    ],
)
def test_cpus_of_xens_privileged_guest_are_the_processors_only_when_pinned(
    facts: HostFacts, options: str | None, severity: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dom0, "is_dom0", lambda: True)
    monkeypatch.setattr(dom0, "boot_options", lambda _: options)
    findings = examine(dataclasses.replace(facts, host_virtualized="xen"), Deadline.after(30))
    found = named(findings, "dom0 CPUs")
    assert found.severity == severity and says in found.detail
    assert severity == "fine" or "dom0_vcpus_pin" in found.fix
    assert "dom0" in named(findings, "virtualized").detail


def test_nothing_is_said_of_dom0_elsewhere(facts: HostFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dom0, "SYSFS", tmp_path)
    monkeypatch.setattr(dom0, "CAPABILITIES", tmp_path / "none")
    findings = examine(dataclasses.replace(facts, host_virtualized="xen"), Deadline.after(30))
    assert "dom0 CPUs" not in {finding.what for finding in findings}
    assert "itself a guest (xen)" in named(findings, "virtualized").detail


def test_findings_of_the_processor(facts: HostFacts) -> None:
    changed = dataclasses.replace(
        facts, host_virtualized="none", governor="powersave", smt="on", siblings={"0": "0-1", "1": "0-1"},
        usable_cpus=(0, 1),
    )  # fmt: skip
    findings = examine(changed, Deadline.after(30), shape_cpus=(1, 7))
    assert "performance" in named(findings, "governor").fix
    assert "[1]" in named(findings, "smt").detail
    assert named(findings, "cpus").severity == "unfit"


def test_kvm_mode_that_makes_libvirt_slow(facts: HostFacts) -> None:
    findings = examine(dataclasses.replace(facts, kvm_device="0600 root:root"), Deadline.after(30))
    assert named(findings, "kvm mode").fix == "chgrp kvm /dev/kvm; chmod 660 /dev/kvm"
    without = examine(dataclasses.replace(facts, kvm_device=""), Deadline.after(30))
    assert named(without, "kvm").severity == "missing"


@pytest.mark.parametrize(
    ("cgroup", "init", "severity", "fix"),
    [
        ("v2", "systemd", "fine", ""),
        ("hybrid", "systemd", "note", "systemd.unified_cgroup_hierarchy=1"),
        ("v1", "init", "note", "cgroup_no_v1=all"),
        ("unknown", "init", "missing", "mount cgroup2"),
    ],
)
def test_old_cgroups_come_with_the_way_to_v2(facts: HostFacts, cgroup: str, init: str, severity: str, fix: str) -> None:
    found = named(examine(dataclasses.replace(facts, cgroup=cgroup, init=init), Deadline.after(30)), "cgroup")
    assert found.severity == severity and fix in found.fix


def test_missing_programs_come_with_one_apt_line(facts: HostFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.host.doctor.SBIN", "/nowhere")
    line = install_line(examine(facts, Deadline.after(30)))
    assert line.startswith("apt-get install --no-install-recommends ")
    assert {"mmdebstrap", "qemu-utils", "libvirt-daemon-system"} <= set(line.split())
    assert install_line([Finding(severity="fine", what="x")]) == ""


def test_modules(facts: HostFacts) -> None:
    assert not has_module("surely_not_there", facts.kernel)
    assert shutil.which("sh") is None or isinstance(has_module("overlay", facts.kernel), bool)
