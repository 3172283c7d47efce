"""The runtimes that are installed: found by entry points, so that a new one is one file and one line."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import TareError
from harness.model import Available, Skip, Variant
from harness.runtimes.base import Runtime

GROUP = "tare.runtimes"
REQUIRED = ("name", "daemon", "needs_root", "variants", "connect", "available", "prepare", "launch")
"""What a plugin written for another version of the protocol may lack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The runtimes by name, and those that could not even be loaded, with the reason."""

    runtimes: Mapping[str, Runtime]
    broken: tuple[Skip, ...] = ()

    @property
    def variants(self) -> dict[str, Variant]:
        """All variants of all runtimes, by name."""
        return {variant.name: variant for runtime in self.runtimes.values() for variant in runtime.variants}

    def availability(self) -> dict[str, Available]:
        """Whether each variant can run here; a runtime that fails to say is unavailable for that reason."""
        found: dict[str, Available] = {}
        for runtime in self.runtimes.values():
            for variant in runtime.variants:
                try:
                    found[variant.name] = runtime.available(variant)
                except TareError as error:
                    found[variant.name] = Available(ok=False, reason=error.brief, fix=error.hint)
        return found

    def close(self) -> None:
        """Close every runtime's connections."""
        for runtime in self.runtimes.values():
            runtime.close()


def load_catalog() -> Catalog:
    """Construct every runtime of the entry point group; one whose libraries are missing becomes a skip."""
    runtimes: dict[str, Runtime] = {}
    broken: list[Skip] = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            runtime = point.load()()
            if lacking := [name for name in REQUIRED if not hasattr(runtime, name)]:
                raise TareError(f"it lacks {', '.join(lacking)}")
            runtimes[point.name] = runtime
        except (ImportError, AttributeError, OSError, TareError) as error:
            broken.append(Skip(what=point.name, reason=f"cannot be loaded: {error}", fix="make setup"))
    return Catalog(runtimes=runtimes, broken=tuple(broken))
