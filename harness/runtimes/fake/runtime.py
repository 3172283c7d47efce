"""A runtime without processes, for tests of everything above it: its variants are listed only where TARE_FAKE=1."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Available, Variant
from harness.runtimes.base import Place, Prepared, Runtime
from harness.runtimes.fake.instance import FakeInstance

SLOW_FACTOR = 1.25
"""The overhead of `fake/slow`: rates are divided by it, times multiplied."""
VARIANTS = (
    Variant(name="fake/baseline", runtime="fake", summary="an interpreter that prints seeded numbers"),
    Variant(name="fake/slow", runtime="fake", summary="the same at a fixed cost", options={"factor": str(SLOW_FACTOR)}),
    Variant(name="fake/broken", runtime="fake", summary="its launch always fails", options={"broken": "yes"}),
)


class Fake(Runtime):
    """Instances that exist only in this process."""

    name = "fake"
    needs_root = False

    def __init__(self) -> None:
        self.variants = VARIANTS if os.environ.get("TARE_FAKE") == "1" else ()

    def available(self, variant: Variant) -> Available:
        """Everywhere."""
        return Available(ok=True)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """None: a launch reads nothing."""
        return ()

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> FakeInstance:
        """Return an instance, unless the variant is broken."""
        if "broken" in prepared.variant.options:
            raise TareError("fake/broken cannot be launched", details="it never can", hint="choose fake/baseline")
        return FakeInstance(place, float(prepared.variant.options.get("factor", "1")))
