"""The scenarios of the lifecycle measure, and the figures of each, which a workload's metrics name as their source."""

from collections.abc import Mapping

FIGURES: Mapping[str, tuple[str, ...]] = {
    "pause": ("pause", "resume", "downtime"),
    "stop": ("stop", "start", "kill", "start-after-kill", "downtime"),
    "snapshot": ("take", "take-downtime", "restore", "restore-downtime", "size"),
    "save": ("save", "restore", "downtime", "size"),
    "persist": ("write", "stop", "start", "read", "kill", "start-after-kill", "recreate"),
    "clone": ("linked", "full"),
    "migrate": ("migrate", "downtime"),
}
"""Seconds, but `size`: bytes. A `start` ends at `ready` (of a full system at `service`). A `downtime` is the longest
time in which a client outside got no answer around an operation, less what the harness itself waited in it."""
