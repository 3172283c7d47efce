"""The scratch directory of a run: space for the disks under test, on one backing filesystem, ours alone."""

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
RESERVE_MIB = 512  # what must stay free besides: images, journal and the host itself live on the same filesystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A run's scratch directory and what its filesystem is."""

    directory: Path
    facts: Mapping[str, str]


def missing_space(parent: Path, needs_mib: int, what: str = "disk") -> Skip | None:
    """None when the filesystem of `parent` holds `needs_mib` MiB and a reserve; else the skip, with reason and fix."""
    there = _nearest(parent)
    free = shutil.disk_usage(there).free // 2**20
    if free >= needs_mib + RESERVE_MIB:
        return None
    return Skip(
        what=what,
        reason=f"needs {needs_mib} MiB of disk and {RESERVE_MIB} MiB to spare, {there} has {free} MiB free",
        fix=f"free {needs_mib + RESERVE_MIB - free} MiB there, or set TARE_STATE to a larger filesystem",
    )


@contextlib.contextmanager
def open_scratch(
    parent: Path, run: str, needs_mib: int = 0, *, beside: Mapping[str, Path] | None = None
) -> Iterator[Scratch]:
    """Create `parent`/`run` with its label file, yield it, and remove it with all that is in it.

    What a killed attempt of the same run left there is removed first; hold the host lock.

    `beside` names directories (Docker's data root, the guests' disks) whose filesystem the facts compare with this one.
    Raises TareError with HOST_NOT_FIT when space is missing, when the directory exists or is not safely ours.
    """
    if not is_name(run):
        raise TareError(f"{run!r} cannot name a scratch directory", code=ExitCode.BAD_INPUT)
    if skip := missing_space(parent, needs_mib):
        raise TareError(f"scratch {skip.reason}", hint=skip.fix, code=ExitCode.HOST_NOT_FIT)
    directory = parent / run
    _refuse_links(directory)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        if any(leftover.run == run for leftover in leftovers(parent)):
            _remove(directory)  # this very run was killed and is being resumed
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()  # killed before it had its label
        directory.mkdir(mode=0o711)
        # Guests' disks lie below, and libvirt's user must pass through whatever the umask is.
        directory.chmod(0o711)
    except OSError as error:
        hint = "tare clean" if isinstance(error, FileExistsError) else "set TARE_STATE to a directory of your own"
        raise TareError(
            f"cannot create {directory}", details=str(error), hint=hint, code=ExitCode.HOST_NOT_FIT
        ) from error
    try:
        (directory / LABEL).write_text(json.dumps({"run": run, "pid": os.getpid()}) + "\n", encoding="utf-8")
        yield Scratch(directory=directory, facts=filesystem_facts(directory, beside or {}))
    finally:
        _remove(directory)


def filesystem_facts(directory: Path, beside: Mapping[str, Path]) -> Mapping[str, str]:
    """Type, device, free MiB and O_DIRECT of the filesystem of `directory`, and whether each of `beside` is on it."""
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
    """The scratch directories below `parent` that carry our label file."""
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
    """Remove a leftover scratch directory; raises TareError unless it lies in `parent` and carries its label."""
    if leftover not in leftovers(parent):
        raise TareError(f"{leftover.name} is not a scratch directory of ours")
    _remove(Path(leftover.name))


def _remove(directory: Path) -> None:
    if inside := [point for point in _mount_points() if point.is_relative_to(directory)]:
        details = "\n".join(map(str, inside))
        raise TareError(f"{directory} holds mounts and is left alone", details=details, hint=f"umount {inside[-1]}")
    try:
        # The label goes last: a removal that is cut short must leave something that `tare clean` still knows.
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
                hint=f"remove the link, or set TARE_STATE to {path.resolve().parent}",
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
    """Filesystem type and source of the mount on which `directory` lies, from mountinfo (proc(5))."""
    best: tuple[int, str, str] = (-1, "unknown", "")
    for row in _mount_rows():
        point = Path(row[4].replace("\\040", " "))
        if directory.resolve().is_relative_to(point) and len(point.parts) >= best[0]:
            tail = row[row.index("-") + 1 :]
            best = (len(point.parts), tail[0], tail[1])
    return best[1], best[2]


def _direct_works(directory: Path) -> bool:
    """Whether one aligned 4 KiB block can be written with O_DIRECT; some filesystems accept the flag and fail here."""
    probe = directory / ".o-direct"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600)
    except OSError:
        probe.unlink(missing_ok=True)
        return False
    try:
        with mmap.mmap(-1, 4096) as block:  # anonymous maps are page-aligned, as O_DIRECT asks
            return os.write(descriptor, block) == 4096
    except OSError:
        return False
    finally:
        os.close(descriptor)
        probe.unlink()
