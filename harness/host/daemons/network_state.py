"""The part of the host's network that a system dockerd or libvirtd changes: saved before it starts, restored after."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.links import remove_link
from harness.process import have, run

SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-arptables",
)
BRIDGES = ("docker0", "virbr0")
FILTERS = ("iptables", "ip6tables")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Packet-filter rules by tool, kernel settings, bridges, and whether br_netfilter is loaded."""

    rules: Mapping[str, str]
    sysctls: Mapping[str, str]
    bridges: frozenset[str]
    br_netfilter: bool

    @classmethod
    def take(cls, deadline: Deadline) -> "Footprint":
        """The present state; a tool that is missing or fails is left out."""
        rules = {}
        for tool in FILTERS:
            if not have(f"{tool}-save", f"{tool}-restore"):
                saved = run([f"{tool}-save"], deadline, check=False)
                if saved.status == 0:
                    rules[tool] = saved.stdout
        values = {}
        for name in SYSCTLS:
            with contextlib.suppress(OSError):
                values[name] = (Path("/proc/sys") / name).read_text()
        bridges = frozenset(name for name in BRIDGES if (Path("/sys/class/net") / name).exists())
        return cls(rules, values, bridges, Path("/sys/module/br_netfilter/refcnt").exists())

    def restore(self, deadline: Deadline) -> None:
        """Restore what differs; nothing is written where nothing changed. Raises TareError when a tool fails."""
        now = Footprint.take(deadline)
        for name in now.bridges - self.bridges:
            with contextlib.suppress(TareError):
                remove_link("", name)
        for tool, text in self.rules.items():
            if plain(now.rules.get(tool, "")) != plain(text):
                run([f"{tool}-restore"], deadline, stdin=text + emptied(text, now.rules.get(tool, "")))
        for name, value in self.sysctls.items():
            if now.sysctls.get(name) != value:
                (Path("/proc/sys") / name).write_text(value)
        if now.br_netfilter and not self.br_netfilter:
            run(["modprobe", "-r", "br_netfilter"], deadline, check=False)


def plain(rules: str) -> str:
    """The rules of iptables-save without comments and counters, which change by themselves."""
    return "\n".join(re.sub(r" ?\[\d+:\d+\]", "", line) for line in rules.splitlines() if not line.startswith("#"))


def emptied(before: str, now: str) -> str:
    """Input for iptables-restore that empties the tables that are new since `before`."""
    known = set(re.findall(r"^\*(\S+)", before, re.MULTILINE))
    new = [table for table in re.findall(r"^\*(\S+)", now, re.MULTILINE) if table not in known]
    chains = {"filter": "INPUT FORWARD OUTPUT", "nat": "PREROUTING INPUT OUTPUT POSTROUTING"}
    lines = []
    for table in new:
        lines += [f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains.get(table, "").split()), "COMMIT"]
    return "".join(f"{line}\n" for line in lines)
