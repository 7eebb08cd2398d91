"""Sorting and what is made of it: sort, partition, median, quantile, percentile, unique.

A sorted array is its elements in another order, so the derivative goes back to where each came from. Of equal
elements the first is placed first: a median or quantile among ties is that of one of the orders that sort them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import NoRule
from chainrule.rule import RULES, apply, implements
from chainrule.rules.arguments import (
    array_of,
    as_copy,
    cast,
    concrete,
    is_recorded,
    one_axis,
    refuse,
    several_axes,
    stored,
)
from chainrule.rules.indexing import pick
from chainrule.rules.searching import ordered

__all__: list[str] = []


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    a = array_of(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    axis = one_axis(axis, a.ndim)
    if a.shape[axis] < 2:
        return as_copy(a)
    return np.take_along_axis(a, ordered(a, axis), axis)


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    a = array_of(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    return np.take_along_axis(a, np.argpartition(a, kth, axis=axis), axis)


@implements(np.sort_complex)
def sort_complex(a: Any) -> Any:
    raise NoRule("the result of np.sort_complex is complex", cure="use np.sort")


# --- median and quantiles -------------------------------------------------------------------------------------------


def _in_rows(a: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """The array with the axes to be reduced merged into its last one; the shape of a result that keeps them."""
    axes = tuple(range(a.ndim)) if axis is None else several_axes(axis, a.ndim)
    rest = [place for place in range(a.ndim) if place not in axes]
    kept = tuple(1 if place in axes else extent for place, extent in enumerate(a.shape))
    order = (*rest, *sorted(axes))
    moved = a if order == tuple(range(a.ndim)) else np.transpose(a, order)
    return np.reshape(moved, (*[a.shape[place] for place in rest], math.prod(a.shape[place] for place in axes))), kept


def _elements(rows: Any, order: Any, places: Any) -> Any:
    """Elements number ``places`` (an int, or a 1-d array) of the sorted rows."""
    index = order[..., places]
    return np.take_along_axis(rows, index if np.ndim(places) else np.expand_dims(index, -1), -1)


def _or_nan(rows: Any, order: Any, result: Any) -> Any:
    """NaN where a row holds one (they are sorted last)."""
    if rows.dtype.kind != "f":
        return result
    last = _elements(rows, order, rows.shape[-1] - 1)
    return apply(RULES["where"], (np.isnan(last), rows.dtype.type(np.nan), result))


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    a = array_of(a)
    rows, kept = _in_rows(a, axis)
    count = rows.shape[-1]
    if count == 0:
        raise refuse("np.median", "no elements", "leave out what is empty")
    order = ordered(rows, rows.ndim - 1)
    half = count // 2
    made = _elements(rows, order, half)
    if rows.dtype.kind != "f":
        made = cast(made, np.float64)
    if count % 2 == 0:
        # The mean as NumPy takes it, so that the value is the same to the last bit.
        made = (cast(_elements(rows, order, half - 1), made.dtype) + made) / 2
    made = _or_nan(rows, order, made)
    return stored(np.reshape(made, kept if keepdims else made.shape[:-1]), out)


#: Parameters (alpha, beta) of the continuous methods of Hyndman and Fan (1996).
_PLOTTING = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "linear": (1.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
_STEPPED = (
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "lower", "higher", "midpoint", "nearest",
)  # fmt: skip


def _position(q: Any, count: int, method: str) -> Any:
    """The place among ``count`` sorted elements, between 0 and count - 1, fractional where two are mixed."""
    if method == "linear":
        place = (count - 1) * q
    else:
        alpha, beta = _PLOTTING[method]
        place = count * q + (alpha + q * (1 - alpha - beta)) - 1
    return np.minimum(np.maximum(place, 0), count - 1)


@implements(np.quantile)
def quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: bool = False, *, weights: Any = None, interpolation: Any = None,
) -> Any:  # fmt: skip
    a = array_of(a)
    if weights is not None:
        raise refuse("np.quantile", "weights", "sort, accumulate the weights and np.interp")
    if interpolation is not None:
        method = interpolation
    if method not in _PLOTTING and method not in _STEPPED:
        msg = f"{method!r} is not a valid method. Use one of: {(*_PLOTTING, *_STEPPED)}"
        raise ValueError(msg)
    weak = not is_recorded(q) and isinstance(q, int | float)
    if weak and a.dtype.kind == "f":
        q = np.asarray(q, a.dtype)
    q = array_of(q)
    if not concrete(np.all((q >= 0) & (q <= 1))):
        msg = "Quantiles must be in the range [0, 1]"
        raise ValueError(msg)
    # What NumPy's own result for such arrays has as its dtype.
    dtype = np.quantile(np.zeros(2, a.dtype), 0.5 if weak else np.zeros(q.shape, q.dtype), method=method).dtype  # type: ignore[call-overload]
    rows, kept = _in_rows(a, axis)
    count = rows.shape[-1]
    if count == 0:
        raise refuse("np.quantile", "no elements", "leave out what is empty")
    flat = np.reshape(q, -1)
    order = ordered(rows, rows.ndim - 1)
    if method in _PLOTTING:
        place = _position(flat, count, method)
        below = concrete(np.floor(place)).astype(np.intp)
        above = np.minimum(below + 1, count - 1)
    else:
        # Where NumPy's steps are whole or halves, the quantiles of 0, 1, 2... say which elements they mix.
        place = np.quantile(np.arange(count, dtype=np.float64), concrete(flat), method=method)  # type: ignore[call-overload]
        below, above = np.floor(place).astype(np.intp), np.ceil(place).astype(np.intp)
    share = place - below.astype(place.dtype)
    made = cast(_elements(rows, order, below), dtype)
    if is_recorded(share) or (share != 0).any():
        made = _between(made, cast(_elements(rows, order, above), dtype), share)
    made = np.moveaxis(cast(_or_nan(rows, order, made), dtype), -1, 0)
    return stored(np.reshape(made, (*q.shape, *(kept if keepdims else made.shape[1:]))), out)


def _between(low: Any, high: Any, share: Any) -> Any:
    """``low + share * (high - low)``, from the nearer end, as NumPy does."""
    span = high - low
    return apply(RULES["where"], (share >= 0.5, high - span * (1 - share), low + span * share))


@implements(np.percentile)
def percentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: bool = False, *, weights: Any = None, interpolation: Any = None,
) -> Any:  # fmt: skip
    a = array_of(a)
    share = array_of(q) / (a.dtype.type(100) if a.dtype.kind == "f" else 100)
    if not concrete(np.all((share >= 0) & (share <= 1))):
        msg = "Percentiles must be in the range [0, 100]"
        raise ValueError(msg)
    return quantile(
        a, share, axis, out, overwrite_input, method, keepdims, weights=weights, interpolation=interpolation
    )


# --- unique ---------------------------------------------------------------------------------------------------------


@implements(np.unique)
def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: Any = None,
    *, equal_nan: bool = True, sorted: bool = True,  # noqa: A002 - NumPy's name
) -> Any:  # fmt: skip
    ar = array_of(ar)
    if axis is not None:
        where = one_axis(axis, ar.ndim)
        _, first, inverse, counts = np.unique(
            concrete(ar), return_index=True, return_inverse=True, return_counts=True, axis=where, equal_nan=equal_nan
        )
        values = pick(ar, first, where)
    else:
        flat = np.reshape(ar, -1)
        if flat.shape[0] == 0:
            first = inverse = counts = np.zeros(0, np.intp)
        else:
            # Only the order and which neighbours are equal are asked for, not the values.
            order = concrete(ordered(flat, 0))
            placed = pick(flat, order, 0)
            same = placed[1:] == placed[:-1]
            if equal_nan and flat.dtype.kind == "f":
                same = same | (np.isnan(placed[1:]) & np.isnan(placed[:-1]))
            starts = np.concatenate([[True], ~concrete(same)])
            first = order[starts]
            inverse = np.empty(flat.shape[0], np.intp)
            inverse[order] = np.cumsum(starts) - 1
            counts = np.diff(np.append(np.flatnonzero(starts), flat.shape[0]))
        values = pick(flat, first, 0)
        inverse = inverse.reshape(ar.shape)
    wanted = [values]
    wanted += [first] * return_index + [inverse] * return_inverse + [counts] * return_counts
    return wanted[0] if len(wanted) == 1 else tuple(wanted)
