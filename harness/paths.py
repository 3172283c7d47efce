"""Where tare keeps things on a host: derived data, runtime sockets, the lock, and the checkout's own data folders."""

import os
from pathlib import Path

import platformdirs

CHECKOUT = Path(__file__).resolve().parent.parent


def state() -> Path:
    """Images, daemons' data and scratch: /var/lib/tare for root, else the user's data folder."""
    if override := os.environ.get("TARE_STATE"):
        return Path(override)
    return Path("/var/lib/tare") if os.geteuid() == 0 else platformdirs.user_data_path("tare")


def runtime() -> Path:
    """Sockets and pid files; short, since a unix socket's path has at most 107 bytes."""
    if override := os.environ.get("TARE_RUNTIME"):
        return Path(override)
    return Path("/run/tare") if os.geteuid() == 0 else platformdirs.user_runtime_path("tare")


def locks() -> Path:
    """Where the host lock is: one for all users, since any two runs on a host would measure each other."""
    return runtime() if os.environ.get("TARE_RUNTIME") else Path("/run/lock")


def instances() -> Path:
    """The directories of running instances."""
    return runtime() / "i"


def data(folder: str) -> Path:
    """A data folder of the checkout: `workloads`, `images`, `vm-templates` or `results`."""
    return CHECKOUT / folder


def give_to_caller(folder: Path) -> None:
    """Under sudo, what is made below the checkout belongs to the user who called, not to root."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() != 0 or not user or not group:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, int(user), int(group), follow_symlinks=False)
