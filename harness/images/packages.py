"""The slow part of a build: the root's tar and the guest's packages, by mmdebstrap."""

import functools
import os
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from harness import process
from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, ExitCode, TareError
from harness.images import corpus
from harness.images.recipe import Recipe

DOWNLOADS = "/tare-guest-packages"
ANEW = "the mirror has newer packages than the root; build both anew: tare clean --images, then make images"
INSTALL = "apt-get install --no-remove --no-install-recommends "
NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "tar": "tar",
    "dpkg-deb": "dpkg",
    "dpkg-query": "dpkg",
    "cc": "gcc libc6-dev",
}
"""Programs that a build runs, with the Debian packages that hold them."""


def check_tools(needed: Mapping[str, str] = NEEDED) -> None:
    """Raise a TareError that names the packages to install where a program of the build is missing."""
    if missing := process.have(*needed):
        wanted = " ".join(dict.fromkeys(needed[program] for program in missing))
        raise TareError(
            f"building the root needs {', '.join(missing)}", hint=f"sudo {INSTALL}{wanted}", code=ExitCode.HOST_NOT_FIT
        )


def build(recipe: Recipe, folder: Path, deadline: Deadline, notify: Callable[[str], None]) -> None:
    """Fill `folder` with `root.tar` and `packages/*.deb` (kernel and busybox).

    Raises TareError with mmdebstrap's last words; the host's own Debian mirror is used where it has one.
    """
    notify(f"root: installing {len(recipe.packages)} packages of Debian {recipe.suite} (about a minute)")
    debs = folder / "packages"
    debs.mkdir()
    tar = folder / "packages.tar"
    _run(recipe, _mmdebstrap(recipe, tar, debs, deadline), folder, deadline)
    notify("root: adding the corpora")
    _finish(recipe, tar, folder / "root.tar")


def extend(
    recipe: Recipe, root: Path, added: Sequence[str], hooks: Sequence[str], folder: Path, deadline: Deadline
) -> Path:
    """The root's tar `root` with packages `added` to it, as a tar in `folder`; what the root has stays as it is.

    `hooks` are mmdebstrap's, run at the end. Raises TareError as `build` does, or when one is not to be had.
    """
    target = folder / "extended.tar"
    unpack = 'tar -x -C "$1" --numeric-owner -p --xattrs --xattrs-include="*" --exclude="./dev/*" -f'
    command = [
        *("mmdebstrap", "--quiet", "--mode=auto", "--format=tar", "--variant=custom"),
        f"--architectures={recipe.architecture}",
        f"--include={','.join(added)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.without),
        f"--setup-hook={unpack} {shlex.quote(str(root))}",
        *(f"--customize-hook={hook}" for hook in hooks),
        '--customize-hook=rm -f "$1/etc/resolv.conf"',
        recipe.suite,
        str(target),
        *_sources(recipe.suite, deadline),
    ]
    _run(recipe, command, folder, deadline)
    return target


def _run(recipe: Recipe, command: Sequence[str], folder: Path, deadline: Deadline) -> None:
    environment = {"SOURCE_DATE_EPOCH": str(recipe.epoch)}
    if os.geteuid() == 0:
        # Where a killed build's remains are found and removed; as a plain user mmdebstrap's other user ids need /tmp.
        environment["TMPDIR"] = str(folder)
    try:
        process.run(command, deadline, env=environment)
    except DeadlineExceeded:
        raise
    except TareError as error:
        raise TareError(
            "the root could not be built from packages", details=error.details, hint=_hint(error)
        ) from error


def _mmdebstrap(recipe: Recipe, tar: Path, debs: Path, deadline: Deadline) -> list[str]:
    """The command line. Hooks are shell by mmdebstrap's design; what goes in is the recipe's own checked names."""
    guest = f"{recipe.guest.kernel} {recipe.guest.busybox}"
    # A kernel package is a name for the newest one: fetch what it depends on.
    fetch = (
        f'set -e; mkdir "$1{DOWNLOADS}"; cd "$1{DOWNLOADS}"; for p in {guest}; do '
        'd=$(apt-cache depends --important "$p" | sed -n "s/^ *Depends: \\(linux-image-[0-9].*\\)/\\1/p" | head -n 1); '
        'apt-get download -q "${d:-$p}"; done'
    )
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=auto",
        "--format=tar",
        f"--variant={recipe.variant}",
        f"--architectures={recipe.architecture}",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.without),
        f"--customize-hook={fetch}",
        f"--customize-hook=sync-out {DOWNLOADS} {debs}",
        f'--customize-hook=rm -r "$1{DOWNLOADS}" "$1/etc/resolv.conf"; echo {recipe.hostname} >"$1/etc/hostname"',
        f'--customize-hook=echo "127.0.0.1 localhost {recipe.hostname}" >"$1/etc/hosts"',
        *(f'--customize-hook=rm -rf "$1{place}"' for place in recipe.removed),
        recipe.suite,
        str(tar),
        *_sources(recipe.suite, deadline),
    ]


