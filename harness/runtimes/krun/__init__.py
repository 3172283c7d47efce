"""Guests of libkrun, on KVM alone: a library that is the machine; the guest has the root's directory by virtio-fs."""

from harness.runtimes.krun.runtime import Krun

__all__ = ["Krun"]
