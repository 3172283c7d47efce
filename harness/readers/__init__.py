"""Readers: the output of a tool → named figures in base units.

Each is an entry point of the group `tare.readers`, which names a class derived from BaseReader.
"""

from functools import cache

from harness.plugins import Plugins, derived_from, load
from harness.readers.base import BaseReader, FieldNames, Fields

__all__ = ["BaseReader", "FieldNames", "Fields", "reader", "readers"]

GROUP = "tare.readers"


@cache
def readers() -> Plugins[BaseReader]:
    """The readers by name, and those that cannot be used, each with the reason."""
    return load(GROUP, derived_from(BaseReader))  # type: ignore[type-abstract]


def reader(name: str) -> BaseReader:
    """The reader of that name. Raises TareError for one that cannot be used, and (bad input) for an unknown one."""
    return readers().pick(name, "reader")
