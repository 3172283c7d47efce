"""A guest's disk made, carried and cloned, without a guest."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness import process
from harness.deadline import Deadline
from harness.model import Accelerator, Shape, SystemForm, Variant
from harness.run.environment import NO_ROOT
from harness.runtimes.archive import allocated, packing, unpacking
from harness.runtimes.base import Prepared
from harness.runtimes.guests.disk_copies import DiskCopies

MIB = 2**20
MISSING = process.have("mke2fs", "qemu-img", "zstd")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def prepared(folder: Path, form: str = "root") -> Prepared:
    (folder / "root").mkdir()
    (folder / "root/file").write_bytes(b"x" * MIB)
    process.run(["tar", "-c", "-f", folder / "root.tar", "-C", folder / "root", "."], Deadline.after(10))
    for name in ("disk.raw", "system.raw"):
        with (folder / name).open("wb") as file:
            file.write(name.encode() * 1000)
            file.truncate(16 * MIB)
    (folder / "kernel").write_bytes(b"kernel")
    (folder / "initramfs").write_bytes(b"initramfs")
    root = replace(
        NO_ROOT,
        tar=folder / "root.tar",
        disk=folder / "disk.raw",
        kernel=folder / "kernel",
        initramfs=folder / "initramfs",
        system=SystemForm(digest="x", disk=folder / "system.raw", kernel_release="1"),
    )
    variant = Variant(name="x/y", runtime="x", summary="", form="system" if form == "system" else "root")
    shape = Shape(cpus=(0,), memory_mib=64)
    return Prepared(variant=variant, shape=shape, root=root, image="x", accelerator=Accelerator.NONE)


def carried(copies: DiskCopies, copy: Prepared, package: Path) -> Prepared:
    """What comes out of the package, looked at while it is there."""
    deadline = Deadline.after(30)
    with packing(package, 3, deadline) as sink:
        copies.save(copy, sink, deadline)
    with unpacking(package, deadline) as source, copies.loaded(source, deadline) as found:
        for path, first in ((found.root.disk, copy.root.disk), (found.root.kernel, copy.root.kernel)):
            assert path.read_bytes() == first.read_bytes()
        return found


def test_a_disk_is_written_from_the_tar_and_carried_with_what_boots_it(tmp_path: Path) -> None:
    image, folder = prepared(tmp_path), tmp_path / "copies"
    folder.mkdir()
    copies = DiskCopies(image, folder)
    making = copies.built(Deadline.after(30))
    assert making is not None
    with making as copy:
        assert copy.root.disk.stat().st_size == 16 * MIB
        said = process.run(["debugfs", "-R", "stat /file", copy.root.disk], Deadline.after(10)).stdout
        assert f"Size: {MIB}" in said
        found = carried(copies, copy, tmp_path / "package")
    assert found.root.disk.parent == found.root.initramfs.parent == folder / "loaded"
    assert list(folder.iterdir()) == []


def test_of_a_full_system_only_its_disk_is_carried_and_none_is_built(tmp_path: Path) -> None:
    image, folder = prepared(tmp_path, "system"), tmp_path / "copies"
    folder.mkdir()
    copies = DiskCopies(image, folder)
    assert copies.built(Deadline.after(30)) is None
    found = carried(copies, image, tmp_path / "package")
    assert found.root.system is not None
    assert found.root.system.disk == folder / "loaded/system.raw"
    assert found.root.disk == image.root.disk


def test_a_linked_clone_is_small_and_a_full_one_takes_what_its_disk_takes(tmp_path: Path) -> None:
    image, folder = prepared(tmp_path), tmp_path / "copies"
    folder.mkdir()
    copies = DiskCopies(image, folder)
    with copies.linked(Deadline.after(30)) as paths:
        assert allocated(paths) < MIB
    with copies.full(Deadline.after(30)) as paths:
        assert allocated(paths) <= allocated([image.root.disk])
        assert Path(next(iter(paths))).read_bytes() == image.root.disk.read_bytes()
    assert list(folder.iterdir()) == []
