"""The runtimes that are installed, found by their entry points."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import plugins
from harness.errors import TareError
from harness.model import DAEMONS, Available, Skip, Variant, is_variant_name
from harness.runtimes.base import Runtime

GROUP = "tare.runtimes"
MEMBERS = tuple(name for name in vars(Runtime) if not name.startswith("_"))
"""What every runtime has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The runtimes by name, and those that cannot be used, with the reason."""

    runtimes: Mapping[str, Runtime]
    broken: tuple[Skip, ...] = ()

    @property
    def variants(self) -> dict[str, Variant]:
        """All variants of all runtimes, by name."""
        return {variant.name: variant for runtime in self.runtimes.values() for variant in runtime.variants}

    def availability(self) -> dict[str, Available]:
        """Whether each variant can run here; a runtime that raises is unavailable for that reason."""
        found: dict[str, Available] = {}
        for name, runtime in self.runtimes.items():
            for variant in runtime.variants:
                try:
                    found[variant.name] = runtime.available(variant)
                except TareError as error:
                    found[variant.name] = Available(ok=False, reason=error.brief, fix=error.hint)
                except Exception as error:
                    reason = f"the runtime {name} failed: {type(error).__name__}: {error}"
                    found[variant.name] = Available(
                        ok=False, reason=reason, fix=f"correct the module {type(runtime).__module__}"
                    )
        return found

    def close(self) -> None:
        """Close every runtime's connections."""
        for runtime in self.runtimes.values():
            runtime.close()


def load_catalog() -> Catalog:
    """Construct and check every runtime of the entry-point group; a broken one becomes a Skip."""
    taken: dict[str, str] = {}

    def construct(name: str, kind: Any) -> Runtime:
        runtime = _constructed(kind)
        _check(name, runtime, taken)
        taken.update({variant.name: name for variant in runtime.variants})
        return runtime

    loaded = plugins.load(GROUP, construct)
    return Catalog(runtimes=loaded.found, broken=loaded.broken)


def _constructed(kind: Any) -> Runtime:
    """A runtime of the class `kind`. Raises TareError when it lacks a member, and whatever its constructor raises."""
    if not isinstance(kind, type):
        raise TareError(f"it is not a class but {kind!r:.60}", hint="name the runtime's class in the entry point")
    runtime = None if (lacking := sorted(getattr(kind, "__abstractmethods__", ()))) else kind()
    lacking = lacking or [name for name in MEMBERS if not hasattr(runtime, name)]
    if lacking:
        fix = f"define {', '.join(lacking)} in {kind.__name__} (harness.runtimes.base.Runtime has defaults)"
        raise TareError(f"{kind.__name__} lacks {', '.join(lacking)}", hint=fix)
    made: Runtime = runtime  # type: ignore[assignment]
    return made


def _check(name: str, runtime: Runtime, taken: Mapping[str, str]) -> None:
    """Raise TareError unless daemon and names can be used; `taken` are other variants with their runtimes."""
    if runtime.daemon not in ("", *DAEMONS):
        words = " or ".join(f'"{word}"' for word in DAEMONS)
        fix = f'use {words}, or "" for a runtime that needs no daemon of tare\'s'
        raise TareError(f"daemon = {runtime.daemon!r:.60} is unknown", hint=fix)
    if not all(isinstance(variant, Variant) for variant in runtime.variants):
        raise TareError(
            "variants has something that is no Variant", hint="create each element as a harness.model.Variant"
        )
    names = [variant.name for variant in runtime.variants]
    for variant in runtime.variants:
        if variant.name in taken or names.count(variant.name) > 1:
            owner = f"the runtime {taken[variant.name]}" if variant.name in taken else "this runtime"
            raise TareError(f"{owner} already has a variant {variant.name}", hint=f"rename it to {name}/…")
        if not is_variant_name(variant.name):
            raise TareError(
                f"{variant.name!r:.60} is no name of a variant", hint=f"name it {name}, or {name}/ and a-z, 0-9, . or -"
            )
        prefix = variant.name.partition("/")[0]
        if {prefix, variant.runtime, runtime.name} != {name}:
            own = f"name = {runtime.name!r} and the variant {variant.name} with runtime = {variant.runtime!r}"
            fix = f"rename the entry point to {prefix}, or name all three {name}"
            raise TareError(f"the entry point is named {name}, but {type(runtime).__name__} has {own}", hint=fix)
