"""Facts of the machine that the tests run on, and the pure parts on given text."""

import dataclasses
import json
from pathlib import Path

from harness.deadline import Deadline
from harness.host import identity
from harness.host.facts import chosen, cpu_information, filesystem_of, gather


def test_facts_are_plain_data_and_true() -> None:
    facts = gather()
    assert (
        json.loads(json.dumps(dataclasses.asdict(facts)))["kernel"]
        == Path("/proc/sys/kernel/osrelease").read_text().strip()
    )
    assert facts.logical_cpus >= len(facts.usable_cpus) >= 1
    assert facts.memory_mib > 100
    assert len(facts.fingerprint) == 12
    assert facts.host_virtualized
    assert gather().fingerprint == facts.fingerprint


def test_fingerprint_is_of_the_hardware_and_not_of_the_name() -> None:
    one = identity.fingerprint("AMD EPYC", 24105, "a")
    assert identity.fingerprint("AMD EPYC", 24103, "a") == one
    assert identity.fingerprint("AMD EPYC", 48210, "a") != one
    assert identity.fingerprint("Intel Xeon", 24105, "a") != one
    if Path("/etc/machine-id").exists() and Path("/etc/machine-id").read_text().strip():
        assert identity.fingerprint("AMD EPYC", 24105, "b") == one
        assert Path("/etc/machine-id").read_text().strip()[:8] not in one


def test_a_guest_is_never_taken_for_bare_metal() -> None:
    flagged = {"flags": "fpu hypervisor sse"}
    assert identity.host_virtualized(flagged, Deadline.after(5)) != "none"
    if "hypervisor" not in cpu_information().get("flags", "").split():
        return
    assert identity.host_virtualized(cpu_information(), Deadline.after(5)) not in ("none", "")


def test_kernel_settings_are_parsed() -> None:
    assert chosen("always [madvise] never") == "madvise"
    assert chosen("1") == "1"
    fields = cpu_information("processor\t: 0\nmodel name\t: X: y\n\nprocessor\t: 1\n")
    assert fields == {"processor": "0", "model name": "X: y"}


def test_filesystem_of_a_folder_that_is_not_there_yet() -> None:
    assert filesystem_of(Path("/proc/1")) == "proc"
    assert filesystem_of(Path("/surely/not/there")) == filesystem_of(Path("/"))
