"""Joining and splitting: concatenate, stack, block, split, append, insert, delete, ``np.r_`` and ``np.c_``."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.rule import apply, implements
from chainrule.rules.arguments import array_of, as_copy, cast, concrete, one_axis, refuse, stored, whole
from chainrule.rules.gather import concatenate as concatenate_rule
from chainrule.rules.gather import stack as stack_rule
from chainrule.rules.indexing import pick, write
from chainrule.rules.manipulation import moveaxis

__all__: list[str] = []


# --- joining --------------------------------------------------------------------------------------------------------


def _arrays(arrays: Any) -> list[Any]:
    return [array_of(one) for one in arrays]


def _finished(made: Any, out: Any, dtype: Any, casting: Any) -> Any:
    target = None if out is None and dtype is None else np.dtype(out.dtype if dtype is None else dtype)
    if target is not None and not np.can_cast(made.dtype, target, casting=casting):
        msg = f"Cannot cast array data from {made.dtype!r} to {target!r} according to the rule '{casting}'"
        raise TypeError(msg)
    if out is not None and tuple(out.shape) != tuple(made.shape):
        msg = "Output array is the wrong shape"
        raise ValueError(msg)
    return stored(cast(made, target), out)


@implements(np.concatenate)
def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    parts = _arrays(arrays)
    if not parts:
        msg = "need at least one array to concatenate"
        raise ValueError(msg)
    if axis is None:
        parts, axis = [np.reshape(one, -1) for one in parts], 0
    if any(one.ndim == 0 for one in parts):
        msg = "zero-dimensional arrays cannot be concatenated"
        raise ValueError(msg)
    axis = one_axis(axis, parts[0].ndim)
    return _finished(apply(concatenate_rule, parts, (axis,)), out, dtype, casting)


@implements(np.stack)
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    parts = _arrays(arrays)
    if not parts:
        msg = "need at least one array to stack"
        raise ValueError(msg)
    if len({one.shape for one in parts}) > 1:
        msg = "all input arrays must have the same shape"
        raise ValueError(msg)
    axis = one_axis(axis, parts[0].ndim + 1)
    return _finished(apply(stack_rule, parts, (axis,)), out, dtype, casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    return concatenate([np.atleast_2d(one) for one in _arrays(tup)], 0, dtype=dtype, casting=casting)


# NumPy 2.0 keeps the old name as a function of its own.
_row_stack = vars(np).get("row_stack", np.vstack)
if _row_stack is not np.vstack:
    implements(_row_stack)(vstack)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    parts = [np.atleast_1d(one) for one in _arrays(tup)]
    axis = 0 if parts and parts[0].ndim == 1 else 1
    return concatenate(parts, axis, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return concatenate([np.atleast_3d(one) for one in _arrays(tup)], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    return concatenate([one if one.ndim > 1 else np.reshape(one, (-1, 1)) for one in _arrays(tup)], 1)


def _block_depth(arrays: Any, where: str = "arrays") -> int:
    if isinstance(arrays, tuple):
        msg = f"{where} is a tuple. Only lists can be used to arrange blocks, and np.block does not allow implicit conversion from tuple to ndarray."  # noqa: E501 - NumPy's words
        raise TypeError(msg)
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        msg = f"List at {where} cannot be empty"
        raise ValueError(msg)
    depths = {_block_depth(one, f"{where}[{place}]") for place, one in enumerate(arrays)}
    if len(depths) > 1:
        msg = f"List depths are mismatched. Elements of {where} have depths {sorted(depths)}."
        raise ValueError(msg)
    return 1 + depths.pop()


@implements(np.block)
def block(arrays: Any) -> Any:
    depth = _block_depth(arrays)

    def leaves(one: Any) -> Any:
        return [leaf for inner in one for leaf in leaves(inner)] if isinstance(one, list) else [array_of(one)]

    ndim = max(depth, *(one.ndim for one in leaves(arrays)))

    def joined(one: Any, level: int) -> Any:
        if not isinstance(one, list):
            one = array_of(one)
            return np.reshape(one, (1,) * (ndim - one.ndim) + tuple(one.shape))
        return concatenate([joined(inner, level + 1) for inner in one], axis=ndim - depth + level)

    return as_copy(joined(arrays, 0)) if depth == 0 else joined(arrays, 0)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    arr, values = array_of(arr), array_of(values)
    if axis is None:
        return concatenate((np.reshape(arr, -1), np.reshape(values, -1)), 0)
    return concatenate((arr, values), axis)


# --- splitting ------------------------------------------------------------------------------------------------------


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> Any:
    ary = array_of(ary)
    axis = one_axis(axis, ary.ndim)
    extent = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        sections = whole(indices_or_sections)
        if sections <= 0:
            msg = "number sections must be larger than 0."
            raise ValueError(msg)
        each, extra = divmod(extent, sections)
        cuts = np.cumsum([0] + extra * [each + 1] + (sections - extra) * [each]).tolist()
    else:
        cuts = [0, *(whole(one) for one in indices_or_sections), extent]
    before = (slice(None),) * axis
    return [ary[(*before, slice(start, stop))] for start, stop in pairwise(cuts)]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> Any:
    ary = array_of(ary)
    if np.ndim(indices_or_sections) == 0 and ary.shape[one_axis(axis, ary.ndim)] % whole(indices_or_sections):
        msg = "array split does not result in an equal division"
        raise ValueError(msg)
    return array_split(ary, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> Any:
    ary = array_of(ary)
    if ary.ndim == 0:
        msg = "hsplit only works on arrays of 1 or more dimensions"
        raise ValueError(msg)
    return split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> Any:
    ary = array_of(ary)
    if ary.ndim < 2:
        msg = "vsplit only works on arrays of 2 or more dimensions"
        raise ValueError(msg)
    return split(ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> Any:
    ary = array_of(ary)
    if ary.ndim < 3:
        msg = "dsplit only works on arrays of 3 or more dimensions"
        raise ValueError(msg)
    return split(ary, indices_or_sections, 2)


def unstack(x: Any, /, *, axis: Any = 0) -> tuple[Any, ...]:
    """A tuple of the slices along an axis."""
    x = array_of(x)
    if x.ndim == 0:
        msg = "Input array must be at least 1-d."
        raise ValueError(msg)
    axis = one_axis(axis, x.ndim)
    return tuple(x[(*(slice(None),) * axis, place)] for place in range(x.shape[axis]))


if hasattr(np, "unstack"):
    implements(np.unstack)(unstack)


# --- inserting and deleting -----------------------------------------------------------------------------------------


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    arr = array_of(arr)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    axis = one_axis(axis, arr.ndim)
    extent = arr.shape[axis]
    if isinstance(obj, slice):
        places = np.arange(*obj.indices(extent))
    else:
        places = concrete(array_of(obj))
        if places.ndim > 1:
            msg = "index array argument obj to insert must be one dimensional or scalar"
            raise ValueError(msg)
        if places.dtype.kind == "b":
            places = np.flatnonzero(places)
        elif not places.size:
            places = places.astype(np.intp)
    values = array_of(values)
    values = np.reshape(values, (1,) * (arr.ndim - values.ndim) + tuple(values.shape))
    if places.ndim == 0:
        values = moveaxis(values, 0, axis)
    count = places.size
    if count == 1:
        # All values go before the one position.
        count = values.shape[axis]
        places = np.full(count, places.item())
        if not -extent <= places[0:1].sum() <= extent:
            msg = f"index {obj} is out of bounds for axis {axis} with size {extent}"
            raise IndexError(msg)
    # NumPy says where positions of the values go among positions of the array; the elements follow them.
    order = np.insert(np.arange(extent), places, extent + np.arange(count))
    shape = (*arr.shape[:axis], count, *arr.shape[axis + 1 :])
    if values.dtype == arr.dtype:
        spread = np.broadcast_to(values, shape)
    else:
        spread = write(np.zeros(shape, arr.dtype), ..., values)
    return pick(np.concatenate([arr, spread], axis), order, axis)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    arr = array_of(arr)
    if axis is None:
        arr, axis = np.reshape(arr, -1), 0
    axis = one_axis(axis, arr.ndim)
    place = obj if isinstance(obj, slice) else concrete(array_of(obj))
    if not isinstance(place, slice) and not place.size:
        place = place.astype(np.intp)
    return pick(arr, np.delete(np.arange(arr.shape[axis]), place), axis)


# --- np.r_ and np.c_ ------------------------------------------------------------------------------------------------


def _beside(key: Any, axis: int, ndmin: int, trans1d: int) -> Any:
    parts: list[Any] = []
    kinds: list[Any] = []
    for place, one in enumerate(key if isinstance(key, tuple) else (key,)):
        if isinstance(one, str):
            if place or not all(part.strip().lstrip("-").isdigit() for part in one.split(",")):
                raise refuse("np.r_ or np.c_", f"the directive {one!r}", "use np.concatenate or np.stack")
            numbers = [int(part) for part in one.split(",")]
            axis, ndmin, trans1d = (*numbers, *(axis, ndmin, trans1d)[len(numbers) :])
            continue
        is_slice = isinstance(one, slice)
        part = np.r_[one] if is_slice else array_of(one)
        own = part.ndim
        kinds.append(one if type(one) in (int, float, bool) else part.dtype)
        part = np.reshape(part, (1,) * (ndmin - own) + tuple(part.shape))
        if is_slice and ndmin > 1 and trans1d != -1:
            part = np.swapaxes(part, -1, trans1d)
        elif 0 < own < ndmin and trans1d != -1:
            new = ndmin - own
            first = trans1d + new + 1 if trans1d < 0 else trans1d
            axes = list(range(ndmin))
            part = np.transpose(part, axes[:first] + axes[new:] + axes[first:new])
        parts.append(part)
    dtype = np.result_type(*kinds) if kinds else None
    return concatenate([cast(one, dtype) for one in parts], axis)


@implements(np.r_)
def r_(key: Any) -> Any:
    return _beside(key, 0, 1, -1)


@implements(np.c_)
def c_(key: Any) -> Any:
    return _beside(key, -1, 2, 0)
