"""Cgroups: our own real one, and made folders of both versions."""

import os
from pathlib import Path

import pytest

from harness.errors import TareError
from harness.host.cgroups import Cgroup, Charged, cgroup_of, own_memory


def test_cpu_time_of_our_own_cgroup_grows() -> None:
    try:
        cgroup = cgroup_of(os.getpid())
        before = cgroup.cpu_seconds()
    except (TareError, OSError) as error:
        pytest.skip(f"no cgroup here accounts CPU time: {error}")
    sum(range(2_000_000))
    assert cgroup.cpu_seconds() > before
    with pytest.raises(TareError, match="cgroup cannot be found"):
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
