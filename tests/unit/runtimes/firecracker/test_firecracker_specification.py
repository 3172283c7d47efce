"""Firecracker's resources and availability, without Firecracker."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.model import Accelerator
from harness.runtimes.base import Place, Prepared
from harness.runtimes.firecracker import Firecracker
from harness.runtimes.firecracker.specification import command, facts, resources
from tests.unit.runtimes.guests.given import NETWORK, ROOT, SHAPE

IDENTITY = "0f1e2d3c-0000-4000-8000-000000000000"
PLACE = Place(name="tare-x", directory=Path("/run/x"), entry="agent", shape=SHAPE, network=NETWORK, scratch_mib=64)
PREPARED = Prepared(
    variant=Firecracker.variants[0], shape=SHAPE, root=ROOT, image=ROOT.digest, accelerator=Accelerator.KVM
)


def asked(place: Place = PLACE, tap: str = "tare-0f1e2d3c") -> dict[str, Any]:
    return dict(resources(PREPARED, place, IDENTITY, tap))


def test_the_guest_has_the_shape_and_is_started_last() -> None:
    found = asked()
    assert list(found)[-1] == "/actions"
    assert found["/machine-config"] == {"vcpu_count": 2, "mem_size_mib": 512, "smt": False}
    assert command(PLACE)[:5] == ["nsenter", "--net=/run/netns/ns1", "taskset", "--cpu-list", "1,3"]


def test_the_agent_speaks_over_the_serial_port_and_no_console_does() -> None:
    words = asked()["/boot-source"]["boot_args"].split()
    assert {"tare.channel=/dev/ttyS0", "tare.address=10.1.2.9/24,10.1.2.1", "tare.scratch=/dev/vdb"} <= set(words)
    assert "console=ttyS0" not in words


def test_the_shared_root_is_never_written() -> None:
    found = asked()
    assert found["/drives/root"]["is_read_only"] and not found["/drives/root"]["is_root_device"]
    assert not found["/drives/data"]["is_read_only"]
    assert facts(PREPARED, PLACE)["data_disk"].startswith("raw, host's page cache")


def test_without_network_there_is_no_card() -> None:
    assert "/network-interfaces/eth0" in asked()
    assert "/network-interfaces/eth0" not in asked(replace(PLACE, network=None), "")


def test_without_its_binary_it_is_unavailable_with_a_fix_and_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    runtime = Firecracker()
    answer = runtime.available(runtime.variants[0])
    assert not answer.ok and answer.reason == "not installed: firecracker" and "releases" in answer.fix
    assert "untested" in runtime.variants[0].summary


@pytest.mark.parametrize(
    ("said", "fits"), [("Firecracker v1.7.0", False), ("nonsense", False), ("Firecracker v1.13.1", True)]
)
def test_too_old_a_version_is_refused(said: str, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "firecracker"
    program.write_text(f"#!/bin/sh\necho {said}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    answer = Firecracker().available(Firecracker.variants[0])
    assert not answer.ok
    assert ("or later is needed" in answer.reason) is not fits
