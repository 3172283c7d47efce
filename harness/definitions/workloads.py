"""Workloads: `workloads/*.toml` → the model."""

import contextlib
import dataclasses
import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.definitions.declaration import Declaration, measures
from harness.definitions.toml_file import Document, FieldPath, read_document, short, suggest
from harness.definitions.validation import check_file_name, repeated, validated
from harness.errors import bad_input
from harness.model import RESOURCES, Workload
from harness.model.placeholders import BUILTINS, placeholders
from harness.plugins import PluginError, Plugins, contained
from harness.readers import FieldNames, readers

CLAIMS_FILE = "claims.toml"
NEEDS_FILE = "needs.toml"
"""These two files stand among the workloads (see harness.definitions.claims and harness.definitions.needs)."""
LARGEST = 10**15
"""The largest number that a parameter may be; beyond it a float no longer counts in ones."""

_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_PARAMETER_TEXT = re.compile(r"[A-Za-z0-9/][A-Za-z0-9 _.,:/=+%@-]{0,199}")
_RESERVED = {"server", "aggressor", "cache"}
"""Fields that only those measures use which declare them."""
_DEFAULTS = {one.name: one.default for one in dataclasses.fields(Workload)}
_GUIDE = "see CONTRIBUTING.md, “add a workload”"


def load_workloads(folder: Path) -> dict[str, Workload]:
    """Every workload of a folder, by name.

    Raises TareError (bad input) with file, line and field for the first file that is wrong.
    """
    if not folder.is_dir():
        raise bad_input(
            "--workloads-dir",
            f"{folder} is not a folder of workloads",
            "check the path, or copy the folder workloads of the checkout",
        )
    paths = (path for path in sorted(folder.glob("*.toml")) if path.name not in (CLAIMS_FILE, NEEDS_FILE))
    return {path.stem: load_workload(path) for path in paths}


def load_workload(path: Path) -> Workload:
    """One workload file, fully checked; `definition` is the first 12 hex digits of the SHA-256 of its content.

    Raises TareError (bad input).
    """
    document = read_document(path)
    if "definition" in document.values:
        raise bad_input(document.where(("definition",)), "is filled in by the harness", "remove that line")
    workload = validated(Workload, document, _GUIDE)
    check_file_name(document, workload.name)
    if not all(workload.name.partition(".")):
        problem = f"{workload.name} does not begin with a resource"
        fix = f"write RESOURCE.NAME; tare's own resources are {', '.join(RESOURCES)}"
        raise bad_input(document.where(("name",)), problem, fix)
    _check_plugin(document, "measure", workload.measure, measures())
    _check_plugin(document, "reader", workload.reader, readers())
    _check_metrics(document, workload)
    check_parameters(document, workload.parameters)
    if own := measures().found.get(workload.measure):
        with _plugin_failures(document, workload, own):
            _check_measure(document, workload, own)
            _check_placeholders(document, workload, own)
    digest = hashlib.sha256(document.canonical.encode()).hexdigest()
    return dataclasses.replace(workload, definition=digest[:12])


def check_parameters(document: Document, parameters: Mapping[str, str | int | float]) -> None:
    """Raise TareError (bad input) for a parameter that no workload may have."""
    for name, value in parameters.items():
        where = document.where(("parameters", name))
        if not _PARAMETER_NAME.fullmatch(name):
            raise bad_input(where, "is not a parameter's name", "use a-z, 0-9, _ and -, beginning with a letter")
        if name in BUILTINS:
            raise bad_input(where, "is filled in by the harness", "choose another name")
        if isinstance(value, str):
            if not _PARAMETER_TEXT.fullmatch(value) or ".." in value:
                fix = "use letters, digits, spaces and _.,:/=+%@-"
                raise bad_input(where, f"{short(value)} is not a plain word", fix)
        elif not 0 <= value <= LARGEST:
            raise bad_input(where, f"{short(value)} is negative or too large", f"give 0 to {LARGEST:.0e}")


def _check_plugin(document: Document, kind: str, name: str, known: Plugins[Any]) -> None:
    """A measure or reader is installed; the plan skips workloads whose own cannot be used."""
    if name and name not in known.found and name not in {skip.what for skip in known.broken}:
        raise bad_input(document.where((kind,)), f"there is no {kind} {name!r}", suggest(name, known.found))


