"""Links of the namespace that the tests run in; the integration tests of the rig make links."""

import os
import threading
import time

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.links import Links, links_of, offloads, remove_link, set_sysctl, sysctl, with_links, within


def test_links_are_read_by_name_and_index() -> None:
    links = links_of("", Deadline.after(5))
    (loopback,) = (link for link in links if link.name == "lo")
    assert loopback.index == with_links("", Deadline.after(5), lambda found: found.index("lo"))


def test_a_refused_request_names_the_request_and_a_fix() -> None:
    with pytest.raises(TareError, match="cannot change the link tare-none") as refused:
        with_links("", Deadline.after(5), lambda links: links.change("tare-none", state="up"))
    assert refused.value.details and refused.value.hint == "tare doctor"


def test_a_namespace_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TareError, match="tare-none") as missing:
        links_of("tare-none", Deadline.after(5))
    assert "No such file" in missing.value.details


def test_a_link_that_is_gone_is_fine() -> None:
    remove_link("", "tare-none")
    assert offloads("", "tare-none", Deadline.after(5)) == {}


def test_no_request_is_sent_after_the_deadline() -> None:
    sent: list[str] = []
    deadline = Deadline.after(1.0)

    def late(links: Links) -> None:
        links.present()
        sent.append("first")
        time.sleep(deadline.left + 0.05)
        links.present()
        sent.append("second")

    with pytest.raises(DeadlineExceeded):
        with_links("", deadline, late)
    time.sleep(0.2)
    assert sent == ["first"]


def test_work_that_does_not_end_is_given_up_at_the_deadline() -> None:
    free = threading.Event()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="did not end in time"):
        within("", free.wait, Deadline.after(0.1))
    assert time.monotonic() - began < 5
    free.set()


def test_settings_are_those_of_the_namespace() -> None:
    assert sysctl("", "kernel/osrelease", Deadline.after(5)) == os.uname().release
    assert sysctl("", "net/ipv4/none", Deadline.after(5)) == "absent"
    with pytest.raises(TareError, match="host's network"):
        set_sysctl("", "net/ipv4/none", "1", Deadline.after(5))
