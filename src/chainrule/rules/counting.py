"""Counts and sums by bins: bincount and histogram. A count has derivative zero; weights are added where they fall."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import NoRule
from chainrule.rule import RULES, apply, implements
from chainrule.rules.arguments import array_of, cast, concrete, is_recorded, whole
from chainrule.rules.indexing import add_at

__all__: list[str] = []


def _totals(slots: Any, weights: Any, count: int, dtype: Any) -> Any:
    """The sum of the weights that fall in each of ``count`` slots."""
    zeros = np.zeros(count, dtype)
    if not is_recorded(slots) and not is_recorded(weights):
        np.add.at(zeros, slots, weights)
        return zeros
    return add_at(zeros, slots, weights)


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    x = array_of(x)
    if x.ndim != 1:
        msg = "object too deep for desired array"
        raise ValueError(msg)
    if x.dtype.kind not in "iub":
        msg = f"Cannot cast array data from {x.dtype!r} to dtype('int64') according to the rule 'safe'"
        raise TypeError(msg)
    length = whole(minlength)
    if x.shape[0]:
        if concrete(np.min(x)) < 0:
            msg = "'list' argument must have no negative elements"
            raise ValueError(msg)
        length = max(length, int(concrete(np.max(x))) + 1)
    if weights is None:
        return _totals(x, 1, length, np.intp)
    w = array_of(weights)
    if w.shape != x.shape:
        msg = "The weights and list don't have the same length."
        raise ValueError(msg)
    return _totals(x, cast(w, np.float64), length, np.float64)


def _edges(a: Any, bins: Any, limits: Any) -> Any:
    if isinstance(bins, str):
        raise NoRule(
            f"np.histogram with bins={bins!r} chooses their number by the values, which has no derivative",
            cure="give the number of bins or their edges",
        )
    if np.ndim(bins) == 1:
        edges = array_of(bins)
        if not concrete(np.all(edges[1:] >= edges[:-1])):
            msg = "`bins` must increase monotonically, when an array"
            raise ValueError(msg)
        return edges
    if np.ndim(bins):
        msg = "`bins` must be 1d, when an array"
        raise ValueError(msg)
    count = whole(bins)
    if count < 1:
        msg = "`bins` must be positive, when an integer"
        raise ValueError(msg)
    if limits is not None:
        low, high = limits
    elif a.size == 0:
        low, high = 0.0, 1.0
    else:
        low, high = np.min(a), np.max(a)
    if not concrete(np.isfinite(low) & np.isfinite(high)):
        msg = "supplied range is not finite" if limits is not None else "autodetected range is not finite"
        raise ValueError(msg)
    if concrete(array_of(low > high)):
        msg = "max must be larger than min in range parameter."
        raise ValueError(msg)
    if concrete(array_of(low == high)):
        low, high = low - 0.5, high + 0.5
    dtype = np.result_type(getattr(low, "dtype", type(low)), getattr(high, "dtype", type(high)), a.dtype)
    kind = dtype if dtype.kind == "f" else np.dtype(np.float64)
    steps = np.arange(count + 1, dtype=kind)
    # As numpy.linspace: the last edge is the maximum itself.
    inner = low + steps[:-1] * ((high - low) / count)
    return np.concatenate([cast(inner, kind), np.reshape(cast(array_of(high), kind), (1,))])


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:  # noqa: A002
    return _edges(np.reshape(array_of(a), -1), bins, range)


@implements(np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None,  # noqa: A002 - NumPy's name
) -> tuple[Any, Any]:  # fmt: skip
    a = array_of(a)
    if weights is not None:
        weights = array_of(weights)
        if weights.shape != a.shape:
            msg = "weights should have the same shape as a."
            raise ValueError(msg)
        weights = np.reshape(weights, -1)
    a = np.reshape(a, -1)
    edges = _edges(a, bins, range)
    count = edges.shape[0] - 1
    # Slot 0 is below all edges and slot count + 1 above; the last bin holds its right edge.
    slots = np.searchsorted(edges, a, "right")
    slots = apply(RULES["where"], (a == edges[-1], count, slots))
    if weights is None:
        totals = _totals(slots, 1, count + 2, np.intp)[1:-1]
    else:
        totals = _totals(slots, weights, count + 2, weights.dtype)[1:-1]
    if density:
        return totals / (edges[1:] - edges[:-1]) / np.sum(totals), edges
    return totals, edges
