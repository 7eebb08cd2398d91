"""Differences and integrals of samples along an axis: diff, gradient, trapezoid; cross products; maps on axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.rule import implements
from chainrule.rules.arguments import array_of, cast, one_axis, several_axes, whole

__all__: list[str] = []

_NOT_GIVEN: Any = np._NoValue  # noqa: SLF001


def _cut(x: Any, axis: int, *bounds: int | None) -> Any:
    """``x[..., slice(*bounds), ...]`` along an axis."""
    return x[(*(slice(None),) * axis, slice(*bounds))]


# --- differences ----------------------------------------------------------------------------------------------------


def _beside(one: Any, x: Any, axis: int) -> Any:
    one = array_of(one)
    return np.broadcast_to(one, (*x.shape[:axis], 1, *x.shape[axis + 1 :])) if one.ndim == 0 else one


@implements(np.diff)
def diff(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = _NOT_GIVEN, append: Any = _NOT_GIVEN) -> Any:
    a = array_of(a)
    n = whole(n)
    if n == 0:
        return a
    if n < 0:
        msg = f"order must be non-negative but got {n!r}"
        raise ValueError(msg)
    if a.ndim == 0:
        msg = "diff requires input that is at least one dimensional"
        raise ValueError(msg)
    axis = one_axis(axis, a.ndim)
    parts = [] if prepend is _NOT_GIVEN else [_beside(prepend, a, axis)]
    parts.append(a)
    if append is not _NOT_GIVEN:
        parts.append(_beside(append, a, axis))
    if len(parts) > 1:
        a = np.concatenate(parts, axis)
    for _ in range(n):
        right, left = _cut(a, axis, 1, None), _cut(a, axis, None, -1)
        a = right != left if a.dtype == np.bool else right - left
    return a


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    flat = np.reshape(array_of(ary), -1)
    parts = [flat[1:] - flat[:-1]]
    for name, one, place in (("to_begin", to_begin, 0), ("to_end", to_end, len(parts) + 1)):
        if one is not None:
            one = np.reshape(array_of(one), -1)
            if not np.can_cast(one.dtype, flat.dtype, casting="same_kind"):
                msg = f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule."
                raise TypeError(msg)
            parts.insert(place, cast(one, flat.dtype))
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _spacings(f: Any, axes: tuple[int, ...], varargs: tuple[Any, ...]) -> list[Any]:
    if not varargs:
        return [1.0] * len(axes)
    given: list[Any] = [one if type(one) in (int, float) else array_of(one) for one in varargs]
    if len(given) == 1 and np.ndim(given[0]) == 0:
        return given * len(axes)
    if len(given) != len(axes):
        msg = "invalid number of arguments"
        raise TypeError(msg)
    made = []
    for one, axis in zip(given, axes, strict=True):
        if np.ndim(one) == 0:
            made.append(one)
            continue
        if np.ndim(one) != 1:
            msg = "distances must be either scalars or 1d"
            raise ValueError(msg)
        if one.shape[0] != f.shape[axis]:
            msg = "when 1d, distances must match the length of the corresponding dimension"
            raise ValueError(msg)
        if one.dtype.kind in "iu":
            one = cast(one, np.float64)
        made.append(one[1:] - one[:-1])
    return made


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    f = array_of(f)
    axes = tuple(range(f.ndim)) if axis is None else several_axes(axis, f.ndim)
    if edge_order not in (1, 2):
        msg = "'edge_order' greater than 2 not supported"
        raise ValueError(msg)
    spacings = _spacings(f, axes, varargs)
    if f.dtype.kind in "iub":
        f = cast(f, np.float64)
    made = []
    for along, h in zip(axes, spacings, strict=True):
        if f.shape[along] < edge_order + 1:
            msg = (
                "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are "
                "required."
            )
            raise ValueError(msg)
        made.append(_slope(f, h, along, edge_order))
    return made[0] if len(axes) == 1 else tuple(made)


def _slope(f: Any, h: Any, axis: int, edge_order: int) -> Any:
    """Second-order differences inside, of first or second order at the two ends."""
    extent = f.shape[axis]

    def at(start: int) -> Any:
        return _cut(f, axis, start, start + 1)

    def shaped(one: Any) -> Any:
        return np.reshape(one, tuple(-1 if place == axis else 1 for place in range(f.ndim)))

    uniform = np.ndim(h) == 0
    left, middle, right = _cut(f, axis, None, -2), _cut(f, axis, 1, -1), _cut(f, axis, 2, None)
    if uniform:
        inside = (right - left) / (2.0 * h)
        first = last = h
    else:
        one, two = shaped(h[:-1]), shaped(h[1:])
        inside = -two / (one * (one + two)) * left + (two - one) / (one * two) * middle
        inside = inside + one / (two * (one + two)) * right
        first, last = h[0], h[-1]
    if edge_order == 1:
        start = (at(1) - at(0)) / first
        stop = (at(extent - 1) - at(extent - 2)) / last
    else:
        if uniform:
            a, b, c = -1.5 / h, 2.0 / h, -0.5 / h
            p, q, r = 0.5 / h, -2.0 / h, 1.5 / h
        else:
            one, two = h[0], h[1]
            a, b, c = -(2.0 * one + two) / (one * (one + two)), (one + two) / (one * two), -one / (two * (one + two))
            one, two = h[-2], h[-1]
            p, q, r = two / (one * (one + two)), -(two + one) / (one * two), (2.0 * two + one) / (two * (one + two))
        start = a * at(0) + b * at(1) + c * at(2)
        stop = p * at(extent - 3) + q * at(extent - 2) + r * at(extent - 1)
    return cast(np.concatenate([start, inside, stop], axis), f.dtype)


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    y = array_of(y)
    axis = one_axis(axis, y.ndim)
    if x is None:
        d = dx
    else:
        x = array_of(x)
        if x.ndim == 1:
            d = np.reshape(x[1:] - x[:-1], tuple(-1 if place == axis else 1 for place in range(y.ndim)))
        else:
            d = diff(x, axis=axis)
    return np.sum(d * (_cut(y, axis, 1, None) + _cut(y, axis, None, -1)) / 2.0, axis=axis)


_trapz = vars(np).get("trapz")
if _trapz is not None:
    implements(_trapz)(trapezoid)


# --- cross products -------------------------------------------------------------------------------------------------


@implements(np.cross)
def cross(a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = array_of(a), array_of(b)
    if a.ndim < 1 or b.ndim < 1:
        msg = "At least one array has zero dimension"
        raise ValueError(msg)
    a = np.moveaxis(a, one_axis(axisa, a.ndim), -1)
    b = np.moveaxis(b, one_axis(axisb, b.ndim), -1)
    sizes = (a.shape[-1], b.shape[-1])
    if not set(sizes) <= {2, 3}:
        msg = f"Both input arrays must be (arrays of) 3-dimensional vectors, but they are {sizes[0]} and {sizes[1]} dimensional instead."  # noqa: E501 - NumPy's words
        raise ValueError(msg)
    a0, a1, b0, b1 = a[..., 0], a[..., 1], b[..., 0], b[..., 1]
    third = a0 * b1 - a1 * b0
    if sizes == (2, 2):
        return third
    if sizes[0] == 2:
        parts = [a1 * b[..., 2], -(a0 * b[..., 2]), third]
    elif sizes[1] == 2:
        parts = [-(a[..., 2] * b1), a[..., 2] * b0, third]
    else:
        a2, b2 = a[..., 2], b[..., 2]
        parts = [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, third]
    made = np.stack(parts, -1)
    return np.moveaxis(made, -1, one_axis(axisc, made.ndim))


if hasattr(np.linalg, "cross"):

    @implements(np.linalg.cross)
    def linalg_cross(x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
        x1, x2 = array_of(x1), array_of(x2)
        if x1.shape[one_axis(axis, x1.ndim)] != 3 or x2.shape[one_axis(axis, x2.ndim)] != 3:
            msg = (
                "Both input arrays must be (arrays of) 3-dimensional vectors, but they are "
                f"{x1.shape[axis]} and {x2.shape[axis]} dimensional instead."
            )
            raise ValueError(msg)
        return cross(x1, x2, axis=axis)


# --- a function on each line, or over each axis ---------------------------------------------------------------------


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    arr = array_of(arr)
    axis = one_axis(axis, arr.ndim)
    lines = np.moveaxis(arr, axis, -1)
    outer = tuple(lines.shape[:-1])
    if 0 in outer:
        msg = "Cannot apply_along_axis when any iteration dimensions are 0"
        raise ValueError(msg)
    made = [array_of(func1d(lines[place], *args, **kwargs)) for place in np.ndindex(*outer)]
    inner = tuple(made[0].shape)
    whole_result = np.reshape(np.stack(made), (*outer, *inner))
    # What each line became stands where the line was.
    depth = len(inner)
    return np.moveaxis(
        whole_result, range(len(outer), len(outer) + depth), range(axis, axis + depth)
    ) if depth else whole_result  # fmt: skip


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    made = array_of(a)
    ndim = made.ndim
    for axis in (axes,) if np.ndim(axes) == 0 else axes:
        place = whole(axis) + ndim if whole(axis) < 0 else whole(axis)
        result = func(made, place)
        if np.ndim(result) != made.ndim:
            result = np.expand_dims(result, place)
            if np.ndim(result) != made.ndim:
                msg = "function is not returning an array of the correct shape"
                raise ValueError(msg)
        made = result
    return made
