"""Runtimes of other distributions: each kind of bad one is named with its fix, and all others are still there."""

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from harness.record.columnar import read_samples
from tests.cli.conftest import Tare

GOOD = """
    from harness.model import Available, Variant
    from harness.runtimes.base import Runtime
    from harness.runtimes.fake.instance import FakeInstance

    class Extra(Runtime):
        name = "extra"
        needs_root = False
        variants = (Variant(name="extra/one", runtime="extra", summary="another fake"),)

        def available(self, variant):
            return Available(ok=True)

        def launch(self, prepared, place, labels, deadline):
            return FakeInstance(place, 1.0)
"""
LAUNCH = GOOD[GOOD.index("    def launch") :]
BAD = {
    "a missing method": (
        GOOD.replace(LAUNCH, ""),
        "Extra lacks launch",
        "define launch in Extra",
    ),
    "a missing member without the base class": (
        'class Extra:\n    name, daemon, variants, needs_root = "extra", "", (), False',
        "Extra lacks available, launch, prove, connect, prepare,",
        "Runtime has defaults",
    ),
    "a constructor that raises": (
        GOOD + "\n        def __init__(self):\n            self.size = 1 / 0\n",
        "line 17) cannot be used: ZeroDivisionError: division by zero",
        "pip uninstall tare-extra",
    ),
    "a module that cannot be imported": (
        "import no_such_library",
        "line 1) cannot be used: ModuleNotFoundError: No module named 'no_such_library'",
        "pip uninstall tare-extra",
    ),
    "an unknown daemon": (
        GOOD.replace("needs_root", 'daemon = "podman"\n        needs_root'),
        "daemon = 'podman' is unknown",
        'use "docker" or "libvirt", or "" for a runtime that needs no daemon',
    ),
    "a variant that exists already": (
        GOOD.replace("extra/one", "docker/bridge"),
        "the runtime docker already has a variant docker/bridge",
        "rename it to extra/…",
    ),
    "an entry point of another name than the variants": (
        GOOD.replace('"extra', '"other'),
        "the entry point is named extra, but Extra has name = 'other' and the variant other/one with runtime = 'other'",
        "rename the entry point to other, or name all three extra",
    ),
    "an attribute that is no class": ("Extra = 1", "it is not a class but 1", "name the runtime's class"),
}


def install(tare: Tare, module: str, code: str, point: str = "extra") -> Path:
    """Put the distribution `tare-<module>` with one runtime `Extra` where `tare` finds it."""
    site = tare.python_path = tare.home / "site"
    about = site / f"tare_{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tare-{module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tare.runtimes]\n{point} = tare_{module}:Extra\n")
    file = site / f"tare_{module}.py"
    file.write_text(dedent(code).lstrip())
    return file


def listed(tare: Tare) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tare("list", "--workloads-dir", str(tare.workloads), "--json").stdout)
    return found


def names(found: dict[str, Any]) -> set[str]:
    return {one["name"] for one in found["variants"]}


@pytest.mark.parametrize(("code", "problem", "fix"), BAD.values(), ids=BAD)
def test_a_bad_runtime_is_named_and_all_others_are_listed(tare: Tare, code: str, problem: str, fix: str) -> None:
    before = names(listed(tare))
    file = install(tare, "extra", code)
    found = listed(tare)
    assert names(found) == before >= {"native", "docker/bridge", "libvirt/kvm", "fake/slow"}
    (broken,) = found["broken"]
    assert broken["runtime"] == "extra"
    assert broken["reason"].startswith(f"plug-in tare_extra:Extra of tare-extra ({file}")
    assert problem in broken["reason"]
    assert fix in broken["fix"]
    words = tare("list", "--workloads-dir", str(tare.workloads)).stdout
    assert f"  skipped: extra: {broken['reason']}\n    fix: {broken['fix']}" in words


def test_a_bad_runtime_changes_no_plan_and_cannot_be_requested(tare: Tare) -> None:
    install(tare, "extra", GOOD.replace(LAUNCH, ""))
    words = ["plan", *tare.run_words("--blocks", "1")[1:], "--suite", "smoke"]
    assert "fake/baseline, fake/slow" in tare(*words).stdout
    refused = tare(*words, "--variant", "extra", code=2).stderr
    assert "--variant extra: plug-in tare_extra:Extra of tare-extra" in refused
    assert "fix: define launch in Extra" in refused


def test_another_distribution_cannot_replace_a_runtime(tare: Tare) -> None:
    install(tare, "extra", GOOD.replace("extra", "fake"), point="fake")
    found = listed(tare)
    assert "fake/slow" in names(found) and "fake/one" not in names(found)
    assert "tare.runtimes already has an entry point fake" in found["broken"][0]["reason"]


def test_a_runtime_that_cannot_tell_what_it_can_do_is_unavailable(tare: Tare) -> None:
    install(tare, "extra", GOOD.replace("return Available(ok=True)", "return len(self)"))
    (one,) = (one for one in listed(tare)["variants"] if one["name"] == "extra/one")
    assert not one["available"]
    assert one["reason"].startswith("the runtime extra failed: TypeError: ")
    assert one["fix"] == "correct the module tare_extra"


def test_a_variant_of_a_new_runtime_runs_on_every_workload(tare: Tare) -> None:
    """Though no suite lists it."""
    install(tare, "extra", GOOD)
    assert listed(tare)["broken"] == []
    tare.run("--suite", "smoke", "--blocks", "1", "--variant", "extra")
    rows = read_samples(tare.only_run() / "samples.csv")
    assert all(row.value is not None for row in rows)
    workloads = ("boot.fake", "cpu.steady", "memory.noisy")
    cases = {(workload, variant) for workload in workloads for variant in ("fake/baseline", "extra/one")}
    assert {(row.workload, row.variant) for row in rows} == cases
