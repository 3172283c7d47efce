"""Simulated differences of two arms whose noise has the same distribution."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Values]

NOISE = 0.02
"""The relative standard deviation of one arm's blocks, typical for shared hosts."""
APART = 6.0
"""The distance of the two modes, in standard deviations of a mode; diagnosis detects such modes."""
CHUNK = 1_000


def normal(generator: np.random.Generator, size: tuple[int, ...]) -> Values:
    """Standard normal noise."""
    return generator.standard_normal(size)


def t3(generator: np.random.Generator, size: tuple[int, ...]) -> Values:
    """Student's t with 3 degrees of freedom, scaled to sd 1: rare outliers."""
    return np.asarray(generator.standard_t(3, size) / math.sqrt(3.0))


def lognormal(generator: np.random.Generator, size: tuple[int, ...], sigma: float = 0.5) -> Values:
    """Log-normal (σ = 0.5: skewness 1.8), scaled to mean 0 and sd 1: disturbances that only slow down."""
    mean, variance = math.exp(sigma**2 / 2), math.expm1(sigma**2) * math.exp(sigma**2)
    return np.asarray((generator.lognormal(0.0, sigma, size) - mean) / math.sqrt(variance))


def bimodal(generator: np.random.Generator, size: tuple[int, ...], slow: float = 0.3) -> Values:
    """Two normal modes with a share of `slow` in the slower one, scaled to mean 0 and sd 1."""
    mode = generator.random(size) < slow
    inside = 1 / math.sqrt(1 + APART**2 * slow * (1 - slow))
    return np.asarray(inside * (APART * (mode - slow) + generator.standard_normal(size)))


SHAPES: dict[str, Noise] = {"normal": normal, "t3": t3, "lognormal": lognormal, "bimodal": bimodal}
HARSHER: dict[str, Noise] = {
    "lognormal with skewness 6": partial(lognormal, sigma=1.0),
    "bimodal with one slow block in ten": partial(bimodal, slow=0.1),
}
"""Distributions with few outliers; an outlier widens an interval more than it moves its centre."""
DEVIATION = NOISE * math.sqrt(2.0)
"""The standard deviation of a block's difference, since both arms are noisy."""


def differences(noise: Noise, blocks: int, repetitions: int, ratio: float, seed: int) -> Iterator[Sequence[float]]:
    """`repetitions` samples of the log-ratios of `blocks` paired blocks with the true variant / baseline `ratio`.

    As in `overheads`, d = log(variant / baseline); both values have multiplicative noise.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, repetitions, CHUNK):
        size = (min(CHUNK, repetitions - start), blocks)
        baseline, variant = (np.exp(NOISE * noise(generator, size)) for _ in range(2))
        yield from np.log(ratio * variant / baseline).tolist()
