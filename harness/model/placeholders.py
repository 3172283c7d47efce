"""Placeholders in a workload's commands: their grammar, and how they are filled in."""

import re
from collections.abc import Iterable, Iterator, Mapping

from harness.errors import TareError

BUILTINS = ("threads", "memory_mib", "scratch", "address", "port", "upstream")
"""Placeholders that the harness fills in. `address` and `port` are those of the workload's server, `upstream` is
`address:port` of the next instance in a chain."""

_BRACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def placeholders(argument: str) -> Iterator[str | None]:
    """The name in each `{name}` of an argument, and None for each single brace; `{{` and `}}` are plain braces."""
    return (found[1] for found in _BRACE.finditer(argument) if found[0] not in ("{{", "}}"))


def render(
    argv: Iterable[str], parameters: Mapping[str, str | int | float], values: Mapping[str, object]
) -> tuple[str, ...]:
    """Fill in the placeholders of `argv` from a workload's parameters and the harness's `values`.

    Each argument stays one argument, whatever is filled in. Raises TareError when a value is missing.
    """
    known = {**parameters, **values}

    def fill(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        if found[1] not in known:
            raise TareError(f"{{{found[1]}}} has no value here", details=" ".join(argv))
        return str(known[found[1]])

    return tuple(_BRACE.sub(fill, argument) for argument in argv)
