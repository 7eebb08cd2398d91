"""Methods of ufuncs on recorded values: ``reduce``, ``accumulate``, ``outer``, ``reduceat``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from chainrule.errors import NoRule
from chainrule.rule import FUNCTIONS, apply
from chainrule.rules.arguments import array_of, cast, is_recorded, stored
from chainrule.rules.cumulative import running_maximum, running_minimum
from chainrule.rules.gather import blank, getitem, index_add
from chainrule.rules.reductions import axes_of, is_given

__all__: list[str] = []


def _single(out: Any) -> Any:
    """NumPy hands over ``out`` as a tuple."""
    return out[0] if isinstance(out, tuple) else out


def _log_sum(a: Any, axis: Any, keepdims: bool, base: float) -> Any:
    x = array_of(a)
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    power, logarithm = (np.exp, np.log) if base == math.e else (np.exp2, np.log2)
    made = top + logarithm(np.sum(power(x - top), axis=axis, keepdims=True))
    axes = axes_of(axis, x.ndim)
    return made if keepdims else np.reshape(made, tuple(n for place, n in enumerate(x.shape) if place not in axes))


_REDUCTIONS: dict[Any, Any] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.fmax: np.nanmax,
    np.fmin: np.nanmin,
    np.logical_and: np.all,
    np.logical_or: np.any,
    np.logaddexp: None,
    np.logaddexp2: None,
}


def _reduce_by(
    ufunc: Any, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = None, where: Any = True,
) -> Any:  # fmt: skip
    """``ufunc.reduce``."""
    if ufunc not in _REDUCTIONS:
        raise NoRule(
            f"chainrule has no rule for numpy.{ufunc.__name__}.reduce",
            cure=f"rules exist for the reductions of {', '.join(sorted(one.__name__ for one in _REDUCTIONS))}",
        )
    keepdims = is_given(keepdims) and bool(keepdims)
    given: dict[str, Any] = {}
    if is_given(initial):
        given["initial"] = initial
    if is_given(where) and where is not True:
        given["where"] = where
    array = cast(array_of(array), dtype)
    code = _REDUCTIONS[ufunc]
    if code is None:
        if given:
            raise NoRule(
                f"numpy.{ufunc.__name__}.reduce has no rule for the argument {next(iter(given))}",
                cure="put numpy.where around the array, or combine the result with the initial value",
            )
        return stored(_log_sum(array, axis, keepdims, math.e if ufunc is np.logaddexp else 2.0), _single(out))
    return stored(code(array, axis=axis, keepdims=keepdims, **given), _single(out))


def _outer_by(ufunc: Any, a: Any, b: Any, **keywords: Any) -> Any:
    """``ufunc.outer``."""
    a, b = array_of(a), array_of(b)
    if b.ndim:
        a = np.reshape(a, (*a.shape, *(1,) * b.ndim))
    return ufunc(a, b, **keywords)


def _reduce_slices_by(ufunc: Any, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """``add.reduceat``: sums of slices."""
    if ufunc is not np.add or is_recorded(indices):
        raise NoRule(
            f"chainrule has no rule for numpy.{ufunc.__name__}.reduceat"
            + (" with indices that depend on the input" if ufunc is np.add else ""),
            cure="sum the slices one by one",
        )
    x = cast(array_of(array), dtype)
    (axis,) = normalize_axis_tuple(axis, x.ndim)
    starts = np.asarray(indices)
    extent = x.shape[axis]
    for one in starts:
        if not 0 <= one < extent:
            msg = f"index {one} out-of-bounds in add.reduceat [0, {extent})"
            raise IndexError(msg)
    stops = [
        int(stop) if stop > start else int(start) + 1 for start, stop in zip(starts, [*starts[1:], extent], strict=True)
    ]
    spans = [np.arange(start, stop) for start, stop in zip(starts, stops, strict=True)]
    sources = np.concatenate(spans) if spans else np.zeros(0, dtype=np.intp)
    targets = np.repeat(np.arange(len(spans)), [len(one) for one in spans])
    key = (":",) * axis + ("?",)
    shape = (*x.shape[:axis], len(spans), *x.shape[axis + 1 :])
    taken = apply(getitem, (x, sources), (key,))
    return stored(apply(index_add, (blank(taken, shape, taken.dtype), taken, targets), (key,)), _single(out))


_ACCUMULATIONS: dict[Any, Any] = {
    np.add: np.cumsum,
    np.multiply: np.cumprod,
    np.maximum: running_maximum,
    np.minimum: running_minimum,
}


def _accumulate_by(ufunc: Any, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """``ufunc.accumulate``."""
    if ufunc not in _ACCUMULATIONS:
        raise NoRule(
            f"chainrule has no rule for numpy.{ufunc.__name__}.accumulate",
            cure=f"rules exist for {', '.join(sorted(one.__name__ for one in _ACCUMULATIONS))}",
        )
    return stored(_ACCUMULATIONS[ufunc](cast(array_of(array), dtype), axis=axis), _single(out))


FUNCTIONS["reduce"] = _reduce_by
FUNCTIONS["accumulate"] = _accumulate_by
FUNCTIONS["outer"] = _outer_by
FUNCTIONS["reduceat"] = _reduce_slices_by
