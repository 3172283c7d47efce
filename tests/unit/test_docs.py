"""Documents name only files, sections, commands and options that exist; pre-commit runs what `make lint` runs."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import __version__
from harness.cli.parser import parser
from harness.paths import CHECKOUT

DOCUMENTS = sorted(
    [
        *CHECKOUT.glob("*.md"),
        *(CHECKOUT / "docs").glob("*.md"),
        CHECKOUT / "results/README.md",
    ]
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
MAKE = re.compile(r"(?<![\w/.-])make ([a-z][a-z-]*)")
TARE = re.compile(r"(?<![\w/.-])tare ([a-z][a-z-]*)([^#\n]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
TREE = re.compile(r"(?:harness|workloads|images|vm-templates|tests|docs|results)/[\w./*-]*")
FOREIGN = {
    "--privileged": "docker run",
    "--strict": "mypy",
    "--deep": "tests.lab",
    "--only": "tests.perf",
    "--die-with-parent": "bwrap",
    "--no-deps": "pip install",
}
"""Options that the documents name, of other programs."""


def identity(document: Path) -> str:
    return str(document.relative_to(CHECKOUT))


def code(document: Path) -> list[str]:
    """The code spans of a document and the lines of its code blocks; Python blocks name other programs' options."""
    text = document.read_text()
    blocks = "\n".join(block.split("\n", 1)[1] for block in FENCE.findall(text) if not block.startswith("```python"))
    return [*SPAN.findall(FENCE.sub("", text)), *blocks.splitlines()]


def anchors(document: Path) -> set[str]:
    """The anchors that a code hosting site gives to the headings of a document."""
    text = FENCE.sub("", document.read_text())
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)}


def recipe(target: str) -> list[str]:
    """The commands of a Makefile target."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    return [line.strip() for line in found[1].splitlines()]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))


def options(one: argparse.ArgumentParser) -> set[str]:
    return {word for action in one._actions for word in action.option_strings}


def commands() -> dict[str, argparse.ArgumentParser]:
    top = parser()
    found = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices)


def broken(document: Path) -> Iterator[str]:
    """The links of a document that lead nowhere."""
    for link in LINK.findall(document.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{link}: no such heading"


def unknown(document: Path) -> Iterator[str]:
    """What the code of a document names and this version does not have."""
    known, made = commands(), targets()
    everywhere = set.union(*map(options, known.values()), options(parser()), FOREIGN)
    for text in code(document):
        yield from (f"make {name}" for name in MAKE.findall(text) if name not in made)
        of_tare = list(TARE.findall(text))
        for name, rest in of_tare:
            if name not in known:
                yield f"tare {name}"
            else:
                yield from (f"tare {name} {one}" for one in OPTION.findall(rest) if one not in options(known[name]))
        if not of_tare:
            yield from (one for one in OPTION.findall(text) if one not in everywhere)


def missing(document: Path) -> Iterator[str]:
    """Paths of the checkout that a document's code spans name and that do not exist."""
    for span in SPAN.findall(FENCE.sub("", document.read_text())):
        if TREE.fullmatch(span) and not list(CHECKOUT.glob(span.rstrip("/"))):
            yield span


@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_links_resolve(document: Path) -> None:
    assert list(broken(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_commands_options_and_targets_exist(document: Path) -> None:
    assert list(unknown(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_paths_exist(document: Path) -> None:
    assert list(missing(document)) == []


def test_what_does_not_exist_is_found(tmp_path: Path) -> None:
    document = tmp_path / "bad.md"
    document.write_text(
        "# One\n[a](b.md) [c](#two) `make nothing` `tare nothing` `tare list --blocks 3` `--memory` `harness/no.py`\n"
        "```\nmake none\ntare run --suit smoke  # --comments are no options\n```\n"
    )
    assert list(broken(document)) == ["b.md: no such file", "#two: no such heading"]
    found = ["make nothing", "tare nothing", "tare list --blocks", "--memory", "make none", "tare run --suit"]
    assert list(unknown(document)) == found
    assert list(missing(document)) == ["harness/no.py"]


def test_the_documents_name_what_the_checks_look_for() -> None:
    spans = [text for document in DOCUMENTS for text in code(document)]
    assert sum(bool(TARE.search(text)) for text in spans) > 20
    assert sum(bool(MAKE.search(text)) for text in spans) > 10


def test_every_command_is_in_the_readme() -> None:
    named = {name for text in code(CHECKOUT / "README.md") for name, _ in TARE.findall(text)}
    assert named == set(commands()) - {"completion"}


def test_the_citation_has_the_required_fields() -> None:
    citation: dict[str, Any] = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["authors"] == [{"name": "The tare developers"}]
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"


def test_pre_commit_runs_what_make_lint_runs() -> None:
    config: dict[str, Any] = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == recipe("lint")
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in repository["hooks"])


def test_the_changelog_keeps_its_form() -> None:
    sections = re.findall(r"^## (.+)$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    kinds = re.findall(r"^### (.+)$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
