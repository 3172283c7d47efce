"""Processes of the host itself: the baseline."""

from harness.runtimes.native.runtime import Native

__all__ = ["Native"]
