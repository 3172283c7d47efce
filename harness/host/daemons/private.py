"""Start a private dockerd or libvirtd under tini, each in its own mount namespace; stop it by process id.

tini is a subreaper: it reaps orphaned children of the daemon. A PID 1 that reaps slowly costs libvirt seconds per call.
tini also forwards SIGTERM when the harness dies. The kernel sends that signal when the *thread* that started tini ends,
so start daemons from the main thread.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons.enclosure import Enclosure, send
from harness.host.unix_socket import accepts
from harness.process import kill_group, spawn

PACKAGES = {
    "tini": "tini", "ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux", "mountpoint": "util-linux",
    "dockerd": "docker.io", "containerd": "containerd", "runc": "runc", "iptables": "iptables",
    "libvirtd": "libvirt-daemon-system",
}  # fmt: skip
SCRIPT = Path(__file__).with_name("enclosure.sh")
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
LIBVIRT_FOLDERS = {
    "etc": Path("/etc/libvirt"),
    "run": Path("/run/libvirt"),
    "lib": Path("/var/lib/libvirt"),
    "cache": Path("/var/cache/libvirt"),
    "log": Path("/var/log/libvirt"),
}
# Paths that dockerd and containerd use regardless of their options: a key, plug-in and shim sockets, empty folders.
DOCKER_FOLDERS = {
    "etc": Path("/etc/docker"),
    "run": Path("/run/docker"),
    "shims": Path("/run/containerd"),
    "opt": Path("/opt/containerd"),
}
LIBVIRTD_CONF = """\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
QEMU_CONF = """\
# Without virtlogd, a file-backed console blocks every create.
stdio_handler = "file"
# Owners remembered in extended attributes survive a killed daemon and block the disk for the next one.
remember_owner = 0
# AppArmor's profiles allow the system's folders, not the private ones.
security_driver = "none"
"""

SECOND = "libvirtd-second"
CLOSING = 10.0
Kvm = Literal["offered", "hidden"]


def missing_programs(want: Sequence[str]) -> list[str]:
    """The missing programs that are needed to start the daemons `want` (`docker`, `libvirt`)."""
    needed = ["tini", "ip", "nsenter", "unshare", "mountpoint"]
    needed += ["dockerd", "containerd", "runc", "iptables"] if "docker" in want else []
    needed += ["libvirtd"] if "libvirt" in want else []
    return [program for program in needed if shutil.which(program, path=SEARCH) is None]


def packages_of(programs: Sequence[str]) -> list[str]:
    """The Debian packages of programs that `missing_programs` returned, sorted."""
    return sorted({PACKAGES[program] for program in programs})


