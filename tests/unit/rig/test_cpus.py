"""Sharing out CPUs and memory on hosts of every size."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ExitCode, TareError
from harness.rig.cpus import Topology, choose_shape, cpu_list, missing_memory, pin_harness, topology


def host(*cores: tuple[int, ...], available: int = 20000) -> Topology:
    return Topology(cores=cores, memory_mib=24000, available_mib=available)


@pytest.mark.parametrize(
    ("cores", "shape", "harness"),
    [
        ([(0,)], (0,), (0,)),
        ([(0,), (1,)], (1,), (0,)),
        ([(0, 1)], (1,), (0,)),
        ([(0,), (1,), (2,)], (1, 2), (0,)),
        ([(0,), (1,), (2,), (3,)], (1, 2, 3), (0,)),
        ([(0, 4), (1, 5), (2, 6), (3, 7)], (1, 2, 3), (0, 4)),
        ([(n, n + 8) for n in range(8)], (4, 5, 6, 7), (0, 1, 2, 3, 8, 9, 10, 11)),
    ],
)
def test_shape_takes_whole_cores_and_leaves_one(
    cores: list[tuple[int, ...]], shape: tuple[int, ...], harness: tuple[int, ...]
) -> None:
    allotment = choose_shape(host(*cores))
    assert (allotment.shape.cpus, allotment.harness_cpus) == (shape, harness)


def test_one_cpu_is_shared_and_said() -> None:
    assert any("share the shape's CPUs" in note for note in choose_shape(host((0,))).notes)


def test_user_may_take_siblings_too() -> None:
    allotment = choose_shape(host((0, 2), (1, 3)), vcpus=2)
    assert (allotment.shape.cpus, allotment.harness_cpus) == (((1, 3)), (0, 2))
    assert choose_shape(host((0, 2), (1, 3)), vcpus=4).harness_cpus == (0, 1, 2, 3)


@given(st.integers(1, 40), st.sampled_from([1, 2]), st.data())
def test_every_choice_is_distinct_usable_cpus_apart_from_the_harness(
    count: int, threads: int, data: st.DataObject
) -> None:
    cores = tuple(tuple(core + count * thread for thread in range(threads)) for core in range(count))
    vcpus = data.draw(st.none() | st.integers(1, count * threads))
    allotment = choose_shape(host(*cores), vcpus=vcpus)
    chosen = set(allotment.shape.cpus)
    assert len(chosen) == allotment.shape.vcpus == (vcpus or max(1, min(4, count - 1)))
    assert chosen <= set(host(*cores).cpus) and allotment.harness_cpus
    if len(chosen) < count * threads:
        assert not chosen & set(allotment.harness_cpus)


def test_memory_shrinks_with_the_host_down_to_a_floor() -> None:
    assert choose_shape(host((0,))).shape.memory_mib == 1024
    assert choose_shape(host((0,), available=2500)).shape.memory_mib == 768
    with pytest.raises(TareError) as refused:
        choose_shape(host((0,), available=600))
    assert refused.value.code == ExitCode.HOST_NOT_FIT


@pytest.mark.parametrize(
    "asked", [{"vcpus": 0}, {"vcpus": -1}, {"vcpus": 3}, {"memory_mib": 10}, {"memory_mib": 10**9}]
)
def test_more_than_the_host_has_is_bad_input(asked: dict[str, int]) -> None:
    with pytest.raises(TareError) as refused:
        choose_shape(host((0,), (1,)), **asked)
    assert refused.value.code == ExitCode.BAD_INPUT and refused.value.hint


def test_kernel_lists() -> None:
    assert cpu_list("0-2,8\n") == {0, 1, 2, 8}
    assert cpu_list("\n") == frozenset()


def test_this_host_has_a_shape() -> None:
    assert set(choose_shape(topology()).shape.cpus) <= os.sched_getaffinity(0)


def test_pinning_moves_every_thread_and_puts_each_back() -> None:
    before = os.sched_getaffinity(0)
    one = {max(before)}
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pin_harness(one):
            assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id or 0) == one
        assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id or 0) == before
    finally:
        end.set()
        thread.join()


def test_instances_that_have_no_room_at_once_are_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.rig.cpus._meminfo", lambda: {"MemAvailable": 4096})
    assert missing_memory(3, 1024, "churn.four") is None
    skip = missing_memory(4, 1024, "churn.four")
    assert skip is not None
    assert skip.what == "churn.four"
    assert "4096 MiB" in skip.reason
