"""What a guest can be put through, against libvirt's own test driver: which calls are made, and on which domain."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from harness.deadline import Deadline
from harness.model import Shape
from harness.runtimes.base import Place
from harness.runtimes.capabilities import Pausable, Savable, Snapshottable, Stoppable, T, Unsupported, choose
from harness.runtimes.libvirt import lifecycle
from harness.runtimes.libvirt.domain import DirectKernel, Disk, Domain, check, render
from harness.runtimes.libvirt.lifecycle import Lifecycle
from harness.runtimes.libvirt.session import Session, create

URI = "test:///default"
NAME = "tare-lives"
IDENTITY = "5d1a8d0e-6d0a-4c07-9d86-2f6d8a1c0b11"
TEXT = (
    f"<domain type='test'><name>{NAME}</name><uuid>{IDENTITY}</uuid><memory>8192</memory>"
    "<os><type>hvm</type></os></domain>"
)


class Channel:
    """Counts how often its paths were listened at again."""

    anew = 0

    def listen_anew(self) -> None:
        self.anew += 1


class Subject:
    """A guest's end that only notes what it is told."""

    def __init__(self) -> None:
        self.channel = Channel()
        self.told: list[str] = []
        self.handle: libvirt.virDomain | None = None

    def begin_again(self, identity: str) -> None:
        self.told.append(f"begin {identity}")

    def go_on(self, deadline: Deadline) -> None:
        self.told.append("go on")

    def power_off(self, deadline: Deadline) -> None:
        self.told.append("power off")
        assert self.handle is not None
        self.handle.destroy()


def described(folder: Path) -> Domain:
    return Domain(
        type="qemu",
        name=NAME,
        uuid=IDENTITY,
        labels={"tare.run": "r1"},
        cpus=(0,),
        memory_mib=64,
        boot=DirectKernel(kernel=Path("/k"), initramfs=Path("/i"), command_line="quiet"),
        disks=(Disk(path=folder / "root.qcow2", format="qcow2", cache="writeback", target="vda", base=Path("/b")),),
        channel=folder / "channel",
        milestones=folder / "milestones",
        console=folder / "console",
        cpu_model="",
    )


@pytest.fixture
def subject() -> Subject:
    return Subject()


@pytest.fixture
def life(tmp_path: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lifecycle]:
    monkeypatch.setattr(lifecycle, "render", lambda domain: TEXT)
    session = Session()
    session.connect(URI)
    subject.handle = create(session.connection(Deadline.after(5)), TEXT, 0, Deadline.after(5))
    place = Place(name=NAME, directory=tmp_path, entry="agent", shape=Shape(cpus=(0,), memory_mib=64), lasting=True)
    made = Lifecycle(session, described(tmp_path), subject.handle, subject, place, "bridge")  # type: ignore[arg-type]
    yield made
    made.end()
    session.close()


def able(life: Lifecycle, kind: type[T]) -> T:
    found = choose(life.offers(), kind, NAME)
    assert not isinstance(found, Unsupported)
    return found


def test_it_is_paused_and_goes_on(life: Lifecycle) -> None:
    can = able(life, Pausable)
    can.pause(Deadline.after(5))
    assert life.handle.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    can.resume(Deadline.after(5))
    assert life.handle.state()[0] == libvirt.VIR_DOMAIN_RUNNING


def test_a_stop_is_asked_for_inside_and_over_once_libvirt_has_no_such_domain(life: Lifecycle, subject: Subject) -> None:
    can = able(life, Stoppable)
    can.stop(Deadline.after(5))
    can.start(Deadline.after(5))
    assert subject.told == ["power off", f"begin {IDENTITY}"]
    assert life.handle.isActive()
    can.kill(Deadline.after(5))
    can.kill(Deadline.after(5))  # gone already is fine
    can.start(Deadline.after(5))


def test_saved_and_restored_it_has_a_new_connection_and_the_file_is_gone(life: Lifecycle, subject: Subject) -> None:
    can = able(life, Savable)
    can.save(Deadline.after(5))
    assert can.size()
    can.restore(Deadline.after(5))
    assert life.handle.isActive() and subject.channel.anew == 1 and subject.told == ["go on"]
    assert can.size() is None


def test_a_snapshot_is_taken_gone_back_to_and_dropped(life: Lifecycle, subject: Subject) -> None:
    can = able(life, Snapshottable)
    can.take(Deadline.after(5))
    life.handle.suspend()
    can.restore(Deadline.after(5))
    assert life.handle.state()[0] == libvirt.VIR_DOMAIN_RUNNING and subject.told == ["go on"]
    can.drop(Deadline.after(5))
    assert life.handle.snapshotNum() == 0


def test_a_clones_disk_names_all_that_it_is_an_overlay_of(tmp_path: Path) -> None:
    domain = described(tmp_path)
    root = dataclasses.replace(domain.disks[0], path=tmp_path / "clone", between=(domain.disks[0].path,))
    text = render(dataclasses.replace(domain, disks=(root,)))
    check(text)
    assert text.index("/clone") < text.index("/root.qcow2") < text.index('file="/b"')
    assert text.count('relabel="no"') == 2
