"""Data for compression workloads, generated at build time: the same bytes on every host."""

import hashlib
import itertools
from array import array
from collections.abc import Iterator

CHUNK = 64 * 2**10
WORDS = 4096
KINDS = ("text", "text", "records", "text", "noise", "text", "records", "runs")
"""The order of the 64 KiB chunks; zstd -3 compresses the whole to about a third."""


def chunks(seed: str, mib: int) -> Iterator[bytes]:
    """`mib` MiB in chunks of 64 KiB, generated with SHAKE-128, whose output FIPS 202 defines."""
    vocabulary = _vocabulary(seed)
    kinds = itertools.cycle(KINDS)
    for number in range(mib * 2**20 // CHUNK):
        kind = next(kinds)
        stream = hashlib.shake_128(f"{seed}/{number}".encode()).digest(CHUNK)
        if kind == "text":
            yield _text(stream, vocabulary)
        elif kind == "records":
            yield _records(stream, number)
        elif kind == "runs":
            yield b"".join(stream[i : i + 1] * 256 for i in range(CHUNK // 256))
        else:
            yield stream


def _vocabulary(seed: str) -> list[bytes]:
    """65536 entries from 4096 words; the frequency of the k-th word is about 1/k of the first (Zipf's law)."""
    letters = b"etaoinshrdlucmfwypvbgkqjxz"
    raw = hashlib.shake_128(f"{seed}/words".encode()).digest(WORDS * 12)
    words = []
    for number in range(WORDS):
        part = raw[number * 12 : number * 12 + 12]
        length = 2 + part[0] % 9
        words.append(bytes(letters[byte * byte * 26 // 65026] for byte in part[1 : 1 + length]) + b" ")
    harmonic = sum(1 / rank for rank in range(1, WORDS + 1))
    table: list[bytes] = []
    for rank, word in enumerate(words, 1):
        table += [word] * max(1, round(65536 / (rank * harmonic)))
    return (table + words * 16)[:65536]


def _text(stream: bytes, vocabulary: list[bytes]) -> bytes:
    picks = array("H")
    picks.frombytes(stream[: CHUNK // 2])
    return b"".join(map(vocabulary.__getitem__, picks))[:CHUNK]


def _records(stream: bytes, number: int) -> bytes:
    """16-byte records as in a log: a counter, a small field, a constant tag, two random bytes."""
    return b"".join(
        (number * 4096 + row).to_bytes(6, "big")
        + bytes((stream[row] & 7, stream[row] >> 6))
        + b"sample"
        + stream[4096 + 2 * row : 4098 + 2 * row]
        for row in range(CHUNK // 16)
    )
