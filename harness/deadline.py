"""Monotonic deadlines; every wait has one, and a nested one never outlasts its parent."""

import time
from dataclasses import dataclass

from harness.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on CLOCK_MONOTONIC, in seconds, by which something must have happened."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The deadline `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def within(self, seconds: float) -> "Deadline":
        """A nested deadline: `seconds` from now, but not after this one."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    @property
    def left(self) -> float:
        """Seconds that remain; never negative."""
        return max(0.0, self.at - time.monotonic())

    def check(self, what: str) -> None:
        """Raise DeadlineExceeded, naming what was waited for, once no time remains."""
        if self.left == 0.0:
            raise DeadlineExceeded(f"{what} did not happen in time")
