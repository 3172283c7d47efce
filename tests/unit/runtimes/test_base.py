"""What a runtime and an instance get from their base classes."""

import dataclasses
import platform
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, Leftover, Milestone, NetworkPlace, Shape, Variant
from harness.run.environment import NO_ROOT
from harness.runtimes.base import Command, Instance, Job, Place, Prepared, Runtime, SignallingOverhead
from harness.runtimes.capabilities import Pausable, Unsupported
from harness.runtimes.fake.instance import FakeInstance

SHAPE = Shape(cpus=(0,), memory_mib=64)
NETWORK = NetworkPlace(**dict.fromkeys(NetworkPlace.__dataclass_fields__, "x") | {"address": "10.0.0.9"})  # type: ignore[arg-type]


class Least(Runtime):
    name = "least"
    variants = (Variant(name="least", runtime="least", summary=""),)

    def available(self, variant: Variant) -> Available:
        return Available(ok=True)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> FakeInstance:
        return FakeInstance(place, 1.0)


def place(**more: object) -> Place:
    return Place(name="tare-x-1", directory=Path("/run/x"), entry="agent", shape=SHAPE, **more)  # type: ignore[arg-type]


def test_the_least_runtime_has_all_that_a_runtime_has() -> None:
    runtime: Runtime = Least()
    assert (runtime.daemon, runtime.needs_root) == ("", True)
    deadline = Deadline.after(1)
    root = dataclasses.replace(NO_ROOT, digest="d", directory=Path("/root-of-x"))
    prepared = runtime.prepare(runtime.variants[0], SHAPE, root, deadline)
    assert prepared.image == root.digest and prepared.accelerator is Accelerator.NONE
    assert runtime.prove(root, deadline) is Accelerator.NONE
    assert list(runtime.files(prepared, deadline)) == [root.directory]
    assert runtime.copies(prepared, Path("/x"), {}, deadline) is None
    assert list(runtime.leftovers()) == []
    with pytest.raises(TareError, match="least has no container to remove"):
        runtime.remove(Leftover(kind="container", name="of-another"), deadline)


def test_an_instance_has_its_milestones_its_address_and_what_it_offers() -> None:
    """The fake one, which overrides neither milestones nor address."""
    with FakeInstance(place(network=NETWORK, port=80), 1.0) as instance:
        found = instance.milestones
        assert found[Milestone.REQUESTED] < found[Milestone.CREATED] < found[Milestone.READY]
        assert instance.wait(Milestone.READY, Deadline.after(1)) == found[Milestone.READY]
        with pytest.raises(TareError, match="tare-x-1 has no milestone loader"):
            instance.wait(Milestone.LOADER, Deadline.after(1))
        end = instance.endpoint()
        assert (end.address, end.port, end.bind) == ("10.0.0.9", 80, "10.0.0.9")
    for lacking in (place(port=80), place(network=NETWORK)):
        with pytest.raises(TareError, match="has no network place"):
            FakeInstance(lacking, 1.0).endpoint()


class Left(Instance):
    """An instance that counts how often it is ended."""

    ended = 0

    def start(self, command: Command, deadline: Deadline) -> Job:
        raise NotImplementedError

    def signalling_overheads(self, deadline: Deadline) -> Mapping[Milestone, SignallingOverhead]:
        return {}

    def counters(self) -> Mapping[str, float]:
        return {}

    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        return {}

    def _destroy(self) -> None:
        self.ended += 1


def test_an_instance_ends_with_its_context_and_offers_nothing_by_itself() -> None:
    instance = Left(place(), 1.0)
    with pytest.raises(KeyError), instance:
        assert instance.kernel == platform.release()
        assert list(instance.files(Deadline.after(1))) == [Path("/run/x")]
        found = instance.capability(Pausable)
        assert isinstance(found, Unsupported) and found.reason == "the runtime of tare-x-1 does not offer it"
        raise KeyError
    assert instance.ended == 1
