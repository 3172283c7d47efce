"""The slow part of a build: create the root's tar and download the guest's packages with mmdebstrap."""

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
ANEW = "the mirror has newer packages than the root; rebuild both: tare clean --images; make images"
INSTALL = "apt-get install --no-remove --no-install-recommends "
NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "tar": "tar",
    "dpkg-deb": "dpkg",
    "dpkg-query": "dpkg",
    "cc": "gcc libc6-dev",
}
"""The programs that a build runs, with their Debian packages."""


def check_tools(needed: Mapping[str, str] = NEEDED) -> None:
    """Raise TareError with the apt-get command to run if a program of the build is missing."""
    if missing := process.have(*needed):
        wanted = " ".join(dict.fromkeys(needed[program] for program in missing))
        raise TareError(
            f"building the root needs {', '.join(missing)}", hint=f"sudo {INSTALL}{wanted}", code=ExitCode.HOST_NOT_FIT
        )


def build(recipe: Recipe, folder: Path, deadline: Deadline, notify: Callable[[str], None]) -> None:
    """Create `folder`/root.tar and `folder`/packages/*.deb (kernel and busybox).

    Uses the host's Debian mirror if it has one. Raises TareError with the end of mmdebstrap's output.
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
    """Add packages to the root's tar `root` and return the new tar in `folder`; existing packages are unchanged.

    `hooks` are customize hooks of mmdebstrap. Raises TareError as `build` does, or if a package is not available.
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
        # Leftovers of a killed build are then inside `folder`. Without root, mmdebstrap's subordinate ids need /tmp.
        environment["TMPDIR"] = str(folder)
    try:
        process.run(command, deadline, env=environment)
    except DeadlineExceeded:
        raise
    except TareError as error:
        raise TareError("cannot build the root from packages", details=error.details, hint=_hint(error)) from error


def _mmdebstrap(recipe: Recipe, tar: Path, debs: Path, deadline: Deadline) -> list[str]:
    """The mmdebstrap command. Its hooks are shell code; only validated names of the recipe are inserted."""
    guest = f"{recipe.guest.kernel} {recipe.guest.busybox}"
    # The kernel package is a metapackage: download the package that it depends on.
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
    """`deb` lines for the Debian mirrors that the host uses; empty (mmdebstrap's default) on other hosts."""
    if shutil.which("apt-get") is None:
        return []
    wanted = "$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)"
    targets = process.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"], deadline, check=False
    )
    return mirror_lines(targets.stdout, suite)


def mirror_lines(targets: str, suite: str) -> list[str]:
    """`deb` lines for `suite` from the output of `apt-get indextargets` (lines of origin|site|release|component)."""
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
    output = error.details
    if "NO_PUBKEY" in output or "not signed" in output:
        return f"sudo {INSTALL}debian-archive-keyring"
    if any(sign in output for sign in ("chroot mode", "subuid", "user namespace", "unshare")):
        return f"sudo make images; or sudo {INSTALL}uidmap, and allow unprivileged user namespaces"
    if "Unable to locate package linux-image" in output:
        return ANEW
    if "No space left" in output:
        return "free disk space (a build needs about 4 GiB), then: make images"
    return "check the network and the apt sources, then: make images"


def _finish(recipe: Recipe, tar: Path, target: Path) -> None:
    """Append mount points and corpora to the tar, and rename it to `target`."""
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
    """Add the directory `path` and its parents, owned by root, unless they are in `there`; updates `there`."""
    for part in [*list(Path(path).parents)[-2::-1], Path(path)]:
        name = f".{part}"
        if name in there:
            continue
        there.add(name)
        archive.addfile(_entry(name, tarfile.DIRTYPE, 0o755, epoch))


def add_file(archive: tarfile.TarFile, path: str, data: bytes, mode: int, epoch: int) -> None:
    """Add the regular file `path` with the content `data`, owned by root."""
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
    """The versions of the build's programs: the first line that each prints."""
    flags = {"mmdebstrap": "--version", "mke2fs": "-V", "tar": "--version", "dpkg-deb": "--version", "cc": "--version"}
    found = {}
    for program, flag in flags.items():
        printed = process.run([program, flag], Deadline.after(10), check=False)
        found[program] = (printed.stdout or printed.stderr).partition("\n")[0]
    return found
