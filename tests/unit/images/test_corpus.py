import hashlib
import zlib

from harness.images import corpus


def test_the_same_seed_gives_the_same_bytes_everywhere() -> None:
    data = b"".join(corpus.chunks("tare-corpus-1", 1))
    assert len(data) == 2**20
    assert hashlib.sha256(data).hexdigest() == "aeca7a68c8e90ca1bf1bff574eb82a65b3442b49ee9d1e65be01f22513e0c52e"
    assert b"".join(corpus.chunks("another", 1)) != data


def test_compressibility_is_mixed() -> None:
    ratios = [len(zlib.compress(chunk, 1)) / len(chunk) for chunk in corpus.chunks("tare-corpus-1", 1)]
    assert min(ratios) < 0.1
    assert max(ratios) > 0.99
    assert 0.3 < sum(ratios) / len(ratios) < 0.6
