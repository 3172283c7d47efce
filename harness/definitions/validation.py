"""Validated models: a TOML document → a frozen dataclass, checked by pydantic in strict mode."""

import dataclasses
import json
import typing
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, TypeVar

from harness.definitions.toml_file import Document, FieldPath, short, suggest
from harness.errors import TareError, bad_input

NAME_RULE = "use at most 41 characters (a-z, 0-9, dot, hyphen) and begin with a letter or digit, for example cpu.bench"
_Model = TypeVar("_Model")


def validated(kind: type[_Model], document: Document, guide: str) -> _Model:
    """The document as `kind`, a dataclass whose fields may be dataclasses.

    Raises TareError (bad input) with file, line and field for one error; `guide` is its fix where there is no better
    one.
    """
    from pydantic import ValidationError

    try:
        model: _Model = _adapter(typing.cast(Any, kind)).validate_json(json.dumps(document.values))
    except ValidationError as error:
        raise _translated(kind, document, error.errors(include_url=False), guide) from None
    return model


def check_file_name(document: Document, name: str) -> None:
    """Raise TareError (bad input) unless the file has the name that it defines."""
    if document.path.name != f"{name}.toml":
        raise bad_input(document.where(("name",)), f"{name} is not the file's name", f"call the file {name}.toml")


def repeated(names: Iterable[str]) -> str:
    """The first name that occurs more than once, or ""."""
    return next((name for name, times in Counter(names).items() if times > 1), "")


@cache
def _adapter(kind: type) -> Any:
    # JSON mode: strict Python mode would refuse a list where the model has a tuple.
    from pydantic import ConfigDict, TypeAdapter

    for part in _parts(kind):
        part.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # type: ignore[attr-defined]
    return TypeAdapter(kind)


def _parts(kind: Any) -> Iterator[type]:
    """`kind` and every dataclass in the types of its fields."""
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        yield kind
        for hint in typing.get_type_hints(kind).values():
            yield from _parts(hint)
    for argument in typing.get_args(kind):
        yield from _parts(argument)


def _translated(kind: type, document: Document, errors: list[Any], guide: str) -> TareError:
    """The message for the error that most likely caused the others: an unknown key before a missing one."""
    errors = sorted(errors, key=lambda error: error["type"] != "unexpected_keyword_argument")
    first = errors[0]
    field: FieldPath = tuple(first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        names = [one.name for one in dataclasses.fields(_owner(kind, field)) if one.name != "definition"]
        return bad_input(document.where(field), "unknown key", suggest(str(field[-1]), names))
    if first["type"] == "missing":
        return bad_input(document.where(field), "is missing", f"add {field[-1]} = …")
    field = _existing(field, document.values)
    if first["type"] == "predicate_failed" and "is_name" in first["msg"]:
        return bad_input(document.where(field), f"{first['input']!r} is not a name", NAME_RULE)
    message = first["msg"][:1].lower() + first["msg"][1:]
    return bad_input(document.where(field), f"{short(first['input'])}: {message}", guide)


def _owner(kind: Any, field: FieldPath) -> Any:
    """The dataclass that the last part of a field's path belongs to."""
    for part in field[:-1]:
        hints = typing.get_type_hints(kind) if isinstance(part, str) else {}
        kind = next(_parts(hints[part]), kind) if part in hints else kind
    return kind


def _existing(field: FieldPath, values: Any) -> FieldPath:
    """The part of a pydantic location that is in the document (pydantic appends the names of union members)."""
    for length, part in enumerate(field):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return field[:length]
    return field