def _check_measure(document: Document, workload: Workload, own: Declaration) -> None:
    """The fields, parameters and sources that the workload's measure declares."""
    for name in own.needs:
        if not getattr(workload, name):
            raise bad_input(document.where((name,)), "is missing", f"the measure {workload.measure} needs {name}")
    for name in sorted(_RESERVED - {*own.needs, *own.takes}):
        if getattr(workload, name) != _DEFAULTS[name]:
            able = [measure for measure, one in measures().found.items() if name in one.needs + one.takes]
            fix = f"remove it, or choose another measure: {', '.join(able)}"
            raise bad_input(document.where((name,)), f"the measure {workload.measure} does not use it", fix)
    for parameter in own.parameters:
        where = document.where(("parameters", parameter.name))
        value = workload.parameters.get(parameter.name)
        if value is None and parameter.needed:
            fix = f"add {parameter.name} = … below [parameters]; {parameter.fix('')}"
            raise bad_input(where, "is missing", fix)
        if value is not None and not parameter.accepts(value):
            raise bad_input(where, f"{short(value)} is not a {parameter}", parameter.fix(value))
    for field, problem, fix in own.problems(workload):
        raise bad_input(document.where(field), problem, fix)
    _check_sources(document, workload, own)
    if not 0 <= own.case_seconds(workload, 1.0) < math.inf or own.at_once(workload) < 1 or own.disk_mib(workload) < 0:
        raise ValueError("an estimate is negative or not finite, or there is no instance")


@contextlib.contextmanager
def _plugin_failures(document: Document, workload: Workload, own: Declaration) -> Iterator[None]:
    """Turn an exception of the measure's own code into an error that names the workload's file too."""
    try:
        with contained(f"the measure {workload.measure}", own):
            yield
    except PluginError as error:
        raise bad_input(document.where(("measure",)), error.brief, error.hint) from error


def _check_sources(document: Document, workload: Workload, own: Declaration) -> None:
    reader = readers().found.get(workload.reader)
    if workload.reader and reader is None:
        return
    fields = reader.names(workload.parameters) if reader else FieldNames()
    known = own.sources(workload, fields)
    of_reader = known is fields
    lacks = (
        f"the reader {workload.reader} has no field" if of_reader else f"the measure {workload.measure} has no source"
    )
    for index, metric in enumerate(workload.metrics):
        if metric.source not in known:
            fixes = [suggest(metric.source, known.known)] if known.known else []
            fixes += [f"write {known.form}"] if known.form else []
            where = document.where(("metrics", index, "source"))
            raise bad_input(where, f"{lacks} {short(metric.source)}", ", or ".join(fixes))


def _check_metrics(document: Document, workload: Workload) -> None:
    where = document.where(("metrics",))
    if twice := repeated(metric.name for metric in workload.metrics):
        raise bad_input(where, f"{twice} is there twice", "give each metric a name of its own")
    primary = sum(metric.primary for metric in workload.metrics)
    if primary != 1:
        problem = f"{primary or 'no'} metric{'s are' if primary else ' is'} primary"
        raise bad_input(where, problem, "write primary = true in exactly one [[metrics]] table")


def _check_placeholders(document: Document, workload: Workload, own: Declaration) -> None:
    """Every placeholder has a value, and every parameter is used by a command or by the measure."""
    allowed = {"threads", "memory_mib", *workload.parameters}
    allowed |= {"scratch"} if workload.scratch_mib else set()
    allowed |= {"address", "port"} if workload.server else set()
    allowed |= {*own.placeholders}
    used = set()
    for field, argument in _arguments(workload):
        for name in placeholders(argument):
            _check_placeholder(document.where(field), name, allowed)
            used.add(name)
    names = {one.name for one in own.parameters}
    for name in sorted(workload.parameters.keys() - used - names):
        where = document.where(("parameters", name))
        if names:
            raise bad_input(where, f"the measure {workload.measure} has no such parameter", suggest(name, names))
        raise bad_input(where, "no command uses it", f"write {{{name}}} in argv, or remove it")


def _arguments(workload: Workload) -> Iterator[tuple[FieldPath, str]]:
    """Every argument of the workload's commands, with its field."""
    owners: list[tuple[FieldPath, object]] = [((), workload), (("server",), workload.server)]
    if workload.aggressor is not None:
        owners += [(("aggressor",), workload.aggressor), (("aggressor", "server"), workload.aggressor.server)]
    for path, owner in owners:
        for name in ("argv", "prepare"):
            for index, argument in enumerate(getattr(owner, name, ())):
                yield (*path, name, index), argument


def _check_placeholder(where: str, name: str | None, allowed: set[str]) -> None:
    if name is None:
        raise bad_input(where, "a single { or } is unclear", "write {{ or }} for a brace")
    if name in allowed:
        return
    if name == "scratch":
        raise bad_input(where, "{scratch} is used without scratch space", "add scratch_mib = …")
    if name in ("address", "port"):
        raise bad_input(where, f"{{{name}}} is used without a server", "add a [server] table")
    near = suggest(f"{{{name}}}", [f"{{{one}}}" for one in allowed])
    fix = f"{near} (write {{{{ or }}}} for a brace)"
    raise bad_input(where, f"{{{name}}} is not a parameter", fix)
