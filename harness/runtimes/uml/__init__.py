"""User Mode Linux: guests with a kernel of their own that is a process of the host, without KVM and without emulation."""

from harness.runtimes.uml.runtime import Uml

__all__ = ["Uml"]
