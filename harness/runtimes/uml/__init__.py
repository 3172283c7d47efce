"""User Mode Linux: each guest's kernel is a process of the host, without KVM and without emulation."""

from harness.runtimes.uml.runtime import Uml

__all__ = ["Uml"]
