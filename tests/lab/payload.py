"""The payload disk of a lab: this checkout, its Python packages and the builds of the root."""

import hashlib
import json
import re
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from harness import paths
from harness.deadline import Deadline
from harness.images import inventory
from harness.model import RootForms
from harness.process import run
from tests.lab.guest import Kind

LOCK, KRUN_LOCK = (paths.CHECKOUT / name for name in ("requirements.lock", "requirements-krun.lock"))
PYTHON = "3.11"
"""The Python version of the lab (Debian 12)."""
NOT_FROM_LOCK = ("libvirt-python", "mypy", "ruff", "uv")
"""Omitted: libvirt-python, because the lab has Debian's package for its libvirt, and packages that it does not need."""
SOURCE = ("harness", "workloads", "images", "vm-templates", "tests")
MIB = 2**20
FREE_MIB = 64


def make(kind: Kind, folder: Path, recipe: str, root: RootForms, deadline: Deadline) -> Path:
    """Build an ext4 disk in `folder` with `source`, `packages`, `images` and `setup.sh`. Raises TareError.

    `recipe` is the root's recipe, which becomes the lab's root.toml. The full system is included if the root has one.
    `folder` must be on the file system of the root's builds, because the builds are hard-linked.
    """
    builds = [root.tar.parent, *([root.system.disk.parent] if root.system else [])]
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / f"{kind.name}.raw"
    with tempfile.TemporaryDirectory(dir=folder, prefix="payload-") as name:
        tree = Path(name)
        _source(tree / "source")
        shutil.copyfile(paths.data("images") / recipe, tree / "source/images/root.toml")
        shutil.copyfile(paths.CHECKOUT / "tests/lab" / kind.setup, tree / "setup.sh")
        run(["cp", "-al", _packages(folder, deadline), tree / "packages"], deadline)
        shutil.copytree(_distribution(), tree / "source" / _distribution().name)
        (tree / "images").mkdir()
        for build in builds:
            run(["cp", "-al", build, tree / "images" / build.name], deadline)
        mib = int(run(["du", "-sm", tree], deadline).stdout.split()[0]) * 11 // 10 + FREE_MIB
        disk.unlink(missing_ok=True)
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, disk, f"{mib}M"], deadline)
    for build in builds:
        _seal(disk, build, deadline)
    disk.chmod(0o644)
    return disk


def _seal(disk: Path, build: Path, deadline: Deadline) -> None:
    """Write a new seal for the build on the disk, where its files have other inodes and times in whole seconds.

    Without a valid seal the lab would hash all files, which takes two minutes.
    """
    inside = f"/images/{build.name}"
    seal = {}
    for name in json.loads((build / inventory.SEAL).read_text()):
        printed = run(["debugfs", "-R", f"stat {inside}/{name}", disk], deadline).stdout
        inode = re.search(r"Inode: (\d+)", printed)
        assert inode is not None, printed
        status = (build / name).stat()
        seal[name] = [status.st_size, int(status.st_mtime) * 10**9, int(inode[1])]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(seal, file)
        file.flush()
        commands = f"rm {inside}/{inventory.SEAL}\nwrite {file.name} {inside}/{inventory.SEAL}\n"
        run(["debugfs", "-w", "-f", "-", disk], deadline, stdin=commands)


def _source(target: Path) -> None:
    for name in SOURCE:
        ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
        shutil.copytree(paths.CHECKOUT / name, target / name, ignore=ignored)
    shutil.copyfile(paths.CHECKOUT / "pyproject.toml", target / "pyproject.toml")


def _packages(folder: Path, deadline: Deadline) -> Path:
    """The locked packages for the lab's Python; downloaded once per lock file."""
    wanted = without(LOCK.read_text(), NOT_FROM_LOCK) + KRUN_LOCK.read_text()
    target = folder / f"packages-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    if not target.is_dir():
        for old in folder.glob("packages-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            lock, into = Path(name) / "lock", Path(name) / "packages"
            lock.write_text(wanted)
            platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (36, 35, 34, 31, 28, 27, 24, 17, 12, 5)]
            only = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
            pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-deps"]
            run([*pip, *only, "--require-hashes", "-r", lock, "--target", into], deadline)
            into.rename(target)
    return target


def without(lock: str, names: tuple[str, ...]) -> str:
    """The text of a lock file without some packages and their hashes."""
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    return "".join(entry for entry in entries if entry.partition("==")[0].strip() not in names)


def _distribution() -> Path:
    """The metadata folder of this project, which contains its entry points."""
    return next(Path(sysconfig.get_path("purelib")).glob("tare_bench-*.dist-info"))
