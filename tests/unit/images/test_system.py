"""The full system's recipe, its key, and what is put into it."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness import paths
from harness.errors import ExitCode, TareError
from harness.images import system
from harness.model import RootForms

SHIPPED = paths.data("images") / "system.toml"
ROOT = RootForms(
    digest="d", directory=Path(), tar=Path(), disk=Path(), kernel=Path(), initramfs=Path(), kernel_release="6.1"
)
INSIDE = {name: (system.FOLDER / name).read_bytes() for name in (*system.PLACES, system.LOADER)}


def test_the_shipped_recipe_is_valid_and_every_file_inside_has_a_place() -> None:
    assert "systemd-sysv" in system.read(SHIPPED).packages
    assert sorted(path.name for path in system.FOLDER.iterdir()) == sorted(INSIDE)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("esp_mib = 16", "esp_mib = 1", "esp_mib"),
        ('root = "root.toml"', 'root = "../root.toml"', "root"),
        ('"grub-pc-bin"', '"$(reboot)"', "loader.1"),
        ("schema = 1", "schema = 2", "schema"),
        ("free_mib", "free", "free_mib"),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    file, text = tmp_path / "system.toml", SHIPPED.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(TareError) as caught:
        system.read(file)
    assert caught.value.code == ExitCode.BAD_INPUT and "system.toml" in caught.value.brief
    assert field in caught.value.brief


def test_another_root_kernel_or_file_is_another_build() -> None:
    wanted = system.read(SHIPPED)
    keys = {
        system.build_key(wanted, root, inside)
        for root in (ROOT, replace(ROOT, digest="e"), replace(ROOT, kernel_release="6.2"))
        for inside in (INSIDE, {**INSIDE, "start.sh": b"another"})
    }
    assert len(keys) == 6


def test_the_boot_loaders_first_words_hold_nothing_that_its_first_parser_cannot_read() -> None:
    text = INSIDE[system.LOADER].decode()
    assert not set(text) & set("#'\"{}")
    assert text.index("terminal_output serial") < text.index("echo loader") < text.index("search")


def test_a_furnished_tree_has_units_that_are_wanted_and_has_been_booted_before(tmp_path: Path) -> None:
    for folder in ("etc/systemd/system", "opt/tare", "boot", "var"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "opt/tare/beacon").write_bytes(b"\x7fELF")
    system.furnish(tmp_path, INSIDE, "key", 7)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    assert sorted(path.name for path in wants.iterdir()) == ["tare-reached.service", "tare.service"]
    assert all(path.resolve().is_file() for path in wants.iterdir())
    assert len((tmp_path / "etc/machine-id").read_text().strip()) == 32
    assert (tmp_path / "etc/.updated").exists() and (tmp_path / "boot/beacon.cpio").read_bytes()[:6] == b"070701"


def test_a_system_with_other_packages_than_its_root_is_refused() -> None:
    system.check_packages({"fio": "1", "libudev1": "1"}, {"fio": "1", "systemd": "2", "libudev1": "2"})
    for after in ({"fio": "2"}, {}):
        with pytest.raises(TareError, match="differs from the root's packages"):
            system.check_packages({"fio": "1"}, after)
