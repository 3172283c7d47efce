"""A guest's disks: the qcow2 overlay over the shared root, and the data disk."""

import mmap
import os
import shutil
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import RootForms
from harness.process import run
from harness.runtimes.base import Place

MIB = 2**20
CHUNK = 8 * MIB


def kernel_and_disk(root: RootForms) -> tuple[Path, ...]:
    """The files of the root that a guest with a directly loaded kernel reads: disk, kernel and initramfs."""
    return (root.disk, root.kernel, root.initramfs)


def data_disk(place: Place) -> Path:
    """The raw disk behind /scratch."""
    return place.scratch_directory / f"{place.name}.raw"


def make_overlay(base: Path, path: Path, deadline: Deadline, form: str = "raw") -> None:
    """Make a qcow2 overlay at `path` over `base`, which has the format `form`."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", form, path], deadline)


def make_copy(source: Path, path: Path, deadline: Deadline) -> None:
    """Make a qcow2 file at `path` with all data of the qcow2 file `source` and its backing files."""
    run(["qemu-img", "convert", "-q", "-f", "qcow2", "-O", "qcow2", source, path], deadline)


def make_data(path: Path, mib: int, form: str, deadline: Deadline) -> None:
    """Make a data disk of `mib` MiB.

    `raw` is written in full with incompressible data, past the page cache where the file system allows. No read or
    write of the guest then meets an unallocated or unwritten extent. `qcow2` is thin, as qemu-img makes it.
    Raises TareError without enough free space, DeadlineExceeded when the disk is too slow.
    """
    free = shutil.disk_usage(path.parent).free // MIB
    if free < mib + mib // 10:
        raise TareError(
            f"{path.parent} has {free} MiB free, the data disk needs {mib}",
            hint="free disk space there, or set TARE_STATE to another folder",
        )
    if form == "qcow2":
        run(["qemu-img", "create", "-q", "-f", "qcow2", path, f"{mib}M"], deadline)
        return
    try:
        _write(path, mib, deadline)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(path: Path, mib: int, deadline: Deadline) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(path, flags | os.O_DIRECT, 0o600)
    except OSError:  # a file system without O_DIRECT may leave the file behind
        path.unlink(missing_ok=True)
        descriptor = os.open(path, flags, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, mib * MIB)
        with mmap.mmap(-1, CHUNK) as page_aligned, memoryview(page_aligned) as view:
            view[:] = os.urandom(CHUNK)
            left = mib * MIB
            while left:
                deadline.check(f"writing {path}")
                left -= os.write(descriptor, view[: min(left, CHUNK)])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
