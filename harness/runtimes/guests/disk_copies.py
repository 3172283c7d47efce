"""Copies and clones of a guest's image: the root's disk with kernel and initramfs, or a full system's disk."""

import dataclasses
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.images import forms
from harness.process import run
from harness.runtimes.archive import read_tar, write_tar
from harness.runtimes.base import Prepared, Stream
from harness.runtimes.guests.disks import make_overlay

KEY, EPOCH = "copy", 1_735_689_600
"""The identity and the times of a copy's file system."""


class DiskCopies:
    """Copies of raw disks; `boots` are the fields of the root's forms that boot it, beside its disk."""

    def __init__(self, image: Prepared, folder: Path, boots: tuple[str, ...] = ("kernel", "initramfs")) -> None:
        self.image, self.folder = image, folder
        self._boots = boots

    def built(self, deadline: Deadline) -> AbstractContextManager[Prepared] | None:
        """The root's disk, made from its tar, with the same kernel and initramfs.

        None for a full system, which is made by an installation of packages.
        """
        return None if self.image.variant.form == "system" else self._built(deadline)

    def save(self, copy: Prepared, sink: Stream, deadline: Deadline) -> None:
        """A sparse tar of the disk and the files that boot it."""
        words = [word for path in self._parts(copy).values() for word in ("-C", str(path.parent), path.name)]
        write_tar(words, sink, deadline)

    @contextmanager
    def loaded(self, source: Stream, deadline: Deadline) -> Iterator[Prepared]:
        """The same files, from their tar."""
        folder = self.folder / "loaded"
        folder.mkdir(mode=0o711)
        folder.chmod(0o711)
        try:
            read_tar(source, folder, deadline)
            yield _with(self.image, {part: folder / path.name for part, path in self._parts(self.image).items()})
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def linked(self, deadline: Deadline) -> Iterator[Collection[Path]]:
        """A qcow2 overlay, as every instance has one."""
        path = self.folder / "linked.qcow2"
        try:
            make_overlay(self._parts(self.image)["disk"], path, deadline)
            yield [path]
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def full(self, deadline: Deadline) -> Iterator[Collection[Path]]:
        """A second disk; its holes stay holes."""
        path = self.folder / "full.raw"
        try:
            run(["cp", "--sparse=always", "--reflink=never", self._parts(self.image)["disk"], path], deadline)
            yield [path]
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _built(self, deadline: Deadline) -> Iterator[Prepared]:
        tree, disk = self.folder / "tree", self.folder / self.image.root.disk.name
        try:
            # For root alone: the root's set-uid programs get no security updates.
            tree.mkdir(mode=0o700)
            (tree / "root").mkdir()
            forms.extract(self.image.root.tar, tree / "root", deadline)
            mib = self.image.root.disk.stat().st_size // forms.MIB
            forms.make_ext4(tree / "root", disk, "tare-root", KEY, EPOCH, mib, deadline)
            yield _with(self.image, {"disk": disk})
        finally:
            shutil.rmtree(tree, ignore_errors=True)
            disk.unlink(missing_ok=True)

    def _parts(self, prepared: Prepared) -> Mapping[str, Path]:
        if prepared.variant.form == "system" and prepared.root.system is not None:
            return {"disk": prepared.root.system.disk}
        return {part: getattr(prepared.root, part) for part in ("disk", *self._boots)}


def _with(prepared: Prepared, parts: Mapping[str, Path]) -> Prepared:
    """The same variant with other files, which libvirt's own user can read."""
    for path in parts.values():
        path.chmod(0o444)
    root = prepared.root
    if prepared.variant.form == "system" and root.system is not None:
        root = dataclasses.replace(root, system=dataclasses.replace(root.system, disk=parts["disk"]))
    else:
        root = dataclasses.replace(root, **dict[str, Any](parts))
    return dataclasses.replace(prepared, root=root)
