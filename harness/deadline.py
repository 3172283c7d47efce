"""Monotonic deadlines. Every wait has one; a nested deadline never ends after its parent."""

import time
from dataclasses import dataclass

from harness.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline: a time `at` on CLOCK_MONOTONIC, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The deadline `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def within(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    @property
    def left(self) -> float:
        """The remaining seconds; never negative."""
        return max(0.0, self.at - time.monotonic())

    def check(self, what: str) -> None:
        """Raise DeadlineExceeded if no time remains; `what` is the expected event."""
        if self.left == 0.0:
            raise DeadlineExceeded(f"{what} did not happen in time")
