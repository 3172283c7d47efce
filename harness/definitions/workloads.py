"""TOML files → the model: the validating room (the command line's words are flags.py's)."""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from harness.definitions import demands
from harness.definitions.toml_file import Document, FieldPath, read_document, short, suggest
from harness.errors import TareError, bad_input
from harness.model import Aggressor, Limits, Metric, Resource, Server, Suite, Workload, is_name

BUILTINS = ("threads", "memory_mib", "scratch", "address", "port", "upstream")
"""Placeholders that the harness fills in; `address` and `port` are those of the workload's server, `upstream` is the
next one's in a chain."""

NEEDS_FILE = "needs.toml"
"""Stands among the workloads and is none (see harness.definitions.needs)."""

CLAIMS_FILE = "claims.toml"
"""So does this (see harness.definitions.claims)."""

LARGEST = 10**15
"""Most that a number among the parameters may be; beyond it a float no longer counts in ones."""

_BRACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_PARAMETER_TEXT = re.compile(r"[A-Za-z0-9/][A-Za-z0-9 _.,:/=+%@-]{0,199}")
_NESTED: Mapping[str | int, type] = {"metrics": Metric, "server": Server, "aggressor": Aggressor, "limits": Limits}
_GUIDE = "see CONTRIBUTING.md, “add a workload”"
_Model = TypeVar("_Model", Workload, Suite)


def load_workloads(folder: Path) -> dict[str, Workload]:
    """Every `*.toml` of a folder, by name; `definition` is the first 12 hex digits of its content's SHA-256.

    Raises TareError (bad input) with file, line and field for the first file that is wrong.
    """
    if not folder.is_dir():
        raise bad_input(str(folder), "is not a folder of workloads", "give one by --workloads-dir")
    paths = (path for path in sorted(folder.glob("*.toml")) if path.name not in (CLAIMS_FILE, NEEDS_FILE))
    return {path.stem: load_workload(path) for path in paths}


def load_workload(path: Path) -> Workload:
    """One workload file, checked whole. Raises TareError (bad input)."""
    document = read_document(path)
    workload = _model(Workload, document)
    _check_file_name(document, workload.name)
    if "." not in workload.name or workload.resource not in get_args(Resource):
        resources = ", ".join(get_args(Resource))
        raise bad_input(
            document.where(("name",)),
            f"{workload.name} does not begin with its resource",
            f"begin with one of: {resources}",
        )
    demands.check(document, workload)
    _check_metrics(document, workload)
    _check_parameters(document, workload.parameters)
    _check_placeholders(document, workload)
    digest = hashlib.sha256(document.canonical.encode()).hexdigest()
    return dataclasses.replace(workload, definition=digest[:12])


def suite_names(folder: Path) -> list[str]:
    """The suites of a workloads folder, by file name."""
    return sorted(path.stem for path in (folder / "suites").glob("*.toml"))


def load_suite(name: str, folder: Path) -> Suite:
    """The suite `suites/<name>.toml` of a workloads folder. Raises TareError (bad input)."""
    if not is_name(name):
        raise bad_input("--suite", f"{name!r} is not a name", NAME_RULE)
    names = suite_names(folder)
    if name not in names:
        raise bad_input("--suite", f"there is no suite {name}", suggest(name, names))
    document = read_document(folder / "suites" / f"{name}.toml")
    suite = _model(Suite, document)
    _check_file_name(document, suite.name)
    _check_parameters(document, suite.parameters)
    if twice := _twice(suite.workloads):
        raise bad_input(document.where(("workloads",)), f"{twice} is there twice", "name each workload once")
    resource: str
    for resource, variants in suite.variants.items():
        if twice := _twice(variants):
            raise bad_input(document.where(("variants", resource)), f"{twice} is there twice", "name each variant once")
    if twice := _twice(suite.ladder):
        raise bad_input(document.where(("ladder",)), f"{twice} is there twice", "name each variant once")
    for workload in suite.workloads:
        resource = workload.partition(".")[0]
        if resource not in suite.variants:
            raise bad_input(
                document.where(("variants",)), f"says no variants for {workload}", f'add {resource} = ["native", …]'
            )
    return suite


