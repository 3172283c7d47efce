"""manifest.json beside the CSV: the set-up, facts and end of a run, for people and tools that read the samples."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.durable import atomic_write
from harness.errors import bad_input

NAME = "manifest.json"
SCHEMA = 1


def write_manifest(directory: Path, data: Mapping[str, Any]) -> Path:
    """Write the manifest whole or not at all, with its `schema`. Raises TareError, and ValueError for NaN."""
    path = directory / NAME
    text = json.dumps({"schema": SCHEMA, **data}, indent=2, allow_nan=False, ensure_ascii=False)
    atomic_write(path, (text + "\n").encode("utf-8", "backslashreplace"))
    return path


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a run. Raises a bad-input error when it is absent, not JSON, or of a newer tare."""
    path = directory / NAME
    fix = "restore it from a copy of the run's folder"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise bad_input(str(path), f"cannot be read: {error}", fix) from None
    if not isinstance(found, dict) or type(found.get("schema")) is not int:
        raise bad_input(f"{path}, schema", "is not a manifest", fix)
    if found["schema"] > SCHEMA:
        problem = f"{found['schema']} is newer than {SCHEMA}"
        raise bad_input(f"{path}, schema", problem, "update tare: git pull; make setup")
    return found


def fact(found: object, *path: str) -> Any:
    """The value at a path of keys; None where a part is absent. The manifest may be of any origin."""
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def primary_metrics(found: object, workload: str) -> set[str]:
    """The primary metrics of a workload by the manifest."""
    metrics = fact(found, "workloads", workload, "metrics")
    listed = metrics if isinstance(metrics, list) else []
    return {str(fact(one, "name")) for one in listed if fact(one, "primary") is True}
