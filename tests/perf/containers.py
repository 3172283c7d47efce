"""Times from launch to ready and gone of a container: tare's runtime and `docker run --rm` with the same limits."""

import signal
import subprocess
import time

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Milestone
from harness.process import kill_group, spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import ENTRY_ARGV, ENVIRONMENT, Place, Prepared
from harness.runtimes.docker import Docker
from harness.runtimes.docker.specification import LOG, OPEN_FILES
from tests.perf.bench import LABELS, Bench
from tests.perf.pairs import Times, alternate, table

LAUNCH_SECONDS = 60.0


def compare(bench: Bench, flavour: str, pairs: int) -> str:
    """The table for one variant, or the reason for a skip."""
    if bench.daemons.docker_url is None:
        return f"container: skipped, {bench.daemons.reasons.get('docker')}"
    runtime = Docker()
    runtime.connect(bench.daemons.docker_url)
    try:
        variant = next(one for one in runtime.variants if one.name == f"docker/{flavour}")
        prepared = runtime.prepare(variant, bench.shape, bench.root, Deadline.after(300))
        rounds = alternate(
            lambda: _by_tare(bench, runtime, prepared), lambda: _by_hand(bench, prepared, flavour == "host"), pairs
        )
    finally:
        runtime.close()
    return table(f"container, {variant.name}: launch to ready to gone", ("tare", "docker run --rm"), rounds)


def _by_tare(bench: Bench, runtime: Docker, prepared: Prepared) -> Times:
    deadline = Deadline.after(LAUNCH_SECONDS)
    with bench.place() as place:
        begin = time.monotonic()
        with runtime.launch(prepared, place, LABELS, deadline) as instance:
            ready = instance.wait(Milestone.READY, deadline)
        return {"ready": ready - begin, "gone": time.monotonic() - begin}


def _by_hand(bench: Bench, prepared: Prepared, host: bool) -> Times:
    """Run the container in the foreground and end it with SIGTERM; the command ends after the container is removed."""
    deadline = Deadline.after(LAUNCH_SECONDS)
    with bench.place() as place:
        channel = Channel(place.directory)
        try:
            argv = _argv(prepared, place, host)
            begin = time.monotonic()
            child = spawn(argv, stderr=subprocess.PIPE, env={"DOCKER_HOST": str(bench.daemons.docker_url)})
            try:
                ready = channel.wait_ready(deadline, lambda: _ended(child))
                child.send_signal(signal.SIGTERM)
                status = child.wait(deadline.left)
                gone = time.monotonic()
                if status != 0:
                    raise TareError(f"docker run exited with status {status}", details=_ended(child) or "")
                return {"ready": ready - begin, "gone": gone - begin}
            finally:
                kill_group(child)
        finally:
            channel.close()


def _argv(prepared: Prepared, place: Place, host: bool) -> list[str]:
    assert place.network is not None
    network = ["--network=host"] if host else ["--network", place.network.docker_network, "--ip", place.network.address]
    shape = place.shape
    return [
        *("docker", "run", "--rm", "--name", place.name, *network),
        *("--cpuset-cpus", shape.cpu_list, "--pids-limit", str(shape.pids)),
        *("--memory", f"{shape.memory_mib}m", "--memory-swap", f"{shape.memory_mib}m"),
        *("--ulimit", f"nofile={OPEN_FILES}:{OPEN_FILES}", "--tmpfs", "/tmp:rw,exec,mode=1777", "--workdir", "/tmp"),
        *("--log-driver", str(LOG["Type"]), "--log-opt", "max-size=1m"),
        *("--mount", f"type=bind,source={place.directory},target=/run/tare"),
        *(word for label in LABELS.items() for word in ("--label", "=".join(label))),
        *(word for setting in ENVIRONMENT.items() for word in ("--env", "=".join(setting))),
        *(prepared.image, *ENTRY_ARGV["beacon"]),
    ]


def _ended(child: "subprocess.Popen[bytes]") -> str | None:
    if child.poll() is None:
        return None
    assert child.stderr is not None
    return child.stderr.read().decode("utf-8", "replace")[-1000:]
