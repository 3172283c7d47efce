"""Guests of a libvirtd: QEMU with KVM where a guest really boots on it, with TCG (emulated) anywhere."""

from harness.runtimes.libvirt.runtime import Libvirt

__all__ = ["Libvirt"]
