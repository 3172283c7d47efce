"""`tare clean`: remove the leftovers of interrupted runs, by label only, and list what cannot be removed."""

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
from harness.plugins import contained
from harness.rig.leftovers import RigSweep
from harness.run.preview import answers
from harness.runtimes.catalog import load_catalog

REMOVE_SECONDS = 30.0
LANES = 8
"""The number of leftovers that are removed concurrently, if they allow it; the same as in the density measure."""
STATE_FOLDERS = ("images", "docker", "libvirt", "lab")


class Sweeper(Protocol):
    """Finds and removes leftovers that carry tare's label: a runtime, the rig, or the tracer."""

    def leftovers(self) -> Iterable[Leftover]:
        """The leftovers, in the order in which they can be removed."""
        ...

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one leftover, in any thread if it is `beside`. Raises TareError if that fails."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """The removed leftovers, and those that could not be removed, with reason and fix."""

    removed: tuple[Leftover, ...]
    stuck: tuple[Skip, ...]


def clean(sweepers: Sequence[tuple[str, Sweeper]], deadline: Deadline, run: str = "") -> Cleaned:
    """Remove the leftovers that each named sweeper finds; with `run`, only those of that run.

    A failure of one sweeper or of one leftover does not stop the others.
    """
    removed: list[Leftover] = []
    stuck: list[Skip] = []
    for name, sweeper in sweepers:
        try:
            with contained(name, sweeper):
                found = [_checked(one) for one in sweeper.leftovers()]
        except TareError as error:
            stuck.append(Skip(what=name, reason=f"cannot list leftovers: {error.brief}", fix=error.hint))
            continue
        found = [one for one in found if not run or one.run == run]
        for leftover, problem in zip(found, _remove(name, sweeper, found, deadline), strict=True):
            if problem is None:
                removed.append(leftover)
            else:
                stuck.append(problem)
    return Cleaned(removed=tuple(removed), stuck=tuple(stuck))


def _checked(leftover: object) -> Leftover:
    if not isinstance(leftover, Leftover):
        raise TypeError(f"leftovers returned {leftover!r:.60}, not a Leftover")
    return leftover


def _remove(name: str, sweeper: Sweeper, found: Sequence[Leftover], deadline: Deadline) -> list[Skip | None]:
    """Remove the leftovers, one kind after the other; for each, None or why it could not be removed.

    After an interrupt, running removals are completed and no further ones are started.
    """

    def tried(leftover: Leftover) -> Skip | None:
        try:
            with contained(name, sweeper):
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


def clean_host(deadline: Deadline, notify: Callable[[str], None], *, run: str = "") -> Cleaned:
    """Remove the leftovers of interrupted runs: first those of dead daemons, then instances, then the rig's.

    With `run`, only the instances and rig leftovers of that run; leftovers of dead daemons are always removed, because
    no live process owns them. A private dockerd that was killed is started again, because its data folder holds the
    containers. Hold the host lock.
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
        with daemons.open_daemons(paths.runtime(), paths.state(), wanted, deadline, notify) as found:
            sweepers: list[tuple[str, Sweeper]] = []
            for name, runtime in catalog.runtimes.items():
                if address := found.address(runtime.daemon):
                    catalog.connect(name, address)
                if (address or not runtime.daemon) and name not in catalog.failed:
                    sweepers.append((name, runtime))
            rig = RigSweep(netns=found.netns, docker_url=found.docker_url, scratch=paths.state() / "scratch")
            done = clean([*sweepers, ("rig", rig), ("tracer", TracerSweep())], deadline, run)
    finally:
        catalog.close()
    failed = (Skip(what=name, reason=one.reason, fix=one.fix) for name, one in catalog.failed.items())
    return Cleaned(removed=(*removed, *done.removed), stuck=(*failed, *done.stuck))


def remove_images() -> list[Path]:
    """Remove the root, its forms and the data of private daemons; the next run builds them again.

    Returns the removed folders. Raises TareError if a folder contains a mount or cannot be removed.
    """
    gone = [folder for name in STATE_FOLDERS if (folder := paths.state() / name).is_dir() and not folder.is_symlink()]
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for folder in gone:
        if below := [point for point in mounted if Path(point).is_relative_to(folder)]:
            raise TareError(
                f"cannot remove {folder}: {below[0]} is mounted", hint=f"umount {below[0]}; tare clean --images"
            )
        try:
            shutil.rmtree(folder)
        except OSError as error:
            hint = f"run as the owner of {folder}: tare clean --images"
            raise TareError(f"cannot remove {folder}", details=str(error), hint=hint) from error
    return gone


def remove_packages(deadline: Deadline) -> list[str]:
    """Remove the system packages that `make` installed, and nothing else; returns their names.

    Raises TareError if other packages depend on them, or if the user lacks the privileges.
    """
    ledger = paths.state() / "packages.installed"
    names = sorted(set(ledger.read_text().split())) if ledger.is_file() else []
    listed = process.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], deadline).stdout
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    names = [name for name in names if name in installed]
    if not names:
        return []
    plan = process.run(["apt-get", "--simulate", "remove", *names], deadline).stdout
    dependent = {line.split()[1] for line in plan.splitlines() if line.startswith("Remv ")} - set(names)
    if dependent:
        raise TareError(
            "other packages depend on the packages that tare installed",
            details=", ".join(sorted(dependent)),
            hint=f"apt-get remove {' '.join(sorted(dependent))}, or keep the packages",
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    process.run(["apt-get", "--yes", "--quiet", "remove", *names], deadline, env=quiet)
    ledger.unlink()
    return names
