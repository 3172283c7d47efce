"""Scenarios of lifecycle operations: each leaves the instance running and returns its figures.

Figures are seconds, except `size`, which is bytes. A `start` ends at `ready`, of a full system at `service`. A
`downtime` is the longest time in which a client outside got no answer around an operation, less the time that the
harness itself waited in it.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from harness.errors import TareError
from harness.measures.lifecycle.scene import MS, Scene
from harness.runtimes.capabilities import Clonable, Migratable, Pausable, Persistent, Savable, Snapshottable, Stoppable

Figures = Mapping[str, float]


def pause(scene: Scene) -> Figures:
    """Pause and resume: no client may get an answer meanwhile, and nothing may be lost."""
    able = scene.able(Pausable)
    before = scene.hold()
    with scene.watched() as seen:
        paused = scene.timed(able.pause)
        time.sleep(scene.number("pause_ms") * MS)
        resumed = scene.timed(able.resume)
        scene.settle()
    scene.compare("pause and resume", before, must=True)
    scene.release()
    gap, held = seen.gap(paused.begin, resumed.end), resumed.begin - paused.end
    if gap <= held:
        details = f"longest silence {gap:.3f} s, paused for {held:.3f} s"
        raise TareError("the instance answered while it was paused", details=details)
    return {"pause": paused.seconds, "resume": resumed.seconds, "downtime": gap - held}


def stop(scene: Scene) -> Figures:
    """Stop and start, then kill and start."""
    able = scene.able(Stoppable)
    before = scene.hold()
    with scene.watched() as seen:
        stopped = scene.timed(able.stop)
        started = scene.started(able.start)
        scene.hold()
        scene.settle()
    scene.compare("stop and start", before, must=False)
    killed = scene.timed(able.kill)
    again = scene.started(able.start)
    return {
        "stop": stopped.seconds,
        "start": started.seconds,
        "kill": killed.seconds,
        "start-after-kill": again.seconds,
        "downtime": seen.gap(stopped.begin, started.end),
    }


def snapshot(scene: Scene) -> Figures:
    """Take a snapshot of the running instance, overwrite a file, and restore the snapshot."""
    able = scene.able(Snapshottable)
    before, (kept, _) = scene.hold(), scene.write()
    with scene.watched() as seen:
        taken = scene.timed(able.take)
        scene.settle()
    size = able.size()
    scene.write()
    with scene.watched() as again:
        restored = scene.started(able.restore) if able.fresh else scene.timed(able.restore)
        if able.fresh:
            scene.hold()
        scene.settle()
    scene.compare("snapshot and return", before, must=not able.fresh)
    found, _ = scene.read()
    scene.survived["snapshot and return"]["file as in the snapshot"] = found == kept
    if found != kept:
        details = f"{kept} before, {found} after"
        raise TareError("a file does not match the snapshot after restore", details=details)
    scene.release()
    able.drop(scene.deadline)
    return {
        "take": taken.seconds,
        "take-downtime": seen.gap(taken.begin, taken.end),
        "restore": restored.seconds,
        "restore-downtime": again.gap(restored.begin, restored.end),
        **({} if size is None else {"size": float(size)}),
    }


def save(scene: Scene) -> Figures:
    """Save instance state to disk and restore it."""
    able = scene.able(Savable)
    before, (kept, _) = scene.hold(), scene.write()
    with scene.watched() as seen:
        saved = scene.timed(able.save)
        size = able.size()
        restored = scene.timed(able.restore)
        scene.settle()
    scene.compare("save and restore", before, must=True)
    scene.survived["save and restore"]["file"] = scene.read()[0] == kept
    scene.release()
    downtime = seen.gap(saved.begin, restored.end) - (restored.begin - saved.end)
    figures = {"save": saved.seconds, "restore": restored.seconds, "downtime": downtime}
    return figures if size is None else {**figures, "size": float(size)}


class Kept:
    """Files in every kind of storage that an instance has; only the first kind is timed."""

    def __init__(self, scene: Scene, folders: Mapping[str, str]) -> None:
        self._scene, self._folders = scene, folders
        self._digests: dict[str, str] = {}

    def write(self) -> float:
        """Write the missing files. Returns the seconds for that of the first kind."""
        missing = [name for name in self._folders if name not in self._digests]
        written = {name: self._scene.write(self._folders[name]) for name in missing}
        self._digests |= {name: digest for name, (digest, _) in written.items()}
        return written.get(next(iter(self._folders)), ("", 0.0))[1]

    def check(self, step: str) -> float:
        """Record which files are intact. Returns the seconds to read that of the first kind."""
        found = {name: self._scene.read(folder) for name, folder in self._folders.items()}
        intact = {name: digest == self._digests[name] for name, (digest, _) in found.items()}
        self._scene.survived[step] = {f"file: {name}": same for name, same in intact.items()}
        self._digests = {name: digest for name, digest in self._digests.items() if intact[name]}
        return found[next(iter(self._folders))][1]


def persist(scene: Scene) -> Figures:
    """Stop, kill and recreate an instance with files in every kind of storage that it has."""
    able, persistent = scene.able(Stoppable), scene.able(Persistent)
    kept = Kept(scene, persistent.storages)
    writing = kept.write()
    stopped = scene.timed(able.stop)
    started = scene.started(able.start)
    reading = kept.check("stop and start")
    kept.write()
    killed = scene.timed(able.kill)
    again = scene.started(able.start)
    kept.check("kill and start")
    kept.write()
    scene.timed(able.stop)
    anew = scene.started(persistent.recreate)
    kept.check("recreation")
    return {
        "write": writing,
        "read": reading,
        "stop": stopped.seconds,
        "start": started.seconds,
        "kill": killed.seconds,
        "start-after-kill": again.seconds,
        "recreate": anew.seconds,
    }


def clone(scene: Scene) -> Figures:
    """Make a template, and clone it in each way that the runtime has; seconds from the request to ready."""
    able, ends = scene.able(Clonable), scene.able(Stoppable)
    kept, _ = scene.write()
    scene.timed(ends.stop)
    able.freeze(scene.deadline)
    figures: dict[str, float] = {}
    for number, (way, operation) in enumerate(able.ways.items()):
        if number:
            scene.timed(ends.stop)
        figures[way] = scene.started(operation).seconds
        found, _ = scene.read()
        scene.survived[f"{way} clone"] = {"file of the template": found == kept}
        if found != kept:
            details = f"{kept} in the template, {found} in the clone"
            raise TareError(f"template file missing or changed in the {way} clone", details=details)
    return figures


def migrate(scene: Scene) -> Figures:
    """Migrate the running instance to another daemon on this host."""
    able = scene.able(Migratable)
    able.ready(scene.deadline)
    before, (kept, _) = scene.hold(), scene.write()
    with scene.watched() as seen:
        moved = scene.timed(able.migrate)
        scene.settle()
    scene.compare("migration", before, must=True)
    scene.survived["migration"]["file"] = scene.read()[0] == kept
    scene.release()
    return {"migrate": moved.seconds, "downtime": seen.gap(moved.begin, moved.end)}


class Scenario(NamedTuple):
    """A scenario and the names of the figures that it can return."""

    run: Callable[[Scene], Figures]
    figures: tuple[str, ...]


SCENARIOS: Mapping[str, Scenario] = {
    "pause": Scenario(pause, ("pause", "resume", "downtime")),
    "stop": Scenario(stop, ("stop", "start", "kill", "start-after-kill", "downtime")),
    "snapshot": Scenario(snapshot, ("take", "take-downtime", "restore", "restore-downtime", "size")),
    "save": Scenario(save, ("save", "restore", "downtime", "size")),
    "persist": Scenario(persist, ("write", "stop", "start", "read", "kill", "start-after-kill", "recreate")),
    "clone": Scenario(clone, ("linked", "full")),
    "migrate": Scenario(migrate, ("migrate", "downtime")),
}
