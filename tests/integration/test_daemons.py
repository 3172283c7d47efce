"""Private dockerd and libvirtd for real: they answer, guests are created quickly, and nothing is left of them."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import libvirt
import psutil
import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons import leftovers, open_daemons, sweep
from harness.host.daemons.enclosure import Enclosure
from harness.host.daemons.network_state import Footprint, plain
from harness.host.daemons.private import DOCKER_FOLDERS, LIBVIRT_FOLDERS, Kvm, missing_programs
from harness.host.daemons.reach import LIBVIRT_URI, ask_docker, ask_libvirt, docker_url
from harness.process import run

NETNS = "tare-test-host"
WANT = ("docker", "libvirt")
GUEST = """<domain type='qemu'><name>tare-test-host</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><serial type='file'><source path='/var/log/libvirt/serial'/></serial></devices></domain>"""
SLEEPER = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


def private_reason() -> str:
    """Why private daemons cannot be started here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root"
    if missing := missing_programs(WANT):
        return f"not installed: {', '.join(missing)}"
    if ask_docker(docker_url(), Deadline.after(5)).ok or ask_libvirt(LIBVIRT_URI, Deadline.after(10)).ok:
        return "the host's own daemons answer"
    return "systemd would start the services" if Path("/run/systemd/system").is_dir() else ""


pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(private_reason()), reason=private_reason())]


def pictures() -> dict[str, object]:
    """What must be the same before and after."""
    footprint = Footprint.take(Deadline.after(10))
    # Others may work on this host meanwhile: only what could be ours is compared where there is a name to tell.
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if NETNS in line or "/tare-t" in line]
    return {
        "netns": NETNS in {p.name for p in Path("/run/netns").iterdir()} if Path("/run/netns").exists() else False,
        "mounts": mounts,
        "rules": {tool: plain(text) for tool, text in footprint.rules.items()},
        "sysctls": footprint.sysctls,
        "bridges": footprint.bridges,
        "cgroups": sorted(map(str, Path("/sys/fs/cgroup").glob(f"**/*{NETNS}"))),
        "folders": {folder: folder.exists() for folder in (*LIBVIRT_FOLDERS.values(), *DOCKER_FOLDERS.values())},
    }


def ours(run_dir: Path) -> list[str]:
    """Processes that name our run directory or live in our control group."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid != os.getpid() and any(str(run_dir) in word for word in process.info["cmdline"] or []):
            found.append(" ".join(process.info["cmdline"]))
    return found + [str(pid) for pid in Enclosure(NETNS).processes()]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def run_dir() -> Iterator[Path]:
    folder = Path(f"/run/tare-t{os.getpid()}")
    folder.mkdir()
    yield folder
    sweep(folder, Deadline.after(20), netns=NETNS)
    shutil.rmtree(folder)


def sleeper(client: docker.DockerClient, folder: Path) -> str:
    """Import an image with one static program that sleeps for ever and heeds no signal."""
    (folder / "sleeper.c").write_text(SLEEPER)
    run(["gcc", "-static", "-o", folder / "sleeper", folder / "sleeper.c"], Deadline.after(60))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(folder / "sleeper", "sleeper")
    client.api.import_image_from_data(archive.getvalue(), repository="tare-test-host", tag="sleeper")
    return "tare-test-host:sleeper"


@pytest.mark.parametrize("kvm", ["hidden", "offered"])
def test_both_open_answer_and_leave_nothing(kvm: Kvm, run_dir: Path, state: Path, tmp_path: Path) -> None:
    before = pictures()
    kvm_before = Path("/dev/kvm").stat() if Path("/dev/kvm").exists() else None
    said: list[str] = []
    opened = time.monotonic()
    with open_daemons(run_dir, state, WANT, Deadline.after(60), said.append, kvm=kvm, netns=NETNS) as daemons:
        print("open", time.monotonic() - opened, daemons)
        assert daemons.netns == NETNS
        assert daemons.reasons == {}
        assert daemons.docker_url and daemons.libvirt_uri
        with contextlib.closing(docker.DockerClient(daemons.docker_url)) as client:
            assert client.ping()
            image = sleeper(client, tmp_path)
            inside = client.containers.run(image, ["/sleeper"], detach=True, network_mode="host")
            inside.reload()
            pid = inside.attrs["State"]["Pid"]
            assert Path(f"/proc/{pid}/ns/net").stat().st_ino == Enclosure(NETNS).handle.stat().st_ino
            assert pid in Enclosure(NETNS).contained()
        connection = libvirt.open(daemons.libvirt_uri)
        assert connection.getVersion() > 0
        for _ in range(2):
            asked = time.monotonic()
            guest = connection.createXML(GUEST, libvirt.VIR_DOMAIN_START_AUTODESTROY)
            print("create", time.monotonic() - asked)
            guest.destroy()
            # 19 s and more when libvirt probes QEMU at every call; half a second else.
            assert time.monotonic() - asked < 8.0
        connection.close()
        assert pictures()["rules"] == before["rules"]
        closing = time.monotonic()
    print("close", time.monotonic() - closing)
    # With a container left running: dockerd alone would have waited 10 s for it.
    assert time.monotonic() - closing < 8.0
    assert ours(run_dir) == []
    assert not any(run_dir.iterdir())
    assert pictures() == before
    if kvm_before is not None:
        assert Path("/dev/kvm").stat().st_mode == kvm_before.st_mode


def test_images_are_there_again_in_the_next_run(run_dir: Path, state: Path, tmp_path: Path) -> None:
    for last in (False, True):
        with open_daemons(run_dir, state, ["docker"], Deadline.after(60), print, netns=NETNS) as daemons:
            assert daemons.docker_url and daemons.libvirt_uri is None
            with contextlib.closing(docker.DockerClient(daemons.docker_url)) as client:
                if not last:
                    sleeper(client, tmp_path)
                assert client.images.get("tare-test-host:sleeper")


def test_a_killed_harness_leaves_no_daemon_and_is_swept(run_dir: Path, state: Path) -> None:
    code = f"""
