"""The made-up run, rendered once for all tests that look at it."""

from pathlib import Path

import pytest

import harness.report
from tests.unit.report import synthetic


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its report."""
    folder = synthetic.write(tmp_path_factory.mktemp("report") / "run", synthetic.samples(), synthetic.manifest())
    harness.report.render(folder)
    return folder
