"""Run and time commands inside an instance, in the same way for every runtime, over one byte channel.

The agent is a single file of the root and cannot import the harness. Usage: `agent.py PATH`, where PATH is a unix
socket to connect to or a character device. Each message is one JSON object on one line.

Host to agent: `{"op": "start", "id", "argv", "env", "listen"}`, `{"op": "kill", "id"}`, `{"op": "facts", "id"}`,
`{"op": "ping", "id"}`, `{"op": "tell", "id", "lines", "pause", "device"}`. Agent to host: `hello`, `start`, `end` and
`tell`, which the host stamps on its own clock, and `result`, `facts`, `pong`, `told`, `refused`. Clocks are
CLOCK_MONOTONIC in seconds. When the channel closes, the agent kills every process that it started.
"""

import ctypes
import json
import os
import platform
import resource
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

OUTPUT_CAP = 8 * 2**20
DRAIN_SECONDS = 0.2
LISTEN_SECONDS = 20.0
LISTEN_POLL_SECONDS = 0.005
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", "OMP_NUM_THREADS": "1"}
OPEN_FILES = 4096
PR_SET_CHILD_SUBREAPER = 36
DEVICE_FLAGS = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY


class Job:
    """One command: its process, its output, and the figures at its start and end."""

    def __init__(self, number: int, argv: list[str], env: dict[str, str]) -> None:
        self.number = number
        self.steal = psutil.cpu_times().steal
        self.begin = time.monotonic()
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **env},
            cwd="/tmp",
            start_new_session=True,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        self.streams = {"stdout": self.process.stdout, "stderr": self.process.stderr}
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        for stream in self.streams.values():
            os.set_blocking(stream.fileno(), False)
        self.pidfd = os.pidfd_open(self.process.pid)

    def take(self, name: str) -> bool:
        """Read available output of one stream; False at end of file. Output beyond OUTPUT_CAP bytes is dropped."""
        try:
            data = os.read(self.streams[name].fileno(), 1 << 16)
        except BlockingIOError:
            return True
        free = OUTPUT_CAP - len(self.output[name])
        self.output[name] += data[:free]
        return bool(data)

    def reap(self) -> dict[str, Any]:
        """Reap the ended job and return its figures; `wait4` includes its reaped descendants."""
        _, status, usage = os.wait4(self.process.pid, 0)
        end = time.monotonic()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return {
            "status": self.process.returncode,
            "inner_begin": self.begin,
            "inner_end": end,
            "user": usage.ru_utime,
            "system": usage.ru_stime,
            "steal": psutil.cpu_times().steal - self.steal,
            "voluntary_switches": usage.ru_nvcsw,
            "involuntary_switches": usage.ru_nivcsw,
            "minor_faults": usage.ru_minflt,
            "major_faults": usage.ru_majflt,
        }

    def drain(self) -> None:
        """Read the rest of the output, for at most DRAIN_SECONDS, because a descendant may keep the pipes open."""
        until = time.monotonic() + DRAIN_SECONDS
        for name in self.streams:
            while time.monotonic() < until and self.take(name):
                if len(self.output[name]) >= OUTPUT_CAP:
                    break

    def close(self) -> None:
        """Close the pipes and the pidfd."""
        os.close(self.pidfd)
        for stream in self.streams.values():
            stream.close()


