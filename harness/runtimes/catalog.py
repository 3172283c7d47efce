"""The runtimes that are installed, found by their entry points."""

import contextlib
import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from reprlib import repr as shortened
from typing import Any

from harness import plugins
from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import DAEMONS, Accelerator, Available, RootForms, Skip, Variant, is_variant_name
from harness.runtimes.base import Runtime

log = logging.getLogger(__name__)
GROUP = "tare.runtimes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The runtimes by name, and those that cannot be used, with the reason."""

    runtimes: Mapping[str, Runtime]
    broken: tuple[Skip, ...] = ()
    failed: dict[str, Available] = field(default_factory=dict)
    """The runtimes that failed in `connect` or `prove`, with the reason: their variants are unavailable."""

    @property
    def variants(self) -> dict[str, Variant]:
        """All variants of all runtimes, by name."""
        return {variant.name: variant for runtime in self.runtimes.values() for variant in runtime.variants}

    def connect(self, name: str, address: str) -> None:
        """Connect a runtime to its daemon at `address`."""
        try:
            with contained(self.runtimes[name]):
                self.runtimes[name].connect(address)
        except TareError as error:
            self.failed[name] = _unavailable(error)

    def prove(self, root: RootForms, deadline: Deadline) -> dict[str, Accelerator]:
        """What executes the instances of each runtime on this host; see Runtime.prove."""
        proven: dict[str, Accelerator] = {}
        for name, runtime in self.runtimes.items():
            try:
                with contained(runtime):
                    proven[name] = Accelerator(runtime.prove(root, deadline))
            except TareError as error:
                self.failed[name] = _unavailable(error)
        return proven

    def availability(self) -> dict[str, Available]:
        """Whether each variant can run here; a runtime that raises is unavailable for that reason."""
        return {
            variant.name: self.failed.get(name) or _availability(runtime, variant)
            for name, runtime in self.runtimes.items()
            for variant in runtime.variants
        }

    def close(self) -> None:
        """Close every runtime's connections."""
        for runtime in self.runtimes.values():
            try:
                with contained(runtime):
                    runtime.close()
            except TareError as error:
                log.warning("%s", error)


def contained(runtime: Runtime) -> contextlib.AbstractContextManager[None]:
    """Raise every exception of a runtime's code as a TareError; see plugins.contained."""
    return plugins.contained(f"the runtime {runtime.name}", runtime)


def load_catalog() -> Catalog:
    """Construct and check every runtime of the entry-point group; a broken one becomes a Skip."""
    taken: dict[str, str] = {}
    constructed = plugins.derived_from(Runtime)  # type: ignore[type-abstract]

    def construct(name: str, kind: Any) -> Runtime:
        runtime = constructed(name, kind)
        _check(name, runtime, taken)
        taken.update({variant.name: name for variant in runtime.variants})
        return runtime

    loaded = plugins.load(GROUP, construct)
    return Catalog(runtimes=loaded.found, broken=loaded.broken)


def _availability(runtime: Runtime, variant: Variant) -> Available:
    try:
        with contained(runtime):
            found = runtime.available(variant)
            if not isinstance(found, Available):
                raise TypeError(f"available returned {found!r:.60}, not an Available")
            return found
    except TareError as error:
        return _unavailable(error)


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Variant)


def _check_types(variant: Variant) -> None:
    """Raise TareError for a field that has a value of another type than declared."""
    from pydantic import ValidationError

    try:
        _adapter().validate_python(dataclasses.asdict(variant))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise TareError(
            f"{where} = {first['input']!r:.40} in the variant {variant.name}: {first['msg']}",
            hint=f"correct {where}; see harness.model.Variant",
        ) from None


def _unavailable(error: TareError) -> Available:
    return Available(ok=False, reason=error.brief, fix=error.hint)


def _check(name: str, runtime: Runtime, taken: Mapping[str, str]) -> None:
    """Raise TareError unless daemon and names can be used; `taken` are other variants with their runtimes."""
    if runtime.daemon not in ("", *DAEMONS):
        words = " or ".join(f'"{word}"' for word in DAEMONS)
        fix = f'use {words}, or "" for a runtime that needs no daemon of tare\'s'
        raise TareError(f"daemon = {runtime.daemon!r:.60} is unknown", hint=fix)
    if not isinstance(runtime.variants, tuple) or not all(isinstance(one, Variant) for one in runtime.variants):
        fix = f'write variants = (Variant(name="{name}/…", runtime="{name}", summary="…"),)'
        raise TareError(f"variants = {shortened(runtime.variants)} is not a tuple of Variant", hint=fix)
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
        _check_types(variant)
