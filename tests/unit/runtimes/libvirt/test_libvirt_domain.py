"""Domain XML: hostile names stay data, libvirt's schema holds, and the description turns the right knobs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import UndefinedError
from lxml import etree

from harness.errors import TareError
from harness.model import Accelerator, NetworkPlace, SystemForm
from harness.runtimes.base import Endpoint, Entry, Place, Prepared
from harness.runtimes.guests import firmware
from harness.runtimes.guests.boot_arguments import command_line, credential, mac_of
from harness.runtimes.guests.tap import tap_name
from harness.runtimes.libvirt import Libvirt
from harness.runtimes.libvirt.domain import SCHEMAS, DirectKernel, Domain, check, labels_of, render
from harness.runtimes.libvirt.interface import outer
from harness.runtimes.libvirt.knobs import NETWORKS, Network
from harness.runtimes.libvirt.specification import describe, facts
from tests.unit.runtimes.guests import given
from tests.unit.runtimes.guests.given import SHAPE


@pytest.fixture(autouse=True)
def there_is_uefi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Firmware that need not be installed."""
    monkeypatch.setattr(firmware, "UEFI", ((Path(__file__), Path(__file__)),))


HOSTILE = "a'\"><evil x='&lt;]]>&amp;"
NETWORK = replace(given.NETWORK, netns="")
needs_schema = pytest.mark.skipif(not any(path.exists() for path in SCHEMAS), reason="no libvirt schema installed")
ROOT = replace(given.ROOT, system=SystemForm(digest="sha256:1", disk=Path("/s.raw"), kernel_release="6.2"))


def prepared(variant: str) -> Prepared:
    chosen = next(one for one in Libvirt.variants if one.name == variant)
    return Prepared(variant=chosen, shape=SHAPE, root=ROOT, image=ROOT.digest, accelerator=Accelerator.TCG)


def domain(variant: str = "libvirt/tcg", entry: Entry = "agent", network: NetworkPlace | None = NETWORK) -> Domain:
    place = Place(
        name="tare-x", directory=Path("/run/x"), entry=entry, shape=SHAPE, network=network, port=5201, scratch_mib=64
    )
    return describe(prepared(variant), place, {"tare.run": "r"})


@needs_schema
@pytest.mark.parametrize("variant", [one.name for one in Libvirt.variants if "untested" not in one.summary])
def test_every_variant_fits_libvirts_schema(variant: str) -> None:
    for entry in ("agent", "beacon"):
        for network in (NETWORK, None):
            render(domain(variant, entry, network))


def test_hostile_text_stays_text() -> None:
    kernel = DirectKernel(kernel=Path("/tmp") / HOSTILE, initramfs=Path("/i"), command_line="")
    hostile = replace(domain(), labels={HOSTILE: HOSTILE}, boot=kernel)
    tree = etree.fromstring(render(hostile).encode())
    assert tree.findtext("os/kernel") == f"/tmp/{HOSTILE}"
    assert not tree.findall(".//evil")
    element = tree.find("metadata")
    assert element is not None
    assert labels_of(etree.tostring(element[0]).decode()) == {HOSTILE: HOSTILE}


@needs_schema
def test_a_document_that_libvirt_would_refuse_is_refused_before() -> None:
    with pytest.raises(TareError, match="schema"):
        render(replace(domain(), uuid="not a uuid"))
    with pytest.raises(TareError, match="well-formed"):
        check("<domain>")


def test_a_template_that_asks_for_more_than_there_is_fails() -> None:
    broken = SimpleNamespace(type="qemu")
    with pytest.raises(UndefinedError):
        render(broken)  # type: ignore[arg-type]


def test_a_guest_pays_for_its_helpers_and_has_the_shape() -> None:
    tree = etree.fromstring(render(domain()).encode())
    assert [pin.get("cpuset") for pin in tree.findall("cputune/vcpupin")] == ["1", "3"]
    assert [pin.get("cpuset") for pin in tree.findall("cputune/emulatorpin")] == ["1,3"]
    assert tree.findtext("memory") == "512" and tree.findtext("vcpu") == "2"
    assert tree.find("memoryBacking/allocation") is not None


def test_a_guest_that_only_boots_gets_its_memory_as_it_touches_it() -> None:
    assert etree.fromstring(render(domain(entry="beacon")).encode()).find("memoryBacking") is None


