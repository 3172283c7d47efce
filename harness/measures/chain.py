"""The chain measure: each of several instances of one variant passes a request on to the next; the peer asks the first.

A request crosses the network of every instance twice, as between services that call each other. The instances are
smaller than those of other workloads, so their facts are not recorded as the variant's.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from harness.deadline import Deadline
from harness.definitions.declaration import Number
from harness.measures.base import Environment, Measure
from harness.measures.clock import Clock
from harness.measures.command import READY_SECONDS, iterate, launched, run_in, serve, values_of
from harness.model import HOST_COST_UNITS, Case, Milestone, Role, Sample, Workload
from harness.runtimes.base import Instance


class ChainMeasure(Measure):
    """Iterates a command at the peer against the first of `length` instances with `mib` MiB each.

    All instances run the same server; the request itself decides which of them answers it.
    """

    needs = ("argv", "reader", "server")
    parameters = (Number("length", 1, 1000), Number("mib", 1, 10**6))
    placeholders = ("upstream",)
    host_costs = HOST_COST_UNITS

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Warm-up and measured iterations against one chain; see Measure.measure."""
        workload = environment.workload(case.workload)
        values = values_of(workload, environment)
        with ExitStack() as stack:
            chain = _launch(case, environment, workload, stack, deadline)
            peer = launched(stack, environment, case, Role.PEER, deadline)
            values |= _connect(workload, chain, values, deadline)
            if workload.prepare:
                run_in(peer, workload.prepare, workload, values, deadline)
            clock = Clock()
            for number in range(workload.all_iterations):
                yield from iterate(case, environment, workload, (chain, peer), values, number, clock, deadline)
            environment.record(case, "clock", runner=peer.name, **clock.facts())


def _launch(
    case: Case, environment: Environment, workload: Workload, stack: ExitStack, deadline: Deadline
) -> list[Instance]:
    """The chain's instances, the first one first."""
    shape = dataclasses.replace(environment.shape, memory_mib=int(workload.parameters["mib"]))
    chain: list[Instance] = []
    for _ in range(int(workload.parameters["length"])):
        chain.append(stack.enter_context(environment.launch(case, Role.SUBJECT, "agent", deadline, shape=shape)))
    for one in chain:
        one.wait(Milestone.READY, deadline.within(READY_SECONDS))
        one.wait(one.last, deadline.within(READY_SECONDS))
    return chain


def _connect(
    workload: Workload, chain: list[Instance], values: Mapping[str, str | int], deadline: Deadline
) -> dict[str, str | int]:
    """Start the servers from the last to the first, each with the next one's address as `{upstream}`.

    The last server gets its own address. Returns the `address` and `port` of the first.
    """
    assert workload.server is not None
    end = chain[-1].endpoint()
    reached: dict[str, str | int] = {"address": end.address, "port": end.port}
    for one in reversed(chain):
        upstream = f"{reached['address']}:{reached['port']}"
        reached = serve(workload.server, workload, one, {**values, "upstream": upstream}, deadline)
    return reached
