"""Each finding is made where it is, and (almost) none where all is sound."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis.diagnosis import Arm, arms, of_arms, of_series

CHANCE = np.random.default_rng(5)
N = 20


def sound() -> list[float]:
    return list(map(float, CHANCE.normal(5.0, 0.02, N)))


def words(base: list[float], own: list[float]) -> str:
    return "; ".join(of_series(base, own, [b - a for a, b in zip(base, own, strict=True)]))


def test_sound_blocks_have_next_to_no_findings() -> None:
    found = [words(sound(), sound()) for _ in range(300)]
    # Seven tests at about 1 %: a share of 15 % would mean that one of them is broken.
    assert sum(map(bool, found)) < 45


def test_blocks_that_depend_on_each_other() -> None:
    wave = [0.1 * np.sin(number / 3) for number in range(N)]
    assert "autocorrelation" in words(sound(), [a + b for a, b in zip(sound(), wave, strict=True)])


def test_a_spike_in_one_arm() -> None:
    own = sound()
    own[4] += 0.5
    assert "spike in the variant alone, pair 5" in words(sound(), own)
    assert "spike in the baseline alone, pair 5" in words(own, sound())


def test_a_spike_in_both_arms_is_the_hosts() -> None:
    base, own = sound(), sound()
    base[4] += 0.5
    own[4] += 0.5
    assert "spike" not in words(base, own)


def test_a_drift() -> None:
    slope = np.linspace(0, 0.2, N)
    assert "the variant drifts by +" in words(sound(), (np.array(sound()) + slope).tolist())


def test_two_modes() -> None:
    modes = np.array([0.0, 0.3] * (N // 2))
    assert "two modes in the variant" in words(sound(), (np.array(sound()) + modes).tolist())


def arm(**columns: object) -> Arm:
    data = {"reason": "", "steal": 0.0, "elapsed": 1.0, "cpus": "1", "mhz": 2000.0, "block": range(4)} | columns
    return arms(pd.DataFrame(data | {"metric": "rate", "variant": "docker"}))["rate", "docker"]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            {"reason": "block discarded: native: clock: 1.0 s by the host's clock"},
            "clock mismatch in 4 of 8 iterations",
        ),
        ({"steal": 0.05}, "steal 5.0% of the variant's CPU time"),
        ({"mhz": 2200.0}, "frequency differs: 2000 MHz and 2200 MHz"),
    ],
)
def test_circumstances(own: dict[str, object], said: str) -> None:
    assert said in "; ".join(of_arms(arm(), arm(**own), {}, 2))


def test_host_load_before_the_blocks() -> None:
    assert "up to 60% of the CPUs" in "; ".join(of_arms(arm(), arm(), {0: 0.1, 2: 1.2, 9: 2.0}, 2))


def test_sound_circumstances_are_not_worth_a_word() -> None:
    assert not list(of_arms(arm(mhz=None), arm(mhz=None), {0: 0.1}, 2))
