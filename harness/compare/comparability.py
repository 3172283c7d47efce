"""What makes two sides unlike: warnings beside a comparison, and a refusal where it would mislead."""

from collections.abc import Iterator

from harness.compare.sides import Side
from harness.errors import bad_input
from harness.model import SOFTWARE
from harness.record.manifest import fact

HOST_FACTS = ("os", "kernel", "cpu_model", "mitigations", "clocksource", "governor", "smt", "thp", "cgroup")
COLUMNS = ("accelerator", "shape", "kernel")
LONGEST = 200


def check(before: Side, after: Side, allow_emulated: bool) -> None:
    """Raise TareError (bad input) where an emulated host stands against a real one, unless that is allowed."""
    software = [set(side.moments["host_virtualized"]) & SOFTWARE != set() for side in (before, after)]
    if software[0] != software[1] and not allow_emulated:
        side = before if software[0] else after
        raise bad_input(side.label, "was measured on an emulated host, the other side was not", "--allow emulated")


def warnings(before: Side, after: Side) -> list[str]:
    """What differs between the sides, in words. Facts that no manifest records are listed as unknown."""
    return [*_files(before, after), *_hosts(before, after), *_columns(before, after), *_manifests(before, after)]


def _files(before: Side, after: Side) -> Iterator[str]:
    first, second = ({file.samples.resolve() for file in side.files} for side in (before, after))
    if first == second:
        yield f"both sides are the same file{'s' if len(first) > 1 else ''}"


def _hosts(before: Side, after: Side) -> Iterator[str]:
    hosts = [set(map(str, side.moments["host"])) for side in (before, after)]
    if hosts[0] != hosts[1]:
        yield f"different hosts ({_listed(hosts[0])} and {_listed(hosts[1])}): use the normalized view only"


def _columns(before: Side, after: Side) -> Iterator[str]:
    for name in COLUMNS:
        kinds = [_by_variant(side, name) for side in (before, after)]
        for variant in sorted(kinds[0].keys() & kinds[1].keys()):
            first, second = kinds[0][variant], kinds[1][variant]
            if first != second:
                yield f"{variant}: {name} differs: {_listed(first)} and {_listed(second)}"


def _by_variant(side: Side, column: str) -> dict[str, set[str]]:
    rows = side.moments[["variant", column]].astype(str)
    if column == "shape":
        rows = rows.assign(shape=rows["shape"].str.partition("@")[0])
    return {
        str(variant): set(part[column]) - {""} for variant, part in rows.groupby("variant") if set(part[column]) - {""}
    }


def _manifests(before: Side, after: Side) -> Iterator[str]:
    blind = dict.fromkeys(side.label for side in (before, after) if any(not file.manifest for file in side.files))
    if blind:
        unknown = "root, tool versions, mitigations and clocksource are unknown"
        yield f"{unknown} (no manifest beside {' and '.join(blind)})"
    yield from _unlike("root (digest)", _facts(before, "root"), _facts(after, "root"))
    for name in HOST_FACTS:
        yield from _unlike(f"host: {name}", _facts(before, "host", name), _facts(after, "host", name))
    yield from _tables("version of", "versions", before, after)


def _tables(words: str, table: str, before: Side, after: Side) -> Iterator[str]:
    tables = [fact(file.manifest, table) for side in (before, after) for file in side.files]
    names = {str(name) for one in tables if isinstance(one, dict) for name in one}
    for name in sorted(names):
        yield from _unlike(f"{words} {name}", _facts(before, table, name), _facts(after, table, name))


def _facts(side: Side, *path: str) -> set[str]:
    values = [fact(file.manifest, *path) for file in side.files]
    return {str(value) for value in values if value not in (None, "", {}, [])}


def _unlike(what: str, first: set[str], second: set[str]) -> Iterator[str]:
    if first and second and first != second:
        yield f"{what} differs: {_listed(first)} and {_listed(second)}"


def _listed(values: set[str]) -> str:
    text = ", ".join(sorted(values))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
