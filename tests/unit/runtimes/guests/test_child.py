"""What is made around a guest's process, and that nothing of it is left."""

import os
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cgroups import cpu_weight
from harness.model import Accelerator, Shape
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests import labelled_processes
from harness.runtimes.guests.child import LOG, VmmGuest, begin, start
from harness.runtimes.guests.confined import confined
from harness.runtimes.guests.disks import data_disk
from harness.runtimes.guests.instance import tail
from harness.runtimes.krun import Krun
from tests.unit.runtimes.guests.given import NETWORK, ROOT, SHAPE

PREPARED = Prepared(variant=Krun.variants[0], shape=SHAPE, root=ROOT, image="", accelerator=Accelerator.TCG)
CPU = min(os.sched_getaffinity(0))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    shape = Shape(cpus=(CPU,), memory_mib=64)
    return Place(name="tare-x", directory=tmp_path, entry="agent", shape=shape, scratch_directory=tmp_path)


def test_its_process_has_the_channel_the_log_and_the_labels_and_goes_with_all(place: Place) -> None:
    place = replace(place, scratch_mib=1)
    with ExitStack() as undo:
        launched = begin(PREPARED, place, {"tare.run": "r1"}, "", {}, Deadline.after(30), undo)
        assert data_disk(place).stat().st_size == 2**20 and launched.tap == ""
        child = start(["sh", "-c", "echo trouble >&2; cat; true"], launched, {"tare.run": "r1"}, undo)
        within = Deadline.after(10)
        while "trouble" not in tail(place.directory / LOG):
            within.check("the log")
            time.sleep(0.01)
        assert [(one.name, one.run) for one in labelled_processes.find("sh") if one.pid == child.pid] == [
            ("tare-x", "r1")
        ]
        assert Path(f"/proc/{child.pid}/fd/0").readlink().name.startswith("socket:")
    assert child.returncode is not None
    assert not data_disk(place).exists() and not launched.channel.path.exists()


def test_the_host_tells_the_weight_of_its_group(place: Place) -> None:
    with ExitStack() as undo:
        launched = begin(PREPARED, place, {}, "", {"known": "yes"}, Deadline.after(30), undo)
        child = start(["cat"], launched, {}, undo)
        with VmmGuest("cat", launched, child, undo.pop_all()) as guest:
            facts = guest._host_facts()
    assert facts["cgroup_cpu_weight"] == cpu_weight(os.getpid()) and facts["known"] == "yes"


def test_a_program_that_is_not_there_leaves_nothing(place: Place) -> None:
    with pytest.raises(TareError, match="cannot start /nonexistent"), ExitStack() as undo:
        start(["/nonexistent"], begin(PREPARED, place, {}, "", {}, Deadline.after(30), undo), {}, undo)
    assert [path.name for path in place.directory.iterdir()] == ["log"]


def test_it_is_confined_to_its_place(place: Place) -> None:
    words = ["taskset", "--cpu-list", str(CPU), "setpriv", "--pdeathsig", "KILL", "vmm"]
    assert confined(place, ["vmm"]) == words
    assert confined(replace(place, network=NETWORK), ["vmm"]) == ["nsenter", "--net=/run/netns/ns1", *words]
