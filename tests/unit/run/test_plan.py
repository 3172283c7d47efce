"""Plans are balanced, seeded and shuffled; what cannot run is skipped with its reason."""

from collections import Counter
from dataclasses import replace

import pytest

from harness.definitions.selection import choose_variants, override
from harness.errors import ExitCode, TareError
from harness.model import Aggressor, Available, Metric, Shape, Suite, Variant, Workload
from harness.run.plan import ALL_THREADS, Plan, make_plan

METRIC = Metric(name="rate", source="rate", unit="1/s", direction="higher", primary=True)
NAMES = ("native", "docker/bridge", "docker/host", "libvirt/kvm", "libvirt/tcg")
VARIANTS = {name: Variant(name=name, runtime=name.partition("/")[0], summary="") for name in NAMES}
YES = {name: Available(ok=True) for name in NAMES}
NO_KVM = YES | {"libvirt/kvm": Available(ok=False, reason="no guest boots on it", fix="use another host")}
ONE, TWO = Shape(cpus=(1,), memory_mib=1024), Shape(cpus=(2, 3), memory_mib=1024)


def workload(name: str, **fields: object) -> Workload:
    return Workload(name=name, title=name, argv=("x",), reader="pairs", metrics=(METRIC,), **fields)  # type: ignore[arg-type]


WORKLOADS = [
    workload("cpu.one", parameters={"seconds": 2}, iterations=3, warmup=1),
    workload("cpu.all", threads="all"),
    workload("network.tcp"),
]
SUITE = Suite(
    name="s",
    summary="s",
    workloads=("cpu.one", "cpu.all", "network.tcp"),
    variants={"cpu": ("native", "docker/bridge", "libvirt/{accelerator}"), "network": ("native", "docker/host")},
    blocks=4,
)


def plan(**changes: object) -> Plan:
    arguments: dict[str, object] = {
        "suite": SUITE,
        "workloads": WORKLOADS,
        "variants_by_name": VARIANTS,
        "availability": YES,
        "shape": TWO,
        "accelerator": "tcg",
        "seed": 7,
    }
    arguments |= changes
    arguments["workloads"] = {one.name: one for one in arguments["workloads"]}  # type: ignore[attr-defined]
    return make_plan(**arguments)  # type: ignore[arg-type]


def test_each_round_holds_every_workload_once_with_all_its_variants() -> None:
    blocks = plan().blocks
    assert len(blocks) == 12
    assert [block.number for block in blocks] == list(range(12))
    for start in range(0, 12, 3):
        assert {block.workload for block in blocks[start : start + 3]} == set(SUITE.workloads)
    cpu = [sorted(block.variants) for block in blocks if block.workload == "cpu.one"]
    assert cpu == [["docker/bridge", "libvirt/tcg", "native"]] * 4


def test_the_seed_decides_the_order() -> None:
    assert plan().blocks == plan().blocks
    assert plan().blocks != plan(seed=8).blocks
    firsts = Counter(block.variants[0] for block in plan(blocks=300).blocks if block.workload == "cpu.one")
    assert min(firsts.values()) > 60


def test_all_threads_of_one_vcpu_are_skipped_with_the_reason() -> None:
    found = plan(shape=ONE)
    assert {block.workload for block in found.blocks} == {"cpu.one", "network.tcp"}
    assert [(skip.what, skip.reason) for skip in found.skips] == [("cpu.all", ALL_THREADS)]


def test_an_unavailable_variant_is_one_skip_with_reason_and_fix() -> None:
    found = plan(availability=NO_KVM, accelerator="kvm")
    assert [(skip.what, skip.reason, skip.fix) for skip in found.skips] == [
        ("libvirt/kvm", "no guest boots on it", "use another host")
    ]
    assert all("libvirt/kvm" not in block.variants for block in found.blocks)


