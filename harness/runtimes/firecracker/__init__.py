"""Guests of Firecracker, on KVM alone. Untried: no host with both KVM and Firecracker's binary has run it yet."""

from harness.runtimes.firecracker.runtime import Firecracker

__all__ = ["Firecracker"]
