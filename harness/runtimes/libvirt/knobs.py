"""The knobs of a libvirt guest, and its variants: each differs from its aggressor by one knob."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from harness.model import Variant

Cache = Literal["none", "writeback", "writethrough", "directsync", "unsafe"]
Firmware = Literal["none", "bios", "uefi"]
Network = Literal["bridge", "nat", "user", "macvtap"]
Kind = Literal["kvm", "tcg", "xen-pv", "xen-pvh", "esx", "hyperv"]
CACHES: tuple[Cache, ...] = ("none", "writeback", "writethrough", "directsync", "unsafe")
UNCACHED = ("none", "directsync")
"""QEMU does native asynchronous I/O only past the host's page cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How a guest is configured.

    `cpu` is `host` (under TCG all that QEMU emulates), `default` (QEMU's own choice) or a model of QEMU's with features
    to add or hide (`EPYC,+svm,-smap`); `pinned` ties each vCPU to one
    CPU of the shape instead of to all of them; `memory` is allocated when touched, beforehand, or beforehand in huge
    pages; `data`, `cache` and `aio` are the data disk's, which an `iothread` may serve; `queues` are the network
    card's, one or one per vCPU; `vhost` off leaves its packets to QEMU itself, auto takes what the host has;
    `kernel` are further words on the guest kernel's command line; `root_cache` is the root disk's cache mode; `paging`
    shadow asks for a host whose KVM keeps shadow page tables, since a guest cannot choose. Without `firmware` QEMU
    loads the kernel itself and the root is all there is; with one, that boots a full system from disk, whose own files
    settle its `console` and its kernel's words. `network` is how the peer reaches the guest: a tap on the rig's bridge,
    that tap through NAT, QEMU itself (its user-mode network) or a macvtap. `multiboot` is the file of a hypervisor that
    is loaded in the kernel's place, with its words behind blanks; kernel and initramfs are then its modules. With a
    `balloon` of reporting the guest tells the host which pages are free (free page reporting). `irqchip` names who
    emulates the interrupt controllers of a guest on KVM: KVM in the host's kernel, or QEMU. Xen has none of the knobs
    but `accelerator`.
    """

    accelerator: Kind
    cpu: str = "host"
    pinned: Literal["yes", "no"] = "yes"
    memory: Literal["touched", "lazy", "huge"] = "touched"
    data: Literal["raw", "qcow2"] = "raw"
    cache: Cache = "none"
    aio: Literal["native", "threads", "io_uring"] = "native"
    iothread: Literal["no", "yes"] = "no"
    queues: Literal["one", "all"] = "one"
    vhost: Literal["auto", "on", "off"] = "auto"
    kernel: str = ""
    root_cache: Cache = "writeback"
    paging: Literal["host", "shadow"] = "host"
    firmware: Firmware = "none"
    console: Literal["serial", "none"] = "serial"
    network: Network = "bridge"
    multiboot: str = ""
    balloon: Literal["none", "reporting"] = "none"
    irqchip: Literal["kvm", "qemu"] = "kvm"

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self:
        """A variant's options as knobs; raises TypeError for one that there is not."""
        return cls(**options)  # type: ignore[arg-type]

    def options(self) -> dict[str, str]:
        """Every knob, as a variant's options."""
        return asdict(self)


KINDS: Mapping[Kind, str] = {"kvm": "a guest on KVM", "tcg": "a guest that QEMU emulates (no KVM)"}
NETWORKS: Mapping[Network, str] = {
    "nat": "reached by a published port, through NAT",
    "user": "QEMU's user-mode network (slirp) with forwarded ports",
    "macvtap": "its network card a macvtap instead of a bridge's tap",
}
"""The ways besides the bridge, in words."""
XEN: Mapping[Kind, str] = {
    "xen-pv": "a paravirtual guest of Xen (PV); its disks go through QEMU and the host's page cache",
    "xen-pvh": "a guest of Xen on the processor's virtualization (PVH); its disks as the PV guest's",
}
UNTRIED: Mapping[Kind, tuple[str, str]] = {
    "esx": (
        "a guest of VMware ESX",
        "no one has run one yet: libvirt loads no kernel there, so that it takes the full system as a VMDK in a "
        "datastore, a template of its own, and the agent on a serial port over the network",
    ),
    "hyperv": (
        "a guest of Microsoft Hyper-V",
        "no one has run one yet: libvirt loads no kernel there, so that it takes the full system as a VHDX on that "
        "host, a template of its own, and the agent on a serial port's named pipe",
    ),
}
"""Hypervisors that libvirt reaches and this project does not yet: what each guest would be, and what it takes."""
DRIVERS: Mapping[Kind, str] = {
    "kvm": "qemu", "tcg": "qemu", "xen-pv": "xen", "xen-pvh": "xen", "esx": "esx", "hyperv": "hyperv"
}  # fmt: skip
"""The first word of a libvirt's URI (https://libvirt.org/uri.html) by what its guests run on."""
UNTUNED: Mapping[str, str] = {
    "cpu": "default",
    "pinned": "no",
    "memory": "lazy",
    "data": "qcow2",
    "cache": "writeback",
    "aio": "threads",
    "vhost": "off",
}
LADDER: tuple[tuple[str, Mapping[str, str], str], ...] = (
    ("untuned", {}, "every knob as QEMU has it by default"),
    ("to-cpu", {"cpu": "host"}, "then the host's own CPU model"),
    ("to-pinned", {"pinned": "yes"}, "then each vCPU pinned"),
    ("to-touched", {"memory": "touched"}, "then its memory allocated beforehand"),
    ("to-raw", {"data": "raw"}, "then a raw data disk, fully written"),
    ("to-uncached", {"cache": "none"}, "then its data disk past the host's page cache"),
    ("to-aio", {"aio": "io_uring"}, "then asynchronous I/O by io_uring"),
    ("to-iothread", {"iothread": "yes"}, "then a thread of its own for the data disk"),
    ("to-multiqueue", {"queues": "all"}, "then a network queue for each vCPU"),
    ("to-vhost", {"vhost": "on"}, "then packets by the host's kernel (vhost-net)"),
    ("tuned", {"memory": "huge"}, "then its memory in huge pages: every knob tuned"),
)
"""From the untuned guest to the tuned one: name, the one knob that this step turns, and what it is in words."""


def variants() -> tuple[Variant, ...]:
    """Every variant of the runtime, for each accelerator."""
    tried = tuple(variant for kind in KINDS for variant in _of(kind))
    xen = tuple(_plain(kind, words) for kind, words in XEN.items())
    return (*tried, *xen, *(_plain(kind, f"{words}; untried") for kind, (words, _) in UNTRIED.items()))


def driver_of(uri: str) -> str:
    """The driver that a libvirt's URI names: `xen` of `xen+unix:///system`."""
    return uri.partition(":")[0].partition("+")[0]


def _plain(kind: Kind, words: str) -> Variant:
    return Variant(name=f"libvirt/{kind}", runtime="libvirt", summary=words, options={"accelerator": kind})


def _of(kind: Kind) -> Iterator[Variant]:
    base = Knobs(accelerator=kind)
    yield _variant("", base, "raw, fully written data disk past the host's page cache")
    yield _variant("qcow2", replace(base, data="qcow2"), "qcow2 data disk")
    for data in ("raw", "qcow2"):
        for cache in CACHES[1:]:
            aio = "native" if cache in UNCACHED else "threads"
            options = {**base.options(), "data": data, "cache": cache, "aio": aio}
            yield _variant(f"{data}-{cache}", Knobs.of(options), f"{data} data disk, cache={cache}")
    if kind == "kvm":
        yield _variant("shadow", replace(base, paging="shadow"), "shadow page tables: KVM's nested paging is off")
    lazy = replace(base, memory="lazy")
    yield _variant("lazy", lazy, "memory allocated when the guest touches it")
    yield _variant("balloon", replace(lazy, balloon="reporting"), "the same, and it reports the pages that it frees")
    yield _variant("no-console", replace(base, console="none"), "without a serial console")
    yield _variant("system", replace(base, firmware="bios"), "a full system: BIOS, GRUB, Debian's kernel, systemd")
    uefi = replace(base, firmware="uefi")
    yield _variant("system-uefi", uefi, "a full system, by UEFI")
    if kind == "kvm":
        words = "a full system, by UEFI; QEMU and not KVM emulates its interrupt controllers"
        yield _variant("system-uefi-irqchip", replace(uefi, irqchip="qemu"), words)
    for network, words in NETWORKS.items():
        yield _variant(network, replace(base, network=network), words)
    turned = {"accelerator": kind, **UNTUNED}
    for name, step, words in LADDER:
        turned |= step
        yield _variant(name, Knobs.of(turned), words)


def _variant(flavour: str, knobs: Knobs, words: str) -> Variant:
    name = f"libvirt/{knobs.accelerator}" + (f"-{flavour}" if flavour else "")
    return Variant(
        name=name,
        runtime="libvirt",
        summary=f"{KINDS[knobs.accelerator]}; {words}",
        options=knobs.options(),
        form="root" if knobs.firmware == "none" else "system",
    )
