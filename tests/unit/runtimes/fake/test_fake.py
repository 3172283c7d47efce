"""The fake runtime follows the protocols and its numbers follow its place's name."""

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Milestone, RootForms, Shape
from harness.runtimes.base import Command, Place, Runtime
from harness.runtimes.fake.instance import FakeInstance
from harness.runtimes.fake.runtime import SLOW_FACTOR, Fake

SHAPE = Shape(cpus=(0,), memory_mib=512)
ROOT = RootForms(
    digest="", directory=Path(), tar=Path(), disk=Path(), kernel=Path(), initramfs=Path(), kernel_release=""
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setenv("TARE_FAKE", "1")
    return Fake()


def launch(fake: Runtime, variant: str, name: str = "tare-x-1") -> FakeInstance:
    (chosen,) = (one for one in fake.variants if one.name == variant)
    deadline = Deadline.after(5)
    prepared = fake.prepare(chosen, SHAPE, ROOT, deadline)
    place = Place(name=name, directory=Path(), entry="agent", shape=SHAPE)
    instance = fake.launch(prepared, place, {}, deadline)
    assert isinstance(instance, FakeInstance)
    return instance


def run(instance: FakeInstance, *words: str, seconds: float = 5) -> str:
    deadline = Deadline.after(seconds)
    output = instance.start(Command(argv=("fake", *words)), deadline).wait(deadline)
    assert output.begin <= output.end
    return output.stdout if output.status == 0 else f"status {output.status}"


def test_it_is_listed_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TARE_FAKE", raising=False)
    assert Fake().variants == ()


def test_numbers_follow_the_name_and_the_factor(fake: Runtime) -> None:
    words = ("rate=100", "latency=2", "noise=0.1")
    assert run(launch(fake, "fake/baseline"), *words) == run(launch(fake, "fake/baseline"), *words)
    assert run(launch(fake, "fake/baseline"), *words) != run(launch(fake, "fake/baseline", "tare-x-2"), *words)
    slow = dict(line.split("=") for line in run(launch(fake, "fake/slow"), "rate=100", "latency=2").splitlines())
    assert float(slow["rate"]) == pytest.approx(100 / SLOW_FACTOR)
    assert float(slow["latency"]) == pytest.approx(2 * SLOW_FACTOR)


def test_orders(fake: Runtime) -> None:
    with launch(fake, "fake/baseline") as instance:
        assert run(instance, "rate=1", "fail=1") == "status 1"
        with pytest.raises(DeadlineExceeded):
            run(instance, "rate=1", "hang=1", seconds=0.05)
        before = instance.counters()["workload"]
        run(instance, "rate=1", "sleep=0.05")
        assert instance.counters()["workload"] - before >= 0.05
        with pytest.raises(TareError, match="cannot be started"):
            instance.start(Command(argv=("sh", "-c", "id")), Deadline.after(1))


def test_marks_come_in_order(fake: Runtime) -> None:
    instance = launch(fake, "fake/slow")
    milestones = [
        instance.wait(milestone, Deadline.after(1))
        for milestone in (Milestone.REQUESTED, Milestone.CREATED, Milestone.USERSPACE, Milestone.READY)
    ]
    assert milestones == sorted(milestones)


def test_the_broken_one_cannot_be_launched(fake: Runtime) -> None:
    with pytest.raises(TareError, match="cannot be launched"):
        launch(fake, "fake/broken")
