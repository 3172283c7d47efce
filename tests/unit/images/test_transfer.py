import io
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import paths, process
from harness.deadline import Deadline
from harness.errors import ExitCode, TareError
from harness.images import export_root, forms, import_root, inventory, recipe
from harness.images.inventory import INITRAMFS, KERNEL, MANIFEST, TAR, Manifest, measure_forms
from harness.images.store import finish
from harness.model import RootForms

SHIPPED = paths.data("images") / "root.toml"
pytestmark = pytest.mark.skipif(
    bool(process.have("mke2fs", "dpkg-query", "tar")), reason="needs mke2fs, dpkg-query and tar"
)
Change = Callable[[tarfile.TarFile], None]


def small(folder: Path) -> Path:
    """The shipped recipe with a small disk."""
    file = folder / "root.toml"
    file.write_text(SHIPPED.read_text().replace("free_mib = 512", "free_mib = 16"))
    return file


def deadline() -> Deadline:
    return Deadline.after(60)


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(data), kind, link
    archive.addfile(member, io.BytesIO(data))


def through_a_link(archive: tarfile.TarFile) -> None:
    add(archive, "./l", kind=tarfile.SYMTYPE, link="/tmp")
    add(archive, "./l/evil", b"x")


def carried(folder: Path, change: Change = lambda archive: None) -> Manifest:
    """A tiny root's tar with kernel and initramfs, as a build of the shipped recipe."""
    folder.mkdir()
    with tarfile.open(folder / TAR, "w") as archive:
        add(
            archive,
            "./var/lib/dpkg/status",
            b"Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
        )
        add(archive, "./etc/hostname", b"tare\n")
        change(archive)
    (folder / KERNEL).write_bytes(b"kernel")
    (folder / INITRAMFS).write_bytes(b"initramfs")
    measured = measure_forms(folder, (TAR, KERNEL, INITRAMFS))
    wanted = recipe.read(small(folder.parent))
    return Manifest(
        key=recipe.build_key(wanted, recipe.read_inside()),
        recipe=recipe.base_key(wanted),
        digest=measured[TAR].sha256,
        kernel_release="6.1",
        kernel_package="linux",
        seconds=1.0,
        forms=measured,
    )


def pack(folder: Path, described: Manifest, target: Path, change: Change = lambda archive: None) -> Path:
    """An export made by hand, so that it can be a bad one."""
    inventory.store(folder / MANIFEST, inventory.encode(described))
    with tarfile.open(target, "w") as archive:
        for name in (MANIFEST, TAR, KERNEL, INITRAMFS):
            archive.add(folder / name, name)
        change(archive)
    return target


@pytest.fixture
def built(tmp_path: Path) -> RootForms:
    folder = tmp_path / "built"
    described = carried(folder)
    forms.derive(folder, described.key, 0, 16, deadline(), lambda text: None)
    finish(folder, replace(described, forms=measure_forms(folder)))
    return inventory.verify(folder)


@pytest.mark.parametrize("name", ["root.tar", "root.tar.zst"])
def test_an_export_comes_in_as_the_same_bits(built: RootForms, tmp_path: Path, name: str) -> None:
    if name.endswith("zst") and shutil.which("zstd") is None:
        pytest.skip("needs zstd")
    export_root(built, tmp_path / name, deadline())
    said: list[str] = []
    root = import_root(tmp_path / name, tmp_path / "store", small(tmp_path), deadline(), said.append)
    assert root.digest == built.digest
    assert root.kernel.read_bytes() == b"kernel"
    assert (root.directory / "etc/hostname").read_text() == "tare\n"
    assert inventory.read(root.tar.parent).packages == {"a": "1"}
    assert said
    assert not list((tmp_path / "store").glob(".partial-*"))


def refused(export: Path, tmp_path: Path) -> TareError:
    with pytest.raises(TareError) as caught:
        import_root(export, tmp_path / "store", small(tmp_path), deadline(), lambda text: None)
    assert {file.name for file in (tmp_path / "store").iterdir()} == {"lock"}
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "change",
    [
        lambda archive: add(archive, "../evil", b"x"),
        lambda archive: add(archive, "/evil", b"x"),
        lambda archive: add(archive, "./a/../../evil", b"x"),
        lambda archive: add(archive, "./hard", kind=tarfile.LNKTYPE, link="../../etc/passwd"),
        through_a_link,
        lambda archive: add(archive, "./disk", kind=tarfile.BLKTYPE),
    ],
)
def test_a_root_that_leads_outside_is_refused(tmp_path: Path, change: Change) -> None:
    export = pack(tmp_path / "made", carried(tmp_path / "made", change), tmp_path / "bad.tar")
    assert refused(export, tmp_path).code == ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    "change",
    [
        lambda archive: add(archive, "../../evil", b"x"),
        lambda archive: add(archive, "extra", b"x"),
        lambda archive: add(archive, KERNEL, kind=tarfile.SYMTYPE, link="/etc/passwd"),
        lambda archive: add(archive, INITRAMFS, b"another"),
    ],
)
def test_an_export_with_another_content_is_refused(tmp_path: Path, change: Change) -> None:
    export = pack(tmp_path / "made", carried(tmp_path / "made"), tmp_path / "bad.tar", change)
    assert refused(export, tmp_path).code == ExitCode.BAD_INPUT


def test_another_versions_root_is_refused(tmp_path: Path) -> None:
    described = replace(carried(tmp_path / "made"), key="0" * 16)
    error = refused(pack(tmp_path / "made", described, tmp_path / "bad.tar"), tmp_path)
    assert "same version of tare on both hosts" in error.hint


def test_a_wrong_digest_is_refused(tmp_path: Path) -> None:
    described = replace(carried(tmp_path / "made"), digest="0" * 64)
    refused(pack(tmp_path / "made", described, tmp_path / "bad.tar"), tmp_path)


@pytest.mark.parametrize("data", [b"", b"not a tar", b"\0" * 10240])
def test_what_is_no_export_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.tar").write_bytes(data)
    refused(tmp_path / "bad.tar", tmp_path)


def test_a_cut_export_is_refused(built: RootForms, tmp_path: Path) -> None:
    export_root(built, tmp_path / "cut.tar", deadline())
    with (tmp_path / "cut.tar").open("r+b") as stream:
        stream.truncate(12000)
    refused(tmp_path / "cut.tar", tmp_path)


def test_an_altered_root_is_not_exported(built: RootForms, tmp_path: Path) -> None:
    built.kernel.chmod(0o644)
    built.kernel.write_bytes(b"KERNEL")
    with pytest.raises(TareError, match="was altered after the build"):
        export_root(built, tmp_path / "root.tar", deadline())
    assert not (tmp_path / "root.tar").exists()
