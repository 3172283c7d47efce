"""QEMU's command line for a microvm: the shape, the same guest as libvirt's, and values that stay values."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from harness.model import Accelerator
from harness.runtimes.base import Entry, Place, Prepared
from harness.runtimes.guests.boot_arguments import mac_of
from harness.runtimes.guests.tap import tap_name
from harness.runtimes.qemu import Microvm
from harness.runtimes.qemu.specification import command, facts
from tests.unit.runtimes.guests.given import NETWORK, ROOT, SHAPE

IDENTITY = "0f1e2d3c-0000-4000-8000-000000000000"
PLACE = Place(
    name="tare-x",
    directory=Path("/run/x"),
    entry="agent",
    shape=SHAPE,
    network=NETWORK,
    port=5201,
    scratch_mib=64,
    scratch_directory=Path("/s"),
)


def prepared(kind: str = "tcg") -> Prepared:
    variant = next(one for one in Microvm.variants if one.name == f"qemu/microvm-{kind}")
    return Prepared(variant=variant, shape=SHAPE, root=ROOT, image=ROOT.digest, accelerator=Accelerator.TCG)


def words(kind: str = "tcg", place: Place = PLACE, tap: str = "tare-0f1e2d3c", vhost: bool = False) -> list[str]:
    return command(prepared(kind), place, IDENTITY, tap, vhost=vhost)


def all_of(argv: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(argv) if name == option]


def test_it_enters_the_bridges_namespace_and_stays_on_the_shapes_cpus() -> None:
    before = words()[: words().index("qemu-system-x86_64")]
    assert before[:2] == ["nsenter", "--net=/run/netns/ns1"]
    assert before[2:5] == ["taskset", "--cpu-list", "1,3"]
    assert words(tap="", place=replace(PLACE, network=None))[0] == "taskset"
    assert words(place=replace(PLACE, network=replace(NETWORK, netns="")))[0] == "taskset"


def test_the_machine_has_the_shape_and_the_accelerator_of_its_name() -> None:
    for kind, cpu in (("tcg", "max,-la57"), ("kvm", "host")):
        argv = words(kind)
        assert all_of(argv, "-accel") == [kind] and all_of(argv, "-cpu") == [cpu]
        assert all_of(argv, "-smp") == ["2,sockets=1,cores=2,threads=1"] and all_of(argv, "-m") == ["512M"]
    assert all_of(words(), "-machine")[0].startswith("microvm,")


@pytest.mark.parametrize(("entry", "touched"), [("agent", "prealloc=on"), ("beacon", "prealloc=off")])
def test_only_a_guest_that_works_has_its_memory_touched_beforehand(entry: Entry, touched: str) -> None:
    place = replace(PLACE, entry=entry)
    assert all_of(words(place=place), "-object")[0].endswith(touched)
    assert facts(prepared(), place)["memory_preallocated"] == ("yes" if entry == "agent" else "no")


def test_disks_are_cached_as_libvirts_guests_have_them() -> None:
    root, data = all_of(words(), "-drive")
    assert root == "if=none,id=root,file=/run/x/root.qcow2,format=qcow2,cache=writeback"
    assert data == "if=none,id=data,file=/s/tare-x.raw,format=raw,cache=none,aio=native"
    assert len(all_of(words(place=replace(PLACE, scratch_mib=0)), "-drive")) == 1
    medium = all_of(words(place=replace(PLACE, media=(Path("/m"),))), "-drive")[2]
    assert medium.endswith("format=raw,cache=writeback,readonly=on")


def test_the_network_is_the_tap_and_absent_without_one() -> None:
    argv = words(vhost=True)
    assert all_of(argv, "-netdev") == ["tap,id=net,ifname=tare-0f1e2d3c,script=no,downscript=no,vhost=on"]
    assert f"virtio-net-device,netdev=net,mac={mac_of(IDENTITY)}" in argv
    assert "tare.address=10.1.2.9/24,10.1.2.1" in all_of(argv, "-append")[0].split()
    without = words(tap="", place=replace(PLACE, network=None))
    assert "-netdev" not in without and "tare.address" not in all_of(without, "-append")[0]


def test_an_emulated_guest_is_told_how_fast_its_counter_runs() -> None:
    told = command(prepared(), PLACE, IDENTITY, "", vhost=False, counter_khz=2445404)
    assert "tsc_early_khz=2445404" in all_of(told, "-append")[0].split()
    assert "tsc_early_khz" not in all_of(words("kvm"), "-append")[0]


def test_a_taps_name_fits_an_interface() -> None:
    assert tap_name(IDENTITY) == "tare-0f1e2d3c" and len(tap_name(IDENTITY)) <= 15


def test_a_comma_in_a_path_adds_no_option() -> None:
    hostile = replace(PLACE, directory=Path("/run/x,readonly=on"))
    assert "file=/run/x,,readonly=on/root.qcow2" in all_of(words(place=hostile), "-drive")[0]


def test_facts_say_what_differs_from_libvirts_machine() -> None:
    known = facts(prepared(), PLACE)
    assert (known["runtime"], known["machine"]) == ("qemu", "microvm")
    assert known["data_disk"] == "raw cache=none io=native"
    assert "data_disk" not in facts(prepared(), replace(PLACE, scratch_mib=0))
