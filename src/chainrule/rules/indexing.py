"""Indexing and assignment in NumPy's whole index language: ``x[key]``, ``x[key] = v``, ``np.add.at(x, key, v)``.

A key becomes literals and integer arrays (see ``gather``). A mask that is read becomes the positions of its true
elements, since it decides a shape; a mask that is written through stays a mask where that is possible.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import TraceError
from chainrule.rule import FUNCTIONS, RULES, apply, implements
from chainrule.rules.arguments import array_of, as_copy, cast, concrete, is_recorded, mentions, one_axis, stored, whole
from chainrule.rules.gather import encode, getitem, index_add, key_shape, setitem, trimmed

__all__ = ["add_at", "along", "gathered", "in_range", "pick", "write"]

_NOT_AN_INDEX = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are valid "
    "indices"
)


# --- the key --------------------------------------------------------------------------------------------------------


def _is_plain_basic(key: Any) -> bool:
    """Whether the key needs no work: ints, slices of ints, Ellipsis and None."""
    for one in key:
        if one is None or one is Ellipsis or type(one) is int:
            continue
        if type(one) is not slice or any(
            part is not None and type(part) is not int for part in (one.start, one.stop, one.step)
        ):
            return False
    return True


def _part(one: Any) -> Any:
    """One entry of a key: None, Ellipsis, a slice of ints, an int, or an array of integers or booleans."""
    if one is None or one is Ellipsis or type(one) is int:
        return one
    if isinstance(one, slice):
        return slice(*[None if part is None else whole(part) for part in (one.start, one.stop, one.step)])
    given = one
    if not is_recorded(one):
        if isinstance(one, bool | np.bool):
            return np.asarray(one)
        if isinstance(one, str | bytes | float | complex | np.inexact):
            raise IndexError(_NOT_AN_INDEX)
        if isinstance(one, list | tuple):
            one = array_of(one)
            one = one.astype(np.intp) if not one.size and not is_recorded(one) else one
        elif not isinstance(one, np.ndarray):
            try:
                return operator.index(one)
            except TypeError:
                one = np.asarray(one)
    if one.dtype.kind not in "iub":
        is_array = isinstance(given, np.ndarray) and np.ndim(given)
        raise IndexError("arrays used as indices must be of integer (or boolean) type" if is_array else _NOT_AN_INDEX)
    return one


def _parts(key: Any) -> list[Any]:
    return [_part(one) for one in (key if isinstance(key, tuple) else (key,))]


def _is_mask(part: Any) -> bool:
    return getattr(part, "dtype", None) == np.bool


def _used(part: Any) -> int:
    """How many axes of the array a part takes."""
    if part is None or part is Ellipsis:
        return 0
    return np.ndim(part) if _is_mask(part) else 1


def _check_mask(mask: Any, shape: tuple[int, ...], axis: int) -> None:
    for place, (have, want) in enumerate(zip(np.shape(mask), shape[axis:], strict=False)):
        if have != want:
            msg = (
                f"boolean index did not match indexed array along axis {axis + place}; size of axis is {want} but size "
                f"of corresponding boolean axis is {have}"
            )
            raise IndexError(msg)


def _check_bounds(index: Any, extent: int, axis: int) -> None:
    # Here and not only when the program runs: an index that is wrong is an error of the line that is being recorded.
    if index.size and (index.min() < -extent or index.max() >= extent):
        wrong = index[(index < -extent) | (index >= extent)].flat[0]
        msg = f"index {wrong} is out of bounds for axis {axis} with size {extent}"
        raise IndexError(msg)


def _resolved(shape: tuple[int, ...], parts: Sequence[Any]) -> tuple[list[Any], list[Any] | None, bool]:
    """The parts without masks; the key that makes room for 0-d masks (or None); whether NumPy copies although basic."""
    used = sum(map(_used, parts))
    if sum(one is Ellipsis for one in parts) > 1:
        msg = "an index can only have a single ellipsis ('...')"
        raise IndexError(msg)
    if used > len(shape):
        msg = f"too many indices for array: array is {len(shape)}-dimensional, but {used} were indexed"
        raise IndexError(msg)
    made: list[Any] = []
    room: list[Any] = []
    copies = False
    axis = 0
    for one in parts:
        if _is_mask(one):
            _check_mask(one, shape, axis)
            plain = concrete(one)
            if plain.ndim == 0:
                # x[True] and x[False] index a new axis of extent 1 once, or never.
                made.append(np.zeros(int(plain), dtype=np.intp))
                room.append(None)
                continue
            made.extend(np.nonzero(plain))
        elif isinstance(one, np.ndarray) and not is_recorded(one):
            _check_bounds(one, shape[axis], axis)
            copies = copies or one.ndim == 0
            made.append(one if one.ndim else int(one))
        else:
            made.append(one)
        if one is Ellipsis:
            room.append(Ellipsis)
            axis += len(shape) - used
        else:
            room.extend([slice(None)] * _used(one))
            axis += _used(one)
    return made, room if any(one is None for one in room) else None, copies


# --- reading --------------------------------------------------------------------------------------------------------


@implements("getitem")
def read(x: Any, key: Any) -> Any:
    """``x[key]``."""
    entries = key if isinstance(key, tuple) else (key,)
    x = array_of(x)
    if _is_plain_basic(entries):
        return apply(getitem, (x,), encode(entries)[:1])
    made, room, copies = _resolved(x.shape, _parts(key))
    if room is not None:
        x = apply(getitem, (x,), encode(tuple(room))[:1])
    template, arrays = encode(tuple(made))
    result = apply(getitem, (x, *arrays), (template,))
    return as_copy(result) if copies and not arrays else result


def gathered(x: Any, index: Any) -> Any:
    """Elements of the flattened array at these positions, in the shape of ``index``: always a copy."""
    index = array_of(index)
    x = np.reshape(array_of(x), -1)
    if not is_recorded(index):
        _check_bounds(index, x.size, 0)
        if index.ndim == 0:
            return as_copy(x[int(index)])
    return apply(getitem, (x, index), (("?",),))


def pick(x: Any, index: Any, axis: int) -> Any:
    """``x`` with these positions along one axis: always a copy."""
    if not is_recorded(index):
        index = np.asarray(index)
        _check_bounds(index, x.shape[axis], axis)
        if index.ndim == 0:
            return as_copy(x[(*(slice(None),) * axis, int(index))])
    return apply(getitem, (x, index), ((*(":",) * axis, "?"),))


# --- writing --------------------------------------------------------------------------------------------------------


def _value_for(x: Any, v: Any, what: str) -> Any:
    """The value that is written, checked against the array's dtype."""
    if not is_recorded(v):
        v = array_of(v) if mentions(v) else v if type(v) in (int, float, bool) else np.asarray(v)
    kind = getattr(v, "dtype", np.dtype(type(v))).kind
    if kind == "c" and x.dtype.kind != "c":
        raise TraceError(f"a complex value is {what} an array of dtype {x.dtype}", cure="write its real part")
    if x.dtype.kind in "iub" and kind == "f" and is_recorded(v) and not getattr(v, "is_plain", False):
        raise TraceError(
            f"a floating-point value is {what} an array of dtype {x.dtype}: rounded, its derivative would be lost",
            cure="make the array floating: np.zeros(n) instead of np.zeros(n, dtype=int), or array.astype(float)",
        )
    return v


