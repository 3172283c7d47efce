"""Turns the root's tar into the other forms: the directory for native and the guest's disk."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from harness import process
from harness.deadline import Deadline
from harness.images import listing
from harness.images.inventory import DIRECTORY, DISK, LISTING, TAR

MIB = 2**20


def derive(
    folder: Path, key: str, epoch: int, free_mib: int, deadline: Deadline, notify: Callable[[str], None]
) -> None:
    """From `folder/root.tar` make the directory, its listing and the disk. Raises TareError."""
    root = folder / DIRECTORY
    notify("root: unpacking the directory form")
    root.mkdir(parents=True)
    # Its set-uid programs get no security updates: nobody but root may reach them on the host.
    root.parent.chmod(0o700)
    extract(folder / TAR, root, deadline)
    listing.write_listing(root, folder / LISTING)
    notify("root: writing the guest's disk")
    make_ext4(root, folder / DISK, "tare-root", key, epoch, ext4_mib(root, free_mib), deadline)


def extract(tar: Path, root: Path, deadline: Deadline) -> None:
    """Unpack the root's tar into the directory `root`, with its owners where this user may. Raises TareError."""
    owner = "--same-owner" if os.geteuid() == 0 else "--no-same-owner"
    # Device nodes are left out: whoever runs the root mounts a /dev on it.
    options = ["--numeric-owner", owner, "-p", "--xattrs", "--xattrs-include=*", "--exclude=./dev/*"]
    process.run(["tar", "-x", *options, "-f", tar, "-C", root], deadline)
    root.chmod(0o755)


def ext4_mib(root: Path, free_mib: int) -> int:
    """The size in MiB of a file system that holds the tree `root` with `free_mib` MiB free or a little more."""
    # Over the files: inode tables and block maps (a twentieth) and the journal
    return listing.size(root) * 21 // 20 // MIB + free_mib + 64


def make_ext4(
    root: Path, disk: Path, label: str, key: str, epoch: int, mib: int, deadline: Deadline, *, offset: int = 0
) -> None:
    """Write the tree `root` as an ext4 file system of `mib` MiB into the sparse file `disk`, from byte `offset` on."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"tare:{key}"))
    command = [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", label, "-U", identity),
        # Nothing lazy: the guest's kernel would write later, while something is measured.
        *("-E", f"hash_seed={identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,offset={offset}"),
        *("-d", str(root), str(disk), f"{mib}M"),
    ]
    if os.geteuid() != 0 and process.run(["unshare", "-r", "true"], deadline, check=False).status == 0:
        # Where a user is root in a namespace of its own, its files are root's on the disk.
        command = ["unshare", "-r", *command]
    clock = {"SOURCE_DATE_EPOCH": str(epoch), "E2FSPROGS_FAKE_TIME": str(epoch)}
    process.run(command, deadline, env=clock)
