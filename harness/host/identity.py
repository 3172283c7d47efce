"""Identify the machine and detect the hypervisor that it runs on."""

import hashlib
import mmap
import platform
import shutil
from collections.abc import Mapping
from ctypes import CFUNCTYPE, addressof, c_char, c_uint32, c_void_p
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.process import run

# CPUID leaf 0x40000000: EBX, ECX, EDX (Linux, Documentation/virt/kvm/x86/cpuid.rst; others by their vendors).
SIGNATURES: Mapping[str, str] = {
    "KVMKVMKVM": "kvm",
    "TCGTCGTCGTCG": "tcg",
    "Microsoft Hv": "hyperv",
    "VMwareVMware": "vmware",
    "XenVMMXenVMM": "xen",
    "VBoxVBoxVBox": "virtualbox",
    "bhyve bhyve ": "bhyve",
    "ACRNACRNACRN": "acrn",
    " lrpepyh  vr": "parallels",
    "UnisysSpar64": "spar",
}
# systemd-detect-virt's names that differ from tare's.
DETECTED: Mapping[str, str] = {"qemu": "tcg", "microsoft": "hyperv", "oracle": "virtualbox", "amazon": "kvm"}
HYPERVISOR_LEAF = 0x40000000
# The leaf of KVM's signature when KVM shows Hyper-V's interface at the usual leaf.
SECOND_LEAF = 0x40000100
# void cpuid(uint32_t leaf, uint32_t out[3]), System V ABI: push rbx; mov eax,edi; xor ecx,ecx; cpuid; mov [rsi],ebx;
# mov [rsi+4],ecx; mov [rsi+8],edx; pop rbx; ret
CPUID_CODE = bytes.fromhex("53 89f8 31c9 0fa2 891e 894e04 895608 5b c3")


def fingerprint(model: str, memory_mib: int, name: str) -> str:
    """A short id of the machine: 12 hex digits of a SHA-256 of machine id, DMI and hardware data.

    The machine id is only used in hashed form, as machine-id(5) requires. Memory is rounded to 256 MiB, because a
    kernel update changes the memory that the kernel reserves.
    """
    parts = [_read("/etc/machine-id"), _read("/sys/class/dmi/id/product_uuid"), _read("/sys/class/dmi/id/product_name")]
    # Only root can read product_uuid. It is omitted if a machine id exists, so that all users get the same id.
    identifying = [parts[0], parts[2]] if parts[0] else parts
    identifying += [model, str(round(memory_mib / 256)), "" if parts[0] else name]
    return hashlib.sha256("\0".join(("tare-bench", *identifying)).encode()).hexdigest()[:12]


def host_virtualized(cpu: Mapping[str, str], deadline: Deadline) -> str:
    """The hypervisor under this host: `none`, `kvm`, `tcg`, `xen`, `hyperv`, `vmware` … or `unknown`.

    `none` requires a working detection method that found no hypervisor. `cpu` are the fields of /proc/cpuinfo.
    """
    flags = cpu.get("flags", "").split()
    if signature := hypervisor_signature() if "hypervisor" in flags else "":
        if signature == "Microsoft Hv" and hypervisor_signature(SECOND_LEAF) == "KVMKVMKVM":
            return "kvm"
        # An unknown signature is returned in lower case.
        return SIGNATURES.get(signature, signature.strip().lower().replace(" ", "-"))
    detected = _detected(deadline)
    by_systemd = DETECTED.get(detected, detected) if detected != "none" else ""
    if kind := _read("/sys/hypervisor/type") or by_systemd or _by_dmi():
        return kind
    denied = "hypervisor" not in flags and (detected == "none" or bool(flags))
    return "none" if denied else "unknown"


def hypervisor_signature(leaf: int = HYPERVISOR_LEAF) -> str:
    """The hypervisor's signature in a CPUID leaf; empty on other architectures or without executable pages."""
    if platform.machine() != "x86_64":
        return ""
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return ""
    page.write(CPUID_CODE)
    cpuid = CFUNCTYPE(None, c_uint32, c_void_p)(addressof(c_char.from_buffer(page)))
    registers = (c_uint32 * 3)()
    cpuid(leaf, addressof(registers))
    return b"".join(int(word).to_bytes(4, "little") for word in registers).rstrip(b"\0").decode("ascii", "replace")


def _detected(deadline: Deadline) -> str:
    if shutil.which("systemd-detect-virt") is None:
        return ""
    try:
        return run(["systemd-detect-virt", "--vm"], deadline.within(3.0), check=False).stdout.strip()
    except TareError:
        return ""


def _by_dmi() -> str:
    text = " ".join(_read(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name", "bios_vendor"))
    known = {"QEMU": "unknown", "VMware": "vmware", "VirtualBox": "virtualbox", "Xen": "xen", "Bochs": "unknown"}
    return next((kind for word, kind in known.items() if word in text), "")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
