"""What the churn measure counts: jobs within its bounds, of as many threads as it was told, and none after an error."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.deadline import Deadline
from harness.definitions.workloads import load_workload
from harness.errors import TareError
from harness.measures.churn import ChurnMeasure, Job, figures
from harness.model import Case, Role, Workload
from harness.paths import data
from harness.runtimes.base import Entry
from harness.runtimes.fake.instance import FakeInstance
from tests.environment import Asked, BaseEnvironment

CASE = Case(block=0, position=0, attempt=1, workload="churn.four", cast={Role.SUBJECT: "fake/baseline"})


class Launches(BaseEnvironment):
    """A environment that counts how many instances there are, and were at once."""

    def __init__(self, *, fails_at: int = 0, together: int | None = None, **parameters: int) -> None:
        super().__init__()
        self.lock, self.meet = threading.Lock(), threading.Barrier(together) if together else None
        self.fails_at, self.parameters = fails_at, parameters
        self.made = self.there = self.most = 0
        self.entries: list[Entry] = []

    def workload(self, name: str) -> Workload:
        found = super().workload(name)
        return replace(found, parameters={**found.parameters, **self.parameters})

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[FakeInstance]:
        with self.lock:
            self.made, self.there = self.made + 1, self.there + 1
            self.most, number = max(self.most, self.there), self.made
            self.entries.append(asked.entry)
        try:
            if self.fails_at and number >= self.fails_at:
                raise TareError("it cannot be launched")
            if self.meet and number > 2:
                self.meet.wait(10)
            yield FakeInstance(self.nowhere(asked, f"x-{number}"), 1.0)
        finally:
            with self.lock:
                self.there -= 1
            asked.ended()


def measured(environment: Launches) -> Mapping[str, float | None]:
    samples = ChurnMeasure().measure(CASE, environment, Deadline.after(60))
    return {one.metric: one.value for one in samples}


def test_four_jobs_are_there_at_once_and_no_more() -> None:
    environment = Launches(together=4, jobs=8)
    found = measured(environment)
    assert environment.most == 4
    assert len(environment.said()[0]["seconds"]) == 8
    assert environment.entries == ["agent", *["beacon"] * 9], "its facts, one job untimed, and the eight that count"
    assert {"rate", "latency-p50", "latency-p95"} <= found.keys()


def test_after_its_time_no_job_is_begun_but_each_thread_has_had_one(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 10**6, 100))
    clock = SimpleNamespace(monotonic=lambda: float(next(moments)))
    monkeypatch.setattr("harness.measures.churn.time", clock)
    environment = Launches(jobs=1000, most_s=1)
    measured(environment)
    assert len(environment.said()[0]["seconds"]) == 4


def test_an_error_ends_the_round_and_leaves_no_instance() -> None:
    environment = Launches(fails_at=5, jobs=1000)
    with pytest.raises(TareError, match="cannot be launched"):
        measured(environment)
    assert environment.there == 0
    assert environment.made < 20


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("together = 4", "together = 0", "0 is not a whole number from 1 to 64"),
        ("together = 4", "togther = 4", "parameters.together: is missing"),
        ('source = "rate"', 'source = "rates"', "the measure churn has no source 'rates'"),
    ],
)
def test_a_workload_that_it_cannot_measure_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (data("workloads") / "churn.four.toml").read_text()
    (tmp_path / "churn.four.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(TareError, match=said):
        load_workload(tmp_path / "churn.four.toml")


def test_figures_of_jobs_that_overlap() -> None:
    jobs = [Job(requested=number, gone=number + 2.0) for number in range(10)] + [Job(requested=1.0, gone=12.0)]
    found = figures(jobs, 3)
    assert found["elapsed"] == 12.0
    assert found["rate"] == pytest.approx(60 * 3 / (31 / 11)), "by the mean of a job's time"
    assert (found["p50"], found["p95"], found["longest"]) == (2.0, 11.0, 11.0)
