"""A runtime with invented figures, for tests: nothing runs."""

from harness.runtimes.fake.runtime import Fake

__all__ = ["Fake"]
