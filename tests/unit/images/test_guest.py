import stat
from pathlib import Path

import pytest

from harness.errors import TareError
from harness.images import guest
from harness.images.cpio import Archive


def module(folder: Path, name: str, depends: str = "") -> None:
    (folder / "kernel").mkdir(exist_ok=True)
    (folder / "kernel" / f"{name}.ko").write_bytes(b"\x7fELF...\0depends=" + depends.encode() + b"\0name=x\0")


def test_modules_come_after_what_they_depend_on(tmp_path: Path) -> None:
    module(tmp_path, "virtio")
    module(tmp_path, "failover")
    module(tmp_path, "net_failover", "failover")
    module(tmp_path, "virtio_net", "net_failover,virtio")
    module(tmp_path, "crc32c-intel")
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    order = guest.load_order(("virtio_net", "ext4", "virtio", "crc32c-intel"), tmp_path)
    assert [name for name, _ in order] == ["failover", "net_failover", "virtio", "virtio_net", "crc32c_intel"]


def test_a_missing_module_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TareError, match="no module virtio_blk"):
        guest.load_order(("virtio_blk",), tmp_path)


def test_what_only_some_guests_need_may_be_missing(tmp_path: Path) -> None:
    module(tmp_path, "virtio_blk")
    module(tmp_path, "xen-blkfront")
    order = guest.load_order(("virtio_blk",), tmp_path, ("xen-blkfront", "xen-netfront"))
    assert [name for name, _ in order] == ["virtio_blk", "xen_blkfront"]


def test_cpio_is_what_the_kernel_reads() -> None:
    archive = Archive(7)
    archive.directory("dev")
    archive.device("dev/ttyS1", 4, 65)
    archive.file("init", b"12345", 0o755)
    data = archive.finish()
    entries = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, major, minor, length = numbers[1], numbers[6], numbers[9], numbers[10], numbers[11]
        name = data[at + 110 : at + 110 + length - 1].decode()
        body = (at + 110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            break
        entries[name] = (mode, numbers[5], major, minor, data[body : body + size])
        at = (body + size + 3) // 4 * 4
    assert entries == {
        "dev": (stat.S_IFDIR | 0o755, 7, 0, 0, b""),
        "dev/ttyS1": (stat.S_IFCHR | 0o600, 7, 4, 65, b""),
        "init": (stat.S_IFREG | 0o755, 7, 0, 0, b"12345"),
    }
