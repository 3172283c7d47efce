"""Domain XML: what fills the template, the template, libvirt's own schema, and our labels in a domain's metadata."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lxml import etree

from harness import paths
from harness.errors import TareError
from harness.runtimes.base import Entry, NetworkPlace

NAMESPACE = "urn:tare-bench:domain:1"
SCHEMAS = (Path("/usr/share/libvirt/schemas/domain.rng"), Path("/usr/local/share/libvirt/schemas/domain.rng"))
TEMPLATE = "direct-kernel.xml.j2"
CLEAN_ARGUMENT = re.compile(r"[\x21-\x7e]+")

ROOT_DEVICE = "/dev/vda"
DATA_DEVICE = "/dev/vdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One virtio disk; `base` is the raw file under a qcow2 overlay, `io` empty for QEMU's own choice (threads)."""

    path: Path
    format: Literal["raw", "qcow2"]
    cache: Literal["none", "writeback"]
    target: Literal["vda", "vdb"]
    io: Literal["", "native", "threads"] = ""
    base: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What the template needs to know of one guest.

    `cpus` are host CPU numbers: vCPU i is pinned to the i-th, and QEMU's other threads stay within the set.
    `preallocate` touches all RAM before the guest starts. `cpu_without` names CPU features to hide.
    """

    type: Literal["kvm", "qemu"]
    name: str
    uuid: str
    labels: Mapping[str, str]
    cpus: tuple[int, ...]
    memory_mib: int
    kernel: Path
    initramfs: Path
    command_line: str
    disks: tuple[Disk, ...]
    channel: Path
    userspace: Path
    console: Path
    cpu_mode: Literal["host-passthrough", "maximum"]
    cpu_without: tuple[str, ...] = ()
    machine: str = "q35"
    preallocate: bool = False
    bridge: str = ""
    mac: str = field(default="")


def command_line(entry: Entry, scratch: bool, network: NetworkPlace | None) -> str:
    """The kernel's arguments: a quiet serial console, an end instead of a hang after a panic, and what init is told."""
    words = ["console=ttyS0", "quiet", "panic=-1", "net.ifnames=0", f"tare.entry={entry}"]
    if scratch:
        words.append(f"tare.scratch={DATA_DEVICE}")
    if network is not None:
        words.append(f"tare.address={network.address}/{network.prefix},{network.host_address}")
    for word in words:
        if not CLEAN_ARGUMENT.fullmatch(word):
            raise TareError("a kernel argument holds a blank or a control character", details=repr(word))
    return " ".join(words)


def mac_of(identity: str) -> str:
    """A MAC address in QEMU's range, from a domain's UUID."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid.UUID(identity).bytes[:3])


def render(domain: Domain) -> str:
    """The domain's XML, checked against libvirt's schema where that is installed.

    Raises TareError, quoting the schema's complaint, when it does not fit.
    """
    text = _environment().get_template(TEMPLATE).render(domain=domain, namespace=NAMESPACE)
    check(text)
    return text


def check(text: str) -> None:
    """Raise TareError unless `text` is well-formed and, with a schema at hand, valid domain XML."""
    try:
        tree = etree.fromstring(text.encode())
    except etree.XMLSyntaxError as error:
        raise TareError("a domain's XML is not well-formed", details=str(error)) from error
    schema = _schema()
    if schema is not None and not schema.validate(tree):
        complaints = "\n".join(f"line {entry.line}: {entry.message}" for entry in schema.error_log)
        raise TareError(
            "a domain's XML does not fit libvirt's schema", details=complaints, hint="look at vm-templates/"
        )


def labels_of(metadata: str) -> dict[str, str]:
    """The labels in a metadata element of ours, as libvirt returns it."""
    tree = etree.fromstring(metadata.encode())
    found: dict[str, str] = {}
    for element in tree.iter():
        if isinstance(element.tag, str) and etree.QName(element).localname == "label":
            found[str(element.get("name", ""))] = str(element.get("value", ""))
    return found


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(paths.data("vm-templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _schema() -> Any:
    """libvirt's RelaxNG schema of domains, or None where its package brings none."""
    for path in SCHEMAS:
        if path.exists():
            return etree.RelaxNG(etree.parse(str(path)))
    return None
