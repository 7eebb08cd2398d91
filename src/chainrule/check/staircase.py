"""A line along which a claim is no local slope -> whether f moves in jumps there, and its slope across them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chainrule.check.compare import Comparison, Site
from chainrule.numerical.point import FloatArray

__all__ = ["REACH", "Staircase", "staircase", "still"]

NODES = 24
HALVINGS = 44
SAME = 8  # halvings over which a jump must keep its size
FADED = 2.0**-7  # of the departure from a straight line, over as many: no jump
# Half-widths in units of the scale of x. Only where f stands still between its jumps are they wide: elsewhere an
# iteration inside f may not come to an end that far from x.
MOVING = ((2.0**-2,), (2.0**-5, 2.0**-8))
STILL = ((2.0**-2, 4.0), (2.0**-5, 1.0))
REACH = 4.0  # the widest
DEGREES = (3, 5)


class Staircase(NamedTuple):
    """The jump that was followed down to neighbouring floats, and a smooth fit through values on both sides of x."""

    size: float
    place: float  # in units of the line's step
    slope: float
    bound: float
    many: bool  # at least three jumps between the points

    def supports(self, comparison: Comparison) -> bool:
        """Whether the claim is the slope across the jumps, and is told apart from the slope between them."""
        return abs(comparison.claimed - self.slope) <= self.bound <= comparison.mismatch / 2

    def resembles(self, comparison: Comparison) -> bool:
        """Whether the claim may be the slope across the jumps, and too few of them were met to say more."""
        within = abs(comparison.claimed - self.slope) <= self.bound
        return within and (still(comparison) or self.many)


def still(comparison: Comparison) -> bool:
    """Whether f does not move at all close to x."""
    return abs(comparison.numeric) <= comparison.error + 1e-9 * abs(comparison.claimed)


def staircase(site: Site, comparison: Comparison) -> Staircase | None:
    """The staircase on which the line stands, with the best slope across it; None where no jump is found.

    A rounded result, a table, an iteration that stops at a tolerance: between two jumps such a function has a slope
    that says nothing about the way it goes. Values at 24 points on either side of x are fitted with a polynomial; the
    largest departure from it is followed by bisection: a jump keeps its size, everything smooth dies out.
    """
    found: list[Staircase] = []
    for widths in STILL if still(comparison) else MOVING:
        for width in widths:
            if site.evaluator.left < NODES + HALVINGS:
                break
            one = _at_width(site, comparison, width)
            if one is not None:
                found.append(one)
        if not found:
            return None
    supporting = [s for s in found if s.supports(comparison)]
    return min(supporting or found, key=lambda s: s.bound / max(abs(s.slope), 1e-300))


def _values(site: Site, comparison: Comparison, t: FloatArray) -> FloatArray:
    line, v = comparison.direction.line, site.cotangents[comparison.projection]
    values, _ = site.evaluator.many(t.size, lambda k: line.at(site.x, float(t[k])))
    with np.errstate(all="ignore"):
        return np.asarray((values - site.evaluator.y0) @ v)


def _at_width(site: Site, comparison: Comparison, width: float) -> Staircase | None:
    # Low-discrepancy points: an even grid might keep step with the stairs.
    t = width * np.sort(2 * ((np.arange(1, NODES + 1) * 0.6180339887498949) % 1.0) - 1)
    y = _values(site, comparison, t)
    good = np.isfinite(y)
    if good.sum() < 2 * NODES // 3:
        return None
    t, y = t[good], y[good]
    fits = [np.polynomial.Polynomial.fit(t, y, degree, domain=[-width, width]).convert() for degree in DEGREES]
    rough = y - fits[-1](t)
    # Between jumps f goes as the fit does, but for its own slope.
    between = fits[-1] + np.polynomial.Polynomial([0.0, comparison.numeric - float(fits[-1].deriv()(0.0))])
    gaps = np.argsort(-np.abs(np.diff(rough)))
    jump = _followed(site, comparison, t, y, int(gaps[0]), between)
    if jump is None:
        return None
    basis = np.vander(t / width, DEGREES[-1] + 1, increasing=True)
    spread = float(np.sqrt(np.sum(rough**2) / (t.size - DEGREES[-1] - 1)))
    deviation = spread * float(np.sqrt(np.linalg.pinv(basis.T @ basis)[1, 1])) / width
    slopes = [float(fit.deriv()(0.0)) for fit in fits]
    bound = 3 * deviation + abs(slopes[-1] - slopes[0])
    many = (
        not still(comparison)
        and abs(comparison.claimed - slopes[-1]) <= bound
        and all(_followed(site, comparison, t, y, int(k), between) is not None for k in gaps[1:3])
    )
    return Staircase(jump[0], jump[1], slopes[-1], bound, many)


def _followed(
    site: Site, comparison: Comparison, t: FloatArray, y: FloatArray, k: int, between: Callable[[float], float]
) -> tuple[float, float] | None:
    """The size and place of a jump between t[k] and t[k + 1]; None if the change dies out as the interval shrinks."""
    noise = 16 * float(site.noise.near[comparison.projection])
    low, high, left, right = float(t[k]), float(t[k + 1]), float(y[k]), float(y[k + 1])
    sizes: list[float] = []
    bends: list[float] = []
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        centre = float(_values(site, comparison, np.array([middle]))[0])
        if not np.isfinite(centre):
            return None
        # The departure from a straight line falls by 4 where f is smooth and by 2 at a kink; at a jump it stays.
        bends.append(abs(centre - left / 2 - right / 2))
        ways = [float(between(place)) for place in (low, middle, high)]
        ups, downs = centre - left - (ways[1] - ways[0]), right - centre - (ways[2] - ways[1])
        if abs(ups) >= abs(downs):
            high, right = middle, centre
        else:
            low, left = middle, centre
        sizes.append(max(abs(ups), abs(downs)))
        if sizes[-1] <= noise or (len(bends) > SAME and bends[-1] <= max(noise, bends[-1 - SAME] * FADED)):
            return None
        if len(sizes) > SAME and sizes[-1] >= 0.9 * sizes[-1 - SAME] and high - low < 1e-6 * float(t[-1] - t[0]):
            return sizes[-1], (low + high) / 2
    return None
