"""Many idle instances of one case beside each other: launched in batches and removed in parallel."""

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
"""How many instances are removed at a time, in every variant."""
SLICE_SECONDS = 0.5
"""The interval at which a wait for an instance checks whether the case is ending."""
Launch = Callable[[Deadline], AbstractContextManager[Instance]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The result of one batch: the seconds to ready of the instances that became ready, and the others' errors."""

    ready: tuple[float, ...]
    failures: tuple[BaseException, ...]


class IdleInstances:
    """Instances from `launch`; leaving the context removes all of them, also after an error.

    The threads that launch live as long as the instances: a process that ends with its parent ends with that thread.
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
        """Try to remove every instance; return the seconds that it took. Raises TareError when any may be left."""
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
        # Before it is ready: later, a container's milestones cost a request to its daemon, a thousand times over.
        requested = instance.milestones[Milestone.REQUESTED]
        while True:
            try:
                return instance.wait(Milestone.READY, deadline.within(SLICE_SECONDS)) - requested
            except DeadlineExceeded:
                if self._ending.is_set() or deadline.left == 0.0:
                    raise
