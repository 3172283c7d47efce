"""What a host under Xen shows of itself, in files and by a toolstack of the test's own."""

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.host import dom0


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(dom0, "SYSFS", tmp_path)
    monkeypatch.setattr(dom0, "CAPABILITIES", tmp_path / "capabilities")
    (tmp_path / "properties").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("files", "privileged"),
    [
        ({}, False),
        ({"capabilities": ""}, False),
        ({"capabilities": "control_d\n"}, True),
        ({"type": "xen\n", "properties/features": "00002705\n"}, False),
        ({"type": "xen\n", "properties/features": "00002f05\n"}, True),
        ({"type": "xen\n", "properties/features": "<denied>\n"}, False),
        ({"type": "other\n", "properties/features": "00002f05\n"}, False),
    ],
)
def test_the_privileged_guest_is_told_from_others(files: dict[str, str], privileged: bool, sysfs: Path) -> None:
    for name, text in files.items():
        (sysfs / name).write_text(text)
    assert dom0.is_dom0() is privileged


@pytest.mark.parametrize(
    ("prints", "options"),
    [
        ("xen_pagesize           : 4096\nxen_commandline        : placeholder com1=115200,8n1 vga=a:b", True),
        ("xencall: error: Could not obtain handle on privileged command interface", False),
    ],
)
def test_the_toolstack_tells_the_boot_options(
    prints: str, options: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dom0, "SBIN", str(tmp_path))
    assert dom0.boot_options(Deadline.after(10)) is None
    (tmp_path / "xl").write_text(f"#!/bin/sh\ncat <<'END'\n{prints}\nEND\n")
    (tmp_path / "xl").chmod(0o755)
    assert dom0.boot_options(Deadline.after(10)) == ("placeholder com1=115200,8n1 vga=a:b" if options else None)


@pytest.mark.parametrize(
    ("options", "pinned"),
    [
        ("", False),
        ("placeholder dom0_mem=2G dom0_max_vcpus=2", False),
        ("dom0_max_vcpus=2 dom0_vcpus_pin", True),
        ("dom0_vcpus_pin=1 smt=0", True),
        ("dom0_vcpus_pin=false", False),
        ("dom0_vcpus_pin no-dom0_vcpus_pin", False),
    ],
)
def test_the_last_word_about_pinning_counts(options: str, pinned: bool) -> None:
    assert dom0.is_pinned(options) is pinned
