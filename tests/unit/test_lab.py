"""What the lab is handed: a lock file without the packages that it has of its own, their hashes gone with them."""

from tests.lab.payload import LOCK, NOT_FROM_LOCK, without


def test_a_package_goes_with_its_hashes() -> None:
    lock = "# made by uv\na==1 \\\n    --hash=sha256:1\n    # via b\nb==2 \\\n    --hash=sha256:2\n"
    assert without(lock, ("a",)) == "# made by uv\nb==2 \\\n    --hash=sha256:2\n"


def test_the_real_lock_loses_just_those() -> None:
    lock = LOCK.read_text()
    left = without(lock, NOT_FROM_LOCK)
    names = {line.partition("==")[0] for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))}
    kept = {line.partition("==")[0] for line in left.splitlines() if "==" in line and not line.startswith((" ", "#"))}
    assert names - kept == set(NOT_FROM_LOCK) and "pandas" in kept
