"""Leftovers of a killed run's rig: found by label, removed by label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons.reach import docker_client
from harness.host.links import ALIAS, NETNS, links_of, remove_link, remove_namespace
from harness.model import Leftover
from harness.rig import rules, scratch
from harness.rig.network import BRIDGE, PEER, remove_docker_networks

LOOK_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RigSweep:
    """Where to look: the bridge's namespace, Docker's URL (None to leave Docker out), the scratch's parent folder."""

    netns: str = ""
    docker_url: str | None = None
    scratch: Path
    peer: str = PEER

    def leftovers(self) -> Iterator[Leftover]:
        """Everything with our label, in the order of removal. Call it under the host lock."""
        deadline = Deadline.after(LOOK_SECONDS)
        if self.docker_url:
            yield from _docker_networks(self.docker_url, deadline)
        if not process.have("ip", "nsenter"):
            if not self.netns or (NETNS / self.netns).exists():
                yield from rules.leftovers(self.netns, deadline)
                yield from _interfaces(self.netns, deadline)
            yield from self._namespace(deadline)
        yield from scratch.leftovers(self.scratch)

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Remove one leftover. Raises TareError when that fails, or when it no longer carries our label."""
        deadline.check(f"removing {leftover.kind} {leftover.name}")
        if leftover not in list(self.leftovers()):
            if any(leftover.name == found.name for found in self.leftovers()):
                raise TareError(f"{leftover.kind} {leftover.name} now belongs to another run")
            return
        match leftover.kind:
            case "docker-network":
                remove_docker_networks(self.docker_url or "", leftover.run)
            case rules.KIND:
                rules.remove(self.netns, leftover, deadline)
            case "interface":
                remove_link(self.netns, leftover.name)
            case "network-namespace":
                remove_namespace(leftover.name)
            case "scratch":
                scratch.remove(leftover, self.scratch)
            case _:
                raise TareError(f"the rig knows no leftover of kind {leftover.kind}")

    def clear(self, deadline: Deadline) -> list[Leftover]:
        """Remove the leftovers of dead runs and return them. Call it under the host lock.

        Raises TareError when one cannot be removed.
        """
        found = list(self.leftovers())
        for leftover in found:
            self.remove(leftover, deadline)
        return found

    def _namespace(self, deadline: Deadline) -> Iterator[Leftover]:
        """The peer's namespace: its loopback carries the label; without a label it is ours only while it is empty."""
        if not (NETNS / self.peer).exists():
            return
        links = links_of(self.peer, deadline)
        labels = [link.alias for link in links if link.name == "lo"]
        if labels and (labels[0].startswith(ALIAS) or (not labels[0] and len(links) == 1)):
            yield Leftover(kind="network-namespace", name=self.peer, run=labels[0].removeprefix(ALIAS))


def _docker_networks(url: str, deadline: Deadline) -> Iterator[Leftover]:
    with docker_client(url, deadline) as client:
        for network in client.networks.list(names=[f"^{BRIDGE}$"], filters={"label": "tare.run"}):
            labels = network.attrs.get("Labels") or {}
            yield Leftover(kind="docker-network", name=str(network.name), run=str(labels.get("tare.run", "")))


def _interfaces(netns: str, deadline: Deadline) -> Iterator[Leftover]:
    for link in links_of(netns, deadline):
        # The loopback of a namespace of ours carries the label too, and cannot be removed.
        if link.alias.startswith(ALIAS) and link.name != "lo":
            yield Leftover(kind="interface", name=link.name, run=link.alias.removeprefix(ALIAS))
