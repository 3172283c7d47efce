"""The example distribution passes strict type checks against an installed harness, and the documentation shows it."""

import os
import subprocess
import sys
from pathlib import Path

import harness

EXAMPLE = Path(__file__).parents[1] / "plugin" / "tare_bwrap"
PACKAGE = Path(harness.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "plugins.md"


def strict(folder: Path, module: str) -> "subprocess.CompletedProcess[str]":
    """Check a module in `folder` as its author does: tare is an installed package, beside the checked one."""
    argv = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", "-p", module]
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_mypy_strict_passes_on_the_example_and_sees_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "harness").symlink_to(PACKAGE)
    (tmp_path / "tare_bwrap").symlink_to(EXAMPLE)
    done = strict(tmp_path, "tare_bwrap")
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    text = (EXAMPLE / "__init__.py").read_text().replace('name = "bwrap"', 'name = "bwrap"\n    daemon = "podman"')
    (wrong / "__init__.py").write_text(text)
    done = strict(tmp_path, "wrong")
    assert done.returncode == 1
    assert "error: Incompatible types in assignment (expression has type \"Literal['podman']\"" in done.stdout


def test_the_document_shows_the_example_as_it_is() -> None:
    text = DOCUMENT.read_text()
    assert f"```python\n{(EXAMPLE / '__init__.py').read_text()}```" in text
    assert f"```toml\n{(EXAMPLE.parent / 'pyproject.toml').read_text()}```" in text
