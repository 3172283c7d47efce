"""Lives for real: containers and emulated guests put through their scenarios, a client outside, and nothing left."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from harness import paths, process
from harness.deadline import Deadline
from harness.definitions.workloads import load_workloads
from harness.host.daemons import open_daemons
from harness.images import ensure
from harness.measures.lifecycle import LifecycleMeasure
from harness.model import Case, Limits, Role, RootForms, Shape, Workload
from harness.rig.network import Network, open_network
from harness.runtimes.base import Instance, Place, Runtime
from harness.runtimes.docker import Docker
from harness.runtimes.libvirt import Libvirt
from harness.runtimes.native.runtime import Native
from harness.runtimes.qemu import Microvm
from tests.environment import Asked, BaseEnvironment

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="a bridge of our own needs root: sudo make test"),
    pytest.mark.skipif(
        bool(process.have("ip", "dockerd", "libvirtd", "qemu-system-x86_64", "mmdebstrap", "bwrap")),
        reason="system packages: make doctor",
    ),
]

NAME = "lftest"
LABELS = {"tare.install": NAME, "tare.run": f"{NAME}-run", "tare.boot": "b"}
WORKLOADS = load_workloads(paths.data("workloads"))
FOLDER = Path(f"/run/{NAME}")


class Environment(BaseEnvironment):
    """As much of a run as a case needs."""

    def __init__(self, runtimes: Mapping[str, Runtime], root: RootForms, network: Network) -> None:
        super().__init__(Shape(cpus=(max(os.sched_getaffinity(0)),), memory_mib=512), Limits(steal=100, load=100))
        self.runtimes, self.root, self.network = runtimes, root, network
        self.launched = 0

    def workload(self, name: str) -> Workload:
        return replace(WORKLOADS[name], iterations=1)

    @contextlib.contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        self.launched += 1
        cast, workload = asked.case.cast[asked.role], WORKLOADS[asked.case.workload]
        runtime = self.runtimes[cast.partition("/")[0]]
        variant = next(one for one in runtime.variants if one.name == cast)
        prepared = runtime.prepare(variant, self.shape, self.root, Deadline.after(180))
        name = f"tare-{NAME}-{self.launched}"
        directory = FOLDER / str(self.launched)
        directory.mkdir(mode=0o711)
        subject, server = asked.role is Role.SUBJECT, workload.server
        assert server is not None
        place = Place(
            name=name,
            directory=directory,
            entry=asked.entry,
            shape=self.shape,
            network=self.network.place(name) if subject else self.network.peer_place(),
            port=server.port,
            scratch_mib=workload.scratch_mib if subject else 0,
            scratch_directory=FOLDER,
            lasting=subject,
        )
        try:
            with runtime.launch(prepared, place, LABELS, asked.deadline) as instance:
                yield instance
        finally:
            self.network.release(name)
            shutil.rmtree(directory)

    def steps(self, workload: str, variant: str) -> dict[str, dict[str, bool]]:
        """What survived what; every metric of the workload must have been measured."""
        self.events.clear()
        cast = {Role.SUBJECT: variant, Role.PEER: "native"}
        case = Case(block=0, position=0, attempt=1, workload=workload, cast=cast)
        samples = list(LifecycleMeasure().measure(case, self, Deadline.after(240)))
        wanted = {one.name for one in WORKLOADS[workload].metrics if one.name != "size"}
        assert {one.metric for one in samples} - {"size"} == wanted, self.said()
        assert all(one.value is not None and one.value > 0 for one in samples)
        assert self.kept == [], "nothing is timed"
        steps: dict[str, dict[str, bool]] = self.said()[-1]["steps"]
        return steps

    def left(self) -> list[object]:
        found = [one for runtime in self.runtimes.values() for one in runtime.leftovers()]
        return [one for one in found if one.run == LABELS["tare.run"] and one.kind != "docker-network"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    deadline = Deadline.after(600)
    root = ensure(paths.data("images") / "root.toml", paths.state() / "images", deadline, print)
    with ExitStack() as stack:
        FOLDER.mkdir(mode=0o711)
        stack.callback(shutil.rmtree, FOLDER)
        run_dir, state = FOLDER / "d", tmp_path_factory.mktemp("state")
        run_dir.mkdir()
        daemons = stack.enter_context(
            open_daemons(run_dir, state, ["docker", "libvirt"], deadline, print, kvm="hidden", netns=NAME)
        )
        if daemons.docker_url is None or daemons.libvirt_uri is None:
            pytest.skip(str(daemons.reasons))
        network = stack.enter_context(
            open_network(daemons.netns, LABELS["tare.run"], daemons.docker_url, deadline, peer=f"{NAME}-peer")
        )
        made: tuple[Runtime, ...] = (Docker(), Libvirt(), Native(), Microvm())
        runtimes = {one.name: one for one in made}
        runtimes["docker"].connect(daemons.docker_url)
        runtimes["libvirt"].connect(daemons.libvirt_uri)
        for one in runtimes.values():
            stack.callback(one.close)
        yield Environment(runtimes, root, network)


ALL_THERE = {"process": True, "its memory": True}


def test_a_paused_container_is_silent_and_goes_on(environment: Environment) -> None:
    assert environment.steps("lifecycle.pause", "docker/bridge") == {"pause and resume": ALL_THERE}
    assert environment.left() == []


def test_a_committed_container_comes_back_with_its_files_and_without_its_processes(environment: Environment) -> None:
    back = {"process": False, "its memory": False, "file as in the snapshot": True}
    assert environment.steps("lifecycle.snapshot", "docker/bridge") == {"snapshot and return": back}
    assert environment.left() == []


def test_a_volume_outlives_the_container_and_its_layer_does_not(environment: Environment) -> None:
    steps = environment.steps("lifecycle.persist", "docker/volume")
    kept = {"file: volume": True, "file: container layer": True, "file: tmpfs": False}
    assert steps["stop and start"] == steps["kill and start"] == kept
    assert steps["recreation"] == {**kept, "file: container layer": False}
    assert environment.left() == []


def test_a_guest_goes_back_to_a_snapshot_with_all_that_it_held(environment: Environment) -> None:
    steps = environment.steps("lifecycle.snapshot", "libvirt/tcg")
    assert steps == {"snapshot and return": {**ALL_THERE, "file as in the snapshot": True}}
    assert environment.left() == []


@pytest.mark.parametrize("variant", ["libvirt/tcg", "qemu/microvm-tcg"])
def test_a_guest_is_saved_and_restored_with_all_that_it_held(environment: Environment, variant: str) -> None:
    assert environment.steps("lifecycle.save", variant) == {"save and restore": {**ALL_THERE, "file": True}}
    assert environment.left() == []


def test_a_guest_moves_to_a_second_libvirtd_with_all_that_it_holds(environment: Environment) -> None:
    assert environment.steps("lifecycle.migrate", "libvirt/tcg") == {"migration": {**ALL_THERE, "file": True}}
    assert environment.left() == []
