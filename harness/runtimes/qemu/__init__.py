"""Guests of QEMU's `microvm` machine, started directly: no libvirtd, no PCI, few devices."""

from harness.runtimes.qemu.runtime import Microvm

__all__ = ["Microvm"]