def _through_mask(x: Any, parts: Sequence[Any], v: Any) -> tuple[Any, Any] | None:
    """Mask and value broadcast against x, where the key is a mask (and full slices) and v is the same at each hit."""
    masks = [one for one in parts if _is_mask(one)]
    full = [one for one in parts if one is Ellipsis or (isinstance(one, slice) and one == slice(None))]
    if len(masks) != 1 or np.ndim(masks[0]) == 0 or len(full) + 1 != len(parts):
        return None
    (mask,) = masks
    used = sum(map(_used, parts))
    axis = 0
    for one in parts:
        if one is mask:
            break
        axis += x.ndim - used if one is Ellipsis else 1
    if used > x.ndim or sum(one is Ellipsis for one in parts) > 1:
        return None
    _check_mask(mask, x.shape, axis)
    depth, after = np.ndim(mask), x.ndim - axis - np.ndim(mask)
    given = trimmed(np.shape(v), axis + 1 + after)
    given = (1,) * (axis + 1 + after - len(given)) + given
    if len(given) != axis + 1 + after or given[axis] != 1:
        return None
    around = (*given[:axis], *given[axis + 1 :])
    room = (*x.shape[:axis], *x.shape[axis + depth :])
    if any(have not in (1, want) for have, want in zip(around, room, strict=True)):
        return None
    mask = np.reshape(mask, (*np.shape(mask), *(1,) * after))
    if np.ndim(v):
        v = np.reshape(v, (*given[:axis], *(1,) * depth, *given[axis + 1 :]))
    return mask, v


