"""The knobs of a libvirt guest, and its variants: each differs from the previous one by one knob."""

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
"""QEMU supports native asynchronous I/O only if the host's page cache is bypassed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How a guest is configured; Xen has none of the knobs but `accelerator`.

    - `cpu`: `host` (under TCG all that QEMU emulates), `default` (QEMU's own choice), or a QEMU model with features to
      add or hide (`EPYC,+svm,-smap`). `pinned` ties each vCPU to one CPU of the shape instead of to all of them.
    - `memory` is allocated when touched (`lazy`), beforehand (`touched`), or beforehand in huge pages (`huge`). With a
      `balloon` of `reporting` the guest reports free pages to the host.
    - `data`, `cache`, `aio` and `iothread` are the data disk's; `root_cache` is the root disk's cache mode.
    - `network` is how the peer reaches the guest: a tap on the rig's bridge, that tap through NAT, QEMU's user-mode
      network, or a macvtap. `queues` are the card's, one or one for each vCPU. `vhost` off leaves packets to QEMU
      itself, auto uses vhost-net where the host has it.
    - `paging` shadow requires a host whose KVM uses shadow page tables: a guest cannot choose. `irqchip` names who
      emulates the interrupt controllers of a guest on KVM: KVM in the host's kernel, or QEMU.
    - Without `firmware` QEMU loads the kernel itself; with one, that boots a full system from disk, whose own files set
      its `console` and kernel arguments. `kernel` are further arguments of the guest's kernel.
    - `multiboot` is a hypervisor's file and arguments; QEMU loads it, with kernel and initramfs as its modules.
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
        """A variant's options as knobs; raises TypeError for an unknown one."""
        return cls(**options)  # type: ignore[arg-type]

    def options(self) -> dict[str, str]:
        """Every knob, as a variant's options."""
        return asdict(self)


KINDS: Mapping[Kind, str] = {"kvm": "KVM guest", "tcg": "emulated guest (no KVM)"}
NETWORKS: Mapping[Network, str] = {
    "nat": "reached by a published port, through NAT",
    "user": "QEMU's user-mode network (slirp) with forwarded ports",
    "macvtap": "network card on a macvtap instead of a bridge's tap",
}
"""Summaries of the networks other than the bridge."""
XEN: Mapping[Kind, str] = {
    "xen-pv": "paravirtual Xen guest (PV); disks go through QEMU and the host's page cache",
    "xen-pvh": "Xen guest with hardware virtualization (PVH); disks go through QEMU and the host's page cache",
}
UNTESTED: Mapping[Kind, tuple[str, str]] = {
    "esx": (
        "VMware ESX guest",
        "libvirt loads no kernel there; it needs the full system as a VMDK in a datastore, a template of its own, and "
        "the agent on a serial port over the network",
    ),
    "hyperv": (
        "Microsoft Hyper-V guest",
        "libvirt loads no kernel there; it needs the full system as a VHDX on that host, a template of its own, and "
        "the agent on a serial port's named pipe",
    ),
}
"""Hypervisors that libvirt supports and tare does not yet: a summary, and what they need."""
DRIVERS: Mapping[Kind, str] = {
    "kvm": "qemu", "tcg": "qemu", "xen-pv": "xen", "xen-pvh": "xen", "esx": "esx", "hyperv": "hyperv"
}  # fmt: skip
"""The driver in libvirt's URI (https://libvirt.org/uri.html) by what its guests run on."""
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
    ("untuned", {}, "every knob at QEMU's default"),
    ("to-cpu", {"cpu": "host"}, "previous step plus the host's own CPU model"),
    ("to-pinned", {"pinned": "yes"}, "previous step plus each vCPU pinned"),
    ("to-touched", {"memory": "touched"}, "previous step plus memory allocated beforehand"),
    ("to-raw", {"data": "raw"}, "previous step plus a raw data disk, fully written"),
    ("to-uncached", {"cache": "none"}, "previous step plus a data disk without the host's page cache (cache=none)"),
    ("to-aio", {"aio": "io_uring"}, "previous step plus asynchronous I/O by io_uring"),
    ("to-iothread", {"iothread": "yes"}, "previous step plus an I/O thread for the data disk"),
    ("to-multiqueue", {"queues": "all"}, "previous step plus a network queue for each vCPU"),
    ("to-vhost", {"vhost": "on"}, "previous step plus vhost-net (the host's kernel moves the packets)"),
    ("tuned", {"memory": "huge"}, "previous step plus memory in huge pages: every knob tuned"),
)
"""From the untuned guest to the tuned one: name, the one knob that this step changes, and a summary."""


def variants() -> tuple[Variant, ...]:
    """Every variant of the runtime, for each accelerator."""
    tried = tuple(variant for kind in KINDS for variant in _of(kind))
    xen = tuple(_plain(kind, words) for kind, words in XEN.items())
    return (*tried, *xen, *(_plain(kind, f"{words}; untested") for kind, (words, _) in UNTESTED.items()))


def driver_of(uri: str) -> str:
    """The driver in libvirt's URI: `xen` of `xen+unix:///system`."""
    return uri.partition(":")[0].partition("+")[0]


def _plain(kind: Kind, words: str) -> Variant:
    return Variant(name=f"libvirt/{kind}", runtime="libvirt", summary=words, options={"accelerator": kind})


def _of(kind: Kind) -> Iterator[Variant]:
    base = Knobs(accelerator=kind)
    yield _variant("", base, "raw, fully written data disk that bypasses the host's page cache (cache=none)")
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
    yield _variant(
        "balloon",
        replace(lazy, balloon="reporting"),
        "memory allocated when touched; the guest reports freed pages",
    )
    yield _variant("no-console", replace(base, console="none"), "without a serial console")
    yield _variant("system", replace(base, firmware="bios"), "full system: BIOS, GRUB, Debian's kernel, systemd")
    uefi = replace(base, firmware="uefi")
    yield _variant("system-uefi", uefi, "full system, by UEFI")
    if kind == "kvm":
        words = "full system, by UEFI; QEMU instead of KVM emulates its interrupt controllers"
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
