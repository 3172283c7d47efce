"""Every fix that an error, skip or finding names exists: commands, options, make targets, packages and variables."""

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from harness import paths
from harness.cli.parser import parser

HARNESS = paths.CHECKOUT / "harness"
UNKNOWN = "…"
"""Stands for a value that is known only at run time."""
KEYWORDS = ("hint", "fix")
INPUT_ERRORS = ("bad_input", "FieldError")
"""Functions and classes whose first argument is an option or place, and whose third argument is a fix."""
PROSE = ("as", "cannot", "exported", "is", "it", "on", "uses")
"""Words that may follow `tare` or `make` in a sentence."""
OPTIONS = {
    "apt-get": ("--no-install-recommends", "--no-remove"),
    "pip": ("--no-deps", "--require-hashes"),
}
"""The options that hints may pass to other programs."""
OTHER_PACKAGES = ("containerd", "docker.io", "dpkg", "runc", "systemd", "tar", "uidmap")
"""Debian packages in hints that no list contains: those of Docker, of every Debian, and of unprivileged builds."""


def test_every_hint_names_things_that_exist() -> None:
    hints = [(place, text) for path in sorted(HARNESS.rglob("*.py")) for place, text in hints_of(path)]
    assert len(hints) > 250
    assert [f"{place}: {problem}" for place, text in hints for problem in problems(text)] == []


@pytest.mark.parametrize(
    ("hint", "named"),
    [
        ("choose a smaller shape with --memory", "--memory"),
        ("pip install --upgrade tare-bench", "--upgrade"),
        ("pip install tare-bench", "tare-bench"),
        ("umount /x, then tare clean --image", "--image"),
        ("tare run --keep 3", "--keep"),
        ("tare cleanse", "cleanse"),
        ("make image", "image"),
        ("sudo apt-get install --no-install-recommends nonesuch tini", "nonesuch"),
        ("apt-get install --yes tini", "--yes"),
        ("set TARE_STAT to another folder", "TARE_STAT"),
    ],
)
def test_a_hint_that_names_something_else_is_found(hint: str, named: str) -> None:
    assert [problem for problem in problems(hint) if named in problem]


@pytest.mark.parametrize(
    "hint",
    [
        "free disk space, then: tare run --resume latest",
        "choose another folder with --out",
        "tare clean --images; make images",
        "make bench SUITE=smoke, or run tare as root",
        "sudo apt-get install --no-remove tini bubblewrap, and allow user namespaces",
        "set TARE_STATE to a folder on a larger disk",
    ],
)
def test_a_hint_whose_names_exist_is_accepted(hint: str) -> None:
    assert list(problems(hint)) == []


def problems(hint: str) -> Iterator[str]:
    """What the hint names and does not exist."""
    for name in re.findall(r"\bTARE_[A-Z_]+", hint):
        if name not in variables():
            yield f"nothing reads {name}"
    for target in re.findall(r"\bmake ([a-z][a-z-]*)", hint):
        if target not in targets() and target not in PROSE:
            yield f"the Makefile has no target {target}"
    for command in re.findall(r"\btare ([a-z][a-z-]*)", hint):
        if command not in commands() and command not in PROSE:
            yield f"tare has no command {command}"
    for packages in re.findall(r"\bapt-get install ([^;,()]*)", hint):
        yield from _unknown(packages, debian_packages(), "no package list has")
    for packages in re.findall(r"\bpip install ([^;,()]*)", hint):
        yield from _unknown(packages, python_packages(), "no lock file has")
    for part in re.split(r"[;,()`]|: ", hint):
        yield from _options(part)


def _unknown(words: str, known: frozenset[str], problem: str) -> Iterator[str]:
    for word in words.split():
        if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word) and word not in known:
            yield f"{problem} {word}"


def _options(part: str) -> Iterator[str]:
    """The options in one command that its program, or without a program every command of tare, does not have."""
    known = {option for options in commands().values() for option in options}
    for word in part.split():
        if word in OPTIONS:
            known = set(OPTIONS[word])
    if found := re.search(r"\btare ([a-z]+)", part):
        known = set(commands().get(found[1], known))
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", part):
        if option not in known:
            yield f"there is no option {option} in “{part.strip()}”"


