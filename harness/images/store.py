"""The store of builds on this host: built once per recipe, under a lock, and verified before use."""

import contextlib
import fcntl
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from harness import process
from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, ExitCode, TareError
from harness.images import forms, guest, inventory, packages, recipe
from harness.images.inventory import DIRECTORY, INITRAMFS, KERNEL, MANIFEST, TAR, Manifest
from harness.images.recipe import AGENT, FIRST, INIT, PROGRAMS, Recipe
from harness.model import RootForms

Notify = Callable[[str], None]
KEPT_BUILDS = 9
KEPT_BASES = 6
KEPT_SYSTEMS = 4
"""The number of builds to keep. A run of all workloads uses three roots and three full systems; labs have their own."""
SPACE_NEEDED = 4 * 2**30


def ensure(recipe_file: Path, store: Path, deadline: Deadline, notify: Notify, *, rebuild: bool = False) -> RootForms:
    """The root in every form; builds it if the recipe has no build yet, or with `rebuild`.

    Raises TareError for a bad recipe, a missing program, too little space, no network, or an altered build.
    """
    wanted = recipe.read(recipe_file)
    inside = recipe.read_inside()
    folder = store / recipe.build_key(wanted, inside)
    if not rebuild and (folder / MANIFEST).is_file():
        return _use(folder)
    with locked(store, deadline, notify):
        if not rebuild and (folder / MANIFEST).is_file():
            return _use(folder)
        packages.check_tools()
        base = _base(wanted, store, deadline, notify)
        with partial(store) as work:
            _assemble(wanted, inside, base, work, deadline, notify)
            install(work, folder)
        prune(store)
        notify(f"root: built {folder}")
        return _use(folder)


def _use(folder: Path) -> RootForms:
    found = inventory.verify(folder)
    with contextlib.suppress(OSError):
        os.utime(folder)  # the oldest builds are removed first
    return found


def _base(wanted: Recipe, store: Path, deadline: Deadline, notify: Notify) -> Path:
    """The part of a build from packages; stored separately, so that a change of the agent does not repeat it."""
    folder = store / f"base-{recipe.base_key(wanted)}"
    if folder.is_dir():
        digest = folder / "sha256"
        if digest.is_file() and digest.read_text() == inventory.sha256(folder / TAR):
            os.utime(folder)
            return folder
        notify(f"root: {folder / TAR} was altered; rebuilding it")
    with partial(store) as work:
        packages.build(wanted, work, deadline, notify)
        inventory.store(work / "sha256", inventory.sha256(work / TAR).encode())
        install(work, folder)
    return folder


def _assemble(
    wanted: Recipe, inside: Mapping[str, bytes], base: Path, work: Path, deadline: Deadline, notify: Notify
) -> None:
    """Build every form of the root in `work`, from the base, the agent and the programs."""
    begun = time.monotonic()
    scratch = work / "packages"
    scratch.mkdir()
    unpacked = guest.unpack(base / "packages", scratch, deadline)
    programs = {name: guest.compiled(inside[f"{name}.c"], scratch, deadline) for name in PROGRAMS}
    shutil.copyfile(base / TAR, work / TAR)
    with tarfile.open(work / TAR, "a", format=tarfile.GNU_FORMAT) as archive:
        packages.add_directory(archive, set(archive.getnames()), "/opt/tare", wanted.epoch)
        for name in (AGENT, FIRST):
            packages.add_file(archive, f"/opt/tare/{name}", inside[name], 0o644, wanted.epoch)
        for name, program in programs.items():
            packages.add_file(archive, f"/opt/tare/{name}", program, 0o755, wanted.epoch)
    shutil.copyfile(unpacked.kernel, work / KERNEL)
    first = guest.initramfs(wanted.guest, unpacked, programs["beacon"], inside[INIT], wanted.epoch)
    inventory.store(work / INITRAMFS, first)
    shutil.rmtree(scratch)
    key = recipe.build_key(wanted, inside)
    forms.derive(work, key, wanted.epoch, wanted.free_mib, deadline, notify)
    notify("root: calculating digests")
    finish(work, _describe(wanted, base, work, key, unpacked.release, time.monotonic() - begun))


def _describe(wanted: Recipe, base: Path, work: Path, key: str, release: str, seconds: float) -> Manifest:
    measured = inventory.measure_forms(work)
    return Manifest(
        key=key,
        recipe=recipe.base_key(wanted),
        digest=measured[TAR].sha256,
        kernel_release=release,
        kernel_package=next(file.name for file in (base / "packages").glob("linux-image-*.deb")),
        seconds=round(seconds, 1),
        forms=measured,
        packages=installed(work / DIRECTORY, Deadline.after(30)),
        tools=packages.tool_versions(),
    )


def installed(root: Path, deadline: Deadline) -> dict[str, str]:
    """The packages in a root: versions by name."""
    query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\n"]
    lines = process.run(query, deadline).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def finish(work: Path, described: Manifest) -> None:
    """Make the files of a build read-only and durable, and write its manifest and seal."""
    for name in inventory.FILES:
        path = work / name
        path.chmod(0o444)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    inventory.write(work, described)


def install(work: Path, folder: Path) -> None:
    """Replace `folder` by the finished folder `work`."""
    work.chmod(0o755)
    if folder.exists():
        old = work.with_name(f"{work.name}-old")
        folder.rename(old)
        work.rename(folder)
        shutil.rmtree(old)
    else:
        work.rename(folder)


@contextlib.contextmanager
def partial(store: Path) -> Iterator[Path]:
    """Yield a temporary folder for a build; it is removed at the end unless it was installed."""
    work = Path(tempfile.mkdtemp(prefix=".partial-", dir=store))
    work.chmod(0o755)  # apt's own user and mmdebstrap's user ids work below it
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def locked(store: Path, deadline: Deadline, notify: Notify) -> Iterator[None]:
    """Hold the store's lock; waits for another builder until the deadline. Removes leftovers of killed builds.

    Raises TareError if the store is not writable or has too little space, and DeadlineExceeded.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        lock = (store / "lock").open("a")
    except OSError as error:
        raise TareError(
            f"cannot write to {store}", details=str(error), hint="set TARE_STATE to a folder that you can write"
        ) from error
    with lock:
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    notify("root: waiting for another process that builds it")
                waiting = True
                if deadline.left == 0:
                    raise DeadlineExceeded(
                        "another build of the root did not end in time", details=str(store)
                    ) from None
                time.sleep(0.1)
        for leftover in store.glob(".partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        _check_space(store)
        yield


def _check_space(store: Path) -> None:
    free = shutil.disk_usage(store).free
    if free < SPACE_NEEDED:
        raise TareError(
            f"too little disk space for images: {free >> 20} MiB at {store}, {SPACE_NEEDED >> 20} MiB needed",
            hint="free disk space, or set TARE_STATE to a folder on a larger disk",
            code=ExitCode.HOST_NOT_FIT,
        )


def prune(store: Path) -> None:
    """Remove the least recently used builds; several are kept, because a run may use an older build."""
    kinds = (("[0-9a-f]" * 16, KEPT_BUILDS), ("base-*", KEPT_BASES), ("system-*", KEPT_SYSTEMS))
    for pattern, kept in kinds:
        folders = sorted(store.glob(pattern), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in folders[kept:]:
            shutil.rmtree(folder, ignore_errors=True)
