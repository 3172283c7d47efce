"""What of the Docker runtime needs no daemon: the container's specification, its words, and absent or hung daemons."""

import os
import platform
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Accelerator, NetworkPlace, RootForms, Shape, Variant
from harness.runtimes.base import Place, Prepared
from harness.runtimes.docker import runtime as docker
from harness.runtimes.docker.daemon import Daemon, chosen_url
from harness.runtimes.docker.daemon_processes import DaemonProcesses
from harness.runtimes.docker.inspection import died, facts
from harness.runtimes.docker.instance import process_start
from harness.runtimes.docker.root_image import tag
from harness.runtimes.docker.specification import VARIANTS, container, endpoint

HERE = Path("/nowhere")
ROOT = RootForms(
    digest="sha256:00112233445566778899",
    directory=HERE,
    tar=HERE,
    disk=HERE,
    kernel=HERE,
    initramfs=HERE,
    kernel_release="6.1",
)
SHAPE = Shape(cpus=(2, 3), memory_mib=512, pids=100)
NETWORK = NetworkPlace(
    bridge="tare0",
    docker_network="tare-net",
    netns="",
    host_address="198.18.0.1",
    nat_address="198.18.1.1",
    address="198.18.0.16",
    prefix=24,
)
PLACE = Place(name="tare-x", directory=HERE, entry="agent", shape=SHAPE, network=NETWORK, port=5201, scratch_mib=64)
FIT = {
    "OSType": "linux",
    "KernelVersion": platform.release(),
    "MemoryLimit": True,
    "CPUSet": True,
    "PidsLimit": True,
}


def variant(flavour: str) -> Variant:
    return next(one for one in VARIANTS if one.name == f"docker/{flavour}")


def prepared(flavour: str) -> Prepared:
    return Prepared(variant=variant(flavour), shape=SHAPE, root=ROOT, image="sha256:1", accelerator=Accelerator.NONE)


def test_the_shape_becomes_limits_without_swap_or_quota() -> None:
    body = container(prepared("bridge"), PLACE, {"tare.run": "r1"})
    host = body["HostConfig"]
    assert host["CpusetCpus"] == "2,3"
    assert host["Memory"] == host["MemorySwap"] == 512 * 2**20
    assert host["PidsLimit"] == 100
    assert not {"CpuQuota", "CpuPeriod", "NanoCpus"} & host.keys()
    assert host["Init"] is False
    assert body["Labels"] == {"tare.run": "r1"}
    assert not {"Privileged", "SecurityOpt", "CapAdd"} & host.keys()


def test_entry_and_channel() -> None:
    body = container(prepared("bridge"), replace(PLACE, entry="beacon"), {})
    assert body["Cmd"] == ["/opt/tare/beacon", "/run/tare/channel", "ready"]
    assert body["HostConfig"]["Mounts"] == [{"Type": "bind", "Source": "/nowhere", "Target": "/run/tare"}]


@pytest.mark.parametrize(
    ("flavour", "mode", "published", "address"),
    [
        ("bridge", "tare-net", False, "198.18.0.16"),
        ("host", "host", False, "198.18.0.1"),
        ("nat", "tare-net", True, "198.18.1.1"),
        ("overlay", "tare-net", False, "198.18.0.16"),
        ("volume", "tare-net", False, "198.18.0.16"),
    ],
)
def test_network_of_each_variant(flavour: str, mode: str, published: bool, address: str) -> None:
    body = container(prepared(flavour), PLACE, {})
    assert body["HostConfig"]["NetworkMode"] == mode
    assert set(body["ExposedPorts"]) == set(body["HostConfig"]["PortBindings"])
    assert bool(body["ExposedPorts"]) is published
    assert ("NetworkingConfig" in body) is (mode != "host")
    where = endpoint(variant(flavour).options["network"], PLACE)
    assert (where.address, where.port) == (address, 5201)


def test_without_a_network_place_there_is_only_loopback_and_no_endpoint() -> None:
    alone = replace(PLACE, network=None)
    assert container(prepared("nat"), alone, {})["HostConfig"]["NetworkMode"] == "none"
    with pytest.raises(TareError, match="no network place"):
        endpoint("bridge", alone)


