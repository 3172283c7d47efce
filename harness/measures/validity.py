"""The rules by which an iteration is void: declared here, before any run, and blind to what it measured."""

from harness.runtimes.base import RawOutput

STEAL_SHARE = 0.10
"""Most of a CPU's time that the layer below may take."""
CLOCK_SHARE = 0.02
"""Most by which the instance's clock may differ from the host's over an iteration …"""
CLOCK_SECONDS = 0.1
"""… beyond what framing on a busy channel costs, in seconds."""
PROXY_SECONDS = 0.05
"""Most CPU seconds of docker-proxy in an iteration over a published port: beyond it, it was no NAT sample."""


def void_reason(output: RawOutput, steal: float, proxy: float = 0.0) -> str:
    """Why an iteration is void, or "" where it counts.

    `steal` is the share of the shape's CPU time that was stolen, `proxy` the CPU seconds of docker-proxy.
    """
    outer = output.end - output.begin
    inner = output.inner_end - output.inner_begin
    if steal > STEAL_SHARE:
        return f"steal: {steal:.0%} of the CPU's time was taken by the layer below (limit {STEAL_SHARE:.0%})"
    if abs(outer - inner) > CLOCK_SECONDS + CLOCK_SHARE * outer:
        return f"clock: {outer:.3f} s by the host's clock, {inner:.3f} s by the instance's"
    if proxy > PROXY_SECONDS:
        return f"docker-proxy: it used {proxy:.2f} CPU s, so the port was not reached by NAT alone"
    return ""
