"""A point and a claimed gradient -> the directions along which a few derivatives say most about all entries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.numerical.line import Line
from chainrule.numerical.point import FloatArray, Point

__all__ = ["Direction", "coordinate", "random_line", "strata"]

DECADES = 3
MOST_STRATA = 6
MOST_ARRAYS = 8


class Direction(NamedTuple):
    """A line, and what it is meant for: ``all``, ``array``, ``stratum``, ``half``, ``entry``."""

    line: Line
    kind: str
    name: str

    def dense(self, size: int) -> FloatArray:
        """The direction as a full vector."""
        if self.line.where is None:
            return self.line.step
        full = np.zeros(size)
        full[self.line.where] = self.line.step
        return full


def random_line(point: Point, rng: np.random.Generator, where: npt.NDArray[np.intp] | None = None) -> Line:
    """Entries sign x {8..15}/8 x scale on the given set of entries.

    For any error e of the scaled gradient the sixteen equally likely values of each entry leave
    P(abs(<e, q>) < max(abs(e)) / 16) at 1/16 or less; signs alone would lose half of all errors in two entries.
    """
    size = point.size if where is None else where.size
    q = rng.choice([-1.0, 1.0], size) * rng.integers(8, 16, size) / 8.0
    return Line(q * (point.scale if where is None else point.scale[where]), where)


def coordinate(point: Point, index: int) -> Direction:
    """The direction of one entry."""
    return Direction(Line(point.scale[index : index + 1], np.array([index])), "entry", point.name(index))


def strata(point: Point, gradient: FloatArray | None, rng: np.random.Generator) -> list[Direction]:
    """One direction for each array, and for each group of entries whose scaled gradients are of like size.

    A sum over all entries says nothing of those that contribute a millionth of it; among their like they are seen.
    """
    chosen: list[Direction] = []
    seen: set[bytes] = {np.arange(point.size).tobytes()}

    def add(where: npt.NDArray[np.intp], kind: str, name: str) -> None:
        if where.size and where.tobytes() not in seen:
            seen.add(where.tobytes())
            chosen.append(Direction(random_line(point, rng, where), kind, name))

    for leaf in point.leaves[:MOST_ARRAYS]:
        add(np.arange(leaf.start, leaf.stop), "array", leaf.name)
    if gradient is None or not np.isfinite(gradient).all():
        return chosen
    size = np.abs(gradient * point.scale)
    add(np.nonzero(size == 0)[0], "stratum", "entries whose gradient is claimed to be zero")
    top = float(size.max(initial=0.0))
    if top == 0:
        return chosen
    for k in range(MOST_STRATA):
        high, low = top * 10.0 ** (-DECADES * k), top * 10.0 ** (-DECADES * (k + 1))
        inside = (size > low) & ((size <= high) if k else True)
        if k == MOST_STRATA - 1:
            inside = (size <= high) & (size > 0)
        add(np.nonzero(inside)[0], "stratum", f"entries with scaled gradients from {low:.0e} to {high:.0e}")
    return chosen
