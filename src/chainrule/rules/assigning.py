"""NumPy's functions that write into their first argument: put, place, putmask, copyto, fill_diagonal.

Each computes the whole new contents and hands them to the tracer, which stores them in the user's array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.rule import FUNCTIONS, RULES, apply, implements
from chainrule.rules.arguments import array_of, concrete, is_recorded, one_axis
from chainrule.rules.indexing import along, gathered, in_range, write

__all__: list[str] = []


def _repeated(v: Any, count: int) -> Any:
    """The flattened values, begun again until there are ``count``."""
    v = array_of(v)
    if v.size == 1:
        return np.reshape(v, ())
    flat = np.reshape(v, -1)
    return flat if flat.shape[0] == count else gathered(flat, np.arange(count) % flat.shape[0])


@implements(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    index = array_of(ind)
    if not is_recorded(index) and not index.size:
        return
    if np.size(v) == 0:
        return
    flat = np.reshape(array_of(a), -1)
    index = np.reshape(in_range(index, flat.shape[0], mode), -1)
    new = write(flat, index, _repeated(v, index.shape[0]))
    FUNCTIONS["store"](a, np.reshape(new, np.shape(a)))


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    whole, indices = array_of(arr), array_of(indices)
    if axis is None:
        if indices.ndim != 1:
            msg = "when axis=None, `indices` must have a single dimension."
            raise ValueError(msg)
        new = np.reshape(write(np.reshape(whole, -1), indices, values), whole.shape)
    else:
        new = write(whole, along(whole.shape, indices, one_axis(axis, whole.ndim)), values)
    FUNCTIONS["store"](arr, new)


@implements(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    hits = np.flatnonzero(concrete(array_of(mask)))
    if not hits.size:
        return
    if np.size(vals) == 0:
        msg = "Cannot insert from an empty array!"
        raise ValueError(msg)
    new = write(np.reshape(array_of(arr), -1), hits, _repeated(vals, hits.size))
    FUNCTIONS["store"](arr, np.reshape(new, np.shape(arr)))


@implements(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    shape = np.shape(a)
    if np.shape(mask) != shape:
        msg = "putmask: mask and data must be the same size"
        raise ValueError(msg)
    if np.size(values) == 0:
        return
    whole = array_of(a)
    # Assigned first, which casts and checks; then chosen element by element.
    new = write(whole, ..., np.reshape(_repeated(values, np.size(a)), () if np.size(values) == 1 else shape))
    FUNCTIONS["store"](a, apply(RULES["where"], (array_of(mask), new, whole)))


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    kind = getattr(src, "dtype", None)
    if kind is not None and not np.can_cast(kind, dst.dtype, casting=casting):
        msg = f"Cannot cast array data from {kind!r} to {dst.dtype!r} according to the rule '{casting}'"
        raise TypeError(msg)
    whole = array_of(dst)
    if where is True:
        new = write(whole, ..., src)
    else:
        # Checked against the array's shape first, as assignment does, then chosen element by element.
        mask = array_of(where)
        if np.broadcast_shapes(mask.shape, whole.shape) != whole.shape:
            msg = f"operands could not be broadcast together with shapes {mask.shape} {whole.shape}"
            raise ValueError(msg)
        new = apply(RULES["where"], (mask, write(whole, ..., src), whole))
    FUNCTIONS["store"](dst, new)


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    whole = array_of(a)
    if whole.ndim < 2:
        msg = "array must be at least 2-d"
        raise ValueError(msg)
    if whole.ndim == 2:
        step = whole.shape[1] + 1
        end = None if wrap else whole.shape[1] * whole.shape[1]
    else:
        if len(set(whole.shape)) > 1:
            msg = "All dimensions of input must be of equal length"
            raise ValueError(msg)
        step = 1 + sum(whole.shape[0] ** power for power in range(1, whole.ndim))
        end = None
    flat = np.reshape(whole, -1)
    count = len(range(*slice(0, end, step).indices(flat.shape[0])))
    v = array_of(val)
    if v.size > count:
        v = np.reshape(v, -1)[:count]
    new = write(flat, slice(0, end, step), _repeated(v, count))
    FUNCTIONS["store"](a, np.reshape(new, whole.shape))