def test_variants_turn_one_knob_each() -> None:
    plain, qcow2, kvm = (domain(f"libvirt/{name}") for name in ("tcg", "tcg-qcow2", "kvm"))
    assert [disk.format for disk in plain.disks] == ["qcow2", "raw"]
    assert [disk.format for disk in qcow2.disks] == ["qcow2", "qcow2"]
    assert {disk.cache for disk in (plain.disks[1], qcow2.disks[1])} == {"none"}
    assert (plain.type, plain.cpu_mode, plain.cpu_without) == ("qemu", "maximum", ("la57",))
    assert (kvm.type, kvm.cpu_mode, kvm.cpu_without) == ("kvm", "host-passthrough", ())
    assert plain.uuid != qcow2.uuid and plain.mac == mac_of(plain.uuid)


def test_a_balloon_reports_free_pages_and_only_its_guest_loads_the_module() -> None:
    tree = etree.fromstring(render(domain("libvirt/tcg-balloon")).encode())
    balloon = tree.find("devices/memballoon")
    assert balloon is not None and (balloon.get("model"), balloon.get("freePageReporting")) == ("virtio", "on")
    assert "tare.balloon" in (tree.findtext("os/cmdline") or "").split()
    assert tree.find("memoryBacking") is None, "memory touched beforehand would be reported free at once"
    lazy = etree.fromstring(render(domain("libvirt/tcg-lazy")).encode())
    assert [one.get("model") for one in lazy.findall("devices/memballoon")] == ["none"]
    assert "tare.balloon" not in (lazy.findtext("os/cmdline") or "")
    assert facts(domain("libvirt/tcg-balloon"), prepared("libvirt/tcg-balloon"))["balloon"] == "free page reporting"


def test_a_full_system_is_booted_by_its_firmware_from_a_disk_of_its_own() -> None:
    bios, uefi = domain("libvirt/tcg-system"), domain("libvirt/kvm-system-uefi")
    assert bios.disks[0].base == uefi.disks[0].base == Path("/s.raw") and domain().disks[0].base == Path("/r.raw")
    assert bios.boot.firmware == "bios" and not bios.files[2:]
    assert uefi.boot.firmware == "uefi" and uefi.files[2] == Path("/run/x/uefi-variables")
    tree = etree.fromstring(render(uefi).encode())
    assert tree.find("os/kernel") is None
    loader = tree.find("os/loader")
    assert loader is not None and loader.get("readonly") == "yes"
    assert [disk.get("order") for disk in tree.findall("devices/disk/boot")] == ["1"]
    assert tree.findtext("sysinfo/oemStrings/entry") == credential("agent", True, NETWORK)
    assert facts(uefi, prepared("libvirt/kvm-system-uefi"))["kernel_release"] == "6.2"


def test_interrupt_controllers_can_be_qemus_own() -> None:
    name, plain = "libvirt/kvm-system-uefi-irqchip", "libvirt/kvm-system-uefi"
    own, kernels = domain(name), domain(plain)
    assert {**prepared(name).variant.options, "irqchip": "kvm"} == prepared(plain).variant.options
    assert own.further[:2] == ("-machine", "kernel-irqchip=off") and kernels.further == ()
    words = [element.get("value") for element in etree.fromstring(render(own).encode()).iter("{*}arg")]
    assert tuple(words) == own.further
    assert [facts(one, prepared(name))["irqchip"] for one in (own, domain("libvirt/tcg"))] == ["qemu", "qemu"]
    assert facts(kernels, prepared(plain))["irqchip"] == "kvm"


def test_a_full_system_that_was_not_made_is_an_error() -> None:
    bare = replace(prepared("libvirt/tcg-system"), root=replace(ROOT, system=None))
    place = Place(name="tare-x", directory=Path("/run/x"), entry="agent", shape=SHAPE)
    with pytest.raises(TareError, match="full system"):
        describe(bare, place, {})


def test_facts_tell_what_the_description_settles() -> None:
    known = facts(domain("libvirt/tcg-qcow2"), prepared("libvirt/tcg-qcow2"))
    assert known["cpu_model"] == "maximum,-la57"
    assert known["root_disk"] == "qcow2 cache=writeback io=threads"
    assert known["data_disk"] == "qcow2 cache=none io=native"