@dataclass(slots=True)
class Daemon:
    """One private daemon: its parent `tini`, its socket, its log, and the mount points `made` for it."""

    name: str
    tini: "subprocess.Popen[bytes]"
    socket: Path
    log: Path
    made: list[Path] = field(default_factory=list)

    def check(self) -> None:
        """Raise TareError with the end of the log if the daemon has ended."""
        if self.tini.poll() is not None:
            raise TareError(
                f"the private {self.name} exited unexpectedly (status {self.tini.returncode})",
                details="\n".join(self.log.read_text(errors="replace").splitlines()[-8:]),
                hint=f"see {self.log}",
            )

    def pid(self) -> int:
        """The daemon's process id (the child of tini); tini's id if the daemon has ended."""
        children = Path(f"/proc/{self.tini.pid}/task/{self.tini.pid}/children").read_text().split()
        return min(map(int, children), default=self.tini.pid)

    def terminate(self) -> None:
        """Send SIGTERM to the daemon through tini; does not wait."""
        if self.tini.poll() is None:
            send(self.tini.pid, signal.SIGTERM)

    def end(self, deadline: Deadline) -> None:
        """Wait for the daemon until the deadline, kill its remaining processes, and remove its mount points."""
        try:
            below = psutil.Process(self.tini.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            below = []
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.tini.wait(deadline.left)
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()  # psutil compares the start time, so a reused id is not killed
        kill_group(self.tini)
        for folder in reversed(self.made):
            remove_mount_point(folder)


def remove_mount_point(folder: Path) -> None:
    """Remove a folder if it is empty and no process has a mount on it; removing it would unmount that."""
    for listing in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            if f" {folder} " in listing.read_text():
                return
    with contextlib.suppress(OSError):
        folder.rmdir()


def start_dockerd(run_dir: Path, state: Path, enclosure: Enclosure) -> Daemon:
    """Start dockerd in the enclosure; returns before the daemon answers. Images stay in `state`/docker for later runs.

    The daemon uses the host's file system except for its own folders. Its mounts are visible only to itself and its
    containers.
    """
    folder = _fresh(run_dir / "dockerd")
    configuration = folder / "daemon.json"
    configuration.write_text("{}\n")
    socket = _socket(folder / "docker.sock")
    binds = [(folder / name, target) for name, target in DOCKER_FOLDERS.items()]
    for source, _ in binds:
        source.mkdir()
    command: list[str | Path] = [
        _program("dockerd"), "--config-file", configuration, "--data-root", state / "docker",
        "--exec-root", folder / "exec", "--pidfile", folder / "dockerd.pid", "--host", f"unix://{socket}",
        "--bridge=none", "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{enclosure.cgroup}",
    ]  # fmt: skip
    return _start("dockerd", command, folder, socket, state, enclosure.handle, "same-dev", binds)


@contextlib.contextmanager
def second_libvirtd(run_dir: Path, state: Path, handle: Path | None, kvm: Kvm, deadline: Deadline) -> Iterator[Path]:
    """Start a second libvirtd as a migration target, with its own host UUID and host name; yields its socket.

    Raises TareError if it exits unexpectedly, and DeadlineExceeded if it does not listen in time.
    """
    daemon = start_libvirtd(run_dir, state, handle, kvm, SECOND)
    try:
        while not accepts(daemon.socket):
            daemon.check()
            deadline.check("the start of the second libvirtd")
            time.sleep(0.02)
        yield daemon.socket
    finally:
        daemon.terminate()
        daemon.end(Deadline.after(CLOSING))
        shutil.rmtree(run_dir / SECOND, ignore_errors=True)


def start_libvirtd(run_dir: Path, state: Path, handle: Path | None, kvm: Kvm, name: str = "libvirtd") -> Daemon:
    """Start libvirtd with private folders in place of the system's; returns before the daemon answers.

    `handle` is its network namespace (None: the host's). `kvm` = `hidden` removes kvm from its /dev: if KVM were
    visible but unusable, libvirt would probe QEMU again at each call. `offered` gives QEMU's user access to /dev/kvm,
    whatever the mode of the host's device.
    """
    folder, beside = _fresh(run_dir / name), name == SECOND
    sources = {name: folder / name for name in ("etc", "run")}
    # libvirt probes QEMU's capabilities once with KVM and once without, and caches both.
    sources |= {
        "cache": state / "libvirt" / f"cache-kvm-{kvm}",
        "lib": state / "libvirt" / ("lib-second" if beside else "lib"),
    }
    sources["log"] = state / "logs" / ("libvirt-second" if beside else "libvirt")
    for source in sources.values():
        source.mkdir(parents=True, exist_ok=True)
    (sources["log"] / "libvirtd.log").unlink(missing_ok=True)
    identity = f'host_uuid = "{uuid.uuid4()}"\n' if beside else ""
    (sources["etc"] / "libvirtd.conf").write_text(LIBVIRTD_CONF + identity)
    (sources["etc"] / "qemu.conf").write_text(QEMU_CONF)
    binds = [(sources[name], target) for name, target in LIBVIRT_FOLDERS.items()]
    socket = _socket(sources["run"] / "libvirt-sock")
    command: list[str | Path] = [_program("libvirtd"), "--config", LIBVIRT_FOLDERS["etc"] / "libvirtd.conf",
               "--pid-file", folder / "libvirtd.pid"]  # fmt: skip
    if beside:
        command = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', SECOND, *command]
    return _start(name, command, folder, socket, state, handle, f"kvm-{kvm}", binds)


def _start(
    name: str,
    command: Sequence[str | Path],
    folder: Path,
    socket: Path,
    state: Path,
    handle: Path | None,
    devices: str,
    binds: Sequence[tuple[Path, Path]],
) -> Daemon:
    scratch = folder / "view"
    scratch.mkdir()
    made = [target for _, target in binds if not target.exists()]
    for target in made:
        target.mkdir(parents=True)
    log = state / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    enter = [] if handle is None else ["nsenter", f"--net={handle}"]
    view = ["unshare", "--mount", "--propagation", "slave", "sh", SCRIPT, scratch, "own-sys" if handle else "same-sys"]
    pairs = [path for pair in binds for path in pair]
    argv = ["tini", "-s", "-g", "-p", "SIGTERM", "--", *enter, *view, devices, *pairs, "--", *command]
    with log.open("wb") as output:
        tini = spawn(
            list(map(str, argv)), stdout=output.fileno(), stderr=subprocess.STDOUT, env={"PATH": SEARCH}, cwd=Path("/")
        )
    return Daemon(name, tini, socket, log, made)


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _socket(path: Path) -> Path:
    # sockaddr_un.sun_path has 108 bytes; containerd's path below exec/ is the longest one derived from this folder.
    if len(os.fsencode(path)) > 80:
        raise TareError(f"the path of a socket is too long: {path}", hint="set TARE_RUNTIME to a shorter folder")
    return path


def _program(name: str) -> str:
    found = shutil.which(name, path=SEARCH)
    if found is None:
        raise TareError(f"{name} is not installed", hint="make doctor")
    return found
