"""A server and its client run by tare, compared with manual commands: `docker run`, or processes in the root."""

import dataclasses
import shlex
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.deadline import Deadline
from harness.definitions.workloads import load_workloads
from harness.errors import TareError
from harness.measures.command import CommandMeasure
from harness.model import Case, Limits, Role, Shape, Workload
from harness.model.placeholders import render
from harness.paths import data
from harness.process import kill_group, run, spawn
from harness.readers import reader
from harness.runtimes.base import ENVIRONMENT, Entry, Instance, Place, Prepared
from harness.runtimes.docker import Docker
from harness.runtimes.native.runtime import Native
from tests.environment import Asked, BaseEnvironment
from tests.perf.bench import LABELS, NAME, Bench
from tests.perf.pairs import Times, alternate, interval

WORKLOADS = ("app.redis", "app.pgbench")
CASE_SECONDS = 300.0
SETTLE_SECONDS = 60.0
CLIENT_SECONDS = 5
"""The `seconds` parameter; longer than in a run, so that the noise of the client does not hide the harness's share."""


class Trial(BaseEnvironment):
    """One workload on one variant of the bench; also the environment of the measure."""

    def __init__(
        self,
        bench: Bench,
        workload: Workload,
        prepared: Mapping[Role, Prepared],
        runtimes: Mapping[Role, Docker | Native],
    ) -> None:
        super().__init__(prepared[Role.SUBJECT].shape, Limits())
        self.bench, self.job, self.prepared, self.runtimes = bench, workload, prepared, runtimes

    def workload(self, name: str) -> Workload:
        return self.job

    @contextmanager
    def place(self, role: Role, entry: Entry = "agent") -> Iterator[Place]:
        """Yield a fresh place; the peer's place is in its own namespace."""
        assert self.job.server is not None
        with self.bench.place() as place:
            if role is Role.PEER:
                network = self.bench.network.peer_place()
                yield dataclasses.replace(place, entry=entry, shape=self.prepared[role].shape, network=network)
            else:
                disks = self.bench.folder / "scratch"
                disks.mkdir(mode=0o711, exist_ok=True)
                port, size = self.job.server.port, self.job.scratch_mib
                yield dataclasses.replace(place, entry=entry, port=port, scratch_mib=size, scratch_directory=disks)

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        with (
            self.place(asked.role, asked.entry) as place,
            self.runtimes[asked.role].launch(self.prepared[asked.role], place, LABELS, asked.deadline) as instance,
        ):
            yield instance


def compare(bench: Bench, pairs: int) -> Iterator[str]:
    """The tables by workload and variant, each as soon as it is complete."""
    docker, native = Docker(), Native()
    if bench.daemons.docker_url:
        docker.connect(bench.daemons.docker_url)
    known = load_workloads(data("workloads"))
    try:
        for name in WORKLOADS:
            workload = _longer(dataclasses.replace(known[name], warmup=0, iterations=1))
            for variant in ("native", "docker/host", "docker/bridge") if bench.daemons.docker_url else ("native",):
                yield _compared(_trial(bench, workload, variant, docker, native), variant, pairs)
    finally:
        docker.close()


def _longer(workload: Workload) -> Workload:
    longer = {"seconds": CLIENT_SECONDS} if "seconds" in workload.parameters else {}
    return dataclasses.replace(workload, parameters={**workload.parameters, **longer})


def _trial(bench: Bench, workload: Workload, variant: str, docker: Docker, native: Native) -> Trial:
    runtime = native if variant == "native" else docker
    chosen = next(one for one in runtime.variants if one.name == variant)
    within = Deadline.after(300)
    peer = dataclasses.replace(bench.shape, cpus=(0,))
    prepared = {
        Role.SUBJECT: runtime.prepare(chosen, dataclasses.replace(bench.shape, memory_mib=1024), bench.root, within),
        Role.PEER: native.prepare(native.variants[0], peer, bench.root, within),
    }
    return Trial(bench, workload, prepared, {Role.SUBJECT: runtime, Role.PEER: native})


def _compared(trial: Trial, variant: str, pairs: int) -> str:
    rounds = alternate(lambda: _by_tare(trial, variant), lambda: _by_hand(trial, variant), pairs)
    lines = [f"{trial.job.name} on {variant}: tare, manual, ratio (median of {pairs} pairs, 95 % interval)"]
    for metric in rounds[0][0]:
        ours, theirs = ([figures[side][metric] for figures in rounds] for side in (0, 1))
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        middles = f"{statistics.median(ours):>14.6g}{statistics.median(theirs):>14.6g}"
        lines.append(f"  {metric:<14}{middles}   {statistics.median(ratios):.3f} {interval(ratios)}")
    return "\n".join(lines)