def render(
    argv: Iterable[str], parameters: Mapping[str, str | int | float], values: Mapping[str, object]
) -> tuple[str, ...]:
    """Fill in `{placeholders}` from a workload's parameters and the harness's `values`; `{{` and `}}` are braces.

    An argument stays one argument whatever is filled in. Raises TareError when a value is missing.
    """
    known = {**parameters, **values}

    def fill(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        if found[1] not in known:
            raise TareError(f"{{{found[1]}}} has no value here", details=" ".join(argv))
        return str(known[found[1]])

    return tuple(_BRACE.sub(fill, argument) for argument in argv)


NAME_RULE = "a name is a-z, 0-9, dot and hyphen, begins with a letter or digit and has at most 41 characters"


def _model(kind: type[_Model], document: Document) -> _Model:
    """The document as `kind`, by pydantic in strict mode; its first error is translated."""
    from pydantic import ValidationError

    for field in ("definition",) if kind is Workload else ():
        if field in document.values:
            raise bad_input(document.where((field,)), "is filled in by the harness", "remove that line")
    try:
        model: _Model = _adapter(kind.__name__).validate_json(json.dumps(document.values))
    except ValidationError as error:
        raise translated(kind, document, error.errors(include_url=False)) from None
    return model


@cache
def _adapter(kind: str) -> Any:
    # JSON mode, since strict Python mode would refuse a list where the model has a tuple.
    from pydantic import ConfigDict, TypeAdapter

    for part in (Metric, Server, Aggressor, Limits, Workload, Suite):
        part.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # type: ignore[union-attr]
    return TypeAdapter({"Workload": Workload, "Suite": Suite}[kind])


def translated(
    kind: type,
    document: Document,
    errors: list[Any],
    nested: Mapping[str | int, type] = _NESTED,
    guide: str = _GUIDE,
) -> TareError:
    """The message for the error of pydantic that most likely caused the others: an unknown key before a missing one.

    `nested` has the class behind each field that holds tables; `guide` is the fix where there is no better one.
    """
    errors = sorted(errors, key=lambda error: error["type"] != "unexpected_keyword_argument")
    first = errors[0]
    field: FieldPath = tuple(first["loc"])
    owner: Any = nested.get(field[0], kind) if len(field) > 1 else kind
    if first["type"] == "unexpected_keyword_argument":
        names = [one.name for one in dataclasses.fields(owner) if one.name != "definition"]
        return bad_input(document.where(field), "unknown key", suggest(str(field[-1]), names))
    if first["type"] == "missing":
        return bad_input(document.where(field), "is missing", f"add {field[-1]} = …")
    field = _existing(field, document.values)
    if first["type"] == "predicate_failed" and "is_name" in first["msg"]:
        return bad_input(document.where(field), f"{first['input']!r} is not a name", NAME_RULE)
    message = first["msg"][:1].lower() + first["msg"][1:]
    return bad_input(document.where(field), f"{short(first['input'])}: {message}", guide)


def _existing(field: FieldPath, values: Any) -> FieldPath:
    """The part of a pydantic location that is in the document (it appends the names of union members)."""
    for length, part in enumerate(field):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return field[:length]
    return field


def _twice(names: Iterable[str]) -> str:
    return next((name for name, times in Counter(names).items() if times > 1), "")


def _check_file_name(document: Document, name: str) -> None:
    if document.path.name != f"{name}.toml":
        raise bad_input(document.where(("name",)), f"{name} is not the file's name", f"call the file {name}.toml")


def _check_metrics(document: Document, workload: Workload) -> None:
    if twice := _twice(metric.name for metric in workload.metrics):
        raise bad_input(document.where(("metrics",)), f"{twice} is there twice", "give each metric a name of its own")
    primary = sum(metric.primary for metric in workload.metrics)
    if primary != 1:
        raise bad_input(
            document.where(("metrics",)),
            f"{primary} metrics are primary",
            "write primary = true in exactly one of them",
        )


def _check_parameters(document: Document, parameters: Mapping[str, str | int | float]) -> None:
    for name, value in parameters.items():
        where = document.where(("parameters", name))
        if not _PARAMETER_NAME.fullmatch(name):
            raise bad_input(where, "is not a parameter's name", "use a-z, 0-9, _ and -, beginning with a letter")
        if name in BUILTINS:
            raise bad_input(where, "is filled in by the harness", "choose another name")
        if isinstance(value, str):
            if not _PARAMETER_TEXT.fullmatch(value) or ".." in value:
                raise bad_input(
                    where, f"{short(value)} is not a plain word", "use letters, digits, spaces and _.,:/=+%@-"
                )
        elif not 0 <= value <= LARGEST:
            raise bad_input(where, f"{short(value)} is negative or too large", f"give 0 to {LARGEST:.0e}")


def _check_placeholders(document: Document, workload: Workload) -> None:
    allowed = {"threads", "memory_mib", *workload.parameters}
    allowed |= {"scratch"} if workload.scratch_mib else set()
    allowed |= {"address", "port"} if workload.server else set()
    allowed |= {"upstream"} if workload.measure == "chain" else set()
    used = set()
    server, before = (workload.server.argv, workload.server.prepare) if workload.server else ((), ())
    other = workload.aggressor
    for field, argv in (
        (("argv",), workload.argv),
        (("prepare",), workload.prepare),
        (("server", "argv"), server),
        (("aggressor", "argv"), other.argv if other else ()),
        (("aggressor", "prepare"), other.prepare if other else ()),
        (("aggressor", "server", "argv"), other.server.argv if other and other.server else ()),
        (("server", "prepare"), before),
    ):
        for index, argument in enumerate(argv):
            for found in _BRACE.finditer(argument):
                if found[0] in ("{{", "}}"):
                    continue
                _check_placeholder(document, (*field, index), found, allowed)
                used.add(found[1])
    own = demands.MEASURES[workload.measure].parameters
    if unused := sorted(set(workload.parameters) - used - own.keys()):
        if own:
            raise bad_input(
                document.where(("parameters", unused[0])),
                f"the measure {workload.measure} does not know it",
                suggest(unused[0], own),
            )
        raise bad_input(
            document.where(("parameters", unused[0])),
            "no command uses it",
            f"write {{{unused[0]}}} in argv, or remove it",
        )


def _check_placeholder(document: Document, field: FieldPath, found: re.Match[str], allowed: set[str]) -> None:
    where, name = document.where(field), found[1]
    if name is None:
        raise bad_input(where, f"a lone {found[0]} is unclear", "write {{ or }} for a brace")
    if name in allowed:
        return
    if name == "scratch":
        raise bad_input(where, "{scratch} is used, but no scratch space is asked for", "add scratch_mib = …")
    if name in ("address", "port"):
        raise bad_input(where, f"{{{name}}} is used, but there is no server", "add a [server] table")
    raise bad_input(
        where, f"{{{name}}} is not a parameter", f"{suggest(name, allowed)} (write {{{{ and }}}} for braces)"
    )
