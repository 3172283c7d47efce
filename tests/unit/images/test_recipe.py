from pathlib import Path

import pytest

from harness import paths
from harness.errors import ExitCode, TareError
from harness.images import recipe

SHIPPED = paths.data("images") / "root.toml"


def test_the_shipped_recipe_is_valid() -> None:
    read = recipe.read(SHIPPED)
    assert "sysbench" in read.packages
    assert recipe.base_key(read) != recipe.build_key(read, recipe.read_inside())


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('suite = "bookworm"', 'suit = "bookworm"', "suit"),
        ("free_mib = 512", "free_mib = -1", "free_mib"),
        ('variant = "minbase"', 'variant = "--hook"', "variant"),
        ('"sysbench"', '"fio; rm"', "packages.12"),
        ('"sysbench"', '"-o"', "packages.12"),
        ('"/scratch"', '"/a/../b"', "mount_points.0"),
        ('"/usr/share/doc/*"', '"relative"', "without.0"),
        ('"virtio"', '"../virtio"', "guest.modules.1"),
        ("mib = 4", 'mib = "64 MiB"', "corpora.0.mib"),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    file = tmp_path / "root.toml"
    text = SHIPPED.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(TareError) as caught:
        recipe.read(file)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "root.toml" in caught.value.brief
    assert field in caught.value.brief


def test_what_is_put_inside_changes_the_key_of_the_build_alone() -> None:
    read = recipe.read(SHIPPED)
    inside = recipe.read_inside()
    assert recipe.build_key(read, inside) == recipe.build_key(recipe.read(SHIPPED), recipe.read_inside())
    assert recipe.build_key(read, inside) != recipe.build_key(read, {**inside, "agent.py": b"another"})
