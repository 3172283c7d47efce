"""The folders of tare on a host: state, runtime files, locks, and the data folders of the checkout."""

import os
from pathlib import Path

import platformdirs

CHECKOUT = Path(__file__).resolve().parent.parent


def state() -> Path:
    """The folder of images, daemon data and scratch: TARE_STATE, /var/lib/tare for root, or the user's data folder."""
    if override := os.environ.get("TARE_STATE"):
        return Path(override)
    return Path("/var/lib/tare") if os.geteuid() == 0 else platformdirs.user_data_path("tare")


def runtime() -> Path:
    """The folder of sockets and pid files: TARE_RUNTIME, /run/tare for root, or the user's runtime folder.

    Its path must be short, because the path of a unix socket has at most 107 bytes.
    """
    if override := os.environ.get("TARE_RUNTIME"):
        return Path(override)
    return Path("/run/tare") if os.geteuid() == 0 else platformdirs.user_runtime_path("tare")


def locks() -> Path:
    """The folder of the host lock: /run/lock for all users, because concurrent runs would distort their figures."""
    return runtime() if os.environ.get("TARE_RUNTIME") else Path("/run/lock")


def instances() -> Path:
    """The folder of the running instances' directories."""
    return runtime() / "i"


def data(folder: str) -> Path:
    """The data folder of the checkout with this name: `workloads`, `images`, `vm-templates` or `results`."""
    return CHECKOUT / folder


def give_to_caller(folder: Path) -> None:
    """Under sudo, give `folder` and its content to the calling user instead of root."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() != 0 or not user or not group:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, int(user), int(group), follow_symlinks=False)
