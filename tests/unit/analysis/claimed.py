"""Made-up claims and runs for the tests of verdicts."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.overhead import Declared
from harness.analysis.trials import Evidence
from harness.analysis.verdicts import Verdict, verdicts
from harness.definitions.claims import Claim
from tests.unit.report import synthetic

Values = Sequence[float | None]


def claim(**fields: Any) -> Claim:
    """Containers cost at most 5 % of the CPU, unless told otherwise."""
    usual: dict[str, Any] = {
        "id": "one", "where": "Here", "text": "A sentence", "kind": "ratio", "about": ("cpu.x:rate",),
        "subjects": ("docker/bridge",), "against": "native", "high": 0.05,
    }  # fmt: skip
    return Claim(**{**usual, **fields})


def guests(**fields: Any) -> Claim:
    """Guests cost more than containers."""
    return claim(
        **{"kind": "order", "subjects": ("libvirt/kvm",), "against": "docker/bridge", "low": 0, "high": None, **fields}
    )


def around(centre: float, blocks: int = 12, sd: float = 0.01, seed: int = 1) -> list[float]:
    """Values whose logarithms have exactly the mean log(centre) and this standard deviation."""
    chance = random.Random(seed)
    z = np.array([chance.gauss(0, 1) for _ in range(blocks)])
    z = (z - z.mean()) / z.std(ddof=1)
    return [centre * math.exp(sd * one) for one in z]


def run(
    values: Mapping[str, Values],
    *,
    workload: str = "cpu.x",
    metric: str = "rate",
    unit: str = "1/s",
    direction: str = "higher",
    accelerators: Mapping[str, str] | None = None,
    planned: int | None = None,
    **fields: Any,
) -> Evidence:
    """One run's evidence; None is a failed case."""
    rows = []
    for position, (variant, blocks) in enumerate(values.items()):
        for block, value in enumerate(blocks):
            case = synthetic.row(workload, variant, block, position)
            case |= {"accelerator": (accelerators or {}).get(variant, "none")}
            one = case | synthetic.measured(metric, unit, direction, value or 0.0, 1, "measured")
            rows.append(one | {"value": value, "valid": value is not None, "reason": "" if value else "no space"})
    declared = Declared(planned={} if planned is None else {workload: planned})
    return Evidence(run=fields.pop("run", "r1"), samples=pd.DataFrame(rows), declared=declared, **fields)


def word_of(one: Claim, *evidence: Evidence) -> Verdict:
    (found,) = verdicts([one], evidence)
    assert found.reason
    return found


def several(first: float, second: float, sd: float = 0.01) -> Evidence:
    """Two workloads with their docker values against 100 on native."""
    parts = [
        run({"native": around(100.0, sd=0.0), "docker/bridge": around(value, sd=sd)}, workload=name).samples
        for name, value in (("cpu.x", first), ("cpu.y", second))
    ]
    return Evidence(run="r1", samples=pd.concat(parts, ignore_index=True), declared=Declared())


def boot(centre: float, variant: str = "docker/bridge", **fields: Any) -> Evidence:
    return run(
        {variant: around(centre, sd=0.05)}, workload="boot.ready", metric="ready", unit="s", direction="lower", **fields
    )
