"""The results folder: listing, finding and removing stored runs."""

import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from harness.errors import TareError, bad_input

JOURNAL = "journal.jsonl"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """The folder of one run. Its name begins with the time, so names sort by age."""

    directory: Path

    @property
    def name(self) -> str:
        """The folder's name, `<utc>-<host>-<run>`."""
        return self.directory.name


def runs(results: Path) -> list[StoredRun]:
    """The runs of a results folder, oldest first: real folders, no symlinks, with a journal or manifest."""
    if not results.is_dir():
        return []
    return [StoredRun(directory=path) for path in sorted(results.iterdir()) if _is_run(path)]


def find(results: Path, word: str, where: str = "RUN") -> StoredRun:
    """The run that `word` names: `latest`, a path, or a unique prefix or suffix of a folder's name.

    `where` is the argument or option that has the word. Raises TareError (bad input) when it matches no run or more
    than one.
    """
    if "/" in word:
        if not _is_run(Path(word)):
            raise bad_input(where, f"{word} is not the folder of a run", f"ls {results}")
        return StoredRun(directory=Path(word))
    there = runs(results)
    if not there:
        raise no_runs(results, where)
    if word == "latest":
        return there[-1]
    found = [run for run in there if run.name == word] or [
        run for run in there if word and (run.name.startswith(word) or run.name.endswith(word))
    ]
    if len(found) == 1:
        return found[0]
    newest = ", ".join(run.name for run in (found or there)[-3:])
    problem = f"{word!r} matches {len(found)} runs" if found else f"there is no run {word!r}"
    raise bad_input(where, problem, f"use latest or one of: {newest}")


def no_runs(results: Path, where: str) -> TareError:
    """The error for a results folder without runs; `where` is the argument or command that needs one."""
    fix = f"give the folder of the runs: --out DIR; or start a run there: tare run --out {results}"
    return bad_input(where, f"there are no runs in {results}", fix)


def prune(results: Path, keep: int) -> list[Path]:
    """Remove all but the `keep` newest runs; returns the removed folders.

    Raises TareError when a folder cannot be removed. shutil.rmtree follows no symlink and refuses to start at one.
    """
    there = runs(results)
    removed: list[Path] = []
    for run in there[: max(0, len(there) - keep)]:
        try:
            shutil.rmtree(run.directory)
        except OSError as error:
            raise TareError(f"cannot remove {run.directory}", details=str(error), hint="run as its owner") from error
        removed.append(run.directory)
    return removed


def _is_run(path: Path) -> bool:
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            return False
        return any(_is_file(path / name) for name in (JOURNAL, MANIFEST))
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False
