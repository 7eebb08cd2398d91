"""Running sums, products and extremes along an axis, and the linear recurrence that is their adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from chainrule.rule import Cost, Discrete, Gather, Opaque, apply, implements, register
from chainrule.rules.arguments import array_of, cast, stored
from chainrule.rules.gather import blank, getitem, index_add
from chainrule.rules.index import axis_source
from chainrule.rules.reductions import in_batch

__all__ = ["cumprod", "cumsum", "linear_recurrence", "running_maximum", "running_minimum"]


def _flipped(x: Any, axis: int) -> Any:
    return x[(slice(None),) * axis + (slice(None, None, -1),)]


def _shifted(x: Any, axis: int, reverse: bool) -> Any:
    """Each entry moved one place on along the axis (back, if ``reverse``), with a zero where none came."""
    if x.shape[axis] == 0:
        return x
    before, behind = (":",) * axis + (":-1",), (":",) * axis + ("1:",)
    source, target = (behind, before) if reverse else (before, behind)
    return apply(index_add, (blank(x, x.shape, x.dtype), apply(getitem, (x,), (source,))), (target,))


def _running_source(function: str, ndim: int, axis: int, reverse: bool) -> str:
    flip = "[" + ":, " * axis + "::-1]" if reverse else ""
    return f"{function}({{0}}{flip}{axis_source(ndim, (axis,))}){flip}"


def _later(params: tuple[Any, ...]) -> tuple[Any, ...]:
    """The parameters for arrays with one more leading axis."""
    return (params[0] + 1, *params[1:])


# --- cumsum ---------------------------------------------------------------------------------------------------------


def _cumsum_value(x: Any, axis: int, reverse: bool) -> Any:
    if not reverse:
        return np.add.accumulate(x, axis=axis)
    return _flipped(np.add.accumulate(_flipped(x, axis), axis=axis), axis)


cumsum: Any = register(
    Gather(
        name="cumsum",
        native="scan add",
        source=lambda types, params, numbers: _running_source("np.cumsum", types[0].ndim, *params),
        value=_cumsum_value,
        params=("axis", "reverse"),
        infer=lambda types, params: (types[0].shape, np.add.accumulate(np.empty(0, types[0].dtype)).dtype),
        transpose=lambda k, g, types, arguments, params: apply(cumsum, (g,), (params[0], not params[1])),
        batch=lambda batched, size, arguments, params: apply(cumsum, arguments, _later(params)),
        latex=r"\operatorname{{cumsum}}({0})",
        cost=lambda types, params, outs: Cost(types[0].size),
        points=((("4",), (0, False)), (("3,4",), (1, True)), (("3,4,2",), (0, False)), (("0",), (0, False))),
    )
)


# --- linear recurrence ----------------------------------------------------------------------------------------------


def _recurrence_value(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    dtype = np.result_type(a, b)
    if a.ndim == 1 and dtype == np.float64:
        # Python's own numbers are several times as fast as NumPy's scalars, and round alike.
        order = slice(None, None, -1 if reverse else 1)
        last = 0.0
        sums: list[float] = []
        for factor, term in zip(a[order].tolist(), b[order].tolist(), strict=True):
            last = term + factor * last if sums else term
            sums.append(last)
        return np.array(sums, dtype=dtype)[order]
    s = np.array(b, dtype=dtype)
    rows, factors = np.moveaxis(s, axis, 0), np.moveaxis(a, axis, 0)
    if reverse:
        rows, factors = rows[::-1], factors[::-1]
    for place in range(1, rows.shape[0]):
        rows[place] += factors[place] * rows[place - 1]
    return s


def _recurrence_infer(types: Any, params: Any) -> Any:
    if types[0].shape != types[1].shape:
        msg = f"a linear recurrence of factors of shape {types[0].shape} and terms of shape {types[1].shape}"
        raise ValueError(msg)
    return types[0].shape, np.result_type(types[0].dtype, types[1].dtype)


def _recurrence_forward(tangents: Any, s: Any, arguments: Any, params: Any) -> Any:
    (a, _), (axis, reverse) = arguments, params
    t_a, t_b = tangents
    if t_a is not None:
        more = t_a * _shifted(s, axis, reverse)
        t_b = more if t_b is None else t_b + more
    return apply(linear_recurrence, (a, t_b), params)


def _recurrence_pullback(g: Any, s: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    # The adjoint of s_i = b_i + a_i s_(i-1) runs the other way: r_i = g_i + a_(i+1) r_(i+1), with b_i's adjoint r_i
    # and a_i's adjoint r_i s_(i-1).
    (a, _), (axis, reverse) = arguments, params
    r = apply(linear_recurrence, (_shifted(a, axis, not reverse), g), (axis, not reverse))
    return r * _shifted(s, axis, reverse) if wanted[0] else None, r


linear_recurrence: Any = register(
    Opaque(
        name="linear_recurrence",
        native="recurrence",
        value=_recurrence_value,
        params=("axis", "reverse"),
        infer=_recurrence_infer,
        forward=_recurrence_forward,
        pullback=_recurrence_pullback,
        batch=lambda batched, size, arguments, params: apply(
            linear_recurrence, in_batch(batched, size, arguments), _later(params)
        ),
        latex=r"\left(s_i = {1}_i + {0}_i\,s_{{i-1}}\right)",
        cost=Cost(2),
        points=(
            (("4", "4"), (0, False)),
            (("3,4", "3,4"), (1, True)),
            (("3,4", "3,4"), (0, False)),
            (("0", "0"), (0, True)),
        ),
    )
)


# --- cumprod --------------------------------------------------------------------------------------------------------


def _cumprod_value(x: Any, axis: int, reverse: bool, exclusive: bool) -> Any:
    if reverse:
        return _flipped(_cumprod_value(_flipped(x, axis), axis, False, exclusive), axis)
    if not exclusive:
        return np.multiply.accumulate(x, axis=axis)
    made = np.ones_like(x)
    lead = (slice(None),) * axis
    np.multiply.accumulate(x[(*lead, slice(None, -1))], axis=axis, out=made[(*lead, slice(1, None))])
    return made


def _cumprod_infer(types: Any, params: Any) -> Any:
    dtype = types[0].dtype if params[2] else np.multiply.accumulate(np.empty(0, types[0].dtype)).dtype
    return types[0].shape, dtype


def _cumprod_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    # y_i = x_(i-1) y_(i-1) if exclusive, x_i y_(i-1) if not: linear recurrences, so a factor of zero is exact.
    (x,), (axis, reverse, exclusive) = arguments, params
    if exclusive:
        term, factor = _shifted(tangents[0] * y, axis, reverse), _shifted(x, axis, reverse)
    else:
        term, factor = tangents[0] * apply(cumprod, (x,), (axis, reverse, True)), x
    return apply(linear_recurrence, (factor, term), (axis, reverse))


def _cumprod_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (x,), (axis, reverse, exclusive) = arguments, params
    before = y if exclusive else apply(cumprod, (x,), (axis, reverse, True))
    r = apply(linear_recurrence, (x, g if exclusive else g * x), (axis, not reverse))
    rest = _shifted(r, axis, not reverse)
    return (before * (rest if exclusive else g + rest),)


cumprod: Any = register(
    Opaque(
        name="cumprod",
        native="scan multiply",
        source=lambda types, params, numbers: (
            "" if params[2] else _running_source("np.cumprod", types[0].ndim, *params[:2])
        ),
        value=_cumprod_value,
        params=("axis", "reverse", "exclusive"),
        infer=_cumprod_infer,
        forward=_cumprod_forward,
        pullback=_cumprod_pullback,
        batch=lambda batched, size, arguments, params: apply(cumprod, arguments, _later(params)),
        latex=r"\operatorname{{cumprod}}({0})",
        cost=Cost(1),
        convention="factors of zero are exact: the derivative is the product of the other factors",
        points=(
            (("4",), (0, False, False)), (("4",), (0, False, True)), (("3,4",), (1, True, False)),
            (("3,4",), (0, True, True)), (("0",), (0, False, False)),
        ),
    )
)  # fmt: skip


# --- NumPy's functions ----------------------------------------------------------------------------------------------


def _flat(a: Any, axis: Any) -> tuple[Any, int]:
    """The array and the axis; the array in one row where there is no axis."""
    x = array_of(a)
    if axis is None:
        return (x if x.ndim == 1 else np.reshape(x, (x.size,))), 0
    return x, normalize_axis_index(axis, x.ndim)


@implements(np.cumsum)
def running_sum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    x, axis = _flat(a, axis)
    return stored(apply(cumsum, (cast(x, dtype),), (axis, False)), out)


@implements(np.cumprod)
def running_product(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    x, axis = _flat(a, axis)
    return stored(apply(cumprod, (cast(x, dtype),), (axis, False, False)), out)


@implements(np.nancumsum)
def running_sum_of_numbers(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return running_sum(_numbers_or(array_of(a), 0), axis, dtype, out)


@implements(np.nancumprod)
def running_product_of_numbers(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return running_product(_numbers_or(array_of(a), 1), axis, dtype, out)


def _numbers_or(x: Any, instead: Any) -> Any:
    return np.where(np.isnan(x), instead, x) if x.dtype.kind == "f" else x


def _with_initial(code: Any, first: int) -> Any:
    def cumulative(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: Any = False
    ) -> Any:
        x = array_of(x)
        if x.ndim == 0:
            msg = "Input array must be at least one dimensional."
            raise ValueError(msg)
        if x.ndim > 1 and axis is None:
            msg = "For arrays which have more than one dimension ``axis`` argument is required."
            raise ValueError(msg)
        axis = 0 if axis is None else normalize_axis_index(axis, x.ndim)
        made = code(x, axis, dtype)
        if include_initial:
            shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
            made = np.concatenate([np.full(shape, first, dtype=made.dtype), made], axis=axis)
        return stored(made, out)

    return cumulative


# NumPy 2.1 and later.
if hasattr(np, "cumulative_sum"):
    implements(np.cumulative_sum)(_with_initial(running_sum, 0))
    implements(np.cumulative_prod)(_with_initial(running_product, 1))


# --- running extremes -----------------------------------------------------------------------------------------------


def _running_place(x: Any, axis: int, name: str) -> Any:
    extremes = getattr(np, name).accumulate(x, axis=axis)
    rows, tops = np.moveaxis(x, axis, 0), np.moveaxis(extremes, axis, 0)
    places = np.zeros(rows.shape, dtype=np.intp)
    # A new extreme differs from the one before it; the first NaN does too, and no later one counts as new.
    new = (rows[1:] != tops[:-1]) & (rows[1:] == tops[1:])
    new |= np.isnan(tops[1:]) & ~np.isnan(tops[:-1])
    places[1:] = np.maximum.accumulate(
        np.where(new, np.arange(1, len(rows)).reshape(-1, *(1,) * (rows.ndim - 1)), 0), axis=0
    )
    return np.moveaxis(places, 0, axis)


running_place: Any = register(
    Discrete(
        name="running_place",
        native="running_place",
        value=_running_place,
        params=("axis", "extreme"),
        infer=lambda types, params: (types[0].shape, np.dtype(np.intp)),
        batch=lambda batched, size, arguments, params: apply(running_place, arguments, _later(params)),
        latex=r"\operatorname{{arg\,{extreme}}}_{{j \le i}} {0}_j",
        cost=Cost(4),
        points=((("5",), (0, "maximum")), (("3,4",), (1, "minimum")), (("3,4",), (0, "maximum"))),
    )
)


def _running_extreme(x: Any, axis: int, name: str) -> Any:
    if 0 in x.shape:
        return x
    places = apply(running_place, (x,), (axis, name))
    grid: Sequence[Any] = np.ogrid[tuple(slice(extent) for extent in x.shape)]
    index = [places if one == axis else along for one, along in enumerate(grid)]
    return apply(getitem, (x, *index), (("?",) * x.ndim,))


def running_maximum(x: Any, axis: int = 0) -> Any:
    """``maximum.accumulate``; of entries that tie the first is differentiated."""
    return _running_extreme(array_of(x), normalize_axis_index(axis, x.ndim), "maximum")


def running_minimum(x: Any, axis: int = 0) -> Any:
    """``minimum.accumulate``; of entries that tie the first is differentiated."""
    return _running_extreme(array_of(x), normalize_axis_index(axis, x.ndim), "minimum")
