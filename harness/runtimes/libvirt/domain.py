"""Domain XML: the template and its values, libvirt's own schema, and tare's labels in a domain's metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lxml import etree

from harness import paths
from harness.errors import TareError
from harness.runtimes.libvirt.knobs import Cache

NAMESPACE = "urn:tare-bench:domain:1"
RUN_LABEL = "tare.run"
SCHEMAS = (Path("/usr/share/libvirt/schemas/domain.rng"), Path("/usr/local/share/libvirt/schemas/domain.rng"))
TEMPLATES: Mapping[str, str] = {"kvm": "guest.xml.j2", "qemu": "guest.xml.j2", "xen": "xen.xml.j2"}
"""By libvirt's type of domain."""
CPU_MODES = ("host-passthrough", "host-model", "maximum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One virtio disk; `base` is the raw file under a qcow2 overlay, `io` empty for QEMU's own choice (threads).

    `between` are the qcow2 files between it and `base`, the nearest first. `iothread` is the number of the thread that
    serves it, 0 for QEMU's main loop. A `medium` existed before the guest, is read-only and is not removed.
    """

    path: Path
    format: Literal["raw", "qcow2"]
    cache: Cache
    target: str
    io: Literal["", "native", "threads", "io_uring"] = ""
    base: Path | None = None
    iothread: int = 0
    medium: bool = False
    between: tuple[Path, ...] = ()

    @property
    def chain(self) -> tuple[tuple[Path, str], ...]:
        """The files that it is an overlay of, the nearest first, each with its format."""
        bottom = ((self.base, "raw"),) if self.base else ()
        return (*((path, "qcow2") for path in self.between), *bottom)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectKernel:
    """QEMU, or Xen's toolstack, loads kernel and initramfs itself.

    With `multiboot`, a hypervisor's file, QEMU loads that with its arguments, and the two as its modules.
    """

    kernel: Path
    initramfs: Path
    command_line: str
    multiboot: str = ""
    multiboot_arguments: str = ""
    firmware: Literal["none"] = "none"

    @property
    def modules(self) -> str:
        """The value of QEMU's `-initrd` for a multiboot kernel: files, arguments after a blank, commas doubled."""
        parts = (f"{self.kernel} {self.command_line}", str(self.initramfs))
        return ",".join(part.replace(",", ",,") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class FullSystem:
    """Firmware boots the first disk; `strings` are the SMBIOS strings that it passes to the system.

    UEFI's `code` is read-only and shared; libvirt copies `template` to `variables` for each instance. BIOS has none of
    the three.
    """

    firmware: Literal["bios", "uefi"]
    strings: tuple[str, ...]
    code: Path | None = None
    template: Path | None = None
    variables: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One guest, as the template describes it.

    - `cpus` are host CPU numbers, within which all of QEMU's threads stay; `pinned` ties vCPU i to the i-th.
    - `cpu_model` is libvirt's mode, the name of a QEMU model, or "" for QEMU's default; `cpu_with` and `cpu_without`
      name features to add and hide.
    - `preallocate` touches all RAM before the guest starts, `huge` takes it from the host's pool of huge pages. With
      `reporting` a balloon reports free pages to the host.
    - A network card with a `mac` is a port of `bridge`, or uses the existing `macvtap`, or else QEMU's user-mode
      network. `vhost` is its driver, "" for the host's default.
    - `further` are QEMU arguments for which libvirt has no element.
    """

    type: Literal["kvm", "qemu", "xen"]
    name: str
    uuid: str
    labels: Mapping[str, str]
    cpus: tuple[int, ...]
    memory_mib: int
    boot: "DirectKernel | FullSystem"
    disks: tuple[Disk, ...]
    channel: Path
    milestones: Path
    console: Path
    cpu_model: str
    cpu_with: tuple[str, ...] = ()
    cpu_without: tuple[str, ...] = ()
    machine: str = "q35"
    pinned: bool = True
    preallocate: bool = False
    huge: bool = False
    mac: str = ""
    bridge: str = ""
    macvtap: str = ""
    queues: int = 1
    vhost: Literal["", "vhost", "qemu"] = ""
    reporting: bool = False
    further: tuple[str, ...] = ()

    @property
    def cpu_mode(self) -> str:
        """libvirt's name of the way in which the CPU model is chosen."""
        return self.cpu_model if self.cpu_model in CPU_MODES else "custom"

    @property
    def files(self) -> tuple[Path, ...]:
        """The instance's own files, which are removed with it."""
        disks = tuple(disk.path for disk in self.disks if not disk.medium)
        if self.boot.firmware == "none" or self.boot.variables is None:
            return disks
        return (*disks, self.boot.variables)

    @property
    def iothreads(self) -> int:
        """The number of I/O threads that the disks use."""
        return max((disk.iothread for disk in self.disks), default=0)


def render(domain: Domain) -> str:
    """The domain's XML, checked against libvirt's schema where that is installed.

    Raises TareError with the schema's messages when it does not fit.
    """
    text = _environment().get_template(TEMPLATES[domain.type]).render(domain=domain, namespace=NAMESPACE)
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
            "a domain's XML does not fit libvirt's schema",
            details=complaints,
            hint="edit vm-templates/",
        )


def labels_of(metadata: str) -> dict[str, str]:
    """The labels in tare's metadata element, as libvirt returns it."""
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
    """libvirt's RelaxNG schema of domains; None where it is not installed."""
    for path in SCHEMAS:
        if path.exists():
            return etree.RelaxNG(etree.parse(str(path)))
    return None
