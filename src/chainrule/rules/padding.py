"""``numpy.pad``: constants, ramps and statistics are set beside the array, the other modes take its own elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.rule import apply, implements
from chainrule.rules.arguments import array_of, as_copy, cast, is_recorded, refuse
from chainrule.rules.gather import blank, encode, setitem
from chainrule.rules.indexing import pick

__all__: list[str] = []

_KEYWORDS = {
    "constant": {"constant_values"},
    "edge": set(),
    "linear_ramp": {"end_values"},
    "maximum": {"stat_length"},
    "mean": {"stat_length"},
    "median": {"stat_length"},
    "minimum": {"stat_length"},
    "reflect": {"reflect_type"},
    "symmetric": {"reflect_type"},
    "wrap": set(),
    "empty": set(),
}
_STATISTICS: dict[str, Callable[..., Any]] = {
    "maximum": np.max, "mean": np.mean, "median": np.median, "minimum": np.min,
}  # fmt: skip


def _pairs(value: Any, ndim: int) -> list[tuple[Any, Any]]:
    """(before, after) for each axis, of a scalar, a pair, or a pair for each axis (recorded or not)."""
    value = array_of(value)
    if value.ndim < 2 and value.shape not in ((), (1,), (2,)):
        np.broadcast_to(np.empty(value.shape), (ndim, 2))  # NumPy's own error
    spread = np.broadcast_to(value, (ndim, 2))
    return [(spread[place, 0], spread[place, 1]) for place in range(ndim)]


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        pairs: list[Any] = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            pairs[axis] = width if isinstance(width, tuple) else (width, width)
        pad_width = pairs
    plain = np.asarray(pad_width)
    if plain.dtype.kind != "i":
        msg = "`pad_width` must be of integral type."
        raise TypeError(msg)
    widths = np.broadcast_to(plain, (ndim, 2))
    if (widths < 0).any():
        msg = "index can't contain negative values"
        raise ValueError(msg)
    return [(int(before), int(after)) for before, after in widths]


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    x = array_of(array)
    widths = _widths(pad_width, x.ndim)
    if callable(mode):
        raise refuse("np.pad", "a function as mode", "pad with zeros and write the borders with x[...] = ...")
    if mode not in _KEYWORDS:
        msg = f"mode '{mode}' is not supported"
        raise ValueError(msg)
    unknown = set(kwargs) - _KEYWORDS[mode]
    if unknown:
        msg = f"unsupported keyword arguments for mode '{mode}': {unknown}"
        raise ValueError(msg)
    if mode == "empty":
        raise refuse("np.pad", "mode='empty'", "use mode='constant': the border would be whatever memory holds")
    if not any(before or after for before, after in widths):
        return as_copy(x)
    if mode == "constant":
        return _constant(x, widths, kwargs.get("constant_values", 0))
    if mode in _STATISTICS or mode == "linear_ramp":
        return _beside(x, widths, mode, kwargs)
    odd = kwargs.get("reflect_type", "even") == "odd"
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = _reflected_oddly(x, before, after, axis, mode) if odd else _own_elements(x, before, after, axis, mode)
    return x


def _own_elements(x: Any, before: int, after: int, axis: int, mode: str) -> Any:
    if x.shape[axis] == 0:
        msg = f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'"
        raise ValueError(msg)
    # Where NumPy puts the positions, the elements go.
    return pick(x, np.pad(np.arange(x.shape[axis]), (before, after), mode), axis)  # type: ignore[call-overload]


def _reflected_oddly(x: Any, before: int, after: int, axis: int, mode: str) -> Any:
    extent = x.shape[axis]
    if max(before, after) > (extent - 1 if mode == "reflect" else extent):
        raise refuse("np.pad", "reflect_type='odd' and a border wider than the array", "pad in several steps")
    even = _own_elements(x, before, after, axis, mode)
    ahead = (slice(None),) * axis
    parts = [x]
    if before:
        parts.insert(0, 2 * x[(*ahead, slice(0, 1))] - even[(*ahead, slice(0, before))])
    if after:
        parts.append(2 * x[(*ahead, slice(extent - 1, extent))] - even[(*ahead, slice(before + extent, None))])
    return np.concatenate(parts, axis)


def _constant(x: Any, widths: list[tuple[int, int]], values: Any) -> Any:
    given = array_of(values)
    if given.size == 1:
        shape = tuple(extent + before + after for extent, (before, after) in zip(x.shape, widths, strict=True))
        inside = tuple(slice(before, before + extent) for extent, (before, after) in zip(x.shape, widths, strict=True))
        one = np.reshape(given, ())
        if is_recorded(one):
            frame = np.broadcast_to(cast(one, x.dtype), shape)
        elif one == 0:
            frame = blank(x, shape, x.dtype)
        else:
            frame = np.full(shape, one, x.dtype)
        return apply(setitem, (frame, x, *encode(inside)[1]), encode(inside)[:1])
    for axis, ((before, after), (first, last)) in enumerate(zip(widths, _pairs(given, x.ndim), strict=True)):
        around = []
        for width, one in ((before, first), (after, last)):
            shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
            around.append(np.broadcast_to(cast(array_of(one), x.dtype), shape))
        if before or after:
            x = np.concatenate([around[0], x, around[1]], axis)
    return x


def _beside(x: Any, widths: list[tuple[int, int]], mode: str, kwargs: dict[str, Any]) -> Any:
    """A statistic of the elements at each border, or a ramp from the border to an end value."""
    if x.dtype.kind != "f":
        raise refuse("np.pad", f"mode={mode!r} of an array of integers", "convert it first: x.astype(float)")
    own = tuple(x.shape)
    if mode == "linear_ramp":
        ends = _pairs(kwargs.get("end_values", 0), x.ndim)
    else:
        length = kwargs.get("stat_length")
        ends = [(None, None)] * x.ndim if length is None else [
            (int(first), int(last)) for first, last in np.broadcast_to(np.asarray(length), (x.ndim, 2))
        ]  # fmt: skip
    for axis, ((before, after), (first, last)) in enumerate(zip(widths, ends, strict=True)):
        if not (before or after):
            continue
        extent = own[axis]
        ahead = (slice(None),) * axis
        parts = [x]
        if mode == "linear_ramp":
            if before:
                edge = x[(*ahead, slice(0, 1))]
                parts.insert(0, _ramp(first, edge, before, axis, rising=True))
            if after:
                parts.append(_ramp(last, x[(*ahead, slice(extent - 1, extent))], after, axis, rising=False))
        else:
            if before:
                near = x if first is None or first >= extent else x[(*ahead, slice(0, first))]
                parts.insert(0, _statistic(near, mode, before, axis))
            if after:
                near = x if last is None or last >= extent else x[(*ahead, slice(extent - last, extent))]
                parts.append(_statistic(near, mode, after, axis))
        x = np.concatenate(parts, axis)
    return x


def _statistic(near: Any, mode: str, width: int, axis: int) -> Any:
    if near.shape[axis] == 0 and mode in ("maximum", "minimum"):
        msg = "stat_length of 0 yields no value for padding"
        raise ValueError(msg)
    made = _STATISTICS[mode](near, axis=axis, keepdims=True)
    return np.broadcast_to(made, (*made.shape[:axis], width, *made.shape[axis + 1 :]))


def _ramp(end: Any, edge: Any, width: int, axis: int, rising: bool) -> Any:
    # The end value stands outside; the edge, which is not repeated, inside.
    steps = np.arange(width, dtype=edge.dtype)[:: 1 if rising else -1]
    steps = steps.reshape([-1 if place == axis else 1 for place in range(edge.ndim)])
    return cast(array_of(end), edge.dtype) + (edge - cast(array_of(end), edge.dtype)) / width * steps
