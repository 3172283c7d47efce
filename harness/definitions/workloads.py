"""Workloads: `workloads/*.toml` → the model."""

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.definitions import demands
from harness.definitions.toml_file import Document, FieldPath, read_document, short, suggest
from harness.definitions.validation import check_file_name, repeated, validated
from harness.errors import bad_input
from harness.model import RESOURCES, Workload
from harness.model.placeholders import BUILTINS, placeholders

CLAIMS_FILE = "claims.toml"
NEEDS_FILE = "needs.toml"
"""These two files stand among the workloads (see harness.definitions.claims and harness.definitions.needs)."""
LARGEST = 10**15
"""The largest number that a parameter may be; beyond it a float no longer counts in ones."""

_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_PARAMETER_TEXT = re.compile(r"[A-Za-z0-9/][A-Za-z0-9 _.,:/=+%@-]{0,199}")
_GUIDE = "see docs/plugins.md, “add a workload”"


def load_workloads(folder: Path) -> dict[str, Workload]:
    """Every workload of a folder, by name.

    Raises TareError (bad input) with file, line and field for the first file that is wrong.
    """
    if not folder.is_dir():
        raise bad_input(str(folder), "is not a folder of workloads", "give one by --workloads-dir")
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
    demands.check(document, workload)
    _check_metrics(document, workload)
    check_parameters(document, workload.parameters)
    _check_placeholders(document, workload)
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


def _check_metrics(document: Document, workload: Workload) -> None:
    where = document.where(("metrics",))
    if twice := repeated(metric.name for metric in workload.metrics):
        raise bad_input(where, f"{twice} is there twice", "give each metric a name of its own")
    primary = sum(metric.primary for metric in workload.metrics)
    if primary != 1:
        raise bad_input(where, f"{primary} metrics are primary", "write primary = true in exactly one of them")


def _check_placeholders(document: Document, workload: Workload) -> None:
    """Every placeholder has a value, and every parameter is used by a command or by the measure."""
    allowed = {"threads", "memory_mib", *workload.parameters}
    allowed |= {"scratch"} if workload.scratch_mib else set()
    allowed |= {"address", "port"} if workload.server else set()
    allowed |= {"upstream"} if workload.measure == "chain" else set()
    used = set()
    for field, argument in _arguments(workload):
        for name in placeholders(argument):
            _check_placeholder(document.where(field), name, allowed)
            used.add(name)
    own = demands.MEASURES[workload.measure].parameters
    for name in sorted(workload.parameters.keys() - used - own.keys()):
        where = document.where(("parameters", name))
        if own:
            raise bad_input(where, f"the measure {workload.measure} has no such parameter", suggest(name, own))
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
    fix = f"{suggest(name, allowed)} (write {{{{ and }}}} for braces)"
    raise bad_input(where, f"{{{name}}} is not a parameter", fix)
