"""Energy from a made tree of the kernel's powercap folder, as a host of two packages has it."""

import os
from pathlib import Path

import pytest

from harness.host import energy
from harness.host.cost import HostMeter

RANGE = 262_143_328_850


def zone(folder: Path, path: str, name: str, microjoules: int) -> Path:
    found = folder / path
    found.mkdir(parents=True)
    for file, text in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", RANGE)):
        (found / file).write_text(f"{text}\n")
    return found


def count(found: Path, microjoules: int) -> None:
    (found / "energy_uj").write_text(f"{microjoules}\n")


@pytest.fixture
def host(tmp_path: Path) -> dict[str, Path]:
    """The zones by their names in the folder, which the kernel shows flat, parts beside their packages."""
    names = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    (tmp_path / "intel-rapl").mkdir()
    return {path: zone(tmp_path, path, name, 1_000_000) for path, name in names.items()}


def test_packages_and_their_memory_are_added_once(tmp_path: Path, host: dict[str, Path]) -> None:
    meter = HostMeter(cpus=[0], idle=0.0, powercap=tmp_path)
    for number, found in enumerate(host.values()):
        count(found, 1_000_000 + 10**number * 1_000_000)
    joules = meter.read().joules
    assert joules == pytest.approx(1 + 100 + 1000), "neither cores, which a package holds, nor the platform, nor mmio"


def test_a_counter_that_wrapped_goes_on_at_zero(tmp_path: Path, host: dict[str, Path]) -> None:
    count(host["intel-rapl:0"], RANGE - 2_000_000)
    before = energy.read(tmp_path)
    count(host["intel-rapl:0"], 3_000_000)
    assert energy.joules(before, energy.read(tmp_path)) == pytest.approx(5.0)


def test_a_host_that_counts_none_has_none(tmp_path: Path, host: dict[str, Path]) -> None:
    empty = tmp_path / "empty"
    assert energy.read(empty) == {}
    assert HostMeter(cpus=[0], idle=0.0, powercap=empty).read().joules is None
    before = energy.read(tmp_path)
    count(host["intel-rapl:1"], 7)
    (host["intel-rapl:1"] / "energy_uj").unlink()
    assert energy.joules(before, energy.read(tmp_path)) is None, "a zone went away meanwhile"
    (host["intel-rapl:0"] / "energy_uj").write_text("no number")
    assert set(energy.read(tmp_path)) == {"intel-rapl:0:1"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_only_root_may_read_is_not_there(tmp_path: Path, host: dict[str, Path]) -> None:
    (host["intel-rapl:0"] / "energy_uj").chmod(0o000)
    assert "intel-rapl:0" not in energy.read(tmp_path)
