"""Whether KVM works here: a guest boots on it to userspace under a deadline, and the answer is stored.

A test that opens /dev/kvm or creates a VM is not enough: on some hosts both succeed and no ordinary kernel ever boots.
"""

import hashlib
import json
import os
import select
import shutil
import stat
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path

from harness import paths
from harness.deadline import Deadline
from harness.durable import atomic_write
from harness.errors import TareError
from harness.host.facts import gather, read
from harness.model import Accelerator, Available, RootForms
from harness.process import kill_group, run, spawn
from harness.runtimes.requirements import unavailable

EMULATOR = "qemu-system-x86_64"
DEVICE = Path("/dev/kvm")
MODULES = Path("/sys/module")
BOOT_SECONDS = 15.0
EMULATED_SECONDS = 90.0
MEMORY_MIB = 256
CACHE = "kvm.json"


def refused() -> Available | None:
    """Why KVM cannot even be tried; None when a boot must decide."""
    if not DEVICE.exists():
        fix = "enable virtualization in the firmware, or nested virtualization in the hypervisor; then modprobe kvm"
        return unavailable("/dev/kvm is missing", fix=fix)
    if not stat.S_ISCHR(DEVICE.stat().st_mode) or not os.access(DEVICE, os.R_OK | os.W_OK):
        return unavailable("no permission to open /dev/kvm", fix='usermod -aG kvm "$USER", then log in again')
    return None


def kept(kernel: Path) -> Available | None:
    """The stored answer of a boot since this host started, with the same kernels and QEMU; else None."""
    try:
        stored = json.loads((paths.state() / CACHE).read_text())
        if stored["key"] == _key(kernel):
            return Available(**stored["proof"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def keep(kernel: Path, proof: Available) -> None:
    """Store the answer for `kept`. Raises TareError when the state folder cannot be written."""
    path = paths.state() / CACHE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps({"key": _key(kernel), "proof": asdict(proof)}).encode())
    except (OSError, TareError) as error:
        hint = "set TARE_STATE to a folder of your own"
        raise TareError(f"cannot write {path}", details=str(error), hint=hint) from error


def boots(kernel: Path, initramfs: Path, deadline: Deadline) -> bool:
    """Whether a kernel reaches userspace in a guest here: on KVM, or else emulated."""
    if prove(kernel, initramfs, deadline).ok:
        return True
    return _boot(kernel, initramfs, deadline.within(EMULATED_SECONDS), "tcg").ok


def prove(kernel: Path, initramfs: Path, deadline: Deadline, *, again: bool = False) -> Available:
    """Boot `kernel` on KVM until its init writes a line, unless the answer is stored; `again` boots in any case.

    Raises TareError when QEMU is missing.
    """
    if known := refused() or (None if again else kept(kernel)):
        return known
    # On a host that is itself emulated a guest on KVM takes ten times as long.
    patience = EMULATED_SECONDS if gather().host_virtualized == "tcg" else BOOT_SECONDS
    proof = _boot(kernel, initramfs, deadline.within(patience))
    keep(kernel, proof)
    return proof


class Kvm:
    """What one runtime has found out about KVM here: nothing before `prove`.

    Each runtime with guests has one. The boot itself happens once for all of them, because its answer is stored.
    """

    def __init__(self) -> None:
        self._proof: Available | None = None

    @property
    def accelerator(self) -> Accelerator:
        """What guests run on here: `kvm` or `kvm-nested` once `prove` has found that, else `tcg`."""
        return name_of_kvm() if self._proof is not None and self._proof.ok else Accelerator.TCG

    def prove(self, root: RootForms, deadline: Deadline, *, again: bool = False) -> Accelerator:
        """See `prove` of this module; returns what guests run on here."""
        self._proof = prove(root.kernel, root.initramfs, deadline, again=again)
        return self.accelerator

    def lacking(self) -> Available | None:
        """Why no guest can have KVM; None once one has booted on it."""
        fix = "tare doctor checks /dev/kvm; tare run --suite smoke boots the test guest"
        unproven = unavailable("KVM is verified only in a run, which boots a test guest", fix=fix)
        proof = refused() or self._proof or unproven
        return None if proof.ok else proof


def name_of_kvm() -> Accelerator:
    """The name of KVM on this host: `kvm-nested` on a host that is itself a guest."""
    words = Path("/proc/cpuinfo").read_text().split()
    return Accelerator.KVM_NESTED if "hypervisor" in words else Accelerator.KVM


def nested_paging() -> bool | None:
    """Whether KVM lets the processor walk guests' page tables (NPT, EPT); None without a KVM module."""
    found = [text for name in ("kvm_amd/parameters/npt", "kvm_intel/parameters/ept") if (text := read(MODULES / name))]
    return found[0] in ("Y", "1") if found else None


def _boot(kernel: Path, initramfs: Path, deadline: Deadline, accelerator: str = "kvm") -> Available:
    """Start a small guest as `libvirt/kvm` does and read its second serial port, where init writes first."""
    with tempfile.TemporaryDirectory(prefix="tare-kvm-") as directory:
        errors = Path(directory) / "errors"
        with errors.open("wb") as sink:
            guest = spawn(_argv(kernel, initramfs, accelerator), stdout=subprocess.PIPE, stderr=sink.fileno())
            try:
                reached, ended = _reached_userspace(guest, deadline)
            finally:
                kill_group(guest)
                if guest.stdout is not None:
                    guest.stdout.close()
        printed = errors.read_text(errors="replace").strip()
    if reached:
        return Available(ok=True)
    how = f"QEMU ended: {printed.splitlines()[-1] if printed else 'no error message'}" if ended else "it hung"
    return unavailable(
        f"a guest started on /dev/kvm did not reach userspace in time ({how})",
        fix="use bare metal, or a hypervisor with nested virtualization; here, emulated: --variant libvirt/tcg",
    )


def _reached_userspace(guest: "subprocess.Popen[bytes]", deadline: Deadline) -> tuple[bool, bool]:
    """Whether the guest's init wrote its line before the deadline, and whether QEMU ended before that."""
    assert guest.stdout is not None
    output = b""
    while deadline.left:
        if not select.select([guest.stdout], [], [], deadline.left)[0]:
            return False, False
        data = os.read(guest.stdout.fileno(), 4096)
        if not data:
            return False, True
        output += data
        if b"userspace " in output:
            return True, False
    return False, False


def _argv(kernel: Path, initramfs: Path, accelerator: str) -> list[str]:
    cpu = "host" if accelerator == "kvm" else "max,-la57"
    return [
        *(EMULATOR, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", f"q35,accel={accelerator}", "-cpu", cpu, "-m", str(MEMORY_MIB), "-smp", "1"),
        *("-kernel", str(kernel), "-initrd", str(initramfs)),
        *("-append", "console=ttyS0 quiet panic=-1 tare.entry=beacon"),
        *("-serial", "null", "-serial", "stdio"),
    ]


def _key(kernel: Path) -> str:
    """A digest of what the answer depends on: the host's boot and kernel, the guest's kernel, QEMU, /dev/kvm's mode."""
    version = run([EMULATOR, "--version"], Deadline.after(10)).stdout if shutil.which(EMULATOR) else ""
    device = DEVICE.stat() if DEVICE.exists() else None
    guest = kernel.stat()
    facts = (
        Path("/proc/sys/kernel/random/boot_id").read_text(),
        os.uname().release,
        version,
        str(kernel),
        guest.st_size,
        guest.st_mtime_ns,
        (device.st_mode, device.st_uid, device.st_gid) if device else None,
        os.geteuid(),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()