import time
from pathlib import Path
from harness.deadline import Deadline
from harness.host.daemons import open_daemons
with open_daemons(Path({str(run_dir)!r}), Path({str(state)!r}), ("docker", "libvirt"), Deadline.after(60),
                  lambda _: None, netns={NETNS!r}) as daemons:
    print("open", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        # While its owner lives, the namespace is nobody else's to clean or to open.
        assert leftovers(run_dir, Deadline.after(10), netns=NETNS) == []
        other = open_daemons(run_dir / "other", state, WANT, Deadline.after(30), lambda _: None, netns=NETNS)
        with pytest.raises(TareError, match="exists already"), other:
            pass
        child.send_signal(signal.SIGKILL)
    until = time.monotonic() + 15
    while ours(run_dir) and time.monotonic() < until:
        time.sleep(0.1)
    assert ours(run_dir) == []
    assert "netns" in {stale.kind for stale in leftovers(run_dir, Deadline.after(10), netns=NETNS)}
    sweep(run_dir, Deadline.after(20), netns=NETNS)
    assert leftovers(run_dir, Deadline.after(10), netns=NETNS) == []
    assert not Enclosure(NETNS).handle.exists()


def test_a_namespace_that_is_not_ours_is_never_touched(run_dir: Path, state: Path) -> None:
    run(["ip", "netns", "add", NETNS], Deadline.after(10))
    try:
        assert leftovers(run_dir, Deadline.after(10), netns=NETNS) == []
        opening = open_daemons(run_dir, state, WANT, Deadline.after(30), lambda _: None, netns=NETNS)
        with pytest.raises(TareError, match="exists already"), opening:
            pass
        assert Enclosure(NETNS).handle.exists()
    finally:
        run(["ip", "netns", "delete", NETNS], Deadline.after(10))


def test_footprint_puts_the_packet_filter_back(run_dir: Path) -> None:
    """In a namespace of its own: rules, a new table and forwarding are changed as dockerd does, then restored."""
    code = """
import subprocess
from harness.deadline import Deadline
from harness.host.daemons.network_state import Footprint, plain
before = Footprint.take(Deadline.after(20))
for line in ("-P FORWARD DROP", "-N DOCKER", "-A FORWARD -j DOCKER", "-t nat -N DOCKER",
             "-t nat -A POSTROUTING -s 10.1.0.0/24 -j MASQUERADE"):
    subprocess.run(["iptables", *line.split()], check=True)
open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
assert plain(Footprint.take(Deadline.after(20)).rules["iptables"]) != plain(before.rules["iptables"])
before.restore(Deadline.after(20))
after = Footprint.take(Deadline.after(20))
print([line for line in plain(after.rules["iptables"]).splitlines() if "DOCKER" in line or "DROP" in line
       or "MASQ" in line], after.sysctls == before.sysctls)
"""
    done = run(["unshare", "--net", sys.executable, "-c", code], Deadline.after(60))
    assert done.stdout.strip() == "[] True"


def test_guests_join_a_dockerd_that_is_there_already(
    run_dir: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_daemons(run_dir / "a", state, ["docker"], Deadline.after(60), print, netns=NETNS) as there:
        assert there.docker_url
        monkeypatch.setenv("DOCKER_HOST", there.docker_url)
        before = pictures()
        with open_daemons(run_dir / "b", state, WANT, Deadline.after(60), print, netns=f"{NETNS}-b") as daemons:
            assert daemons.docker_url == there.docker_url
            assert daemons.netns == ""
            assert daemons.libvirt_uri
            assert ask_libvirt(daemons.libvirt_uri, Deadline.after(10)).ok
            namespace = Path(f"/proc/{daemons.processes['libvirtd']}/ns/net").stat().st_ino
            assert namespace == Path("/proc/self/ns/net").stat().st_ino
        assert pictures() == before
        assert ask_docker(there.docker_url, Deadline.after(10)).ok
    for name in ("a", "b"):
        (run_dir / name).rmdir()


def test_a_docker_host_that_is_dead_is_not_replaced(
    run_dir: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{run_dir}/none.sock")
    with open_daemons(run_dir, state, ["docker"], Deadline.after(60), print, netns=NETNS) as daemons:
        assert daemons.docker_url is None
        assert "none.sock" in daemons.reasons["docker"]
        assert "DOCKER_HOST" in daemons.fixes["docker"]
        assert daemons.netns == ""
