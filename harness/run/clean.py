"""`tare clean`: removes what interrupted runs left, by label only, and lists what it cannot remove."""

import itertools
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness import paths, process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host import daemons
from harness.host.tracing import TracerSweep
from harness.model import Leftover, Skip
from harness.rig.leftovers import RigSweep
from harness.run.preview import answers
from harness.runtimes.catalog import load_catalog

REMOVE_SECONDS = 30.0
LANES = 8
"""How many of those that may go beside each other are removed at a time: as many as density removes of its own."""
STATE_FOLDERS = ("images", "docker", "libvirt", "lab")


class Sweeper(Protocol):
    """Something that can find what carries our label, and remove it: a runtime, or the rig."""

    def leftovers(self) -> Iterable[Leftover]:
        """What is left, in the order in which it can be removed."""
        ...

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one, from any thread if it is `beside`; raises TareError when it cannot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What was removed, and what could not be, with the reason."""

    removed: tuple[Leftover, ...]
    stuck: tuple[Skip, ...]


def clean(sweepers: Sequence[tuple[str, Sweeper]], deadline: Deadline, run: str = "") -> Cleaned:
    """Sweep with each of the named sweepers; with `run` only what that run left.

    One that fails does not keep the others from sweeping, nor one leftover the rest.
    """
    removed: list[Leftover] = []
    stuck: list[Skip] = []
    for name, sweeper in sweepers:
        try:
            found = [one for one in sweeper.leftovers() if not run or one.run == run]
        except TareError as error:
            stuck.append(Skip(what=name, reason=f"cannot look: {error.brief}", fix=error.hint))
            continue
        for leftover, problem in zip(found, _remove(sweeper, found, deadline), strict=True):
            if problem is None:
                removed.append(leftover)
            else:
                stuck.append(problem)
    return Cleaned(removed=tuple(removed), stuck=tuple(stuck))


def _remove(sweeper: Sweeper, found: Sequence[Leftover], deadline: Deadline) -> list[Skip | None]:
    """Why each of `found` could not be removed, None where it was; no kind is begun before the one ahead of it is done.

    An interrupt waits for those under way, and begins no more.
    """

    def tried(leftover: Leftover) -> Skip | None:
        try:
            sweeper.remove(leftover, deadline.within(REMOVE_SECONDS))
        except TareError as error:
            return Skip(what=f"{leftover.kind} {leftover.name}", reason=error.brief, fix=error.hint)
        return None

    problems: list[Skip | None] = []
    pool = ThreadPoolExecutor(LANES, thread_name_prefix="clean")
    try:
        for (_, beside), alike in itertools.groupby(found, lambda one: (one.kind, one.beside)):
            go: Callable[..., Iterable[Skip | None]] = pool.map if beside else map
            problems += go(tried, alike)
    finally:
        pool.shutdown(cancel_futures=True)
    return problems


def clean_host(deadline: Deadline, say: Callable[[str], None], *, run: str = "") -> Cleaned:
    """Remove what any interrupted run left: what dead daemons left first, then instances, then the rig.

    With `run`, of instances and rig only that run's; daemons of the dead have no owner that could want them.
    Containers of a private dockerd that was killed are in its data folder: it is started again to be asked for them.
    Call it under the host lock.
    """
    stale = daemons.leftovers(paths.runtime(), deadline)
    removed = [Leftover(kind=one.kind, name=one.name) for one in stale]
    shutil.rmtree(paths.instances(), ignore_errors=True)
    daemons.sweep(paths.runtime(), deadline)
    catalog = load_catalog()
    wanted = {one.daemon for one in catalog.runtimes.values() if one.daemon and one.variants}
    if not (paths.state() / "docker").exists():
        wanted -= {name for name in wanted if not answers(name)}
    try:
        with daemons.open_daemons(paths.runtime(), paths.state(), wanted, deadline, say) as found:
            sweepers: list[tuple[str, Sweeper]] = []
            for name, runtime in catalog.runtimes.items():
                if address := found.address(runtime.daemon):
                    runtime.connect(address)
                if address or not runtime.daemon:
                    sweepers.append((name, runtime))
            rig = RigSweep(netns=found.netns, docker_url=found.docker_url, scratch=paths.state() / "scratch")
            done = clean([*sweepers, ("rig", rig), ("tracer", TracerSweep())], deadline, run)
    finally:
        catalog.close()
    return Cleaned(removed=(*removed, *done.removed), stuck=done.stuck)


def remove_images() -> list[Path]:
    """Remove the root, its forms, and the data of private daemons; the next run builds them again.

    Raises TareError when something is mounted below them, or they cannot be removed.
    """
    gone = [folder for name in STATE_FOLDERS if (folder := paths.state() / name).is_dir() and not folder.is_symlink()]
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for folder in gone:
        if below := [point for point in mounted if Path(point).is_relative_to(folder)]:
            raise TareError(f"{below[0]} is mounted", hint=f"umount {below[0]}, then tare clean --images")
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise TareError(f"cannot remove {folder}", details=str(error), hint="run as its owner") from error
    return gone


def remove_packages(deadline: Deadline) -> list[str]:
    """Remove the system packages that `make` installed and nothing else; returns their names.

    Raises TareError when that would take other packages along, or without the rights to do it.
    """
    ledger = paths.state() / "packages.installed"
    names = sorted(set(ledger.read_text().split())) if ledger.is_file() else []
    said = process.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], deadline).stdout
    there = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
    names = [name for name in names if name in there]
    if not names:
        return []
    plan = process.run(["apt-get", "--simulate", "remove", *names], deadline).stdout
    along = {line.split()[1] for line in plan.splitlines() if line.startswith("Remv ")} - set(names)
    if along:
        raise TareError(
            "other packages need what tare installed", details=", ".join(sorted(along)), hint="remove those first"
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    process.run(["apt-get", "--yes", "--quiet", "remove", *names], deadline, env=quiet)
    ledger.unlink()
    return names