def scattered(x: Any, key: Any, v: Any, rule: Any, chosen: Callable[[Any], Any]) -> Any:
    """x with v put in (or added) at the key; ``chosen(v)`` is the new element where v goes everywhere."""
    if not (isinstance(key, tuple) and _is_plain_basic(key)) and not _is_plain_basic((key,)):
        parts = _parts(key)
        through = _through_mask(x, parts, v)
        if through is not None:
            mask, v = through
            if type(v) in (int, float, bool) and x.dtype.kind != "f":
                v = np.asarray(v, dtype=x.dtype)[()]
            return apply(RULES["where"], (mask, chosen(v if type(v) in (int, float) else cast(v, x.dtype)), x))
        made, room, _ = _resolved(x.shape, parts)
        if room is not None:
            inner = apply(getitem, (x,), encode(tuple(room))[:1])
            return np.reshape(scattered(inner, tuple(made), v, rule, chosen), x.shape)
        template, arrays = encode(tuple(made))
        _check_hits(x, parts, template, arrays, v)
    else:
        template, arrays = encode(key if isinstance(key, tuple) else (key,))
    if np.ndim(v) and "..." not in template and not key_shape(x.shape, template, tuple(map(np.shape, arrays))):
        if np.size(v) != 1:
            msg = "setting an array element with a sequence."
            raise ValueError(msg)
        v = np.reshape(v, ())
    return apply(rule, (x, v, *arrays), (template,))


def _check_hits(x: Any, parts: Sequence[Any], template: Any, arrays: Any, v: Any) -> None:
    # NumPy's own words where one mask of the array's shape is given too few or too many values.
    if len(parts) == 1 and _is_mask(parts[0]) and np.ndim(parts[0]) == x.ndim and np.ndim(v) == 1:
        hits = key_shape(x.shape, template, tuple(np.shape(one) for one in arrays))[0]
        if np.shape(v)[0] not in (1, hits):
            msg = (
                f"NumPy boolean array indexing assigns {np.shape(v)[0]} input values to the {hits} output values where "
                "the mask is true"
            )
            raise ValueError(msg)


@implements("setitem")
def write(x: Any, key: Any, v: Any) -> Any:
    """The array after ``x[key] = v``."""
    x = array_of(x)
    return scattered(x, key, _value_for(x, v, "written into"), setitem, lambda v: v)


@implements("add_at")
def add_at(x: Any, key: Any, v: Any) -> Any:
    """The array after ``np.add.at(x, key, v)``: where an index occurs twice, both are added."""
    x = array_of(x)
    v = _value_for(x, v, "added to")
    kind = getattr(v, "dtype", type(v))
    if x.dtype.kind in "iub" and not np.can_cast(np.result_type(x.dtype, kind), x.dtype, casting="same_kind"):
        msg = f"Cannot cast ufunc 'add' output from {np.result_type(x.dtype, kind)!r} to {x.dtype!r}"
        raise TypeError(msg)
    return scattered(x, key, v, index_add, lambda v: x + v)


