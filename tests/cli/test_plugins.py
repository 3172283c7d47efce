"""Runtimes of other distributions: each kind of bad one is named with its fix, and all others still work."""

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
VARIANTS = '(Variant(name="extra/one", runtime="extra", summary="another fake"),)'
BAD = {
    "a missing method": (
        GOOD.replace(LAUNCH, ""),
        "Extra lacks launch",
        "define launch in Extra",
    ),
    "a missing name": (
        GOOD.replace('name = "extra"', "pass"),
        "Extra lacks name",
        "define name in Extra",
    ),
    "a class of another base": (
        'class Extra:\n    name, daemon, variants, needs_root = "extra", "", (), False',
        "is not a class derived from harness.runtimes.base.Runtime",
        "name a class derived from harness.runtimes.base.Runtime in the entry point",
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
    "variants in a list": (
        GOOD.replace(VARIANTS, f"[*{VARIANTS}]"),
        "is not a tuple of Variant",
        'write variants = (Variant(name="extra/…", runtime="extra", summary="…"),)',
    ),
    "no variants": (GOOD.replace(VARIANTS, "None"), "variants = None is not a tuple of Variant", "write variants = "),
    "names as variants": (
        GOOD.replace(VARIANTS, '("extra/one",)'),
        "variants = ('extra/one',) is not a tuple of Variant",
        "write variants = ",
    ),
    "a variant without a summary": (
        GOOD.replace('"another fake"', "None"),
        "summary = None in the variant extra/one: Input should be a valid string",
        "correct summary",
    ),
    "an attribute that is no class": ("Extra = 1", "1 is not a class derived from", "name a class derived from"),
}


def with_method(head: str, body: str) -> str:
    """The good runtime with one more method."""
    return GOOD + f"\n        def {head}:\n            {body}\n"


def install(tare: Tare, module: str, code: str, point: str = "extra", value: str = "") -> Path:
    """Put the distribution `tare-<module>` with one runtime `Extra` where `tare` finds it."""
    site = tare.python_path = tare.home / "site"
    about = site / f"tare_{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tare-{module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tare.runtimes]\n{point} = {value or f'tare_{module}:Extra'}\n")
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
    assert "tare-bench has an entry point fake in tare.runtimes" in found["broken"][0]["reason"]


@pytest.mark.parametrize(
    ("point", "value", "problem", "fix"),
    [
        ("extra", "tare_absent:Extra", "No module named 'tare_absent'", "install that module, or: pip uninstall"),
        ("extra", "tare_extra:Absent", "module 'tare_extra' has no attribute 'Absent'", "correct that file"),
        ("extra", "tare-extra:Extra", "'tare-extra:Extra' is not an object in a module", "write extra = module:Class"),
        ("ex\x1b[31mtra", "tare_extra:Extra", "'ex\\x1b[31mtra' is no name of a plug-in", "rename the entry point"),
    ],
)
def test_a_bad_entry_point_is_named(tare: Tare, point: str, value: str, problem: str, fix: str) -> None:
    install(tare, "extra", GOOD, point, value)
    found = listed(tare)
    assert {"native", "fake/slow"} <= names(found)
    (broken,) = found["broken"]
    assert broken["reason"].startswith(f"plug-in {value} of tare-extra (")
    assert problem in broken["reason"] and fix in broken["fix"]
    assert "\x1b" not in tare("list", "--workloads-dir", str(tare.workloads)).stdout


def test_of_two_distributions_with_one_name_the_first_is_used(tare: Tare) -> None:
    for module in ("zeta", "alpha"):
        install(tare, module, GOOD)
    found = listed(tare)
    assert "extra/one" in names(found)
    (broken,) = found["broken"]
    assert broken["reason"].startswith("plug-in tare_zeta:Extra of tare-zeta (")
    assert broken["reason"].endswith("tare-alpha has an entry point extra in tare.runtimes")
    assert broken["fix"] == "rename the entry point"


def test_a_slow_plugin_is_named(tare: Tare) -> None:
    install(tare, "extra", "import time; time.sleep(2.1)\n" + dedent(GOOD))
    done = tare("list", "--workloads-dir", str(tare.workloads))
    assert "extra/one" in done.stdout
    assert "plug-in tare_extra:Extra of tare-extra took 2." in done.stderr


