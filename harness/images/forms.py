"""Convert the root's tar into the other forms: the directory for native instances and the guest's disk."""

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
    """Build the directory, its listing and the disk from `folder`/root.tar. Raises TareError."""
    root = folder / DIRECTORY
    notify("root: unpacking the directory form")
    root.mkdir(parents=True)
    # Only root may access the tree on the host: its set-uid programs get no security updates.
    root.parent.chmod(0o700)
    extract(folder / TAR, root, deadline)
    listing.write_listing(root, folder / LISTING)
    notify("root: writing the guest's disk")
    make_ext4(root, folder / DISK, "tare-root", key, epoch, ext4_mib(root, free_mib), deadline)


def extract(tar: Path, root: Path, deadline: Deadline) -> None:
    """Unpack the root's tar into the directory `root`; keeps the owners if the user is root. Raises TareError."""
    owner = "--same-owner" if os.geteuid() == 0 else "--no-same-owner"
    # No device nodes: each runtime mounts its own /dev.
    options = ["--numeric-owner", owner, "-p", "--xattrs", "--xattrs-include=*", "--exclude=./dev/*"]
    process.run(["tar", "-x", *options, "-f", tar, "-C", root], deadline)
    root.chmod(0o755)


def ext4_mib(root: Path, free_mib: int) -> int:
    """The size in MiB of a file system for the tree `root` with at least `free_mib` MiB free."""
    # A twentieth for inode tables and block maps, and 64 MiB for the journal.
    return listing.size(root) * 21 // 20 // MIB + free_mib + 64


def make_ext4(
    root: Path, disk: Path, label: str, key: str, epoch: int, mib: int, deadline: Deadline, *, offset: int = 0
) -> None:
    """Write the tree `root` as an ext4 file system of `mib` MiB into the sparse file `disk`, from byte `offset` on."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"tare:{key}"))
    command = [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", label, "-U", identity),
        # With lazy initialization the guest's kernel would write during a measurement.
        *("-E", f"hash_seed={identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,offset={offset}"),
        *("-d", str(root), str(disk), f"{mib}M"),
    ]
    if os.geteuid() != 0 and process.run(["unshare", "-r", "true"], deadline, check=False).status == 0:
        # In a user namespace the user's files get the owner root on the disk.
        command = ["unshare", "-r", *command]
    clock = {"SOURCE_DATE_EPOCH": str(epoch), "E2FSPROGS_FAKE_TIME": str(epoch)}
    process.run(command, deadline, env=clock)
