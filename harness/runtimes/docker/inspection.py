"""Facts of a container from the daemon's answers, and why it no longer runs."""

from collections.abc import Mapping
from typing import Any

KILLED = 137


def facts(about: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, str]:
    """The facts in `docker info`, and in `docker inspect` of a running container."""
    security = [item.removeprefix("name=") for item in about.get("SecurityOptions") or ()]
    return {
        "runtime": "docker",
        "image": str(container["Image"]),
        "network_mode": str(container["HostConfig"]["NetworkMode"]),
        "storage_driver": str(about.get("Driver", "")),
        "docker_security": " ".join(security),
        "apparmor": str(container.get("AppArmorProfile") or "none"),
        "oci_runtime": str(container["HostConfig"].get("Runtime", "")),
        "docker_version": str(about.get("ServerVersion", "")),
        "containerd_version": _commit(about, "ContainerdCommit"),
        "runc_version": _commit(about, "RuncCommit"),
        "pid": str(container["State"]["Pid"]),
    }


def died(state: Mapping[str, Any], memory_mib: int) -> str:
    """Why a container no longer runs, from the State that the daemon reports."""
    status = int(state.get("ExitCode") or 0)
    if state.get("OOMKilled"):
        return f"killed by the kernel: it needed more than its {memory_mib} MiB of memory (exit status {status})"
    if error := state.get("Error"):
        return f"{error} (exit status {status})"
    if status == KILLED:
        return f"killed by SIGKILL from outside (exit status {status})"
    return f"{state.get('Status') or 'exited'} with exit status {status}"


def _commit(about: Mapping[str, Any], key: str) -> str:
    return str((about.get(key) or {}).get("ID", ""))
