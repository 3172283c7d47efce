"""What of User Mode Linux needs no kernel: its command line, room for its memory, who is ours, and honest words."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness import paths
from harness.analysis.trials import matches
from harness.deadline import Deadline
from harness.definitions.claims import load_claims
from harness.definitions.suites import load_suite
from harness.errors import TareError
from harness.model import Accelerator, Leftover, Milestone, Shape
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.boot_arguments import first_milestones
from harness.runtimes.guests.labelled_processes import labels_for
from harness.runtimes.uml import Uml, runtime, specification
from harness.runtimes.uml.specification import (
    SCRIPT_UNIT,
    command,
    find_kernel,
    memory_room,
    release_of,
    script_disk,
)
from tests.unit.runtimes.guests.given import NETWORK, ROOT

IDENTITY = "52540001-0203-4000-8000-000000000000"
TAP = "tare-52540001"
PLACE = Place(
    name="tare-x-1",
    directory=Path("/run/x"),
    entry="agent",
    shape=Shape(cpus=(2, 3), memory_mib=512),
    network=NETWORK,
    scratch_mib=64,
    scratch_directory=Path("/s/scratch"),
)
ALONE = replace(PLACE, network=None, scratch_mib=0, entry="beacon")
PREPARED = Prepared(
    variant=Uml.variants[0], shape=PLACE.shape, root=ROOT, image=ROOT.digest, accelerator=Accelerator.NONE
)


def argv(place: Place, tap: str) -> list[str]:
    return command(PREPARED, place, IDENTITY, tap, Path("/usr/bin/linux.uml"), 5, 6)


def test_the_command_line_has_the_shape_the_disks_the_lines_and_the_network() -> None:
    words = argv(PLACE, TAP)
    assert words[:4] == ["nsenter", "--net=/run/netns/ns1", "taskset", "--cpu-list"] and words[4] == "2,3"
    assert words.index("taskset") < words.index("--core=0") < words.index("bwrap")
    wanted = {
        "umid=tare-x-1",
        "uml_dir=/run/x/",
        "mem=512M",
        "ubd0=/run/x/root.cow,/r.raw",
        "ubd1=/s/scratch/tare-x-1.raw",
        "ubd2r=/run/x/start.disk",
        "ssl0=fd:5",
        "ssl1=fd:6",
        "vec0:transport=tap,ifname=tare-52540001,depth=128,gro=1,mac=52:54:00:52:54:00",
        "tare.entry=agent",
        "tare.scratch=/dev/ubdb",
        "tare.address=10.1.2.9/24,10.1.2.1",
    }
    assert wanted <= set(words)
    assert words[words.index("--", words.index("umid=tare-x-1")) + 1 :] == [
        *("/dev/ttyS1", "userspace", "/bin/sh", "/dev/ubdc"),
    ]
    assert "--die-with-parent" in words and "--unshare-pid" in words


def test_without_network_and_data_nothing_of_them_is_said() -> None:
    words = argv(ALONE, "")
    assert "nsenter" not in words and "tare.entry=beacon" in words
    assert not any(word.startswith(("vec0", "ubd1", "tare.scratch", "tare.address")) for word in words)


@pytest.mark.parametrize("folder", ["/run/a b", "/run/a,b", "/run/a:b"])
def test_a_path_that_the_kernel_would_split_is_refused(folder: str) -> None:
    for place in (replace(PLACE, scratch_directory=Path(folder)), replace(PLACE, directory=Path(folder))):
        with pytest.raises(TareError, match="cannot open"):
            argv(place, TAP)


def test_an_address_cannot_add_a_kernel_parameter() -> None:
    with pytest.raises(TareError, match="blank"):
        argv(replace(PLACE, network=replace(NETWORK, address="10.0.0.1 init=/bin/sh")), TAP)


def test_the_script_disk_is_whole_units_and_what_follows_the_script_is_blank() -> None:
    data = script_disk()
    assert data.startswith(b"#!/bin/sh") and len(data) % SCRIPT_UNIT == 0
    assert set(data[len(data.rstrip()) :]) == {ord("\n")}
    subprocess.run(["sh", "-n"], input=data, check=True)


def test_memory_goes_where_there_is_room_else_the_error_names_all_places(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    with pytest.raises(TareError) as caught:
        memory_room(2**40)
    assert "/dev/shm" in caught.value.details and "remount" in caught.value.hint
    monkeypatch.setattr(specification, "SHARED_MEMORY", tmp_path / "missing")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert memory_room(1) == tmp_path
    with pytest.raises(TareError) as caught:
        memory_room(2**40)
    assert len(caught.value.details.splitlines()) == 2


def test_without_a_kernel_it_is_unavailable_with_reason_and_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "find_kernel", lambda: None)
    answer = Uml().available(Uml.variants[0])
    assert not answer.ok and "linux.uml" in answer.reason and "user-mode-linux" in answer.fix


def test_a_program_that_tells_no_release_is_no_kernel(tmp_path: Path) -> None:
    program = tmp_path / "linux"
    program.write_text("#!/bin/sh\necho ${1#--} of something else\n")
    program.chmod(0o755)
    with pytest.raises(TareError, match="not User Mode Linux"):
        release_of(program, Deadline.after(10))
    program.write_text("#!/bin/sh\necho 6.1.0-test\n")
    assert release_of(program, Deadline.after(10)) == "6.1.0-test"


def test_the_kernels_name_is_debians_or_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_kernel() is None
    for name in ("linux", "linux.uml"):
        (tmp_path / name).touch(mode=0o755)
        assert find_kernel() == tmp_path / name


def test_the_kernels_start_is_the_userspace_mark_less_the_guests_clock() -> None:
    assert first_milestones("g", (100.5, "userspace 1.25")) == {Milestone.USERSPACE: 100.5, Milestone.KERNEL: 99.25}
    with pytest.raises(TareError, match="no userspace milestone"):
        first_milestones("g", (100.5, "userspace soon"))


def test_a_leftover_is_what_runs_the_program_and_has_the_labels() -> None:
    words = ["-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    made = [
        subprocess.Popen(
            [program, *words],
            executable=sys.executable,
            env={**os.environ, **labels},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for program, labels in (
            ("/usr/bin/linux.uml", labels_for("tare-u-1", {"tare.run": "umlunit"})),
            ("/usr/bin/bwrap", labels_for("tare-u-1", {"tare.run": "umlunit"})),
            ("/usr/bin/linux.uml", {}),
            ("/usr/bin/another", labels_for("tare-u-1", {"tare.run": "umlunit"})),
        )
    ]
    try:
        for one in made:
            assert one.stdout is not None and one.stdout.readline()
        ours = [one for one in Uml().leftovers() if one.run == "umlunit"]
        assert ours == [Leftover(kind="uml", name="tare-u-1", run="umlunit")]
        Uml().remove(Leftover(kind="uml", name="tare-u-2", run="umlunit"), Deadline.after(5))
        Uml().remove(ours[0], Deadline.after(5))
        assert [one.wait(5) < 0 for one in made[:2]] == [True, True]
        assert [one.poll() is None for one in made[2:]] == [True, True]
        assert not [one for one in Uml().leftovers() if one.run == "umlunit"]
    finally:
        for one in made:
            one.kill()
            one.communicate()


def test_it_is_a_guest_without_virtualization_and_no_claim_is_about_it() -> None:
    """Its accelerator is one that may enter verdicts, so no claim may name it or a runtime that it matches."""
    assert Uml().prove(None, Deadline.after(1)) is Accelerator.NONE  # type: ignore[arg-type]
    names = {name for claim in load_claims(paths.data("workloads")) for name in (*claim.subjects, claim.against)}
    assert names and not any(matches(variant.name, name) for variant in Uml.variants for name in names if name)


def test_the_full_suite_has_it_for_every_basic_resource() -> None:
    full = load_suite("full", paths.data("workloads"))
    assert {"cpu", "memory", "network", "disk", "boot"} <= {
        resource for resource, names in full.variants.items() if "uml/ext4" in names
    }


def test_one_cpu_is_said_where_the_shape_has_more() -> None:
    known = specification.facts(PREPARED, PLACE, Path("/usr/bin/linux.uml"), Path("/dev/shm"))
    assert known["vcpus"] == "1 of the shape's 2"
