"""TOML files → the model: the validating room (the command line's words are flags.py's)."""

import dataclasses
import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from harness import scenarios
from harness.documents import Document, FieldPath, read_document
from harness.errors import TareError, bad_input
from harness.model import Aggressor, Limits, Mark, Metric, Resource, Server, Suite, Workload, is_name, neighbour
from harness.paths import data

BUILTINS = ("threads", "memory_mib", "scratch", "address", "port", "upstream")
"""Placeholders that the harness fills in; `address` and `port` are those of the workload's server, `upstream` is the
next one's in a chain."""

NEEDS_FILE = "needs.toml"
"""Stands among the workloads and is none (see harness.needs)."""

CLAIMS_FILE = "claims.toml"
"""So does this (see harness.claims)."""

DENSITY: Mapping[str, tuple[float, float]] = {
    "most": (1, 100_000),
    "batch": (1, 100),
    "instance_mib": (32, 10**6),
    "floor_share": (0.05, 0.95),
    "latency_seconds": (0.1, 3600),
}
"""What a density workload must say, with the least and the most of each; see harness.measures.density."""

PARAMETERS: Mapping[str, frozenset[str]] = {
    "density": frozenset(DENSITY),
    "lifecycle": scenarios.PARAMETERS,
    "footprint": frozenset(
        ("instances", "instance_mib", "settle_seconds", "watch_seconds", "touch_mib", "read_mib", "free_seconds")
    ),
    "interference": frozenset({"placement", "settle"}),
    "chain": frozenset({"length", "mib"}),
    "churn": frozenset({"jobs", "most_s", "together"}),
    "image": frozenset({"recipe", "level", "instances", "write_mib"}),
}
"""By measure, the parameters that it knows by itself, beside those that a command's words name."""

RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "footprint": {
        "instances": (1, 100),
        "instance_mib": (64, 10**6),
        "settle_seconds": (1, 60),
        "watch_seconds": (1, 600),
        "touch_mib": (0, 10**6),
        "read_mib": (0, 10**6),
        "free_seconds": (0, 600),
    },
    "churn": {"jobs": (1, 10_000), "most_s": (1, 600), "together": (1, 64)},
    "image": {"level": (1, 19), "instances": (1, 16), "write_mib": (1, 1024)},
}
"""By measure, the least and the most that a parameter of its own may be."""

NEEDED: Mapping[str, frozenset[str]] = {"footprint": PARAMETERS["footprint"], "churn": PARAMETERS["churn"]}
"""By measure, the parameters that it cannot do without."""

SOURCES: Mapping[str, frozenset[str]] = {
    "footprint": frozenset(
        ("pss", "cgroup", "cgroup-uncached", "vmm", "available", "daemons", "daemons-each", "returned", "idle-cpu")
    ),
    "isolation": frozenset(
        {"syscalls-allowed", "capabilities", "devices", "own-namespaces", "host-syscalls", "host-functions"}
    ),
    "churn": frozenset({"rate", "p50", "p95", "longest", "elapsed"}),
    "image": frozenset(
        {"disk", "transfer", "build", "export", "import", "start", "deploy"}
        | {"linked", "linked-disk", "full", "full-disk", "growth", "written"}
    ),
}
"""By measure, the figures that it computes, of which a metric names one as its source."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "command": ("argv", "reader"),
    "density": ("argv", "reader"),
    "chain": ("argv", "reader"),
    "interference": ("argv", "reader", "aggressor"),
    "isolation": ("argv",),
}
"""By measure, the fields that its workloads cannot be without."""

PLACEMENTS = ("apart", "shared")
"""Where a neighbour runs: on the shape's CPUs, as the victim does, or on those outside."""

LARGEST = 10**15
"""Most that a number among the parameters may be; beyond it a float no longer counts in ones."""

_BRACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_REACHED = re.compile(r"([a-z0-9_]+)-at-([1-9][0-9]{0,5})")
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
    _check_measure(document, workload)
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


def suggest(word: str, known: Iterable[str]) -> str:
    """A fix for a word that is not among `known`: the nearest one, else all of them."""
    names = sorted(known)
    if near := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
        return f"did you mean {near[0]}?"
    return f"use one of: {', '.join(names)}" if names else "there are none"


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
    return bad_input(document.where(field), f"{_short(first['input'])}: {message}", guide)


