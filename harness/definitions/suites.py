"""Suites: `workloads/suites/*.toml` → the model."""

from pathlib import Path

from harness.definitions.toml_file import Document, FieldPath, read_document, suggest
from harness.definitions.validation import NAME_RULE, check_file_name, repeated, validated
from harness.definitions.workloads import check_parameters
from harness.errors import bad_input
from harness.model import Suite, is_name

_GUIDE = "see the suites in workloads/suites"


def suite_names(folder: Path) -> list[str]:
    """The suites of a workloads folder, by file name. Raises TareError (bad input) where there is no such folder."""
    if not folder.is_dir():
        raise bad_input(
            "--workloads-dir",
            f"{folder} is not a folder of workloads",
            "check the path, or copy the folder workloads of the checkout",
        )
    return sorted(path.stem for path in (folder / "suites").glob("*.toml"))


def load_suite(name: str, folder: Path) -> Suite:
    """The suite `suites/<name>.toml` of a workloads folder. Raises TareError (bad input)."""
    if not is_name(name):
        raise bad_input("--suite", f"{name!r} is not a name", NAME_RULE)
    names = suite_names(folder)
    if name not in names:
        raise bad_input("--suite", f"there is no suite {name!r}", suggest(name, names))
    document = read_document(folder / "suites" / f"{name}.toml")
    suite = validated(Suite, document, _GUIDE)
    check_file_name(document, suite.name)
    check_parameters(document, suite.parameters)
    _check_once(document, ("workloads",), suite.workloads, "workload")
    for resource, variants in suite.variants.items():
        _check_once(document, ("variants", resource), variants, "variant")
    _check_once(document, ("ladder",), suite.ladder, "variant")
    for workload in suite.workloads:
        resource = workload.partition(".")[0]
        if resource not in suite.variants:
            where = document.where(("variants",))
            raise bad_input(where, f"has no variants for {workload}", f'add {resource} = ["native", …]')
    return suite


def _check_once(document: Document, field: FieldPath, names: tuple[str, ...], what: str) -> None:
    if twice := repeated(names):
        raise bad_input(document.where(field), f"{twice} is listed twice", f"list each {what} once")
