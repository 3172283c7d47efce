"""Derived files are whole or as they were."""

from pathlib import Path

import pytest

from harness.durable import atomic_write
from harness.errors import TareError


def test_atomic_write_replaces_or_leaves(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(TareError, match="cannot write"):
        atomic_write(tmp_path / "no" / "file", b"x")