@pytest.mark.parametrize(("variant", "system"), [("libvirt/xen-pv", "linux"), ("libvirt/xen-pvh", "xenpvh")])
def test_a_guest_of_xen_has_its_own_template(variant: str, system: str) -> None:
    tree = etree.fromstring(render(domain(variant)).encode())
    assert tree.get("type") == "xen" and tree.findtext("os/type") == system
    assert [target.get("dev") for target in tree.findall("devices/disk/target")] == ["xvda", "xvdb"]
    assert [one.get("type") for one in tree.findall("devices/disk/driver")] == ["qcow2", "raw"]
    paths = [source.get("path") for source in tree.findall("devices/channel/source")]
    assert paths == ["/run/x/milestones", "/run/x/channel"], "the order gives them their names in the guest"
    words = (tree.findtext("os/cmdline") or "").split()
    assert {"console=hvc0", "tare.root=/dev/xvda", "tare.scratch=/dev/xvdb", "tare.channel=/dev/hvc2"} <= set(words)
    assert not tree.findall("devices/serial") and tree.find("cpu") is None
    known = facts(domain(variant), prepared(variant))
    assert known["data_disk"] == "raw cache=writeback io=threads" and known["machine"].startswith("xenpv")


@needs_schema
def test_a_hypervisor_can_be_loaded_first_with_the_kernel_as_its_module() -> None:
    options = {"accelerator": "tcg", "multiboot": "/x/xen console=com1 dom0_mem=1G"}
    variant = replace(prepared("libvirt/tcg").variant, options=options)
    place = Place(name="tare-x", directory=Path("/run/x"), entry="agent", shape=SHAPE, network=NETWORK)
    tree = etree.fromstring(render(describe(replace(prepared("libvirt/tcg"), variant=variant), place, {})).encode())
    assert tree.findtext("os/kernel") == "/x/xen" and tree.findtext("os/cmdline") == "console=com1 dom0_mem=1G"
    assert tree.find("os/initrd") is None
    arguments = [one.get("value") or "" for one in tree.iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg")]
    assert arguments[0] == "-initrd"
    kernel, initramfs = arguments[1].rsplit(",", 1)
    assert kernel.startswith("/k console=ttyS0 ") and kernel.endswith("10.1.2.9/24,,10.1.2.1") and initramfs == "/i"


def test_the_kernel_is_told_entry_scratch_and_address() -> None:
    words = command_line("agent", True, NETWORK).split()
    assert {"tare.entry=agent", "tare.scratch=/dev/vdb", "tare.address=10.1.2.9/24,10.1.2.1", "panic=-1"} <= set(words)
    assert not any(
        word.startswith(("tare.scratch", "tare.address")) for word in command_line("beacon", False, None).split()
    )


def test_a_guest_can_be_without_a_serial_console() -> None:
    boots = [domain(f"libvirt/kvm{flavour}").boot for flavour in ("", "-no-console")]
    lines = [boot.command_line for boot in boots if boot.firmware == "none"]
    assert lines[0].replace("console=ttyS0", "console=tty0") == lines[1] != lines[0]


def test_each_network_has_its_card_its_address_inside_and_its_own_outside() -> None:
    own = Endpoint(address=NETWORK.address, port=5201, bind=NETWORK.address)
    expected: dict[Network, tuple[str, str, str, str]] = {
        "bridge": ("bridge", "10.1.2.9/24,10.1.2.1", "10.1.2.9", "10.1.2.9"),
        "nat": ("bridge", "10.1.2.9/24,10.1.2.1", "10.1.3.1", "10.1.2.9"),
        "user": ("user", "10.0.2.15/24,10.0.2.2", "10.1.2.1", "10.0.2.15"),
        "macvtap": ("ethernet", "10.1.2.9/24,10.1.2.1", "10.1.2.9", "10.1.2.9"),
    }
    assert expected.keys() == {"bridge", *NETWORKS}
    for kind, (card, told, address, bind) in expected.items():
        name = "libvirt/tcg" if kind == "bridge" else f"libvirt/tcg-{kind}"
        made = domain(name)
        tree = etree.fromstring(render(made).encode())
        interface = tree.find("devices/interface")
        assert interface is not None and interface.get("type") == card
        assert [one.get("address") for one in interface.findall("mac")] == [made.mac]
        assert [one.get("bridge") for one in interface.findall("source")] == ["tare0"] * (card == "bridge")
        targets = [(one.get("dev"), one.get("managed")) for one in interface.findall("target")]
        assert targets == [(tap_name(made.uuid), "no")] * (kind == "macvtap")
        assert f"tare.address={told}" in (tree.findtext("os/cmdline") or "").split()
        assert outer(kind, NETWORK, own) == Endpoint(address=address, port=5201, bind=bind)
        assert facts(made, prepared(name))["network"] == kind
        assert etree.fromstring(render(domain(name, network=None)).encode()).find("devices/interface") is None


def test_a_kernel_argument_cannot_smuggle_another_in() -> None:
    with pytest.raises(TareError, match="kernel argument"):
        command_line("agent", False, replace(NETWORK, address="10.0.0.1 init=/bin/sh"))
