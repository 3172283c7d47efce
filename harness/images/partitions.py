"""Build a disk that firmware can boot: GPT, GRUB for BIOS and UEFI, a file system; without loop devices or mounts."""

import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from harness import process
from harness.deadline import Deadline
from harness.errors import TareError

SECTOR = 512
MIB = 2**20
NEEDED = {"sfdisk": "fdisk", "mformat": "mtools", "mcopy": "mtools", "mmd": "mtools"}
"""The programs that are needed, with their Debian packages."""

# Partition types: UEFI specification 2.10, 5.3.3; GRUB manual, "BIOS installation"; Discoverable Partitions
KINDS = {
    "bios": "21686148-6449-6E6F-744E-656564454649",
    "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "system": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
}
BIOS_MIB = 1
BOOT_CODE = 440
"""The size of the boot code in the first sector, before the disk signature and the partition table."""
CORE_SECTOR = 0x5C
"""The offset of the core image's start sector in GRUB's boot sector (grub/include/grub/i386/pc/boot.h)."""
REST_SECTOR = SECTOR - 12
"""The offset, in the core image's first sector, of the block list of its rest: sector, length, segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition; `first` and `count` in sectors of 512 bytes."""

    name: str
    first: int
    count: int

    @property
    def offset(self) -> int:
        """Its start in bytes."""
        return self.first * SECTOR

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.count * SECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The partitions of a disk of `size` bytes, each aligned to 1 MiB."""

    bios: Partition
    esp: Partition
    system: Partition
    size: int


def layout(esp_mib: int, system_mib: int) -> Layout:
    """The layout: GRUB's core for BIOS, the EFI system partition, the system; 1 MiB before and after for the tables."""
    first, made = 1, {}
    for name, mib in (("bios", BIOS_MIB), ("esp", esp_mib), ("system", system_mib)):
        made[name] = Partition(name=name, first=first * MIB // SECTOR, count=mib * MIB // SECTOR)
        first += mib
    return Layout(**made, size=(first + 1) * MIB)


def table(plan: Layout, key: str) -> str:
    """The input for sfdisk: all numbers explicit, all ids derived from `key`."""
    lines = ["label: gpt", f"label-id: {_id(key, 'disk')}", "unit: sectors"]
    for one in (plan.bios, plan.esp, plan.system):
        place = f"start={one.first}, size={one.count}, type={KINDS[one.name]}"
        lines.append(f"{place}, uuid={_id(key, one.name)}, name=tare-{one.name}")
    return "\n".join(lines) + "\n"


def make_table(disk: Path, plan: Layout, key: str, deadline: Deadline) -> None:
    """Create the sparse file `disk` with the partition table. Raises TareError with sfdisk's output."""
    with disk.open("wb") as stream:
        stream.truncate(plan.size)
    process.run(["sfdisk", "-q", "--no-reread", "--no-tell-kernel", disk], deadline, stdin=table(plan, key))


def boot_sector(code: bytes, core_at: int) -> bytes:
    """GRUB's boot code with the start sector of its core; without the bytes of the partition table."""
    return code[:CORE_SECTOR] + struct.pack("<Q", core_at) + code[CORE_SECTOR + 8 : BOOT_CODE]


def placed_core(core: bytes, core_at: int) -> bytes:
    """GRUB's core for sector `core_at`: its first sector contains the start of the rest."""
    return core[:REST_SECTOR] + struct.pack("<Q", core_at + 1) + core[REST_SECTOR + 8 :]


def write_bios(disk: Path, plan: Layout, code: bytes, core: bytes) -> None:
    """Write GRUB for BIOS to the disk. Raises TareError if its core is larger than its partition."""
    if len(core) > plan.bios.size:
        brief = f"GRUB's core has {len(core)} bytes, its partition only {plan.bios.size}"
        raise TareError(brief, hint="increase BIOS_MIB in harness/images/partitions.py")
    with disk.open("r+b") as stream:
        stream.write(boot_sector(code, plan.bios.first))
        stream.seek(plan.bios.offset)
        stream.write(placed_core(core, plan.bios.first))


def write_esp(disk: Path, plan: Layout, program: Path, work: Path, deadline: Deadline) -> None:
    """Write the EFI system partition (FAT) with `program` as the default boot program. Raises TareError."""
    esp = work / "esp.raw"
    with esp.open("wb") as stream:
        stream.truncate(plan.esp.size)
    process.run(["mformat", "-i", esp, "-T", str(plan.esp.count), "-v", "TARE-ESP", "::"], deadline)
    process.run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"], deadline)
    process.run(["mcopy", "-i", esp, program, "::/EFI/BOOT/BOOTX64.EFI"], deadline)
    with esp.open("rb") as source, disk.open("r+b") as stream:
        os.copy_file_range(source.fileno(), stream.fileno(), plan.esp.size, 0, plan.esp.offset)
    esp.unlink()


def _id(key: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"tare:{key}:{name}")).upper()
