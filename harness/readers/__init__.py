"""Readers: the output of a tool → named figures in base units.

Each is an entry point of the group `tare.readers`, which names a class derived from Reader.
"""

from functools import cache

from harness.plugins import Plugins, derived_from, load
from harness.readers.base import FieldNames, Fields, Reader

__all__ = ["FieldNames", "Fields", "Reader", "reader", "readers"]

GROUP = "tare.readers"


@cache
def readers() -> Plugins[Reader]:
    """The readers by name, and those that cannot be used, each with the reason."""
    return load(GROUP, derived_from(Reader))  # type: ignore[type-abstract]


def reader(name: str) -> Reader:
    """The reader of that name. Raises TareError for one that cannot be used, and (bad input) for an unknown one."""
    return readers().pick(name, "reader")
