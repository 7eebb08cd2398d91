"""Values at seven close points of a line -> the size of the function's rounding noise (ECnoise)."""

from __future__ import annotations

import math

import numpy as np

from chainrule.numerical.point import FloatArray

__all__ = ["POINTS", "measured_noise", "rounding_floor", "spacings"]

POINTS = 7
JUMP = 1e3  # times the other differences


def spacings(eps: float) -> tuple[float, float, float]:
    """Three distances between neighbouring noise points, in units of the scale of x, from fine to coarse.

    They are odd multiples of a small power of two: steps that are powers of two themselves would fall together with
    the rounding grid and hide the noise; odd multiples do not, and x + t u stays exact. The multiples differ, because
    one whose steps happen to be near a whole number of roundings sees none of them.
    """
    if eps < 1e-10:
        return 13255 * 2.0**-47, 10487 * 2.0**-39, 11587 * 2.0**-35
    if eps < 1e-5:
        return 13 * 2.0**-20, 13 * 2.0**-16, 13 * 2.0**-13
    return 13 * 2.0**-9, 13 * 2.0**-8, 13 * 2.0**-7


def rounding_floor(values: FloatArray, eps: float) -> FloatArray:
    """The standard deviation of a correctly rounded result: 0.29 of the distance between neighbouring floats."""
    return np.asarray(0.29 * eps * 2.0 ** np.floor(np.log2(np.maximum(np.abs(values), 1e-307))) * (values != 0))


def measured_noise(values: FloatArray) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """The noise of every column of ``values`` (7 points by columns), and where the values were too granular to tell.

    Source: J. Moré and S. Wild, Estimating computational noise, SIAM J. Sci. Comput. 33 (2011).

    >>> rng = np.random.default_rng(0)
    >>> sigma, granular = measured_noise(1.0 + 1e-6 * rng.standard_normal((7, 200)))
    >>> bool(0.5e-6 < np.median(sigma) < 2e-6), bool(granular.any())
    (True, False)
    """
    columns = values.shape[1]
    finite = np.all(np.isfinite(values), axis=0)
    table = np.where(finite, values, 0.0)
    # In units of the largest value: squares of very large or very small ones would leave the range of floats.
    unit = np.max(np.abs(table), axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    table = _without_first_jump(table / unit)
    values = table
    granular = np.sum(np.diff(table, axis=0) == 0, axis=0) * 2 >= POINTS - 1
    levels = np.zeros((POINTS - 1, columns))
    alternate = np.zeros((POINTS - 1, columns), dtype=bool)
    for k in range(1, POINTS):
        table = np.diff(table, axis=0)
        gamma = math.factorial(k) ** 2 / math.factorial(2 * k)
        levels[k - 1] = np.sqrt(gamma * np.mean(table**2, axis=0))
        alternate[k - 1] = (table.min(axis=0) < 0) & (table.max(axis=0) > 0)
    # No plateau: smooth or monotone structure at every level is no noise; what alternates in sign may be.
    sigma = np.min(np.where(alternate, levels, np.inf), axis=0)
    sigma = np.where(np.isfinite(sigma), sigma, 0.0)
    found = np.zeros(columns, dtype=bool)
    for k in range(POINTS - 3):
        three = levels[k : k + 3]
        high, low = three.max(axis=0), three.min(axis=0)
        take = ~found & (high <= 4 * low) & (high > 0) & alternate[k]
        sigma[take] = 1.25 * high[take]
        found |= take
    # Granular values have jumps of one quantum: a rounding to a grid, whose deviation is 0.29 of the grid.
    steps = np.abs(np.diff(values, axis=0))
    quantum = np.min(np.where(steps > 0, steps, np.inf), axis=0)
    # A single jump, right at the first point, is a jump of f there and no grid.
    grid = np.any(steps[1:] > 0, axis=0)
    sigma[granular] = np.where(grid[granular], 0.29 * quantum[granular], 0.0)
    sigma[~finite] = 0.0
    return sigma * unit, granular


def _without_first_jump(table: FloatArray) -> FloatArray:
    """The values with the first moved onto the line of the next two where f jumps at x itself: that is no noise."""
    steps = np.abs(np.diff(table, axis=0))
    rest = np.max(steps[1:], axis=0)
    jump = (rest > 0) & (steps[0] > JUMP * rest)
    first = np.where(jump, 2 * table[1] - table[2], table[0])
    return np.concatenate([first[None, :], table[1:]])
