"""The runtime against libvirt's own test driver: our labels decide what is ours; calls on libvirt are bounded."""

import os
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Available, Leftover, Variant
from harness.runtimes.guests import accel
from harness.runtimes.libvirt import Libvirt
from harness.runtimes.libvirt.domain import NAMESPACE
from harness.runtimes.libvirt.interface import obstacle
from harness.runtimes.libvirt.knobs import DRIVERS, NETWORKS, Knobs, driver_of
from harness.runtimes.libvirt.session import bounded
from harness.runtimes.libvirt.xen import Terminal

URI = "test:///default"  # one per process: every connection of this process sees the same domains
OURS = f'<tare:instance xmlns:tare="{NAMESPACE}"><tare:label name="tare.run" value="r1&amp;&lt;"/></tare:instance>'


@pytest.fixture
def connection() -> Iterator["libvirt.virConnect"]:
    opened = libvirt.open(URI)
    yield opened
    opened.close()


@pytest.fixture
def runtime() -> Iterator[Libvirt]:
    made = Libvirt()
    made.connect(URI)
    yield made
    made.close()


def text(name: str, metadata: str = "") -> str:
    return (
        f"<domain type='test'><name>{name}</name><memory>8192</memory><os><type>hvm</type></os>"
        f"<metadata>{metadata}</metadata></domain>"
    )


def test_leftovers_are_the_domains_with_our_labels(connection: "libvirt.virConnect", runtime: Libvirt) -> None:
    connection.createXML(text("tare-users-own"), 0)
    connection.createXML(text("anything", OURS), 0)
    defined = connection.defineXML(text("defined", OURS))
    expected = [Leftover(kind="domain", name=name, run="r1&<") for name in ("anything", "defined")]
    assert sorted(runtime.leftovers(), key=lambda one: one.name) == expected
    for one in expected:
        runtime.remove(one, Deadline.after(5))
        runtime.remove(one, Deadline.after(5))  # gone already is fine
    assert list(runtime.leftovers()) == []
    assert {one.name() for one in connection.listAllDomains()} == {"test", "tare-users-own"}
    assert defined is not None
    connection.lookupByName("tare-users-own").destroy()


def test_a_domain_without_our_label_is_refused_whatever_its_name(
    connection: "libvirt.virConnect", runtime: Libvirt
) -> None:
    foreign = connection.createXML(text("tare-looks-like-ours"), 0)
    with pytest.raises(TareError, match="no label of tare"):
        runtime.remove(Leftover(kind="domain", name=foreign.name(), run="r1"), Deadline.after(5))
    assert foreign.isActive()
    foreign.destroy()


def test_without_a_libvirtd_nothing_is_available_and_nothing_left() -> None:
    runtime = Libvirt()
    answer = runtime.available(next(one for one in runtime.variants if one.name == "libvirt/tcg"))
    assert not answer.ok and answer.reason and answer.fix
    assert list(runtime.leftovers()) == []


def test_kvm_is_not_believed_before_a_guest_has_booted_on_it() -> None:
    runtime = Libvirt()
    runtime.connect(URI)
    answer = runtime.available(next(one for one in runtime.variants if one.name == "libvirt/kvm"))
    assert not answer.ok and answer.reason and answer.fix
    assert runtime.accelerator() == "tcg"


def test_a_network_that_cannot_be_made_is_missing_with_the_reason_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("unshare", accel.EMULATOR):
        refusing = tmp_path / program
        refusing.write_text("#!/bin/sh\necho refused by $0 >&2\nexit 1\n")
        refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    obstacle.cache_clear()
    try:
        assert obstacle("bridge") is None
        for kind in NETWORKS:
            found = obstacle(kind)
            assert found is not None and f"refused by {tmp_path}" in found.reason and found.fix
    finally:
        obstacle.cache_clear()


def chosen(name: str) -> Variant:
    return next(one for one in Libvirt.variants if one.name == name)


@pytest.mark.parametrize(
    ("uri", "driver"),
    [
        ("qemu:///system", "qemu"),
        ("qemu+unix:///system?socket=/run/x", "qemu"),
        ("xen:///system", "xen"),
        ("esx://user@host/?no_verify=1", "esx"),
    ],
)
def test_the_uri_says_whose_guests_there_are(uri: str, driver: str) -> None:
    assert driver_of(uri) == driver
    runtime = Libvirt()
    runtime.connect(uri)
    for name in ("libvirt/tcg", "libvirt/xen-pv", "libvirt/xen-pvh"):
        answer = runtime.available(chosen(name))
        refused = DRIVERS[Knobs.of(chosen(name).options).accelerator] != driver
        assert refused == ("which is not" in answer.reason)
        assert not refused or (uri in answer.reason and "TARE_LIBVIRT_URI" in answer.fix)


@pytest.mark.parametrize(("name", "uri"), [("libvirt/esx", "esx://host"), ("libvirt/hyperv", "hyperv://host")])
def test_what_no_one_has_run_is_called_untested(name: str, uri: str) -> None:
    runtime = Libvirt()
    assert chosen(name).summary.endswith("; untested")
    for address in ("", uri):
        if address:
            runtime.connect(address)
        answer = runtime.available(chosen(name))
        assert not answer.ok and answer.reason.startswith("untested: ") and answer.fix


def test_a_terminal_is_read_before_it_is_full_and_kept(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    terminal = Terminal(Path(os.ttyname(theirs)), tmp_path / "console")
    terminal.drain()
    for _ in range(3):
        os.write(ours, b"x" * 3000)
        terminal.drain()
    os.close(ours)
    terminal.drain()
    assert (tmp_path / "console").read_bytes() == b"x" * 9000
    terminal.close()
    os.close(theirs)


def test_a_libvirt_that_does_not_answer_is_an_error_with_its_words() -> None:
    runtime = Libvirt()
    runtime.connect("qemu+unix:///system?socket=/nonexistent/libvirt-sock")
    with pytest.raises(TareError) as caught:
        list(runtime.leftovers())
    assert "/nonexistent/libvirt-sock" in caught.value.details and caught.value.hint


def test_a_call_that_hangs_is_given_up_and_what_it_brings_later_is_ended() -> None:
    release, ended = threading.Event(), threading.Event()

    def hang() -> str:
        release.wait(5)
        return "a domain"

    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        bounded("create a domain", Deadline.after(0.05), hang, late=lambda _: ended.set())
    assert time.monotonic() - begun < 2
    assert not ended.is_set()
    release.set()
    assert ended.wait(5)


def test_the_answer_about_kvm_is_kept_for_this_boot_and_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARE_STATE", str(tmp_path))
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"one")
    assert accel.kept(kernel) is None
    proof = Available(ok=False, reason="it hung", fix="bare metal")
    accel.keep(kernel, proof)
    assert accel.kept(kernel) == proof
    kernel.write_bytes(b"another")
    assert accel.kept(kernel) is None
    (tmp_path / accel.CACHE).write_text("[torn")
    assert accel.kept(kernel) is None