def _sources(suite: str, deadline: Deadline) -> list[str]:
    """`deb` lines for the Debian mirrors that the host itself uses; none (mmdebstrap's default) on other hosts."""
    if shutil.which("apt-get") is None:
        return []
    wanted = "$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)"
    targets = process.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"], deadline, check=False
    )
    return mirror_lines(targets.stdout, suite)


def mirror_lines(targets: str, suite: str) -> list[str]:
    """`deb` lines for `suite` from `apt-get indextargets` output (lines of origin|site|release|component)."""
    main = security = ""
    for line in targets.splitlines():
        origin, site, release, component = [*line.split("|"), "", "", ""][:4]
        debian = origin == "Debian" or (not origin and re.search(r"/debian(-security)?/?$", site))
        if not debian or component != "main" or re.search(r"\s", site):
            continue
        if release.endswith("-security"):
            security = security or site
        elif "backports" not in release:
            main = main or site
    if not main or not security:
        return []
    return [
        f"deb {main} {suite} main",
        f"deb {main} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]


def _hint(error: TareError) -> str:
    said = error.details
    if "NO_PUBKEY" in said or "not signed" in said:
        return f"sudo {INSTALL}debian-archive-keyring"
    if any(sign in said for sign in ("chroot mode", "subuid", "user namespace", "unshare")):
        return f"run once as root (sudo make images), or: sudo {INSTALL}uidmap, and allow unprivileged user namespaces"
    if "Unable to locate package linux-image" in said:
        return ANEW
    if "No space left" in said:
        return "free some disk space: a build needs about 4 GiB"
    return "check the network and apt's sources, then: make images"


def _finish(recipe: Recipe, tar: Path, target: Path) -> None:
    """Append mount points and corpora, which need no package manager, and give the tar its name."""
    with tarfile.open(tar, "a", format=tarfile.GNU_FORMAT) as archive:
        there = set(archive.getnames())
        for point in recipe.mount_points:
            add_directory(archive, there, point, recipe.epoch)
        for item in recipe.corpora:
            add_directory(archive, there, str(Path(item.path).parent), recipe.epoch)
            data = b"".join(corpus.chunks(item.seed, item.mib))
            add_file(archive, item.path, data, 0o644, recipe.epoch)
    tar.rename(target)


def add_directory(archive: tarfile.TarFile, there: set[str], path: str, epoch: int) -> None:
    """Add root's directory `path`, and its parents, unless the tar has them (`there`, which is kept up)."""
    for part in [*list(Path(path).parents)[-2::-1], Path(path)]:
        name = f".{part}"
        if name in there:
            continue
        there.add(name)
        archive.addfile(_entry(name, tarfile.DIRTYPE, 0o755, epoch))


def add_file(archive: tarfile.TarFile, path: str, data: bytes, mode: int, epoch: int) -> None:
    """Add root's regular file `path` with `data`."""
    entry = _entry(f".{path}", tarfile.REGTYPE, mode, epoch)
    entry.size = len(data)
    archive.addfile(entry, BytesIO(data))


def _entry(name: str, kind: bytes, mode: int, epoch: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, epoch
    entry.uname = entry.gname = "root"
    return entry


@functools.cache
def tool_versions() -> dict[str, str]:
    """First lines of what the build's programs say of their versions."""
    asked = {"mmdebstrap": "--version", "mke2fs": "-V", "tar": "--version", "dpkg-deb": "--version", "cc": "--version"}
    found = {}
    for program, flag in asked.items():
        said = process.run([program, flag], Deadline.after(10), check=False)
        found[program] = (said.stdout or said.stderr).partition("\n")[0]
    return found
