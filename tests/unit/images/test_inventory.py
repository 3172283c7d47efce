import os
from pathlib import Path

import pytest

from harness.errors import TareError
from harness.images import inventory, listing
from harness.images.inventory import DIRECTORY, DISK, FILES, LISTING, MANIFEST, TAR, Form, Manifest


@pytest.fixture
def build(tmp_path: Path) -> Path:
    root = tmp_path / DIRECTORY
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "true").write_bytes(b"program")
    (root / "sh").symlink_to("bin/true")
    listing.write_listing(root, tmp_path / LISTING)
    for name in FILES:
        if name != LISTING:
            (tmp_path / name).write_bytes(name.encode() * 100)
    measured = inventory.measure_forms(tmp_path)
    described = Manifest(
        key="0" * 16,
        recipe="1" * 16,
        digest=measured[TAR].sha256,
        kernel_release="6.1",
        kernel_package="linux",
        seconds=1.0,
        forms=measured,
    )
    inventory.write(tmp_path, described)
    return tmp_path


def test_an_unaltered_build_gives_its_forms(build: Path) -> None:
    root = inventory.verify(build)
    assert root == inventory.verify(build, full=True)
    assert root.digest == inventory.sha256(root.tar)
    assert root.directory.is_dir()


def test_a_truncated_form_is_refused(build: Path) -> None:
    os.truncate(build / DISK, 10)
    with pytest.raises(TareError, match=r"disk\.raw") as caught:
        inventory.verify(build)
    assert "10 bytes instead of 800" in caught.value.details
    assert "make images" in caught.value.hint


def test_an_altered_form_of_the_same_size_is_refused(build: Path) -> None:
    (build / DISK).write_bytes(b"x" * 800)
    with pytest.raises(TareError) as caught:
        inventory.verify(build)
    assert "sha256" in caught.value.details


def test_a_hidden_alteration_is_found_in_full(build: Path) -> None:
    before = (build / DISK).stat()
    with (build / DISK).open("r+b") as stream:
        stream.write(b"x")
    os.utime(build / DISK, ns=(before.st_atime_ns, before.st_mtime_ns))
    inventory.verify(build)
    with pytest.raises(TareError, match=r"disk\.raw"):
        inventory.verify(build, full=True)


def test_a_copied_build_is_hashed_once_and_sealed_again(build: Path) -> None:
    data = (build / DISK).read_bytes()
    (build / DISK).unlink()
    (build / DISK).write_bytes(data)
    seal = (build / "seal.json").read_text()
    inventory.verify(build)
    assert (build / "seal.json").read_text() != seal


@pytest.mark.parametrize("change", ["add", "remove", "write", "mode", "link"])
def test_an_altered_directory_is_refused_and_named(build: Path, change: str) -> None:
    root = build / DIRECTORY
    match change:
        case "add":
            (root / "bin" / "trojan").write_bytes(b"")
            named = "bin/trojan was added"
        case "remove":
            (root / "bin" / "true").unlink()
            named = "bin/true is missing"
        case "write":
            (root / "bin" / "true").write_bytes(b"PROGRAM")
            named = "bin/true has"
        case "mode":
            (root / "bin" / "true").chmod(0o4755)
            named = "bin/true has"
        case _:
            (root / "sh").unlink()
            (root / "sh").symlink_to("/bin/true")
            named = "sh has"
    with pytest.raises(TareError) as caught:
        inventory.verify(build)
    assert named in caught.value.details


def test_a_damaged_manifest_names_the_field(build: Path) -> None:
    text = (build / MANIFEST).read_text()
    (build / MANIFEST).write_text(text.replace('"kernel_release": "6.1"', '"kernel_release": "../6.1"'))
    with pytest.raises(TareError) as caught:
        inventory.verify(build)
    assert "kernel_release" in caught.value.details
    (build / MANIFEST).unlink()
    with pytest.raises(TareError, match="no complete build"):
        inventory.verify(build)


def test_forms_that_are_not_listed_are_refused(build: Path) -> None:
    found = inventory.read(build)
    assert set(found.forms) == set(FILES)
    assert found.forms[TAR] == Form(sha256=inventory.sha256(build / TAR), size=len(TAR) * 100)
