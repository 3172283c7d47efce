"""Simulated block values: two arms with noise of the same shape, and their differences as the analysis takes them."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Values]

NOISE = 0.02
"""Standard deviation of one arm's blocks, relative: the size seen on shared hosts."""
APART = 6.0
"""Distance of bimodal noise's modes in a mode's own standard deviations: well beyond what diagnosis calls two modes."""
CHUNK = 1_000


def normal(generator: np.random.Generator, size: tuple[int, ...]) -> Values:
    """Gauss."""
    return generator.standard_normal(size)


def t3(generator: np.random.Generator, size: tuple[int, ...]) -> Values:
    """Student's t with 3 degrees of freedom, scaled to sd 1: rare blocks lie far away."""
    return np.asarray(generator.standard_t(3, size) / math.sqrt(3.0))


def lognormal(generator: np.random.Generator, size: tuple[int, ...], sigma: float = 0.5) -> Values:
    """Log-normal (σ = 0.5: skewness 1.8), scaled to mean 0 and sd 1: what disturbs only ever slows down."""
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
"""Shapes in which few blocks are far from the others: such a block widens an interval more than it moves its middle."""
DEVIATION = NOISE * math.sqrt(2.0)
"""Standard deviation of a block's difference: both arms are noisy."""


def differences(noise: Noise, blocks: int, repetitions: int, ratio: float, seed: int) -> Iterator[Sequence[float]]:
    """`repetitions` times the log-ratios of `blocks` paired blocks, of which variant / baseline is truly `ratio`.

    As in `overheads`, d = log(variant / baseline) of the two values, which have multiplicative noise.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, repetitions, CHUNK):
        size = (min(CHUNK, repetitions - start), blocks)
        baseline, variant = (np.exp(NOISE * noise(generator, size)) for _ in range(2))
        yield from np.log(ratio * variant / baseline).tolist()