def hints_of(path: Path) -> Iterator[tuple[str, str]]:
    """Every hint of a module with its place; parts that are known only at run time are `UNKNOWN`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for value in _values(node):
            for text in _texts(value, tree):
                yield f"{path.relative_to(paths.CHECKOUT)}:{value.lineno}", text


def _values(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions of a node that hold a hint."""
    match node:
        case ast.Call(func=function, args=arguments, keywords=keywords):
            yield from (keyword.value for keyword in keywords if keyword.arg in KEYWORDS)
            if len(arguments) > 2 and ast.unparse(function).rpartition(".")[2] in INPUT_ERRORS:
                yield from (arguments[0], arguments[2])
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in KEYWORDS:
            yield value
        case ast.Assign(targets=[ast.Subscript(value=ast.Attribute(attr="fixes"))], value=value):
            yield value
        case ast.Yield(value=ast.Tuple(elts=[_, _, value])):
            yield value
        case ast.For(target=ast.Tuple(elts=names), iter=ast.Name(id=table)):
            for index, one in enumerate(names):
                if isinstance(one, ast.Name) and one.id in KEYWORDS:
                    yield from _column(table, index)
        case ast.Constant(value=str() as text) if "fix: " in text:
            yield ast.copy_location(ast.Constant(text.partition("fix: ")[2]), node)
        case _:
            pass


def _column(table: str, index: int) -> Iterator[ast.expr]:
    for rows in constants()[table]:
        if isinstance(rows, ast.Tuple | ast.List):
            yield from (row.elts[index] for row in rows.elts if isinstance(row, ast.Tuple))


def _texts(value: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The texts that an expression may have."""
    match value:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(_part(part, tree) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield "".join(next(_texts(side, tree), UNKNOWN) for side in (left, right))
        case _:
            for one in _alternatives(value, tree):
                yield from _texts(one, tree)


def _alternatives(value: ast.expr, tree: ast.Module) -> Iterator[ast.expr]:
    """The expressions that another one may stand for; looks up constants, and functions of the same module."""
    match value:
        case ast.IfExp(body=body, orelse=other):
            yield from (body, other)
        case ast.BoolOp(values=values) | ast.Dict(values=values) | ast.Subscript(value=ast.Dict(values=values)):
            yield from values
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper():
            yield from constants_of(tree).get(name) or constants()[name]
        case ast.Call(func=ast.Name(id=name)):
            functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == name]
            for returned in (one for function in functions for one in ast.walk(function)):
                if isinstance(returned, ast.Return) and returned.value is not None:
                    yield returned.value
        case _:
            pass


def _part(part: ast.expr, tree: ast.Module) -> str:
    inner = part.value if isinstance(part, ast.FormattedValue) else part
    return next(_texts(inner, tree), UNKNOWN)


@cache
def constants() -> dict[str, list[ast.expr]]:
    """The values of the module-level constants of the whole tree, by name."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for path in HARNESS.rglob("*.py"):
        for name, values in constants_of(ast.parse(path.read_text(encoding="utf-8"))).items():
            found[name] += values
    return found


def constants_of(tree: ast.Module) -> dict[str, list[ast.expr]]:
    """The values of the module-level constants of one module, by name."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name.isupper():
                found[name].append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name.isupper():
                found[name].append(value)
            case _:
                pass
    return found


@cache
def commands() -> dict[str, frozenset[str]]:
    """The commands of tare with their options."""
    whole = parser()
    choices = next(one.choices for one in whole._actions if isinstance(one, argparse._SubParsersAction))
    return {
        name: frozenset(option for action in one._actions for option in action.option_strings)
        for name, one in choices.items()
    }


@cache
def targets() -> frozenset[str]:
    """The targets of the Makefile."""
    makefile = (paths.CHECKOUT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


@cache
def debian_packages() -> frozenset[str]:
    """The Debian packages that setup installs, and `OTHER_PACKAGES`."""
    lists = (*(HARNESS / "setup").glob("*.txt"), paths.CHECKOUT / "tests/packages.txt")
    lines = [line for path in lists for line in path.read_text(encoding="utf-8").splitlines()]
    return frozenset(line.strip() for line in lines if line and not line.startswith("#")) | {*OTHER_PACKAGES}


@cache
def python_packages() -> frozenset[str]:
    """The Python packages in the lock files."""
    locks = "\n".join(path.read_text(encoding="utf-8") for path in paths.CHECKOUT.glob("requirements*.lock"))
    return frozenset(re.findall(r"^([A-Za-z0-9._-]+)==", locks, re.MULTILINE))


@cache
def variables() -> frozenset[str]:
    """The environment variables of tare that its programs read."""
    programs = [path.read_text(encoding="utf-8") for path in HARNESS.rglob("*") if path.suffix in (".py", ".sh")]
    return frozenset(
        name for text in programs for name in re.findall(r"""["'](TARE_[A-Z_]+)["']|\$\{?(TARE_[A-Z_]+)""", text)
        for name in name if name
    )  # fmt: skip
