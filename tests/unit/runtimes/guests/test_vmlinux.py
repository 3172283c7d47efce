"""Unpacking a bzImage: each way of packing that is known, and refusals that name what is wrong."""

import gzip
import subprocess
from pathlib import Path

import pytest

from harness import process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.runtimes.guests.vmlinux import LENGTH_AT, MAGIC_AT, OFFSET_AT, SECTORS, keep_unpacked, unpacked

KERNEL = b"\x7fELF" + bytes(range(256)) * 64


def image(payload: bytes, sectors: int = 3, offset: int = 0x60) -> bytes:
    header = bytearray((sectors + 1) * 512 + offset)
    header[SECTORS] = sectors
    header[MAGIC_AT : MAGIC_AT + 4] = b"HdrS"
    header[OFFSET_AT : OFFSET_AT + 4] = offset.to_bytes(4, "little")
    header[LENGTH_AT : LENGTH_AT + 4] = len(payload).to_bytes(4, "little")
    return bytes(header) + payload + b"what follows the payload"


def packed(program: str) -> bytes:
    if process.have(program):
        pytest.skip(f"{program} is not installed")
    options = ("-l",) if program == "lz4" else ()  # the form that the kernel's build makes
    done = subprocess.run((program, "-c", *options), input=KERNEL, capture_output=True, check=True)
    return done.stdout + len(KERNEL).to_bytes(4, "little")


@pytest.mark.parametrize("program", ["gzip", "xz", "zstd", "lz4"])
def test_what_was_packed_comes_out(program: str) -> None:
    assert unpacked(image(packed(program)), Deadline.after(20)) == KERNEL


def test_a_kernel_that_is_not_packed_is_taken_as_it_is() -> None:
    assert unpacked(image(KERNEL), Deadline.after(5)) == KERNEL


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a bzImage"),
        (KERNEL, "not a bzImage"),
        (image(b"neither packed nor a kernel"), "unknown compression"),
        (image(gzip.compress(b"no kernel") + bytes(4)), "unknown compression"),
        (image(gzip.compress(KERNEL)[:40] + b"\xff" * 64), "cannot be unpacked"),
    ],
)
def test_what_is_no_kernel_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(TareError, match=words):
        unpacked(data, Deadline.after(20))


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(TareError, match="gzip, which unpacks"):
        unpacked(image(gzip.compress(KERNEL) + bytes(4)), Deadline.after(5))


def test_it_is_unpacked_once(tmp_path: Path) -> None:
    source = tmp_path / "kernel"
    source.write_bytes(image(gzip.compress(KERNEL) + bytes(4)))
    first = keep_unpacked(source, tmp_path, Deadline.after(20))
    before = first.stat().st_mtime_ns
    assert keep_unpacked(source, tmp_path, Deadline.after(20)) == first and first.stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kernel", first.name]