def test_only_the_volume_variant_has_a_labelled_volume_and_only_for_scratch() -> None:
    mounts = container(prepared("volume"), PLACE, {"tare.run": "r1"})["HostConfig"]["Mounts"]
    assert mounts[1]["Target"] == "/scratch"
    assert mounts[1]["VolumeOptions"]["Labels"] == {"tare.run": "r1"}
    assert "Source" not in mounts[1]
    assert len(container(prepared("volume"), replace(PLACE, scratch_mib=0), {})["HostConfig"]["Mounts"]) == 1
    assert len(container(prepared("overlay"), PLACE, {})["HostConfig"]["Mounts"]) == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"OOMKilled": True, "ExitCode": 137}, "more than its 512 MiB of memory"),
        ({"ExitCode": 137}, "SIGKILL from outside"),
        ({"ExitCode": 127, "Error": "no such file"}, "no such file"),
        ({"ExitCode": 3, "Status": "exited"}, "exited with exit status 3"),
    ],
)
def test_why_it_died(state: dict[str, object], words: str) -> None:
    assert words in died(state, 512)


def test_facts_are_texts_also_where_the_daemon_says_nothing() -> None:
    container = {"Image": "sha256:1", "HostConfig": {"NetworkMode": "host"}, "State": {"Pid": 7}}
    bare = facts({}, container)
    assert (bare["pid"], bare["apparmor"], bare["docker_security"], bare["runc_version"]) == ("7", "none", "", "")
    about = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"], "RuncCommit": {"ID": "v1.2"}}
    told = facts(about, {**container, "AppArmorProfile": "docker-default"})
    assert told["docker_security"] == "seccomp,profile=builtin cgroupns"
    assert (told["apparmor"], told["runc_version"]) == ("docker-default", "v1.2")
    assert bare.keys() == told.keys() and all(isinstance(value, str) for value in told.values())


def test_a_daemon_that_cannot_be_weighed_says_why() -> None:
    url = "unix:///var/run/docker.sock"
    assert docker.unfit(url, FIT) is None
    for unfit in (
        docker.unfit("tcp://10.0.0.1:2375", FIT),
        docker.unfit(url, {**FIT, "KernelVersion": "6.6-linuxkit"}),
        docker.unfit(url, {**FIT, "MemoryLimit": False}),
    ):
        assert unfit is not None and not unfit.ok and unfit.reason and unfit.fix


def test_no_daemon_is_a_skip_with_reason_and_fix_and_has_no_leftovers(tmp_path: Path) -> None:
    runtime = docker.Docker()
    runtime.connect(f"unix://{tmp_path}/docker.sock")
    answer = runtime.available(VARIANTS[0])
    assert not answer.ok and answer.reason and answer.fix
    assert list(runtime.leftovers()) == []
    with pytest.raises(TareError):
        runtime.prepare(VARIANTS[0], SHAPE, ROOT, Deadline.after(1))


def test_a_hung_daemon_does_not_hang_us(tmp_path: Path) -> None:
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(path)
        silent.listen(1)
        before = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            Daemon(f"unix://{path}", Deadline.after(0.3))
        assert time.monotonic() - before < 5


def test_which_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///a")
    assert chosen_url(None) == "unix:///a"
    assert chosen_url("unix:///b") == "unix:///b"
    monkeypatch.delenv("DOCKER_HOST")
    assert chosen_url(None) == "unix:///var/run/docker.sock"


def test_the_image_is_named_by_the_digest() -> None:
    assert tag("sha256:00112233445566778899") == tag("00112233445566778899") == "tare-root:001122334455"


def test_when_a_process_began_is_known_to_a_tick() -> None:
    before = time.monotonic()
    with subprocess.Popen(["sleep", "60"]) as child:
        after = time.monotonic()
        moment = process_start(child.pid)
        child.kill()
    assert before - 0.011 <= moment <= after


def test_a_process_without_docker_has_no_shim() -> None:
    assert "shim" not in DaemonProcesses(None, os.getpid(), None).cpu_seconds()


def test_the_hardened_container_gives_up_what_docker_leaves_it_and_can_still_write_its_scratch() -> None:
    body = container(prepared("hardened"), PLACE, {})
    host = body["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges"], "and the daemon's own filter stays"
    assert body["User"].split(":")[0] not in ("", "0")
    assert host["Tmpfs"]["/scratch"] == "rw,uid=65533,gid=65533,size=64m", "its own: the mode would be the root's"
    assert "/scratch" not in container(prepared("bridge"), PLACE, {})["HostConfig"]["Tmpfs"]
