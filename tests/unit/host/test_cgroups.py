"""Cgroups: our own real one, and made folders of both versions."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.errors import TareError
from harness.host.cgroups import Cgroup, Charged, cgroup_of, cpu_weight, own_memory, weights


def test_cpu_time_of_our_own_cgroup_grows() -> None:
    try:
        cgroup = cgroup_of(os.getpid())
        before = cgroup.cpu_seconds()
    except (TareError, OSError) as error:
        pytest.skip(f"no cgroup here accounts CPU time: {error}")
    sum(range(2_000_000))
    assert cgroup.cpu_seconds() > before
    with pytest.raises(TareError, match="cannot read the cgroup of process"):
        cgroup_of(2**22 + 1)


def test_memory_of_both_versions(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (one / "memory.usage_in_bytes").write_text("9000\n")
    (one / "memory.kmem.usage_in_bytes").write_text("500\n")
    (one / "memory.stat").write_text("cache 1\nrss 2\ntotal_cache 3000\ntotal_shmem 1000\n")
    (two / "memory.current").write_text("8000\n")
    (two / "memory.stat").write_text("anon 4000\nfile 2500\nkernel 700\nshmem 500\n")
    assert Cgroup(one, one, unified=False).charged() == Charged(whole=9000, cache=2000, kernel=500)
    assert Cgroup(two, two, unified=True).charged() == Charged(whole=8000, cache=2000, kernel=700)
    assert Cgroup(tmp_path, tmp_path, unified=True).charged() is None, "the root counts nothing"
    assert Cgroup(tmp_path, None, unified=True).charged() is None


def test_a_cgroup_that_holds_others_is_not_an_instances_own() -> None:
    assert own_memory(os.getpid(), os.getpid()) is None
    assert own_memory(2**22 + 1, os.getpid()) is None, "it is gone"


GUEST = r"machine.slice/machine-qemu\x2d7\x2dtare\x2d0a1b2c\x2d31.scope/libvirt/emulator"
CONTAINER = f"docker/{64 * 'e'}"


def hierarchy(top: Path, file: str, levels: Mapping[str, str]) -> Path:
    """A made tree of cgroups: by path, what its weight's file says; no file for ""."""
    for path, said in levels.items():
        (top / path).mkdir(parents=True, exist_ok=True)
        if said:
            (top / path / file).write_text(f"{said}\n")
    return top


def test_weights_of_version_1_are_named_where_they_are_not_the_default(tmp_path: Path) -> None:
    levels = {"": "1024", "machine": "4096", "machine/a": "1024", "docker": "1024", CONTAINER: "512"}
    mounts = {"cpu": hierarchy(tmp_path, "cpu.shares", levels), "": tmp_path / "unified"}
    said = {path: weights({"cpu": path, "": ""}, mounts) for path in ("", "machine", "machine/a", "docker", CONTAINER)}
    assert said[""] == said["docker"] == "default", "the root has no weight, and its file says the default"
    assert said["machine"] == said["machine/a"] == "machine=4096 (4 × the default)"
    assert said[CONTAINER] == "docker/…=512 (0.5 × the default)", "another container's is the same"


def test_weights_of_version_2(tmp_path: Path) -> None:
    levels = {"machine.slice": "400", GUEST.rpartition("/libvirt")[0]: "39", GUEST: "", "idle.slice": "0"}
    mounts = {"": hierarchy(tmp_path, "cpu.weight", levels)}
    assert weights({"": ""}, mounts) == "default", "the root has no such file"
    assert weights({"": "idle.slice"}, mounts) == "idle.slice=0 (0 × the default)", "what a group of SCHED_IDLE says"
    assert weights({"": GUEST}, mounts) == (
        "machine.slice=400 (4 × the default), machine.slice/…=39 (0.39 × the default)"
    ), "a level without the controller has no weight of its own"


def test_weights_that_cannot_be_seen_are_unknown_and_not_the_default(tmp_path: Path) -> None:
    one = {"cpu": hierarchy(tmp_path / "1", "cpu.shares", {"a": "1024", "a/b": "", "odd": "many"})}
    two = {"": hierarchy(tmp_path / "2", "cpu.weight", {"a": "100"})}
    assert [weights({"cpu": path}, one) for path in ("a/b", "odd", "gone", "../a")] == 4 * ["unknown"]
    assert [weights({"": path}, two) for path in ("a (deleted)", "../a")] == 2 * ["unknown"]
    assert weights({"cpu": "a", "": "a"}, two) == "unknown", "version 1 weighs it, and is not mounted here"
    assert weights({}, two) == weights({"": "a"}, {}) == "unknown"


def test_a_process_has_a_weight_until_it_is_gone() -> None:
    assert cpu_weight(os.getpid())
    assert cpu_weight(2**22 + 1) == "unknown"
