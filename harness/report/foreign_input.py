"""Values of a manifest, which is foreign input: what is not of the expected type is not there."""

import math
from collections.abc import Mapping
from typing import Any


def number(value: object) -> float | None:
    """A finite number from 0 up; None for anything else."""
    good = type(value) in (int, float) and isinstance(value, int | float) and 0 <= value < math.inf
    return float(value) if good and isinstance(value, int | float) else None


def numbers(table: Mapping[str, object], *names: str) -> list[float]:
    """These numbers of a table; none unless all are there."""
    found = [one for name in names if (one := number(table.get(name))) is not None]
    return found if len(found) == len(names) else []


def all_numbers(value: object) -> dict[str, float]:
    """The numbers of a table by their names."""
    return {name: one for name, entry in table(value).items() if (one := number(entry)) is not None}


def table(value: object) -> dict[str, Any]:
    """A table; empty for anything else."""
    return {str(name): entry for name, entry in value.items()} if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """A list; empty for anything else."""
    return value if isinstance(value, list) else []