@implements((np.add, "at"))
def add_dot_at(a: Any, indices: Any, b: Any) -> None:
    FUNCTIONS["store"](a, add_at(a, indices, b))


@implements((np.subtract, "at"))
def subtract_dot_at(a: Any, indices: Any, b: Any) -> None:
    FUNCTIONS["store"](a, add_at(a, indices, -array_of(b)))


# --- reading along axes ---------------------------------------------------------------------------------------------


def in_range(index: Any, extent: int, mode: str) -> Any:
    """Indices brought into range as ``mode`` of take, put and choose says."""
    if mode == "raise":
        return index
    if mode == "wrap":
        return np.mod(index, extent)
    if mode == "clip":
        return np.minimum(np.maximum(index, 0), extent - 1)
    msg = f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})"
    raise ValueError(msg)


def _integers(index: Any) -> Any:
    index = array_of(index)
    if not is_recorded(index) and not index.size:
        index = index.astype(np.intp)
    if index.dtype.kind not in "iub":
        msg = f"Cannot cast array data from {index.dtype!r} to dtype('int64') according to the rule 'safe'"
        raise TypeError(msg)
    return cast(index, np.intp) if index.dtype.kind == "b" else index


@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    a = array_of(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    axis = one_axis(axis, a.ndim)
    index = in_range(_integers(indices), a.shape[axis], mode)
    return stored(pick(a, index, axis), out)


def along(shape: tuple[int, ...], indices: Any, axis: int) -> tuple[Any, ...]:
    """The key that takes ``indices`` along one axis and each position itself along the others."""
    if np.ndim(indices) != len(shape):
        msg = "`indices` and `arr` must have the same number of dimensions"
        raise ValueError(msg)
    if not is_recorded(indices) and indices.dtype.kind not in "iu":
        msg = "`indices` must be an integer array"
        raise IndexError(msg)
    key = []
    for place, extent in enumerate(shape):
        if place == axis:
            key.append(indices)
        else:
            key.append(np.arange(extent).reshape([-1 if other == place else 1 for other in range(len(shape))]))
    return tuple(key)


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    arr, indices = array_of(arr), array_of(indices)
    if axis is None:
        if np.ndim(indices) != 1:
            msg = "when axis=None, `indices` must have a single dimension."
            raise ValueError(msg)
        return read(np.reshape(arr, -1), indices)
    axis = one_axis(axis, arr.ndim)
    return read(arr, along(arr.shape, indices, axis))


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    kept = np.flatnonzero(concrete(array_of(condition)))
    if np.ndim(condition) != 1:
        msg = "condition must be a 1-d array"
        raise ValueError(msg)
    return take(a, kept, axis=axis, out=out)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return take(np.reshape(array_of(arr), -1), np.flatnonzero(concrete(array_of(condition))), axis=0)


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    options = [array_of(one) for one in choices]
    index = in_range(_integers(a), len(options), mode)
    if not is_recorded(index) and index.size and (index.min() < 0 or index.max() >= len(options)):
        msg = "invalid entry in choice array"
        raise ValueError(msg)
    shape = np.broadcast_shapes(np.shape(index), *[one.shape for one in options])
    if not is_recorded(index):
        index = np.broadcast_to(index, shape)
    elif mode == "raise":
        # A negative choice is an error to NumPy, but not to an index: send it where the error is.
        index = apply(RULES["where"], (index < 0, len(options), index))
    whole_options = np.stack([np.broadcast_to(one, shape) for one in options])
    if not shape:
        return stored(pick(whole_options, index, 0), out)
    return stored(read(whole_options, (index, *np.indices(shape, sparse=True))), out)