class Agent:
    """The event loop: reads requests, collects output and ends of jobs, writes frames."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.pending = b""
        self.jobs: dict[int, Job] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(channel, selectors.EVENT_READ, None)

    def send(self, event: str, **fields: object) -> None:
        """Write one complete frame."""
        data = json.dumps({"event": event, **fields}).encode() + b"\n"
        while data:
            data = data[os.write(self.channel, data) :]

    def serve(self) -> None:
        """Handle requests until the channel closes."""
        self.send("hello", clock=time.monotonic(), pid=os.getpid())
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    if not self.receive():
                        return
                elif key.data[1] == "exit":
                    self.finish(key.data[0])
                elif key.data[0].number in self.jobs and not key.data[0].take(key.data[1]):
                    self.selector.unregister(key.fileobj)

    def receive(self) -> bool:
        """Handle the complete lines that have arrived; False at end of file."""
        data = os.read(self.channel, 1 << 16)
        if not data:
            return False
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            self.handle(json.loads(line))
        return True

    def handle(self, request: dict[str, Any]) -> None:
        """Handle one request."""
        number = request["id"]
        if request["op"] == "start":
            self.start(number, request)
        elif request["op"] == "kill":
            if number in self.jobs:
                os.killpg(self.jobs[number].process.pid, signal.SIGKILL)
        elif request["op"] == "facts":
            self.send("facts", id=number, facts=facts())
        elif request["op"] == "ping":
            self.send("pong", id=number, clock=time.monotonic())
        elif request["op"] == "tell":
            self.tell(number, request)

    def tell(self, number: int, request: dict[str, Any]) -> None:
        """Write signal lines over the channel or a `device`, then report the clock before and after each write.

        The lines are as long as the beacon's. The boot id identifies the clock: equal ids share one clock.
        """
        line = json.dumps({"event": "tell", "id": number}, separators=(",", ":")).encode() + b"\n"
        try:
            channel = os.open(request["device"], DEVICE_FLAGS) if request["device"] else self.channel
        except OSError as error:
            self.send("refused", id=number, reason=str(error))
            return
        begins, ends = [], []
        for _ in range(request["lines"]):
            begins.append(time.monotonic())
            os.write(channel, line)
            ends.append(time.monotonic())
            if request["pause"]:
                time.sleep(request["pause"])
        if channel != self.channel:
            os.close(channel)
        self.send("told", id=number, begins=begins, ends=ends, boot=read_text("/proc/sys/kernel/random/boot_id"))

    def start(self, number: int, request: dict[str, Any]) -> None:
        """Start a job and send the start frame: before the start, or for a server when its port is open."""
        listen = request.get("listen")
        if listen is None:
            self.send("start", id=number, clock=time.monotonic())
        try:
            job = Job(number, request["argv"], request["env"])
        except OSError as error:
            self.send("refused", id=number, reason=str(error))
            return
        self.jobs[number] = job
        self.selector.register(job.pidfd, selectors.EVENT_READ, (job, "exit"))
        for name, stream in job.streams.items():
            self.selector.register(stream, selectors.EVENT_READ, (job, name))
        if listen is not None:
            wait_open(job.process, int(listen))
            self.send("start", id=number, clock=time.monotonic())

    def finish(self, job: Job) -> None:
        """Send the end frame first, because the host stamps it; then send the figures and the output."""
        figures = job.reap()
        self.send("end", id=job.number, clock=figures["inner_end"])
        job.drain()
        watched: list[Any] = [job.pidfd, *job.streams.values()]
        for fileobj in watched:
            if fileobj in self.selector.get_map():
                self.selector.unregister(fileobj)
        del self.jobs[job.number]
        job.close()
        self.reap_orphans()
        texts = {name: bytes(data).decode("utf-8", "replace") for name, data in job.output.items()}
        self.send("result", id=job.number, **figures, **texts)

    def reap_orphans(self) -> None:
        """Reap orphaned descendants of jobs (this process is their subreaper), but no job."""
        jobs = {job.process.pid for job in self.jobs.values()}
        for child in psutil.Process().children():
            if child.pid not in jobs and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def wait_open(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until TCP or UDP `port` is open or the server has ended, for at most LISTEN_SECONDS."""
    until = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < until and not port_open(port):
        if not psutil.pid_exists(process.pid) or psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(LISTEN_POLL_SECONDS)


def port_open(port: int) -> bool:
    """Whether `port` is open, from /proc/net (cheaper than psutil, which visits every process)."""
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            words = line.split()
            if int(words[1].rpartition(":")[2], 16) == port and (table.startswith("udp") or words[3] == "0A"):
                return True
    return False


def facts() -> dict[str, str]:
    """The facts about this instance, as seen from inside."""
    files = {
        "clocksource": "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        "thp": "/sys/kernel/mm/transparent_hugepage/enabled",
    }
    found = {name: read_text(path) for name, path in files.items()}
    found |= {
        f"mitigation.{path.name}": read_text(str(path))
        for path in Path("/sys/devices/system/cpu/vulnerabilities").glob("*")
    }
    flags = cpu_field("flags").split()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return found | {
        "kernel": platform.release(),
        "cpu": cpu_field("model name"),
        "cpu_flags": " ".join(sorted(flags)),
        "hypervisor_flag": "yes" if "hypervisor" in flags else "no",
        "cpus": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "cpus_online": str(psutil.cpu_count()),
        "memory_mib": str(psutil.virtual_memory().total // 2**20),
        "python": platform.python_version(),
        "speculation": status.get("Speculation_Store_Bypass", "").strip(),
        "seccomp": status.get("Seccomp", "").strip(),
        "capabilities": status.get("CapEff", "").strip(),
        "cgroup": " ".join(sorted(set(read_text("/proc/self/cgroup").split()))),
        "nofile": str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        "scratch": next(
            (f"{p.fstype} {p.opts}" for p in psutil.disk_partitions(True) if p.mountpoint == "/scratch"), ""
        ),
    }


def cpu_field(name: str) -> str:
    """A field of the first CPU in /proc/cpuinfo; "" if there is none."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def read_text(path: str) -> str:
    """The stripped text of a file; "" if it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def open_channel(path: str) -> int:
    """A file descriptor for a unix socket or a character device."""
    if stat.S_ISSOCK(Path(path).stat().st_mode):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(path)
        return connection.detach()
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def become_reaper() -> None:
    """Make this process the subreaper of its descendants, so that it can kill all of them."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_children() -> None:
    """Kill every descendant."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            child.kill()
        psutil.wait_procs(children, timeout=1)


def main() -> None:
    """Serve one channel, with the same resource limits in every runtime."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    become_reaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        Agent(open_channel(sys.argv[1])).serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # The host closed the channel while a frame was on its way: the same end as end of file.
    finally:
        kill_children()


if __name__ == "__main__":
    main()
