"""How the host confines a process, read from /proc and cgroups."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import TareError
from harness.host import confinement


def test_capabilities_are_counted() -> None:
    assert confinement.capabilities("00000000a80425fb") == 14, "Docker's default set"
    assert confinement.capabilities("0000000000000000") == 0


def test_what_is_apart_from_the_harness_is_named() -> None:
    assert confinement.confinement(os.getpid())["namespaces"] == "none"
    with subprocess.Popen(["unshare", "--user", "--uts", "sleep", "30"]) as child:
        for _ in range(200):
            if Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n":
                break
        found = confinement.confinement(child.pid)
        child.kill()
    if child.returncode == 1:
        pytest.skip("no user namespaces here")
    assert found["namespaces"] == "user uts"


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(TareError, match="cannot read the confinement of process"):
        confinement.confinement(2**22 + 1)
    with pytest.raises(TareError, match="has ended"):
        confinement.innermost(2**22 + 1)


@pytest.mark.parametrize(
    ("line", "file", "text", "limit"),
    [
        ("3:memory:/a", "memory/a/memory.limit_in_bytes", "1073741824", "1073741824"),
        ("3:memory:/a", "memory/a/memory.limit_in_bytes", "9223372036854771712", "none"),
        ("0::/b", "b/memory.max", "2048", "2048"),
        ("0::/b", "b/memory.max", "max", "none"),
        ("4:cpu,cpuacct:/a", "memory/a/memory.limit_in_bytes", "5", "none"),
    ],
)
def test_a_limit_of_either_version(
    line: str, file: str, text: str, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "CGROUPS", tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(f"{text}\n")
    assert confinement.limit(f"{line}\n", *confinement.LIMITS["memory limit"]) == limit
