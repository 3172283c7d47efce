"""The uncompressed kernel inside a bzImage, for monitors that cannot unpack it."""

import hashlib
import subprocess
from pathlib import Path

from harness.deadline import Deadline
from harness.durable import atomic_write
from harness.errors import DeadlineExceeded, TareError
from harness.process import have

ELF = b"\x7fELF"
UNPACKERS = {
    bytes.fromhex("02214c18"): ("lz4", "-dc"),
    bytes.fromhex("fd377a58"): ("xz", "-dc", "--single-stream"),
    bytes.fromhex("1f8b"): ("gzip", "-dc"),
    bytes.fromhex("28b52ffd"): ("zstd", "-dc"),
}
"""By the payload's first bytes. Debian 12 uses lz4."""
# linux/Documentation/arch/x86/boot.rst: the header's magic, and where the payload is after the real-mode code
SECTORS, MAGIC_AT, OFFSET_AT, LENGTH_AT = 0x1F1, 0x202, 0x248, 0x24C
SECTOR = 512
SIZE_BYTES = 4


def unpacked(image: bytes, deadline: Deadline) -> bytes:
    """The ELF kernel of a bzImage (boot protocol 2.08 or later).

    Raises TareError for another format, and when the program that unpacks it is missing.
    """
    if image[MAGIC_AT : MAGIC_AT + 4] != b"HdrS":
        raise TareError("the guest's kernel is not a bzImage", hint="change [guest] kernel in images/root.toml")
    number = {at: int.from_bytes(image[at : at + 4], "little") for at in (OFFSET_AT, LENGTH_AT)}
    begin = (image[SECTORS] + 1) * SECTOR + number[OFFSET_AT]
    payload = image[begin : begin + number[LENGTH_AT]]
    argv = next((argv for magic, argv in UNPACKERS.items() if payload.startswith(magic)), None)
    # The unpacked size follows the packed kernel.
    kernel = payload if argv is None else _filtered(argv, payload[:-SIZE_BYTES], deadline)
    if not kernel.startswith(ELF):
        details = f"its first bytes are {kernel[:4].hex()}"
        raise TareError("the guest's kernel has an unknown compression", details=details)
    return kernel


def keep_unpacked(kernel: Path, store: Path, deadline: Deadline) -> Path:
    """The uncompressed form of `kernel`, kept as a file in `store`. Raises TareError."""
    image = kernel.read_bytes()
    path = store / f"vmlinux-{hashlib.sha256(image).hexdigest()[:16]}"
    if not path.is_file():
        atomic_write(path, unpacked(image, deadline))
    return path


def _filtered(argv: tuple[str, ...], data: bytes, deadline: Deadline) -> bytes:
    if have(argv[0]):
        hint = f"apt-get install {argv[0]}"
        raise TareError(f"{argv[0]}, which unpacks the guest's kernel, is not installed", hint=hint)
    try:
        done = subprocess.run(argv, input=data, capture_output=True, timeout=deadline.left, check=False)
    except subprocess.TimeoutExpired as late:
        raise DeadlineExceeded(f"{argv[0]} did not unpack the guest's kernel in time") from late
    if done.returncode != 0:
        errors = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise TareError("the guest's kernel cannot be unpacked", details=f"{argv[0]}: {errors}")
    return done.stdout
