"""The manifest: round trip and refusals."""

from pathlib import Path

import pytest

from harness.errors import ExitCode, TareError
from harness.record.manifest import NAME, read_manifest, write_manifest


def test_manifest_comes_back(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"command": ["tare", "run"], "host": {"name": "é\udc80"}})
    assert read_manifest(tmp_path)["command"] == ["tare", "run"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_manifest(tmp_path, {"x": float("nan")})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": "1"}', "[" * 100000])
def test_what_is_no_manifest_is_bad_input(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(TareError) as refused:
        read_manifest(tmp_path)
    assert refused.value.code == ExitCode.BAD_INPUT and str(tmp_path / NAME) in refused.value.brief
