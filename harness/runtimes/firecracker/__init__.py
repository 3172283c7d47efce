"""Guests of Firecracker, on KVM alone. Untested: it has not run on a host with both KVM and Firecracker's binary."""

from harness.runtimes.firecracker.runtime import Firecracker

__all__ = ["Firecracker"]