def _existing(field: FieldPath, values: Any) -> FieldPath:
    """The part of a pydantic location that is in the document (it appends the names of union members)."""
    for length, part in enumerate(field):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return field[:length]
    return field


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _twice(names: Iterable[str]) -> str:
    return next((name for name, times in Counter(names).items() if times > 1), "")


def _check_file_name(document: Document, name: str) -> None:
    if document.path.name != f"{name}.toml":
        raise bad_input(document.where(("name",)), f"{name} is not the file's name", f"call the file {name}.toml")


def _check_measure(document: Document, workload: Workload) -> None:
    if workload.measure == "density":
        _check_density(document, workload)
    _check_own(document, workload)
    for field in NEEDS.get(workload.measure, ()):
        if not getattr(workload, field):
            raise bad_input(document.where((field,)), "is missing", f"its measure, {workload.measure}, needs {field}")
    if workload.measure != "boot" and workload.cache == "cold":
        fix = 'remove that line, or write measure = "boot"'
        raise bad_input(document.where(("cache",)), "only a boot workload launches anew each time", fix)
    _check_sources(document, workload)
    if workload.measure == "interference":
        _check_interference(document, workload)
    elif workload.aggressor:
        fix = 'remove that table, or write measure = "interference"'
        raise bad_input(document.where(("aggressor",)), "only an interference workload has a neighbour", fix)
    if workload.measure == "chain":
        _check_chain(document, workload)
    if workload.measure == "boot":
        if workload.server:
            raise bad_input(document.where(("server",)), "a boot workload serves nothing", "remove that table")
        for index, metric in enumerate(workload.metrics):
            _check_span(document, index, metric.source)
    if workload.measure == "lifecycle":
        _check_scenario(document, workload)


def _check_scenario(document: Document, workload: Workload) -> None:
    name, where = str(workload.parameters.get("scenario", "")), document.where(("parameters", "scenario"))
    if name not in scenarios.FIGURES:
        raise bad_input(where, f"{_short(name)} is no scenario", suggest(name, scenarios.FIGURES))
    for field, given in (("server", workload.server), ("argv", workload.argv)):
        if not given:
            fix = "write it as in workloads/lifecycle.pause.toml"
            raise bad_input(document.where((field,)), "is missing: the witness, and the client that asks it", fix)
    if missing := sorted(scenarios.PARAMETERS - set(workload.parameters)):
        raise bad_input(document.where(("parameters", missing[0])), "is missing", f"add {missing[0]} = …")
    for index, metric in enumerate(workload.metrics):
        if metric.source not in scenarios.FIGURES[name]:
            source = document.where(("metrics", index, "source"))
            fix = suggest(metric.source, scenarios.FIGURES[name])
            raise bad_input(source, f"{name} has no {_short(metric.source)}", fix)


def _check_density(document: Document, workload: Workload) -> None:
    """Its rule, and metrics of what it counts (harness.measures.density.fields_of)."""
    for name, (least, most) in DENSITY.items():
        value = workload.parameters.get(name)
        whole = least == int(least)
        if not isinstance(value, int if whole else (int, float)) or not least <= value <= most:
            problem = f"{_short(value)} is no {'whole ' if whole else ''}number from {least:,} to {most:,}"
            raise bad_input(document.where(("parameters", name)), problem, f"write {name} = … below [parameters]")
    own = ("count", "memory-per-instance", "teardown", "teardown-per-instance")
    for index, metric in enumerate(workload.metrics):
        reached = _REACHED.fullmatch(metric.source)
        if metric.source in own or (reached and int(reached[2]) % int(workload.parameters["batch"]) == 0):
            continue
        fix = f"use one of: {', '.join(own)}; ready-at-N, or FIELD-at-N of the reader's, with N a multiple of batch"
        raise bad_input(
            document.where(("metrics", index, "source")), f"{_short(metric.source)} is no figure of it", fix
        )


