"""Many instances of one case beside each other: launched a batch at a time, and removed in parallel."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Milestone
from harness.runtimes.base import Instance

LANES = 8
"""How many are removed at a time, of every variant alike."""
SLICE_SECONDS = 0.5
"""How soon who waits for an instance sees that the case is ending."""
Launch = Callable[[Deadline], AbstractContextManager[Instance]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What came of one batch: seconds from requested to ready of each instance that became so, and what others met."""

    ready: tuple[float, ...]
    failures: tuple[BaseException, ...]


class IdleInstances:
    """Instances that `launch` makes; leaving its context removes them all, whatever ended it.

    The threads that launch live as long as the instances: what was told to end with its parent ends with the thread.
    """

    def __init__(self, launch: Launch, batch: int) -> None:
        self._launch = launch
        self._pool = ThreadPoolExecutor(max(batch, LANES), thread_name_prefix="idle_instances")
        self._held: list[AbstractContextManager[Instance]] = []
        self._coming: list[Future[float]] = []
        self._ending = threading.Event()

    def add(self, count: int, deadline: Deadline) -> Batch:
        """Launch `count` at once and wait for all of them."""
        self._coming = [self._pool.submit(self._one, deadline) for _ in range(count)]
        wait(self._coming)
        failures = tuple(error for one in self._coming if (error := one.exception()) is not None)
        ready = tuple(one.result() for one in self._coming if one.exception() is None)
        return Batch(ready=ready, failures=failures)

    def remove(self) -> float:
        """Remove all, and return how many seconds that took. Raises TareError when some may remain; all are tried."""
        self._ending.set()
        for one in self._coming:
            one.cancel()
        wait(self._coming)
        held, self._held = self._held, []
        began = time.monotonic()
        going = [self._pool.submit(one.__exit__, None, None, None) for one in held]
        wait(going)
        seconds = time.monotonic() - began
        if failures := [error for one in going if (error := one.exception()) is not None]:
            brief = f"{len(failures)} of {len(held)} instances could not be removed"
            raise TareError(brief, details=str(failures[0]), hint="tare clean") from failures[0]
        return seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.remove()
        finally:
            self._pool.shutdown()

    def _one(self, deadline: Deadline) -> float:
        """Launch one, keep it, and wait until it is ready."""
        if self._ending.is_set():
            raise TareError("the case is ending")
        context = self._launch(deadline)
        instance = context.__enter__()
        self._held.append(context)
        # Once it is ready, a container's milestones are asked of its daemons: only later, and not a thousand times.
        asked = instance.milestones[Milestone.REQUESTED]
        while True:
            try:
                return instance.wait(Milestone.READY, deadline.within(SLICE_SECONDS)) - asked
            except DeadlineExceeded:
                if self._ending.is_set() or deadline.left == 0.0:
                    raise