FAILING = {
    "available raises": (GOOD.replace("return Available(ok=True)", "return len(self)"), "line 11): TypeError: "),
    "available exits": (GOOD.replace("return Available(ok=True)", "raise SystemExit(3)"), "line 11): SystemExit: 3"),
    "available returns None": (
        GOOD.replace("return Available(ok=True)", "return None"),
        "): TypeError: available returned None, not an Available",
    ),
    "connect raises": (
        with_method("connect(self, address)", "raise ValueError(address)").replace(
            "needs_root", 'daemon = "docker"\n        needs_root'
        ),
        "line 18): ValueError",
    ),
}


@pytest.mark.parametrize(("code", "problem"), FAILING.values(), ids=FAILING)
def test_a_runtime_that_cannot_tell_what_it_can_do_is_unavailable(tare: Tare, code: str, problem: str) -> None:
    file = install(tare, "extra", code)
    found = listed(tare)
    one, two = (one for one in found["variants"] if one["name"] in ("extra/one", "fake/slow"))
    one, two = (one, two) if one["name"] == "extra/one" else (two, one)
    assert two["available"] and not one["available"]
    assert one["reason"].startswith(f"the runtime extra failed in tare-extra ({file}") and problem in one["reason"]
    assert one["fix"] == "correct that file, or: pip uninstall tare-extra"


def test_a_runtime_whose_trial_raises_is_skipped_and_all_others_run(tare: Tare) -> None:
    file = install(tare, "extra", with_method("prove(self, root, deadline)", "return 1 / 0"))
    done = tare.run(
        *("--suite", "smoke", "--blocks", "1", "--workload", "cpu.steady"),
        *("--variant", "extra", "--variant", "fake/slow"),
    )
    assert f"skipped: extra/one: the runtime extra failed in tare-extra ({file}, line 17): ZeroDiv" in done.stderr
    rows = read_samples(tare.only_run() / "samples.csv")
    assert {row.variant for row in rows if row.value is not None} == {"fake/baseline", "fake/slow"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("return FakeInstance(place, 1.0)", "return None", "): TypeError: launch returned None, not an Instance"),
        ("return FakeInstance(place, 1.0)", "return {}[place]", "line 14): KeyError: Place("),
        ("def launch(", "def prepare(self, *_):\n            pass\n\n        def launch(", "not a Prepared"),
        (
            "return Fake",
            "FakeInstance.kernel = property(lambda self: 6, lambda *_: None)\n            return Fake",
            "text",
        ),
    ],
)
def test_a_case_of_a_failing_runtime_fails_and_all_others_go_on(tare: Tare, old: str, new: str, problem: str) -> None:
    install(tare, "extra", GOOD.replace(old, new))
    words = ("--suite", "smoke", "--blocks", "1", "--workload", "cpu.steady", "--variant", "extra")
    done = tare.run(*words, "--variant", "fake/broken", code=1)
    assert "the runtime extra failed in tare-extra (" in done.stderr
    rows = read_samples(tare.only_run() / "samples.csv")
    (reason,) = {row.reason for row in rows if row.variant == "extra/one"}
    assert problem in reason
    assert {row.value is None for row in rows if row.variant == "extra/one"} == {True}


LEFT = "from harness.model import Leftover; return [Leftover(kind='thing', name='tare-x')]"


@pytest.mark.parametrize(
    ("code", "what", "problem"),
    [
        (with_method("leftovers(self)", "return [][1]"), "extra: cannot list leftovers: extra", "line 17): IndexError"),
        (
            with_method("leftovers(self)", "return ['a']"),
            "extra: cannot list leftovers: extra",
            "): TypeError: leftovers returned 'a', not a Leftover",
        ),
        (
            with_method("leftovers(self)", LEFT) + "        def remove(self, *_):\n            raise OSError('busy')\n",
            "thing tare-x: extra",
            "line 19): OSError: busy",
        ),
        (with_method("close(self)", "return 1 / 0"), "", "line 17): ZeroDivisionError: division by zero"),
    ],
)
def test_a_runtime_that_cannot_be_cleaned_is_named(tare: Tare, code: str, what: str, problem: str) -> None:
    file = install(tare, "extra", code)
    done = tare("clean", code=1 if what else 0)
    shown = done.stdout if what else done.stderr
    assert f"{what or 'the runtime extra'} failed in tare-extra ({file}" in shown and problem in shown
    assert "fix: correct that file, or: pip uninstall tare-extra" in shown
    assert f"0 leftovers removed, {1 if what else 0} failed" in done.stdout


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
