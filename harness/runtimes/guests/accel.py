"""Whether KVM is real here: a guest is booted on it to userspace, under a deadline, and the answer is kept.

Opening /dev/kvm, or creating a VM on it, proves nothing: there are hosts where both succeed and no ordinary kernel ever
boots.
"""

import contextlib
import hashlib
import json
import os
import select
import shutil
import stat
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import paths
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.facts import gather
from harness.model import Accelerator, Available, RootForms
from harness.process import kill_group, run, spawn

EMULATOR = "qemu-system-x86_64"
DEVICE = Path("/dev/kvm")
MODULES = Path("/sys/module")
BOOT_SECONDS = 15.0
EMULATED_SECONDS = 90.0
MEMORY_MIB = 256
CACHE = "kvm.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a boot on KVM showed; `reason` and `fix` say why it failed."""

    ok: bool
    reason: str = ""
    fix: str = ""


def refused() -> Proof | None:
    """Why KVM cannot even be tried, or None when only a boot can tell."""
    if not DEVICE.exists():
        return Proof(
            ok=False,
            reason="/dev/kvm is not there",
            fix="switch on virtualization in the firmware (nested, in the hypervisor of a guest) and modprobe kvm",
        )
    if not stat.S_ISCHR(DEVICE.stat().st_mode) or not os.access(DEVICE, os.R_OK | os.W_OK):
        return Proof(
            ok=False, reason="/dev/kvm cannot be opened by this user", fix='usermod -aG kvm "$USER", log in anew'
        )
    return None


def kept(kernel: Path) -> Proof | None:
    """The answer that an earlier boot gave on this host since it started, for the same kernels and QEMU."""
    try:
        stored = json.loads((paths.state() / CACHE).read_text())
        if stored["key"] == _key(kernel):
            return Proof(**stored["proof"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def keep(kernel: Path, proof: Proof) -> None:
    """Write the answer, whole or not at all, for `kept`. Raises TareError when the state folder cannot be written."""
    folder = paths.state()
    answer = {"key": _key(kernel), "proof": asdict(proof)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=CACHE, delete=False) as file:
            json.dump(answer, file)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(folder / CACHE)
    except OSError as error:
        raise TareError(f"cannot write {folder / CACHE}", details=str(error), hint="set TARE_STATE") from error


def boots(kernel: Path, initramfs: Path, deadline: Deadline) -> bool:
    """Whether a kernel reaches userspace in a guest here: on KVM, or else emulated."""
    if prove(kernel, initramfs, deadline).ok:
        return True
    return _boot(kernel, initramfs, deadline.within(EMULATED_SECONDS), "tcg").ok


def prove(kernel: Path, initramfs: Path, deadline: Deadline, *, again: bool = False) -> Proof:
    """Boot `kernel` on KVM until its init speaks, unless the answer is known; `again` asks anew.

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
    """What one runtime may believe of KVM here: nothing before `prove`.

    Every runtime that has guests keeps one; the boot itself is done once for all of them, since its answer is kept.
    """

    def __init__(self) -> None:
        self._proof: Proof | None = None

    @property
    def accelerator(self) -> Accelerator:
        """What guests run on here: `kvm` or `kvm-nested` once `prove` has shown it, else `tcg`."""
        return name_of_kvm() if self._proof is not None and self._proof.ok else Accelerator.TCG

    def prove(self, root: RootForms, deadline: Deadline, *, again: bool = False) -> Accelerator:
        """See `prove` of this module; returns what guests run on here."""
        self._proof = prove(root.kernel, root.initramfs, deadline, again=again)
        return self.accelerator

    def lacking(self) -> Available | None:
        """Why no guest can have KVM, None where one was shown to boot on it."""
        proof = refused() or self._proof
        if proof is None:
            return Available(ok=False, reason="KVM has not been shown to boot a guest here yet", fix="make bench")
        return None if proof.ok else Available(ok=False, reason=proof.reason, fix=proof.fix)


def name_of_kvm() -> Accelerator:
    """What a guest on KVM is called here: `kvm-nested` on a host that is itself a guest."""
    words = Path("/proc/cpuinfo").read_text().split()
    return Accelerator.KVM_NESTED if "hypervisor" in words else Accelerator.KVM


def nested_paging() -> bool | None:
    """Whether KVM lets the processor walk guests' page tables (NPT, EPT), None where no KVM module says."""
    for name in ("kvm_amd/parameters/npt", "kvm_intel/parameters/ept"):
        with contextlib.suppress(OSError):
            return (MODULES / name).read_text().strip() in ("Y", "1")
    return None


def _boot(kernel: Path, initramfs: Path, deadline: Deadline, accelerator: str = "kvm") -> Proof:
    """Start a small guest as `libvirt/kvm` does and read its second serial port, where init speaks first."""
    with tempfile.TemporaryDirectory(prefix="tare-kvm-") as directory:
        errors = Path(directory) / "errors"
        with errors.open("wb") as sink:
            guest = spawn(_argv(kernel, initramfs, accelerator), stdout=subprocess.PIPE, stderr=sink.fileno())
            try:
                spoke, ended = _listen(guest, deadline)
            finally:
                kill_group(guest)
                if guest.stdout is not None:
                    guest.stdout.close()
        said = errors.read_text(errors="replace").strip()
    if spoke:
        return Proof(ok=True)
    how = f"QEMU ended: {said.splitlines()[-1] if said else 'without a word'}" if ended else "it hung"
    return Proof(
        ok=False,
        reason=f"a guest started on /dev/kvm did not reach userspace in time ({how})",
        fix="run on bare metal or under a hypervisor with nested virtualization; libvirt/tcg runs here, emulated",
    )


def _listen(guest: "subprocess.Popen[bytes]", deadline: Deadline) -> tuple[bool, bool]:
    """Whether the guest's init spoke before the deadline, and whether QEMU ended before it did."""
    assert guest.stdout is not None
    heard = b""
    while deadline.left:
        if not select.select([guest.stdout], [], [], deadline.left)[0]:
            return False, False
        data = os.read(guest.stdout.fileno(), 4096)
        if not data:
            return False, True
        heard += data
        if b"userspace " in heard:
            return True, False
    return False, False


def _argv(kernel: Path, initramfs: Path, accelerator: str) -> list[str]:
    cpu = "host" if accelerator == "kvm" else "max,-la57"
    return [
        *(EMULATOR, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", f"q35,accel={accelerator}", "-cpu", cpu, "-m", str(MEMORY_MIB), "-smp", "1"),
        *(
            "-kernel",
            str(kernel),
            "-initrd",
            str(initramfs),
            "-append",
            "console=ttyS0 quiet panic=-1 tare.entry=beacon",
        ),
        *("-serial", "null", "-serial", "stdio"),
    ]


def _key(kernel: Path) -> str:
    """What the answer depends on: this boot of the host, its kernel, the guest's, QEMU, and the device's access."""
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
