"""The bootable disk: arithmetic, GRUB's patches, and real tools on a small one."""

import struct
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.images import partitions
from harness.images.partitions import MIB, SECTOR, layout
from harness.process import have, run

needs_tools = pytest.mark.skipif(bool(have(*partitions.NEEDED)), reason="sfdisk or mtools is not installed")


def test_partitions_are_aligned_and_follow_each_other() -> None:
    plan = layout(16, 100)
    assert [one.offset // MIB for one in (plan.bios, plan.esp, plan.system)] == [1, 2, 18]
    assert [one.size // MIB for one in (plan.bios, plan.esp, plan.system)] == [1, 16, 100]
    assert plan.size == 119 * MIB


def test_the_table_is_explicit_and_the_same_each_time() -> None:
    plan = layout(16, 100)
    text = partitions.table(plan, "k")
    assert text == partitions.table(plan, "k") != partitions.table(plan, "l")
    assert f"start={18 * MIB // SECTOR}, size={100 * MIB // SECTOR}, type={partitions.KINDS['system']}" in text


def test_grub_is_told_where_it_stands() -> None:
    code, core = bytes(range(256)) * 2, bytes(range(256)) * 4
    patched, placed = partitions.boot_sector(code, 2048), partitions.placed_core(core, 2048)
    assert struct.unpack_from("<Q", patched, 0x5C) == (2048,)
    assert len(patched) == 440 and patched[:0x5C] == code[:0x5C] and patched[0x64:] == code[0x64:440]
    assert struct.unpack_from("<Q", placed, 0x1F4) == (2049,)
    assert placed[:0x1F4] == core[:0x1F4] and placed[0x1FC:] == core[0x1FC:]


def test_a_core_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TareError, match="core"):
        partitions.write_bios(tmp_path / "disk", layout(8, 8), bytes(512), bytes(MIB + 1))


@needs_tools
def test_a_disk_has_its_table_and_what_uefi_boots(tmp_path: Path) -> None:
    disk, plan, deadline = tmp_path / "disk", layout(8, 8), Deadline.after(60)
    program = tmp_path / "program.efi"
    program.write_bytes(b"MZ program")
    partitions.make_table(disk, plan, "k", deadline)
    partitions.write_bios(disk, plan, bytes([0x90]) * 512, bytes(1024))
    partitions.write_esp(disk, plan, program, tmp_path, deadline)
    said = run(["sfdisk", "--dump", disk], deadline).stdout
    assert all(f"start={one.first:>12}, size={one.count:>12}" in said for one in (plan.bios, plan.esp, plan.system))
    with disk.open("rb") as stream:
        first = stream.read(SECTOR)
    assert first[0] == 0x90 and first[510:] == b"\x55\xaa"
    where = f"{disk}@@{plan.esp.offset}"
    assert run(["mtype", "-i", where, "::/EFI/BOOT/BOOTX64.EFI"], deadline).stdout == "MZ program"
    assert disk.stat().st_size == plan.size and sorted(path.name for path in tmp_path.iterdir()) == [
        "disk",
        "program.efi",
    ]
