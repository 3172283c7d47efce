"""The rules that discard an iteration or a block: declared before a run, and blind to the measured values.

The limits are in the model (`Limits`); a suite may declare others.
"""

from collections.abc import Sequence

from harness.measures.clock import Clock
from harness.model import Limits

PROXY_SECONDS = 0.05
"""The most CPU seconds of docker-proxy in an iteration over a published port: with more, NAT did not carry it all."""
CACHED_SHARE = 0.05
"""The largest share of a variant's cached files that may stay cached before a cold launch."""
WORK_SHARE = 0.02
"""The smallest share of one CPU that an aggressor must use in a window beside it."""


def overloaded(busy: float, cpus: int, limits: Limits) -> str:
    """The reason to discard a block before it begins, or "": `busy` of `cpus` CPUs had other work."""
    share = busy / cpus
    return f"host load: {share:.0%} of the CPUs were busy (limit {limits.load:.0%})" if share > limits.load else ""


def frequency_moved(mhz: Sequence[float], limits: Limits) -> str:
    """The reason to discard a block by the frequencies of all its iterations, or ""."""
    if not mhz or min(mhz) <= 0 or max(mhz) / min(mhz) - 1 <= limits.frequency:
        return ""
    return f"frequency: from {min(mhz):.0f} to {max(mhz):.0f} MHz within the block (limit {limits.frequency:.0%})"


def stolen(share: float, limits: Limits) -> str:
    """The reason to discard an iteration by steal, or "": `share` is of the shape's CPU time."""
    if share <= limits.steal:
        return ""
    return f"steal: {share:.0%} of the CPU's time was taken by the layer below (limit {limits.steal:.0%})"


def not_cold(stayed: float) -> str:
    """The reason to discard a cold launch, or "": `stayed` is the share of the cached bytes that stayed cached."""
    if stayed <= CACHED_SHARE:
        return ""
    return f"cache: {stayed:.0%} of the variant's cached files stayed in memory (limit {CACHED_SHARE:.0%})"


def absent(share: float, *, at_work: bool) -> str:
    """The reason to discard a window beside an aggressor, or "": it used `share` of one CPU in the window.

    `at_work` is whether its command ran until the measure ended it, after the last window.
    """
    if not at_work:
        return "aggressor: its command ended by itself"
    if share < WORK_SHARE:
        return f"aggressor: it used {share:.1%} of a CPU in the window (at least {WORK_SHARE:.0%} is needed)"
    return ""


def discard_reason(clock: Clock, steal: float, proxy: float, limits: Limits) -> str:
    """The reason to discard an iteration, or "".

    `clock` has the readings of its instance until then, `steal` is the stolen share of the shape's CPU time, `proxy`
    the CPU seconds of docker-proxy.
    """
    if reason := stolen(steal, limits) or clock.wrong():
        return reason
    if proxy > PROXY_SECONDS:
        return f"docker-proxy: it used {proxy:.2f} CPU s, so NAT alone did not carry the traffic"
    return ""
