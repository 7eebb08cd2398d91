"""Diagonals and triangles of matrices: diag, diagonal, diagflat, tril, triu, vander, and index helpers of a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.rule import RULES, apply, implements
from chainrule.rules.arguments import array_of, cast, is_recorded, one_axis, whole
from chainrule.rules.gather import blank, setitem

__all__: list[str] = []


@implements(np.diagonal)
def diagonal(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    a = array_of(a)
    if a.ndim < 2:
        msg = "diag requires an array of at least two dimensions"
        raise ValueError(msg)
    one, other = one_axis(axis1, a.ndim), one_axis(axis2, a.ndim)
    if one == other:
        msg = "axis1 and axis2 cannot be the same"
        raise ValueError(msg)
    k = whole(offset)
    if (one, other) != (a.ndim - 2, a.ndim - 1):
        a = np.moveaxis(a, (one, other), (-2, -1))
    *rest, rows, columns = a.shape
    count = max(0, min(rows, columns - k) if k >= 0 else min(rows + k, columns))
    start = k if k >= 0 else -k * columns
    flat = np.reshape(a, (*rest, rows * columns))
    # In one row of all elements the next on the diagonal is a row and one further.
    stop = start + (count - 1) * (columns + 1) + 1 if count else start
    made = flat[(..., slice(start, stop, columns + 1))]
    # NumPy's is read-only, and so is the view that a broadcast makes.
    return np.broadcast_to(made, made.shape)


if hasattr(np.linalg, "diagonal"):

    @implements(np.linalg.diagonal)
    def last_diagonal(x: Any, /, *, offset: Any = 0) -> Any:
        return diagonal(x, offset, -2, -1)


def _matrix_of(v: Any, k: int) -> Any:
    size = v.shape[0] + abs(k)
    start = k if k >= 0 else -k * size
    flat = blank(v, (size * size,), v.dtype)
    stop = start + (v.shape[0] - 1) * (size + 1) + 1
    if v.shape[0]:
        flat = apply(setitem, (flat, v), ((f"{start}:{stop}:{size + 1}",),))
    return np.reshape(flat, (size, size))


@implements(np.diag)
def diag(v: Any, k: Any = 0) -> Any:
    v = array_of(v)
    if v.ndim == 1:
        return _matrix_of(v, whole(k))
    if v.ndim == 2:
        return diagonal(v, k)
    msg = "Input must be 1- or 2-d."
    raise ValueError(msg)


@implements(np.diagflat)
def diagflat(v: Any, k: Any = 0) -> Any:
    return _matrix_of(np.reshape(array_of(v), -1), whole(k))


def _triangle(m: Any, k: int, lower: bool) -> Any:
    m = array_of(m)
    if m.ndim == 0:
        msg = "tri() missing 1 required positional argument"
        raise TypeError(msg)
    if m.ndim == 1:
        m = np.broadcast_to(m, (m.shape[0], m.shape[0]))
    rows, columns = m.shape[-2:]
    kept = np.tri(rows, columns, k=k if lower else k - 1, dtype=bool)
    return apply(RULES["where"], (kept if lower else ~kept, m, m.dtype.type(0)))


@implements(np.tril)
def tril(m: Any, k: Any = 0) -> Any:
    return _triangle(m, whole(k), lower=True)


@implements(np.triu)
def triu(m: Any, k: Any = 0) -> Any:
    return _triangle(m, whole(k), lower=False)


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    x = array_of(x)
    if x.ndim != 1:
        msg = "x must be a one-dimensional array or sequence."
        raise ValueError(msg)
    count = x.shape[0] if N is None else whole(N)
    dtype = np.promote_types(x.dtype, int)
    x = cast(x, dtype)
    if count == 0:
        return np.empty((x.shape[0], 0), dtype)
    columns: list[Any] = [np.ones(x.shape[0], dtype)]
    for power in range(1, count):
        columns.append(x if power == 1 else columns[-1] * x)
    return np.stack(columns if increasing else columns[::-1], axis=1) if is_recorded(x) else np.vander(x, N, increasing)


# --- indices that depend on the shape only --------------------------------------------------------------------------


@implements(np.tril_indices_from)
def tril_indices_from(arr: Any, k: Any = 0) -> Any:
    return np.tril_indices_from(np.empty(arr.shape, np.bool), whole(k))


@implements(np.triu_indices_from)
def triu_indices_from(arr: Any, k: Any = 0) -> Any:
    return np.triu_indices_from(np.empty(arr.shape, np.bool), whole(k))


@implements(np.diag_indices_from)
def diag_indices_from(arr: Any) -> Any:
    return np.diag_indices_from(np.empty(arr.shape, np.bool))
