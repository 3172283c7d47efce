"""Guests of QEMU's `microvm` machine, started directly: no libvirtd, no PCI, no firmware menu, a handful of devices."""

from harness.runtimes.qemu.runtime import Microvm

__all__ = ["Microvm"]
