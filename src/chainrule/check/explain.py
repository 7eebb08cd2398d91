"""Claimed and measured derivatives of some entries -> the simplest pattern that turns one into the other."""

from __future__ import annotations

import numpy as np

from chainrule.numerical.point import FloatArray

__all__ = ["explain"]

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
IntArray = np.ndarray[tuple[int, ...], np.dtype[np.intp]]


def explain(
    claimed: FloatArray,
    numeric: FloatArray,
    error: FloatArray,
    index: IntArray,
    shape: tuple[int, ...],
    whole: FloatArray,
    x: FloatArray,
    outputs: int,
) -> str:
    """The best sentence on how the claimed array differs from the true one; empty if nothing simple fits.

    ``claimed``, ``numeric`` and ``error`` belong to the sampled entries ``index`` of one array of the given shape;
    ``whole`` is all of its claimed gradient, ``x`` its value, ``outputs`` the number of outputs of f.
    """
    room = np.maximum(10 * error, 1e-6 * np.maximum(np.abs(claimed), np.abs(numeric)))
    right = np.abs(claimed - numeric) <= room
    if right.all():
        return _precision(claimed, numeric)
    wrong = ~right
    sizes = {*shape, int(np.prod(shape)), outputs} - {0, 1}
    for pattern in (_zero, _factor, _offset):
        sentence = pattern(claimed, numeric, room, sizes)
        if sentence and not right.any():
            return sentence
    moved = _moved(numeric, room, index, shape, whole)
    if moved:
        return moved
    where = _where(right, x[index])
    rest = ""
    for pattern in (_zero, _factor, _offset):
        rest = rest or pattern(claimed[wrong], numeric[wrong], room[wrong], sizes)
    if where or rest:
        return "; ".join(s for s in (where, rest) if s)
    return _precision(claimed, numeric)


def _zero(c: FloatArray, n: FloatArray, room: FloatArray, sizes: set[int]) -> str:  # noqa: ARG001 - one signature
    if np.all(c == 0) and np.any(np.abs(n) > room):
        return f"the claimed array is zero in {c.size} of {c.size} sampled entries: detached from the output?"
    return ""


def _factor(c: FloatArray, n: FloatArray, room: FloatArray, sizes: set[int]) -> str:
    use = np.abs(n) > 4 * room
    if not use.any():
        return ""
    ratio = float(np.median(c[use] / n[use]))
    fits = np.abs(c - ratio * n) <= np.maximum(room, 1e-5 * np.abs(n)) * max(1.0, abs(ratio))
    if fits.sum() < max(1, 0.9 * c.size) or abs(ratio - 1) < 1e-5 or ratio == 0:
        return ""
    names = {2.0: "a factor 2 too much", 0.5: "a missing factor 2", -1.0: "the sign", -2.0: "sign and factor 2"}
    for size in sorted(sizes):
        names.setdefault(float(size), f"a factor n = {size} too much")
        names.setdefault(
            1.0 / size, f"a missing factor n = {size}: a mean for a sum, or a sum over a broadcast axis missing"
        )
        names.setdefault(float(np.sqrt(size)), f"a factor sqrt({size}) too much")
        names.setdefault(1.0 / float(np.sqrt(size)), f"a missing factor sqrt({size})")
    near = [text for value, text in names.items() if abs(ratio / value - 1) < 1e-3]
    guess = f": {near[0]}?" if near else ""
    return f"the claimed array is {ratio:.6g} x the true one in {int(fits.sum())} of {c.size} sampled entries{guess}"


def _offset(c: FloatArray, n: FloatArray, room: FloatArray, sizes: set[int]) -> str:  # noqa: ARG001 - one signature
    if c.size < 3:
        return ""
    gap = float(np.median(c - n))
    if np.all(np.abs(c - n - gap) <= room + 1e-5 * abs(gap)):
        sign = "plus" if gap > 0 else "minus"
        return f"the claimed array is the true one {sign} {abs(gap):.6g}: a term is missing or extra?"
    return ""


def _moved(n: FloatArray, room: FloatArray, index: IntArray, shape: tuple[int, ...], whole: FloatArray) -> str:
    """Whether the true values stand in the claimed array, but elsewhere."""
    if len(shape) == 0 or n.size < 2 or float(np.ptp(whole)) == 0.0:
        return ""
    grid = whole.reshape(shape)
    places = np.array(np.unravel_index(index, shape))
    if len(shape) == 2 and shape[0] == shape[1] and _fits(grid[places[1], places[0]], n, room):
        return "the claimed array is the transpose of the true one"
    for axis in range(len(shape)):
        for shift in (1, -1, 2, -2):
            moved = places.copy()
            moved[axis] = places[axis] + shift
            inside = (moved[axis] >= 0) & (moved[axis] < shape[axis])
            if inside.sum() >= 2 and _fits(grid[tuple(moved[:, inside])], n[inside], room[inside]):
                return (
                    f"the claimed array is the true one shifted by {abs(shift)} along axis {axis}: an index off by one?"
                )
        flipped = places.copy()
        flipped[axis] = shape[axis] - 1 - places[axis]
        if shape[axis] > 1 and _fits(grid[tuple(flipped)], n, room):
            return f"the claimed array is the true one reversed along axis {axis}"
    near = np.array([np.min(np.abs(whole - value)) for value in n])
    if n.size >= 4 and np.all(near <= room):
        return "the true values stand in the claimed array at other places: a permutation (order of axes, argsort)?"
    return ""


def _fits(candidate: FloatArray, n: FloatArray, room: FloatArray) -> bool:
    return bool(np.all(np.abs(candidate - n) <= room))


def _where(right: BoolArray, x: FloatArray) -> str:
    """Whether a property of x separates the wrong entries from the right ones."""
    if right.all() or not right.any():
        return ""
    wrong = ~right
    for mask, text in ((x < 0, "x < 0"), (x > 0, "x > 0"), (x == 0, "x = 0"), (np.abs(x) > 1, "|x| > 1")):
        if np.array_equal(mask, wrong):
            return f"wrong only where {text}"
    size = np.abs(x)
    if size[wrong].min() > size[~wrong].max():
        return f"wrong only where |x| > {size[~wrong].max():.3g}"
    if size[wrong].max() < size[~wrong].min():
        return f"wrong only where |x| < {size[~wrong].min():.3g}"
    return f"wrong in {int(wrong.sum())} of {wrong.size} sampled entries"


def _precision(c: FloatArray, n: FloatArray) -> str:
    use = n != 0
    if not use.any():
        return ""
    each = c[use] / n[use] - 1
    relative = float(np.median(np.abs(each)))
    if each.size > 2 and relative > 1e-9 and float(np.ptp(each)) < 0.05 * relative:
        return (
            f"the claimed array is 1 {'-+'[int(each[0] > 0)]} {relative:.2g} times the true one: a truncated constant?"
        )
    if 5e-9 < relative < 5e-7:
        return f"relative errors of about {relative:.0e}: float32 inside?"
    if 0 < relative < 1e-10:
        return f"relative errors of about {relative:.0e}: the roundings of an ill-conditioned gradient?"
    if 5e-5 < relative < 5e-3:
        guess = "float16 inside, a forgotten eps, or a solver inside f that stops early?"
        return f"relative errors of about {relative:.0e}: {guess}"
    return ""
