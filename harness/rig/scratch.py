"""The scratch directory of a run: it holds the disks under test, on one backing filesystem."""

import contextlib
import errno
import json
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ExitCode, TareError
from harness.model import Leftover, Skip, is_name

LABEL = ".tare-scratch"
RESERVE_MIB = 512  # must stay free: images, journal and the host itself use the same filesystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A run's scratch directory and the facts about its filesystem (see `filesystem_facts`)."""

    directory: Path
    facts: Mapping[str, str]


def missing_space(parent: Path, needs_mib: int, what: str = "disk") -> Skip | None:
    """The skip of `what` if the filesystem of `parent` has less than `needs_mib` MiB and a reserve free; else None."""
    existing = _nearest(parent)
    free = shutil.disk_usage(existing).free // 2**20
    if free >= needs_mib + RESERVE_MIB:
        return None
    return Skip(
        what=what,
        reason=f"needs {needs_mib + RESERVE_MIB} MiB of disk space ({RESERVE_MIB} MiB in reserve), "
        f"{existing} has {free} MiB free",
        fix=f"free {needs_mib + RESERVE_MIB - free} MiB there, or set TARE_STATE to a folder on a larger filesystem",
    )


@contextlib.contextmanager
def open_scratch(
    parent: Path, run: str, needs_mib: int = 0, *, beside: Mapping[str, Path] | None = None
) -> Iterator[Scratch]:
    """Create `parent`/`run` with its label file, yield it, and remove it with its content at the end.

    Leftovers of a killed attempt of the same run are removed first; hold the host lock. `beside` are directories by
    name (Docker's data root, the guests' disks); the facts compare their filesystems with this one. Raises TareError
    with HOST_NOT_FIT if space is missing, or if the directory exists, is a symbolic link or cannot be created.
    """
    if not is_name(run):
        raise TareError(f"{run!r} is not a valid name of a scratch directory", code=ExitCode.BAD_INPUT)
    if skip := missing_space(parent, needs_mib):
        raise TareError(f"the scratch directory {skip.reason}", hint=skip.fix, code=ExitCode.HOST_NOT_FIT)
    directory = parent / run
    _refuse_links(directory)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        if any(leftover.run == run for leftover in leftovers(parent)):
            _remove(directory)  # this run was killed and is being resumed
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()  # the run was killed before it wrote the label
        directory.mkdir(mode=0o711)
        # libvirt's user must be able to reach the guests' disks below, regardless of the umask.
        directory.chmod(0o711)
    except OSError as error:
        hint = "tare clean" if isinstance(error, FileExistsError) else "set TARE_STATE to a folder that you can write"
        raise TareError(
            f"cannot create {directory}", details=str(error), hint=hint, code=ExitCode.HOST_NOT_FIT
        ) from error
    try:
        (directory / LABEL).write_text(json.dumps({"run": run, "pid": os.getpid()}) + "\n", encoding="utf-8")
        yield Scratch(directory=directory, facts=filesystem_facts(directory, beside or {}))
    finally:
        _remove(directory)


def filesystem_facts(directory: Path, beside: Mapping[str, Path]) -> Mapping[str, str]:
    """Facts of the filesystem of `directory`: type, device, free MiB, O_DIRECT, and whether each `beside` is on it."""
    device = directory.stat().st_dev
    kind, source = _mount(directory)
    facts = {
        "filesystem": kind,
        "device": f"{os.major(device)}:{os.minor(device)} {source}",
        "free-mib": str(shutil.disk_usage(directory).free // 2**20),
        "o-direct": "yes" if _direct_works(directory) else "no",
    }
    for name, other in beside.items():
        facts[f"same-as-{name}"] = "yes" if _nearest(other).stat().st_dev == device else "no"
    return facts


def leftovers(parent: Path) -> list[Leftover]:
    """The scratch directories below `parent` that carry tare's label file."""
    found = []
    for directory in sorted(parent.iterdir()) if parent.is_dir() else []:
        if directory.is_symlink() or not directory.is_dir():
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            run = str(json.loads((directory / LABEL).read_text(encoding="utf-8")).get("run", ""))
            if run == directory.name:
                found.append(Leftover(kind="scratch", name=str(directory), run=run))
    return found


def remove(leftover: Leftover, parent: Path) -> None:
    """Remove a leftover scratch directory. Raises TareError unless it is in `parent` and carries its label file."""
    if leftover not in leftovers(parent):
        raise TareError(f"{leftover.name} is not a scratch directory of tare: its label file {LABEL} is missing")
    _remove(Path(leftover.name))


def _remove(directory: Path) -> None:
    if inside := [point for point in _mount_points() if point.is_relative_to(directory)]:
        details = "\n".join(map(str, inside))
        raise TareError(f"{directory} contains mounts and is kept", details=details, hint=f"umount {inside[-1]}")
    try:
        # The label is removed last, so that `tare clean` recognizes the directory after an interrupted removal.
        for entry in directory.iterdir():
            if entry.name != LABEL:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (directory / LABEL).unlink(missing_ok=True)
        directory.rmdir()
    except OSError as error:
        hint = f"chattr -R -i {directory}; tare clean" if error.errno == errno.EPERM else "tare clean"
        raise TareError(f"cannot remove {directory}", details=str(error), hint=hint) from error


def _refuse_links(directory: Path) -> None:
    for path in (directory.parent, directory):
        if path.is_symlink():
            raise TareError(
                f"{path} is a symbolic link",
                hint=f"rm {path}, or set TARE_STATE to {path.resolve().parent}",
                code=ExitCode.HOST_NOT_FIT,
            )


def _nearest(path: Path) -> Path:
    """`path` or its nearest ancestor that exists."""
    return next(candidate for candidate in (path, *path.absolute().parents) if candidate.exists())


def _mount_rows() -> Iterator[list[str]]:
    yield from (line.split() for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines())


def _mount_points() -> Iterable[Path]:
    return [Path(row[4].replace("\\040", " ")) for row in _mount_rows()]


def _mount(directory: Path) -> tuple[str, str]:
    """Filesystem type and source of the mount that contains `directory`, from mountinfo (proc(5))."""
    best: tuple[int, str, str] = (-1, "unknown", "")
    for row in _mount_rows():
        point = Path(row[4].replace("\\040", " "))
        if directory.resolve().is_relative_to(point) and len(point.parts) >= best[0]:
            tail = row[row.index("-") + 1 :]
            best = (len(point.parts), tail[0], tail[1])
    return best[1], best[2]


def _direct_works(directory: Path) -> bool:
    """Whether an aligned 4 KiB block can be written with O_DIRECT; some filesystems accept the flag but fail here."""
    probe = directory / ".o-direct"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600)
    except OSError:
        probe.unlink(missing_ok=True)
        return False
    try:
        with mmap.mmap(-1, 4096) as block:  # anonymous maps are page-aligned, as O_DIRECT requires
            return os.write(descriptor, block) == 4096
    except OSError:
        return False
    finally:
        os.close(descriptor)
        probe.unlink()
