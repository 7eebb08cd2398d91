"""Shapes and the order of axes and elements: reshape, transpose, squeeze, broadcast, flip, roll, repeat, tile.

What is a view in NumPy ends with a reshape, a transpose, a plain index or a broadcast; what is a copy ends otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import NoRule
from chainrule.rule import apply, implements
from chainrule.rules.arguments import array_of, as_copy, concrete, is_copied, is_recorded, one_axis, several_axes, whole
from chainrule.rules.gather import contiguous
from chainrule.rules.gather import reshape as reshape_rule
from chainrule.rules.index import broadcast_to as broadcast_rule
from chainrule.rules.index import transpose as transpose_rule
from chainrule.rules.indexing import pick

__all__ = ["in_one_block", "repeated"]


# --- reshape --------------------------------------------------------------------------------------------------------


def _ints(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, Sequence) or (isinstance(shape, np.ndarray) and np.ndim(shape)):
        return tuple(whole(one) for one in shape)
    return (whole(shape),)


def _known_order(order: str | None, shape: tuple[int, ...]) -> str:
    """C or F; A and K follow the memory, which matters only where two axes are longer than 1."""
    order = "C" if order is None else order.upper()
    if order in ("C", "F"):
        return order
    if order not in ("A", "K"):
        msg = f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})"
        raise ValueError(msg)
    if sum(extent != 1 for extent in shape) > 1:
        raise NoRule(
            f"order={order!r} follows the layout of memory, which a recorded array does not have",
            cure="say order='C' (rows first) or order='F' (columns first)",
        )
    return "C"


def _filled(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The shape with its -1 worked out."""
    if shape.count(-1) > 1:
        msg = "can only specify one unknown dimension"
        raise ValueError(msg)
    if any(extent < -1 for extent in shape):
        msg = "negative dimensions not allowed"
        raise ValueError(msg)
    if -1 in shape:
        rest = math.prod(extent for extent in shape if extent != -1)
        if rest == 0 or size % rest:
            shown = ",".join("newaxis" if extent == -1 else str(extent) for extent in shape)
            msg = f"cannot reshape array of size {size} into shape ({shown}{',' * (len(shape) == 1)})"
            raise ValueError(msg)
        return tuple(size // rest if extent == -1 else extent for extent in shape)
    return shape


@implements(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    a = array_of(a)
    wanted = newshape if shape is None else shape
    if wanted is None:
        msg = "reshape() missing 1 required positional argument: 'shape'"
        raise TypeError(msg)
    wanted = _filled(_ints(wanted), a.size)
    if _known_order(order, a.shape) == "F" and a.ndim + len(wanted) > 2:
        backwards = apply(reshape_rule, (np.transpose(a),), (wanted[::-1],))
        result = np.transpose(backwards)
    else:
        result = apply(reshape_rule, (a,), (wanted,))
    return as_copy(result) if is_copied(copy) else result


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """Unlike a reshape, a view only of what is one block of memory."""
    a = array_of(a)
    if _known_order(order, a.shape) == "F":
        a = np.transpose(a)
    return apply(reshape_rule, (in_one_block(a),), ((a.size,),))


def in_one_block(a: Any, order: str = "C") -> Any:
    """The array, or a copy of it if it is not one block of memory in C or Fortran order."""
    if getattr(a, "ndim", 0) == 0 or not is_recorded(a):
        return a
    return apply(contiguous, (a,), (order,))


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    return as_copy(array_of(a))


# --- axes -----------------------------------------------------------------------------------------------------------


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    a = array_of(a)
    if axes is None:
        order = tuple(range(a.ndim))[::-1]
    else:
        if len(axes) != a.ndim:
            msg = "axes don't match array"
            raise ValueError(msg)
        order = tuple(one_axis(axis, a.ndim) for axis in axes)
        if len(set(order)) != a.ndim:
            msg = "repeated axis in transpose"
            raise ValueError(msg)
    return apply(transpose_rule, (a,), (order,))


if hasattr(np, "permute_dims") and np.permute_dims is not np.transpose:
    implements(np.permute_dims)(transpose)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Any:
    a = array_of(a)
    order = list(range(a.ndim))
    one, other = one_axis(axis1, a.ndim, "axis1"), one_axis(axis2, a.ndim, "axis2")
    order[one], order[other] = order[other], order[one]
    return apply(transpose_rule, (a,), (tuple(order),))


@implements(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    x = array_of(x)
    if x.ndim < 2:
        msg = f"Input array must be at least 2-dimensional, but it is {x.ndim}"
        raise ValueError(msg)
    return swapaxes(x, -1, -2)


if hasattr(np.linalg, "matrix_transpose"):
    implements(np.linalg.matrix_transpose)(matrix_transpose)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    a = array_of(a)
    come = several_axes(source, a.ndim, "source")
    go = several_axes(destination, a.ndim, "destination")
    if len(come) != len(go):
        msg = "`source` and `destination` arguments must have the same number of elements"
        raise ValueError(msg)
    order = [axis for axis in range(a.ndim) if axis not in come]
    for target, axis in sorted(zip(go, come, strict=True)):
        order.insert(target, axis)
    return apply(transpose_rule, (a,), (tuple(order),))


@implements(np.rollaxis)
def rollaxis(a: Any, axis: Any, start: Any = 0) -> Any:
    a = array_of(a)
    axis, start = one_axis(axis, a.ndim), whole(start)
    if start < 0:
        start += a.ndim
    if not 0 <= start <= a.ndim:
        msg = f"'start' arg requires {-a.ndim} <= start < {a.ndim + 1}, but {start} was passed in"
        raise np.exceptions.AxisError(msg)
    if axis < start:
        start -= 1
    order = [one for one in range(a.ndim) if one != axis]
    order.insert(start, axis)
    return apply(transpose_rule, (a,), (tuple(order),))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    a = array_of(a)
    if axis is None:
        gone = tuple(place for place, extent in enumerate(a.shape) if extent == 1)
    else:
        gone = several_axes(axis, a.ndim)
        if any(a.shape[one] != 1 for one in gone):
            msg = "cannot select an axis to squeeze out which has size not equal to one"
            raise ValueError(msg)
    return apply(reshape_rule, (a,), (tuple(extent for place, extent in enumerate(a.shape) if place not in gone),))


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    a = array_of(a)
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    ndim = a.ndim + len(axes)
    new = several_axes(axes, ndim)
    rest = iter(a.shape)
    return apply(reshape_rule, (a,), (tuple(1 if place in new else next(rest) for place in range(ndim)),))


def _at_least(arys: Any, shape_of: Any) -> Any:
    made = []
    for one in map(array_of, arys):
        shape = shape_of(one.shape)
        made.append(one if shape == one.shape else np.reshape(one, shape))
    return made[0] if len(made) == 1 else tuple(made)


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    return _at_least(arys, lambda shape: shape or (1,))


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    return _at_least(arys, lambda shape: (1,) * (2 - len(shape)) + shape)


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    def widened(shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) == 1:
            return (1, *shape, 1)
        return (*shape, 1) if len(shape) == 2 else shape or (1, 1, 1)

    return _at_least(arys, widened)


# --- broadcasting ---------------------------------------------------------------------------------------------------


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    array = array_of(array)
    wanted = _ints(shape)
    if any(extent < 0 for extent in wanted):
        msg = "all elements of broadcast shape must be non-negative"
        raise ValueError(msg)
    if len(array.shape) > len(wanted) or any(
        have not in (1, want) for have, want in zip(array.shape[::-1], wanted[::-1], strict=False)
    ):
        msg = (
            "operands could not be broadcast together with remapped shapes [original->remapped]: "
            f"{str(array.shape).replace(' ', '')}  and requested shape {str(wanted).replace(' ', '')}"
        )
        raise ValueError(msg)
    return apply(broadcast_rule, (array,), (wanted,))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    arrays = [array_of(one) for one in args]
    shape = np.broadcast_shapes(*[one.shape for one in arrays])
    return tuple(one if one.shape == shape else np.broadcast_to(one, shape) for one in arrays)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    if indexing not in ("xy", "ij"):
        msg = "Valid values for `indexing` are 'xy' and 'ij'."
        raise ValueError(msg)
    flat = [np.reshape(array_of(one), -1) for one in xi]
    order = list(range(len(flat)))
    if indexing == "xy" and len(flat) > 1:
        order[:2] = [1, 0]
    made = []
    for one, place in zip(flat, order, strict=True):
        made.append(np.reshape(one, tuple(-1 if place == axis else 1 for axis in range(len(flat)))))
    if not sparse:
        made = list(np.broadcast_arrays(*made))
    return tuple(as_copy(one) for one in made) if copy else tuple(made)


# --- flips and rotations --------------------------------------------------------------------------------------------

_BACKWARDS = slice(None, None, -1)


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    m = array_of(m)
    axes = range(m.ndim) if axis is None else several_axes(axis, m.ndim)
    return m[tuple(_BACKWARDS if place in axes else slice(None) for place in range(m.ndim))]


def _needs(m: Any, ndim: int) -> Any:
    m = array_of(m)
    if m.ndim < ndim:
        msg = f"Input must be >= {ndim}-d."
        raise ValueError(msg)
    return m


@implements(np.flipud)
def flipud(m: Any) -> Any:
    return _needs(m, 1)[_BACKWARDS]


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    return _needs(m, 2)[:, _BACKWARDS]


@implements(np.rot90)
def rot90(m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    m = array_of(m)
    one, other = tuple(axes)
    if one == other or abs(one - other) == m.ndim:
        msg = "Axes must be different."
        raise ValueError(msg)
    if not (-m.ndim <= one < m.ndim and -m.ndim <= other < m.ndim):
        msg = f"Axes={tuple(axes)} out of range for array of ndim={m.ndim}."
        raise ValueError(msg)
    turns = whole(k) % 4
    if turns == 0:
        return m[:]
    if turns == 2:
        return flip(flip(m, one), other)
    return swapaxes(flip(m, other), one, other) if turns == 1 else flip(swapaxes(m, one, other), other)


# --- copies of elements ---------------------------------------------------------------------------------------------


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    a = array_of(a)
    if axis is None:
        return np.reshape(roll(np.reshape(a, -1), shift, 0), a.shape)
    axes = several_axes(axis, a.ndim, allow_duplicate=True)
    shifts = np.asarray(concrete(shift) if not isinstance(shift, tuple | list) else [whole(one) for one in shift])
    if shifts.ndim > 1:
        msg = "'shift' and 'axis' should be scalars or 1D sequences"
        raise ValueError(msg)
    total = dict.fromkeys(axes, 0)
    for one, place in np.broadcast(shifts, axes):
        total[int(place)] += int(one)
    rolled = False
    for place, amount in total.items():
        extent = a.shape[place]
        amount = amount % extent if extent else 0
        if amount:
            before, cut = (slice(None),) * place, extent - amount
            a = np.concatenate([a[(*before, slice(cut, None))], a[(*before, slice(cut))]], place)
            rolled = True
    return a if rolled else as_copy(a)


def repeated(a: Any, count: int, axis: int) -> Any:
    """Each slice along the axis ``count`` times in a row."""
    shape = a.shape
    spread = np.broadcast_to(np.expand_dims(a, axis + 1), (*shape[: axis + 1], count, *shape[axis + 1 :]))
    return np.reshape(spread, (*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    a = array_of(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    axis = one_axis(axis, a.ndim) if a.ndim else 0
    if a.ndim == 0:
        a = np.reshape(a, (1,))
    counts = concrete(repeats)
    if counts.dtype.kind not in "iub":
        msg = f"Cannot cast array data from {counts.dtype!r} to dtype('int64') according to the rule 'safe'"
        raise TypeError(msg)
    if (counts < 0).any():
        msg = "repeats may not contain negative values." if counts.size > 1 else "negative dimensions are not allowed"
        raise ValueError(msg)
    if counts.size == 1:
        return as_copy(repeated(a, int(counts.reshape(())), axis))
    return pick(a, np.repeat(np.arange(a.shape[axis]), counts), axis)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    a = array_of(A)
    counts = _ints(reps)
    ndim = max(a.ndim, len(counts))
    shape = (1,) * (ndim - a.ndim) + tuple(a.shape)
    counts = (1,) * (ndim - len(counts)) + counts
    if any(count < 0 for count in counts):
        msg = "negative dimensions are not allowed"
        raise ValueError(msg)
    if all(count == 1 for count in counts):
        return as_copy(np.reshape(a, shape))
    # Each axis is split in two, (how many times, which element), the first of which is broadcast.
    split = [part for extent in shape for part in (1, extent)]
    spread = [part for extent, count in zip(shape, counts, strict=True) for part in (count, extent)]
    made = np.broadcast_to(np.reshape(a, split), spread)
    return as_copy(np.reshape(made, [extent * count for extent, count in zip(shape, counts, strict=True)]))


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    a = np.reshape(array_of(a), -1)
    shape = _ints(new_shape)
    if any(extent < 0 for extent in shape):
        msg = "all elements of `new_shape` must be non-negative"
        raise ValueError(msg)
    size = math.prod(shape)
    if a.shape[0] == 0 or size == 0:
        return np.zeros(shape, a.dtype)
    return np.reshape(pick(a, np.arange(size) % a.shape[0], 0), shape)


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    raise NoRule(
        "the shape of trim_zeros depends on which values are zero, so it has no derivative as the values change",
        cure="cut the array at positions that you know: x[first:last]",
    )


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Any:
    x = array_of(x)
    if writeable:
        raise NoRule("a writeable sliding_window_view has no rule", cure="write to the array itself")
    windows = _ints(window_shape)
    axes = tuple(range(x.ndim)) if axis is None else several_axes(axis, x.ndim, allow_duplicate=True)
    if len(windows) != len(axes):
        if axis is None:
            msg = (
                "Since axis is None, must provide window_shape for all dimensions of `x`; got "
                f"{len(windows)} window_shape elements and `x.ndim` is {x.ndim}."
            )
        else:
            msg = (
                "Must provide matching length window_shape and axis; got "
                f"{len(windows)} window_shape elements and {len(axes)} axes elements."
            )
        raise ValueError(msg)
    for window, place in zip(windows, axes, strict=True):
        if window < 0:
            msg = "`window_shape` cannot contain negative values"
            raise ValueError(msg)
        starts = x.shape[place] - window + 1
        if starts < 0:
            msg = "window shape cannot be larger than input array shape"
            raise ValueError(msg)
        index = np.arange(starts)[:, None] + np.arange(window)
        x = np.moveaxis(pick(x, index, place), place + 1, -1)
    return x