def _check_own(document: Document, workload: Workload) -> None:
    """A measure's own parameters."""
    for name in sorted(NEEDED.get(workload.measure, frozenset()) - workload.parameters.keys()):
        raise bad_input(document.where(("parameters",)), f"{name} is missing", f"add {name} = …")
    for name, (least, most) in RANGES.get(workload.measure, {}).items():
        value = workload.parameters.get(name, least)
        if type(value) is not int or not least <= value <= most:
            problem = f"{_short(value)} is no whole number from {least} to {most}"
            raise bad_input(document.where(("parameters", name)), problem, "give one")


def _check_sources(document: Document, workload: Workload) -> None:
    if known := SOURCES.get(workload.measure):
        for index, metric in enumerate(workload.metrics):
            if metric.source not in known:
                where = document.where(("metrics", index, "source"))
                raise bad_input(where, f"{_short(metric.source)} is unknown", suggest(metric.source, known))


def _check_interference(document: Document, workload: Workload) -> None:
    """A victim's command, its neighbour's, one figure of the victim and slowdowns of it."""
    assert workload.aggressor is not None
    if bool(workload.server) != bool(workload.aggressor.server):
        where = document.where(("aggressor", "server") if workload.aggressor.server else ("server",))
        raise bad_input(where, "only one of victim and neighbour serves", "give both a server, or neither")
    if (placed := workload.parameters.get("placement")) not in PLACEMENTS:
        where = document.where(("parameters", "placement"))
        raise bad_input(where, f"{placed!r} is no placement", suggest(str(placed), PLACEMENTS))
    if not isinstance(workload.parameters.get("settle"), int | float):
        raise bad_input(document.where(("parameters", "settle")), "is no number of seconds", "add settle = 1")
    if sum(not neighbour(metric.source) for metric in workload.metrics) != 1:
        raise bad_input(
            document.where(("metrics",)),
            "not exactly one metric is the victim's own figure",
            'one has a source of the reader, all others one such as "beside docker/bridge"',
        )


def _check_chain(document: Document, workload: Workload) -> None:
    if workload.server is None:
        raise bad_input(document.where(("server",)), "is missing", "say what each instance of the chain serves")
    for name in sorted(PARAMETERS["chain"]):
        value = workload.parameters.get(name)
        if not isinstance(value, int) or value < 1:
            where = document.where(("parameters", name))
            raise bad_input(where, "is no whole number from 1 up", f"a chain needs {name} = …")


def _check_own(document: Document, workload: Workload) -> None:
    """A measure's own parameters and its metrics' sources."""
    for name in sorted(NEEDED.get(workload.measure, frozenset()) - workload.parameters.keys()):
        raise bad_input(document.where(("parameters",)), f"{name} is missing", f"add {name} = …")
    for name, (least, most) in RANGES.get(workload.measure, {}).items():
        value = workload.parameters.get(name, least)
        if type(value) is not int or not least <= value <= most:
            problem = f"{_short(value)} is no whole number from {least} to {most}"
            raise bad_input(document.where(("parameters", name)), problem, "give one")
    recipes = {path.stem for path in data("images").glob("*.toml")} - {"system"}
    if (recipe := str(workload.parameters.get("recipe", "root"))) not in recipes and workload.measure == "image":
        raise bad_input(
            document.where(("parameters", "recipe")), f"there is no recipe {recipe}", suggest(recipe, recipes)
        )
    known = SOURCES.get(workload.measure)
    for index, metric in enumerate(workload.metrics if known else ()):
        if known and metric.source not in known:
            where = document.where(("metrics", index, "source"))
            raise bad_input(
                where, f"the measure {workload.measure} has no {metric.source}", suggest(metric.source, known)
            )


def _check_span(document: Document, index: int, source: str) -> None:
    where = document.where(("metrics", index, "source"))
    marks = source.split("-")
    if len(marks) != 2:
        raise bad_input(where, f"{_short(source)} is no span between two marks", "write one such as ready-asked")
    for mark in marks:
        if mark not in list(Mark):
            raise bad_input(where, f"{mark} is no mark", suggest(mark, list(Mark)))


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
                    where, f"{_short(value)} is not a plain word", "use letters, digits, spaces and _.,:/=+%@-"
                )
        elif not 0 <= value <= LARGEST:
            raise bad_input(where, f"{_short(value)} is negative or too large", f"give 0 to {LARGEST:.0e}")


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
    own = PARAMETERS.get(workload.measure, frozenset())
    if unused := sorted(set(workload.parameters) - used - own):
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
