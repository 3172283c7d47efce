"""Write a cpio archive in the kernel's `newc` format: reproducible, with device nodes, and without root privileges."""

import stat
from dataclasses import dataclass, field

# Format: linux/Documentation/driver-api/early-userspace/buffer-format.rst


@dataclass(slots=True)
class Archive:
    """A cpio archive in memory; root owns every file, and `epoch` (seconds since 1970) is the time of every file."""

    epoch: int
    _parts: list[bytes] = field(default_factory=list)
    _count: int = 0

    def directory(self, name: str) -> None:
        """Add an empty directory; its parents must already be in the archive."""
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        """Add a character device."""
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finish(self) -> bytes:
        """End the archive and return its bytes."""
        self._add("TRAILER!!!", 0)
        return b"".join(self._parts)

    def _add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._count += 1
        path = name.lstrip("/").encode() + b"\0"
        # inode, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        numbers = (self._count, mode, 0, 0, 1, self.epoch, len(data), 0, 0, *device, len(path), 0)
        header = b"070701" + b"".join(b"%08X" % number for number in numbers)
        self._parts += [_padded(header + path), _padded(data)]


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
