"""A derivative by differences along a line, with its own error estimate; it shares no code with what it judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["Slope", "slope"]


class Slope(NamedTuple):
    """A derivative, and a bound on its error."""

    value: float
    error: float


def slope(f: Callable[[float], tuple[float, float]], first: float = 0.05, rows: int = 12) -> Slope:
    """The derivative at 0 of ``f``, which gives a value and the size of its terms (the scale of its rounding).

    Central differences at halved steps, extrapolated to step 0 in the even powers of the step (Richardson 1911,
    Ridders 1982). The entry is taken whose error, by the change from its neighbours and by rounding, is smallest.
    """
    best = Slope(np.nan, np.inf)
    above: list[float] = []
    h = first
    for _ in range(rows):
        (right, size), (left, other) = f(h), f(-h)
        rounding = 4 * np.finfo(float).eps * max(size, other) / h
        row = [(right - left) / (2 * h)]
        for order, older in enumerate(above):
            row.append(row[order] + (row[order] - older) / (4.0 ** (order + 1) - 1))
        for order in range(1, len(row)):
            change = max(abs(row[order] - row[order - 1]), abs(row[order] - above[order - 1]))
            # Extrapolation adds rounding errors up with weights whose sum stays below 2.
            error = change + 2 * rounding
            if error < best.error:
                best = Slope(row[order], error)
        above = row
        h /= 2
    return best
