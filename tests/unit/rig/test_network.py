"""Addresses of the bridge; the bridge itself is tested on a real host."""

import pytest

from harness.errors import TareError
from harness.rig.network import Network


def network() -> Network:
    return Network(run="r", netns="x", peer="p", docker_network="tare0")


def test_addresses_go_round_and_come_back() -> None:
    net = network()
    assert net.place("a").address == net.place("a").address == "198.18.0.16"
    net.release("a")
    assert net.place("b").address == "198.18.0.17"
    rest = [net.place(f"n{number}").address for number in range(111)]
    assert len({*rest, "198.18.0.17"}) == 112 and rest[-1] == "198.18.0.16"
    with pytest.raises(TareError, match="no address is left"):
        net.place("one-more")
    net.release("b")
    assert net.place("one-more").address == "198.18.0.17"


def test_peer_lives_in_its_own_namespace() -> None:
    place = network().peer_place()
    assert (place.netns, place.address, place.nat_address) == ("p", "198.18.0.2", "198.18.1.1")
    assert network().place("a").netns == "x"