def test_a_runtime_that_is_not_there_is_a_skip_and_a_misspelt_variant_is_an_error() -> None:
    without = {name: one for name, one in VARIANTS.items() if one.runtime != "docker"}
    found = plan(variants_by_name=without, availability={name: YES[name] for name in without})
    assert {skip.what for skip in found.skips} == {"docker/bridge", "docker/host"}
    suite = Suite(name="s", summary="s", workloads=("cpu.one",), variants={"cpu": ("docker/brigde",)}, blocks=1)
    with pytest.raises(TareError) as caught:
        plan(suite=suite)
    assert caught.value.hint == "did you mean docker/bridge?"


def test_a_workload_without_a_variant_that_can_run_is_skipped() -> None:
    none = {name: Available(ok=False, reason="none", fix="") for name in NAMES}
    found = plan(availability=none)
    assert found.blocks == ()
    assert "network.tcp" in {skip.what for skip in found.skips}
    assert found.estimate_seconds == 0


@pytest.mark.parametrize(
    ("only", "cpu", "network"),
    [
        (["native"], ("native",), ("native",)),
        (["docker/bridge"], ("docker/bridge",), ("docker/bridge",)),
        (["docker"], ("docker/bridge",), ("docker/host",)),
        (["libvirt/kvm"], ("libvirt/kvm",), ("libvirt/kvm",)),
    ],
)
def test_variants_are_narrowed_by_name_or_runtime(
    only: list[str], cpu: tuple[str, ...], network: tuple[str, ...]
) -> None:
    assert choose_variants(SUITE, WORKLOADS[0], VARIANTS, "tcg", only) == cpu
    assert choose_variants(SUITE, WORKLOADS[2], VARIANTS, "tcg", only) == network


def test_a_variant_or_runtime_that_no_suite_lists_runs_on_every_workload() -> None:
    more = {name: Variant(name=name, runtime="other", summary="") for name in ("other/a", "other/b")}
    for words, cast in ((["native", "other/a"], ["native", "other/a"]), (["other"], ["other/a", "other/b"])):
        made = plan(
            variants_by_name=VARIANTS | more,
            availability=dict.fromkeys((*YES, *more), YES["native"]),
            only_variants=words,
        )
        assert {one.workload for one in made.blocks} == {one.name for one in WORKLOADS}
        assert all(sorted(block.variants) == cast for block in made.blocks)


def test_a_runtime_that_the_suite_lists_for_other_resources_is_those_variants() -> None:
    """Not native alone, and not all that the runtime has."""
    known = VARIANTS | {"docker/x": Variant(name="docker/x", runtime="docker", summary="")}
    suite = Suite(
        name="s",
        summary="",
        workloads=("cpu.one", "network.tcp"),
        variants={"cpu": ("native",), "network": ("docker/host",)},
        blocks=1,
    )
    assert choose_variants(suite, WORKLOADS[0], known, "tcg", ["native", "docker"]) == ("native", "docker/host")


def test_a_requested_variant_that_cannot_run_is_a_skip() -> None:
    found = plan(availability=NO_KVM, only_variants=["native", "libvirt/kvm"])
    assert all(block.variants == ("native",) for block in found.blocks)
    assert [(skip.what, skip.reason) for skip in found.skips] == [("libvirt/kvm", "no guest boots on it")]


def test_workloads_are_narrowed_by_name_or_resource() -> None:
    assert {block.workload for block in plan(only_workloads=["cpu"]).blocks} == {"cpu.one", "cpu.all"}
    assert {block.workload for block in plan(only_workloads=["cpu.one"]).blocks} == {"cpu.one"}


@pytest.mark.parametrize(
    ("changes", "flag", "hint"),
    [
        ({"only_variants": ["docker/brigde"]}, "--variant", "did you mean docker/bridge?"),
        ({"only_workloads": ["cpu.on"]}, "--workload", "did you mean cpu.one?"),
    ],
)
def test_unknown_names_suggest_the_right_one(changes: dict[str, object], flag: str, hint: str) -> None:
    with pytest.raises(TareError) as caught:
        plan(**changes)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert flag in caught.value.brief
    assert caught.value.hint == hint


