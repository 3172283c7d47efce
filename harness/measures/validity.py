"""The rules by which an iteration or a block is discarded: declared before any run, and blind to what it measured.

The limits stand in the model (`Limits`), and a suite may declare others.
"""

from collections.abc import Sequence

from harness.measures.clock import Clock
from harness.model import Limits

PROXY_SECONDS = 0.05
"""Most CPU seconds of docker-proxy in an iteration over a published port: beyond it, it was no NAT sample."""

CACHED_SHARE = 0.05
"""Most of what the host had cached of a variant's files that may stay so before a launch that is called cold."""

WORK_SHARE = 0.02
"""Least of one CPU that an aggressor must have used in a window beside it: with less it was no aggressor."""


def overloaded(busy: float, cpus: int, limits: Limits) -> str:
    """Why a block is discarded before it begins, or "": `busy` CPUs of `cpus` had other work."""
    share = busy / cpus
    return f"host load: {share:.0%} of the CPUs were busy (limit {limits.load:.0%})" if share > limits.load else ""


def frequency_moved(mhz: Sequence[float], limits: Limits) -> str:
    """Why a block is discarded once all its iterations' frequencies are known, or ""."""
    if not mhz or min(mhz) <= 0 or max(mhz) / min(mhz) - 1 <= limits.frequency:
        return ""
    return f"frequency: from {min(mhz):.0f} to {max(mhz):.0f} MHz within the block (limit {limits.frequency:.0%})"


def stolen(share: float, limits: Limits) -> str:
    """Why an iteration is discarded by steal, or "": `share` of the shape's CPU time."""
    if share <= limits.steal:
        return ""
    return f"steal: {share:.0%} of the CPU's time was taken by the layer below (limit {limits.steal:.0%})"


def not_cold(stayed: float) -> str:
    """Why a cold launch is discarded, or "": `stayed` is the share of the cached bytes that could not be dropped."""
    if stayed <= CACHED_SHARE:
        return ""
    return f"cache: {stayed:.0%} of the variant's cached files stayed in memory (limit {CACHED_SHARE:.0%})"


def absent(share: float, *, at_work: bool) -> str:
    """Why a window beside an aggressor is discarded, or "": `share` of one CPU that it used meanwhile.

    `at_work` says that its command went on until it was ended, after the last window.
    """
    if not at_work:
        return "aggressor: its command ended by itself"
    if share < WORK_SHARE:
        return f"aggressor: it used {share:.1%} of a CPU in the window (least {WORK_SHARE:.0%})"
    return ""


def discard_reason(clock: Clock, steal: float, proxy: float, limits: Limits) -> str:
    """Why an iteration is discarded, or "" where it counts.

    `clock` has the readings of its instance up to its end, `steal` is the share of the shape's CPU time that was
    stolen, `proxy` the CPU seconds of docker-proxy.
    """
    if reason := stolen(steal, limits) or clock.wrong():
        return reason
    if proxy > PROXY_SECONDS:
        return f"docker-proxy: it used {proxy:.2f} CPU s, so the port was not reached by NAT alone"
    return ""
