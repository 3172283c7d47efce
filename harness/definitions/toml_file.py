"""TOML files from users: unsafe or unclear content is refused, and every field has its line."""

import difflib
import json
import math
import os
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import TareError, bad_input

MOST_SUGGESTED = 16
"""Names that one message lists."""
SIZE_LIMIT = 2**20
"""Bytes; a definition is about a page, so that a larger file is a mistake or an attack."""

FieldPath = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_TOML_FIXES = {
    "Invalid value": 'write numbers as 1.5, and texts and lists as key = "text" and key = ["one", "two"]',
    "Cannot overwrite a value": "remove one of the two",
}
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed TOML file: its path, its values, and the line of each field."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[FieldPath, int]

    def where(self, field: FieldPath) -> str:
        """`file:line: field` for a message, with the line of the nearest enclosing field that has one."""
        for length in range(len(field), 0, -1):
            if (line := self.lines.get(field[:length])) is not None:
                return f"{self.path}:{line}: {spell(field)}"
        return f"{self.path}: {spell(field)}" if field else str(self.path)

    @property
    def canonical(self) -> str:
        """The content as JSON with sorted keys: equal for files that differ only in layout."""
        return json.dumps(self.values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def spell(field: FieldPath) -> str:
    """The path of a field in the user's notation: `metrics[0].unit`."""
    text = ""
    for part in field:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_document(path: Path) -> Document:
    """Read and parse a TOML file.

    Raises TareError (bad input) for a symbolic link, a special, large or world-writable file, bad UTF-8, NUL, invalid
    TOML, duplicate keys, and values that no field may have: NaN, infinities, dates, control characters.
    """
    text = _decode(path, _read(path))
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise bad_input(str(path), "is nested too deeply", "use plain keys, arrays and tables") from None
    except ValueError as error:
        raise _invalid(path, str(error)) from None
    lines: dict[FieldPath, int] = {}
    for field, line in _locate(text):
        lines.setdefault(field, line)
    document = Document(path, values, lines)
    for field, value in _leaves((), values):
        if problem := _unfit(value):
            raise bad_input(document.where(field), problem, "give a plain text, whole number or decimal number")
    return document


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise bad_input(str(path), "does not exist", "see the names in: tare list") from None
    except OSError as error:
        if path.is_symlink():
            raise bad_input(str(path), "is a symbolic link", "put the file itself there") from None
        raise bad_input(str(path), f"cannot be read: {error.strerror}", f"ls -l {path}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise bad_input(str(path), "is not a regular file", "put a TOML file there")
        _refuse_writable(path, status)
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise bad_input(str(path), "is larger than 1 MiB", "a workload or suite is about a page of TOML")
    return data


def _refuse_writable(path: Path, status: os.stat_result) -> None:
    if os.geteuid() != 0:
        return
    folder = path.absolute().parent.stat()
    if status.st_mode & stat.S_IWOTH:
        raise bad_input(str(path), "may be written by any user, and you are root", f"chmod o-w {path}")
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise bad_input(str(path.parent), "may be written by any user, and you are root", f"chmod o-w {path.parent}")


def _decode(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise bad_input(f"{path}:{line}", "is not UTF-8", "save the file as UTF-8 without a byte-order mark") from None
    if (nul := text.find("\0")) >= 0:
        raise bad_input(f"{path}:{text.count(chr(10), 0, nul) + 1}", "holds a NUL byte", "save it as plain UTF-8 text")
    if text.startswith("\ufeff"):
        raise bad_input(f"{path}:1", "begins with a byte-order mark", "save the file as UTF-8 without one")
    return text


def _invalid(path: Path, message: str) -> TareError:
    """The error for invalid TOML, from the message of tomllib, which ends with the place."""
    problem, _, place = message.partition(" (at ")
    where = "".join(f":{number}" for number in re.findall(r"\d+", place))
    fix = next((fix for begin, fix in _TOML_FIXES.items() if problem.startswith(begin)), "correct it there")
    return bad_input(f"{path}{where}", f"invalid TOML: {problem[:1].lower()}{problem[1:]}", fix)


def _unfit(value: object) -> str:
    """Why no field may have that value; "" for a valid one."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    if isinstance(value, str) and any(
        unicodedata.category(character) == "Cc" and character != "\t" for character in value
    ):
        return "the text holds a control character or a line break"
    if not isinstance(value, str | int | float):
        return f"a {type(value).__name__} is not allowed here"
    return ""


def _leaves(field: FieldPath, value: object) -> Iterator[tuple[FieldPath, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*field, key), key
            yield from _leaves((*field, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves((*field, index), inner)
    else:
        yield field, value


def _locate(text: str) -> Iterator[tuple[FieldPath, int]]:
    """The line of each table and key that begins a line (tomllib keeps no lines)."""
    table: FieldPath = ()
    counts: dict[FieldPath, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = index = counts.get(table, -1) + 1
                yield table, number
                table = (*table, index)
            yield table, number
        elif key := _KEY.match(line):
            path = (*table, *_parts(key[1]))
            for length in range(len(table) + 1, len(path) + 1):
                yield path[:length], number


def _parts(dotted: str) -> FieldPath:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def suggest(word: str, known: Iterable[str], command: str = "tare list") -> str:
    """A fix for a word that is not among `known`: the nearest one, or else all of them, or the command that lists
    them where these are many."""
    names = sorted(known)
    if near := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
        return f"did you mean {near[0]}?"
    if not 0 < len(names) <= MOST_SUGGESTED:
        return f"{command} shows the names"
    return f"use one of: {', '.join(names)}"


def short(value: object) -> str:
    """A value of a document for a message: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