def test_a_suite_overrides_its_workloads_once() -> None:
    suite = Suite(
        name="s", summary="s", workloads=("cpu.one",), variants={}, blocks=1, iterations=9, parameters={"seconds": 5}
    )
    changed = override(WORKLOADS[0], suite)
    assert (changed.iterations, changed.warmup, changed.parameters) == (9, 1, {"seconds": 5})
    assert override(changed, suite) == changed
    with pytest.raises(TareError, match="no workload has this parameter"):
        plan(suite=Suite(name="s", summary="s", workloads=(), variants={}, blocks=1, parameters={"secnds": 5}))


@pytest.mark.parametrize("wrong", [0, 2.5, "x"])
def test_what_a_suite_puts_in_the_place_of_a_measures_parameter_is_held_to_its_range(wrong: int | float | str) -> None:
    idle_instances = workload("density.limit", measure="density", parameters={"most": 10, "batch": 5})
    suite = replace(SUITE, workloads=("density.limit",), variants={"density": ("native",)}, parameters={"most": wrong})
    with pytest.raises(TareError, match="not a whole number from 1 to 100,000") as caught:
        plan(suite=suite, workloads=[idle_instances])
    assert caught.value.code is ExitCode.BAD_INPUT
    assert "suite s: parameters.most" in caught.value.brief


def test_the_estimate_counts_sections_and_launches() -> None:
    found = plan(only_workloads=["cpu.one"], only_variants=["native"], blocks=10)
    assert found.estimate_seconds == pytest.approx(10 * (0.3 + 4 * 2))


def test_a_variant_of_one_vcpu_is_left_out_of_all_threads_alone() -> None:
    narrow = VARIANTS | {"docker/bridge": Variant(name="docker/bridge", runtime="docker", summary="", most_vcpus=1)}
    found = plan(variants_by_name=narrow)
    casts = {block.workload: sorted(block.variants) for block in found.blocks}
    assert casts["cpu.one"] == ["docker/bridge", "libvirt/tcg", "native"]
    assert casts["cpu.all"] == ["libvirt/tcg", "native"]
    assert [skip.what for skip in found.skips] == ["cpu.all on docker/bridge"]


def test_neighbours_are_those_variants_that_run_here_themselves() -> None:
    slowdowns = tuple(
        Metric(name=f"slowdown.{name.replace('/', '.')}", source=f"beside {name}", unit="1", direction="lower")
        for name in ("native", "docker/bridge", "libvirt/kvm")
    )
    beside = Workload(
        name="interference.cpu",
        title="x",
        measure="interference",
        argv=("x",),
        reader="pairs",
        metrics=(METRIC, *slowdowns),
        aggressor=Aggressor(argv=("x",)),
        threads="all",
        parameters={"seconds": 1, "settle": 1},
    )
    suite = replace(
        SUITE,
        workloads=(beside.name,),
        variants={"interference": ("native", "docker/bridge", "libvirt/{accelerator}")},
    )
    made = plan(suite=suite, workloads=[beside])
    assert [one.name for one in made.workloads[beside.name].metrics] == [
        "rate",
        *("slowdown.native", "slowdown.docker.bridge"),
    ]
    assert set(made.blocks[0].variants) == {"native", "docker/bridge", "libvirt/tcg"}, "who is no aggressor is a victim"
    alone = plan(suite=suite, workloads=[beside], only_variants=("native",), shape=ONE)
    assert [one.name for one in alone.workloads[beside.name].metrics] == ["rate", "slowdown.native"]
    assert alone.estimate_seconds < made.estimate_seconds


def test_a_suites_resource_that_no_workload_has_suggests_the_right_one() -> None:
    with pytest.raises(TareError) as caught:
        plan(suite=replace(SUITE, variants={**SUITE.variants, "netwrok": ("native",)}))
    assert caught.value.code is ExitCode.BAD_INPUT
    assert (caught.value.brief, caught.value.hint) == (
        "suite s: variants: no workload has the resource netwrok",
        "did you mean network?",
    )