def _by_tare(trial: Trial, variant: str) -> Times:
    cast = {Role.SUBJECT: variant, Role.PEER: "native"}
    case = Case(block=0, position=0, attempt=1, workload=trial.job.name, cast=cast)
    samples = list(CommandMeasure().measure(case, trial, Deadline.after(CASE_SECONDS)))
    own = {metric.name for metric in trial.job.metrics}
    return {one.metric: one.value for one in samples if one.metric in own and one.value}


def _by_hand(trial: Trial, variant: str) -> Times:
    """Run the server as the only command of the instance, and the client in the peer's namespace."""
    workload, deadline = trial.job, Deadline.after(CASE_SECONDS)
    assert workload.server is not None
    with ExitStack() as stack:
        place = stack.enter_context(trial.place(Role.SUBJECT))
        assert place.network is not None
        address = place.network.address if variant == "docker/bridge" else place.network.host_address
        scratch = place.directory / "scratch"
        scratch.mkdir(mode=0o755)
        values = {"threads": 1, "memory_mib": 1024, "scratch": "/scratch", "port": workload.server.port}
        bind = {**values, "address": "0.0.0.0" if variant.startswith("docker") else address}
        before = render(workload.server.prepare, workload.parameters, bind)
        server = shlex.join(render(workload.server.argv, workload.parameters, bind))
        words = ("sh", "-c", f"{shlex.join(before)} && exec {server}" if before else f"exec {server}")
        stack.enter_context(_served(trial, variant, place, scratch, words))
        there = {**values, "address": address}
        _await(address, workload.server.port, deadline)
        if workload.prepare:
            run(_client(trial, render(workload.prepare, workload.parameters, there)), deadline)
        output = run(_client(trial, render(workload.argv, workload.parameters, there)), deadline).stdout
        fields = reader(workload.reader).read(output, workload.parameters)
        return {metric.name: fields[metric.source] for metric in workload.metrics}


@contextmanager
def _served(trial: Trial, variant: str, place: Place, scratch: Path, words: tuple[str, ...]) -> Iterator[None]:
    assert place.network is not None
    environment = {"DOCKER_HOST": str(trial.bench.daemons.docker_url)}
    if variant == "native":
        argv = ["ip", "netns", "exec", place.network.netns, *_in_root(trial, trial.shape, scratch, words)]
    else:
        network = ["--network=host"]
        if variant == "docker/bridge":
            network = ["--network", place.network.docker_network, "--ip", place.network.address]
        cpus = ("--cpuset-cpus", trial.shape.cpu_list, "--memory", "1024m")
        image = trial.prepared[Role.SUBJECT].image
        argv = ["docker", "run", "--rm", "--name", place.name, *network, *cpus, "--tmpfs", "/tmp:exec", image, *words]
    child = spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        yield
    finally:
        if variant != "native":
            run(["docker", "rm", "--force", place.name], Deadline.after(60), env=environment, check=False)
        kill_group(child)


def _client(trial: Trial, words: tuple[str, ...]) -> list[str]:
    return ["ip", "netns", "exec", f"{NAME}-peer", *_in_root(trial, trial.prepared[Role.PEER].shape, None, words)]


def _in_root(trial: Trial, shape: Shape, scratch: Path | None, words: tuple[str, ...]) -> list[str]:
    settings = [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
    return [
        *("taskset", "--cpu-list", shape.cpu_list, "bwrap", "--ro-bind", str(trial.bench.root.directory), "/"),
        *("--dev-bind", "/dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run", "--unshare-ipc"),
        *(("--bind", str(scratch), "/scratch") if scratch else ()),
        *("--die-with-parent", "--clearenv", *settings, "--chdir", "/tmp", "--", *words),
    ]


def _await(address: str, port: int, deadline: Deadline) -> None:
    """Wait until the server accepts connections from the peer. Raises TareError if it does not."""
    probe = f"exec 3<>/dev/tcp/{address}/{port}"
    until = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < until:
        connected = run(["ip", "netns", "exec", f"{NAME}-peer", "bash", "-c", probe], deadline, check=False)
        if connected.status == 0:
            return
        time.sleep(0.1)
    raise TareError(f"the manually started server does not listen on {address}:{port}")
