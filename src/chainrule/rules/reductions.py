"""Sums, products, means, variances and extremes along axes: ``sum``, ``prod``, ``mean``, ``var``, ``max``...

Ties of an extreme share its derivative equally. A product's derivative is made of partial products, never by division,
so factors of zero are exact. ``std`` is ``root`` of ``var``, and ``root`` has derivative 0 at 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from chainrule.rule import Cost, Discrete, Elementwise, Opaque, apply, implements, register
from chainrule.rules.arguments import array_of, cast, is_recorded, stored
from chainrule.rules.index import axis_source, sum_

__all__ = ["NOT_GIVEN", "axes_of", "expanded", "in_batch", "is_given", "kept", "root"]

#: What NumPy's signatures have where an argument was not given.
NOT_GIVEN: Any = np._NoValue  # noqa: SLF001


# --- arguments ------------------------------------------------------------------------------------------------------


def is_given(argument: Any) -> bool:
    """Whether an optional argument (``initial``, ``where``, ``mean``) was given."""
    return argument is not None and argument is not NOT_GIVEN


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that are reduced, as non-negative numbers in order; raises AxisError as NumPy does."""
    if not is_given(axis):
        return tuple(range(ndim))
    return tuple(sorted(normalize_axis_tuple(axis, ndim)))


def kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with extent 1 along the axes."""
    return tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))


def expanded(y: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A reduced array, ready to be broadcast against what it was reduced from."""
    if axes == tuple(range(len(axes))):
        return y  # NumPy adds leading axes by itself
    return np.reshape(y, kept(shape, axes))


def in_batch(batched: Any, size: int, arguments: Any) -> list[Any]:
    """The arguments, all with the leading axis of the batch."""
    return [
        one if yes else np.broadcast_to(one, (size, *np.shape(one)))
        for one, yes in zip(arguments, batched, strict=True)
    ]


def _along_more(rule: Any) -> Any:
    """``batch`` of a rule whose parameter is the axes: one more axis comes before them."""

    def batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
        return apply(rule(), in_batch(batched, size, arguments), (tuple(axis + 1 for axis in params[0]),))

    return batch


def _mask(where: Any, shape: tuple[int, ...]) -> Any:
    """``where`` if it excludes anything, or None; raises ValueError where NumPy would."""
    if where is True or not is_given(where):
        return None
    where = array_of(where)
    if np.broadcast_shapes(where.shape, shape) != shape:
        msg = "input operand has more dimensions than allowed by the axis remapping"
        raise ValueError(msg)
    return where


def _reduce(rule: Any, x: Any, axes: tuple[int, ...], keepdims: Any) -> Any:
    made = apply(rule, (x,), (axes,))
    return np.reshape(made, kept(x.shape, axes)) if is_given(keepdims) and keepdims else made


# --- sum ------------------------------------------------------------------------------------------------------------


@implements(np.sum)
def total(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    x = cast(array_of(a), dtype)
    mask = _mask(where, x.shape)
    if mask is not None:
        x = np.where(mask, x, 0)
    made = _reduce(sum_, x, axes_of(axis, x.ndim), keepdims)
    return stored(made + initial if is_given(initial) else made, out)


# --- prod -----------------------------------------------------------------------------------------------------------


def _other_factors(x: Any, axes: tuple[int, ...]) -> Any:
    """For each entry the product of all others along the axes: those before it times those behind it."""
    from chainrule.rules.cumulative import cumprod

    shape = x.shape
    rest = tuple(axis for axis in range(len(shape)) if axis not in axes)
    order = rest + axes
    moved = x if order == tuple(range(len(shape))) else np.transpose(x, order)
    count = math.prod(shape[axis] for axis in axes)
    outer = tuple(shape[axis] for axis in rest)
    flat = moved if moved.shape == (*outer, count) else np.reshape(moved, (*outer, count))
    last = len(outer)
    made = apply(cumprod, (flat,), (last, False, True)) * apply(cumprod, (flat,), (last, True, True))
    if made.shape != moved.shape:
        made = np.reshape(made, moved.shape)
    if moved is x:
        return made
    return np.transpose(made, tuple(order.index(axis) for axis in range(len(shape))))


def _prod_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    (x,), (axes,) = arguments, params
    return np.sum(tangents[0] * _other_factors(x, axes), axis=axes)


def _prod_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (x,), (axes,) = arguments, params
    return (expanded(g, x.shape, axes) * _other_factors(x, axes),)


def _reduced(reduce: Any) -> Any:
    def infer(types: Any, params: Any) -> Any:
        x, (axes,) = types[0], params
        shape = tuple(extent for axis, extent in enumerate(x.shape) if axis not in axes)
        if reduce.identity is None and 0 in [x.shape[axis] for axis in axes]:
            msg = f"zero-size array to reduction operation {reduce.__name__} which has no identity"
            raise ValueError(msg)
        return shape, reduce.reduce(np.ones(1, x.dtype)).dtype

    return infer


prod: Any = register(
    Opaque(
        name="prod",
        native="reduce multiply",
        value=lambda x, axes: np.multiply.reduce(x, axis=axes),
        source=lambda types, params, numbers: "np.prod({0}" + axis_source(types[0].ndim, params[0]) + ")",
        params=("axes",),
        infer=_reduced(np.multiply),
        forward=_prod_forward,
        pullback=_prod_pullback,
        batch=_along_more(lambda: prod),
        latex=r"\prod_{{{axes}}} {0}",
        binds=6,
        cost=lambda types, params, outs: Cost(types[0].size),
        convention="factors of zero are exact: the derivative is the product of the other factors",
        points=(
            (("4",), ((0,),)),
            (("3,4",), ((1,),)),
            (("2,3,4",), ((0, 2),)),
            (("1",), ((0,),)),
            (("0,3",), ((0,),)),
        ),
    )
)


@implements(np.prod)
def product(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    x = cast(array_of(a), dtype)
    mask = _mask(where, x.shape)
    if mask is not None:
        x = np.where(mask, x, 1)
    made = _reduce(prod, x, axes_of(axis, x.ndim), keepdims)
    return stored(made * initial if is_given(initial) else made, out)


# --- extremes -------------------------------------------------------------------------------------------------------


def _tie_weights_value(x: Any, y: Any, axes: tuple[int, ...]) -> Any:
    # A NaN is what NumPy's extreme of values with a NaN is, so it counts as attained there.
    attained = (x == np.expand_dims(y, axes)) | np.isnan(x)
    return np.divide(attained, np.add.reduce(attained, axis=axes, keepdims=True), dtype=x.dtype)


tie_weights: Any = register(
    Discrete(
        name="tie_weights",
        native="tie_weights",
        value=_tie_weights_value,
        params=("axes",),
        infer=lambda types, params: (types[0].shape, types[0].dtype),
        batch=_along_more(lambda: tie_weights),
        latex=r"\mathbf 1_{{{0} = {1}}}",
        cost=Cost(3),
        convention="entries that equal the extreme share a weight of 1 equally; all others have 0",
    )
)


def _extreme_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    (x,), (axes,) = arguments, params
    weights = apply(tie_weights, (x, y), (axes,))
    return np.sum(np.where(weights != 0, weights * tangents[0], 0.0), axis=axes)


def _extreme_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (x,), (axes,) = arguments, params
    return (expanded(g, x.shape, axes) * apply(tie_weights, (x, y), (axes,)),)


def _extreme(name: str, ufunc: Any) -> Any:
    rule: Any = register(
        Opaque(
            name=name,
            value=lambda x, axes: ufunc.reduce(x, axis=axes),
            native=f"reduce {ufunc.__name__}",
            source=lambda types, params, numbers: f"np.{name}({{0}}" + axis_source(types[0].ndim, params[0]) + ")",
            params=("axes",),
            infer=_reduced(ufunc),
            forward=_extreme_forward,
            pullback=_extreme_pullback,
            batch=_along_more(lambda: rule),
            selects=True,
            latex="\\" + name + "_{{{axes}}} {0}",
            cost=lambda types, params, outs: Cost(types[0].size),
            convention="entries that tie share the derivative equally",
            points=((("4",), ((0,),)), (("3,4",), ((1,),)), (("2,3,4",), ((0, 2),))),
        )
    )
    return rule


max_: Any = _extreme("max", np.maximum)
min_: Any = _extreme("min", np.minimum)


def _lowest(dtype: Any) -> Any:
    return False if dtype.kind == "b" else -math.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _highest(dtype: Any) -> Any:
    return True if dtype.kind == "b" else math.inf if dtype.kind == "f" else int(np.iinfo(dtype).max)


def _extreme_of(
    rule: Any, pair: Any, idle: Any, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any
) -> Any:
    x = array_of(a)
    axes = axes_of(axis, x.ndim)
    mask = _mask(where, x.shape)
    if mask is not None:
        if not is_given(initial):
            msg = (
                f"reduction operation '{pair.__name__}' does not have an identity, "
                "so to use a where mask one has to specify 'initial'"
            )
            raise ValueError(msg)
        x = np.where(mask, x, idle(x.dtype))
    if is_given(initial) and 0 in [x.shape[axis] for axis in axes]:
        shape = kept(x.shape, axes)
        if not (is_given(keepdims) and keepdims):
            shape = tuple(extent for axis, extent in enumerate(x.shape) if axis not in axes)
        return stored(np.broadcast_to(array_of(initial).astype(x.dtype), shape), out)
    made = _reduce(rule, x, axes, keepdims)
    return stored(pair(made, initial) if is_given(initial) else made, out)


@implements(np.max, np.amax)
def maximum(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    return _extreme_of(max_, np.maximum, _lowest, a, axis, out, keepdims, initial, where)


@implements(np.min, np.amin)
def minimum(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    return _extreme_of(min_, np.minimum, _highest, a, axis, out, keepdims, initial, where)


@implements(np.ptp)
def peak_to_peak(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return stored(np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims), out)


# --- mean, var, std -------------------------------------------------------------------------------------------------


def _root_partial(y: Any, x: Any) -> Any:
    # The root of a sum of squares is 0 only where all of them are, and its smallest subgradient there is 0. Its second
    # derivative does not exist there: the branch for 0 has the value 0 and the derivative of sqrt, which is infinite.
    return np.where(y == 0, np.sqrt(y), 0.5 / y)


root: Any = register(
    Elementwise(
        name="root",
        value=np.sqrt,
        nin=1,
        partials=(_root_partial,),
        native="sqrt",
        latex=r"\sqrt{{{0}}}",
        cost=Cost(0, 1),
        domain=((0.0, math.inf),),
        convention=(
            "std and norm at 0: the derivative is 0, the subgradient of smallest norm; "
            "the second derivative does not exist there and is NaN or infinite"
        ),
    )
)


def _count(x: Any, axes: tuple[int, ...], keepdims: Any, mask: Any, dtype: Any) -> Any:
    """How many entries are reduced: an int, or an array where a mask has a say."""
    if mask is None:
        return math.prod(x.shape[axis] for axis in axes)
    counted = _reduce(sum_, np.broadcast_to(mask, x.shape), axes, keepdims)
    if is_recorded(counted) or np.ndim(counted):
        return counted.astype(dtype)
    return int(counted)


def _divided(sums: Any, count: Any) -> Any:
    if isinstance(count, int):
        # A sum of nothing is 0, and 0 times infinity is NaN, as 0 / 0 is.
        return sums / count if count else sums * math.inf
    return sums / count


def _working(x: Any, dtype: Any) -> tuple[Any, Any]:
    """The dtypes in which a mean is computed and given back."""
    if dtype is not None:
        return np.dtype(dtype), np.dtype(dtype)
    if x.dtype.kind in "biu":
        return np.dtype(np.float64), np.dtype(np.float64)
    return (np.dtype(np.float32) if x.dtype == np.float16 else x.dtype), x.dtype


def _mean(x: Any, axes: tuple[int, ...], keepdims: Any, mask: Any, dtype: Any) -> Any:
    work, result = _working(x, dtype)
    x = cast(x, work)
    sums = _reduce(sum_, x if mask is None else np.where(mask, x, 0), axes, keepdims)
    return cast(_divided(sums, _count(x, axes, keepdims, mask, work)), result)


def _var(x: Any, axes: tuple[int, ...], keepdims: Any, mask: Any, dtype: Any, ddof: Any, mean: Any) -> Any:
    work, result = _working(x, dtype)
    x = cast(x, work)
    if not is_given(mean):
        mean = _divided(
            _reduce(sum_, x if mask is None else np.where(mask, x, 0), axes, True), _count(x, axes, True, mask, work)
        )
    deviation = x - mean
    squares = deviation * deviation
    sums = _reduce(sum_, squares if mask is None else np.where(mask, squares, 0), axes, keepdims)
    count = _count(x, axes, keepdims, mask, work)
    if isinstance(count, int):
        freedom = max(count - ddof, 0)
        made = sums / freedom if freedom else sums * math.inf
    else:
        made = sums / np.maximum(count - ddof, 0)
    return cast(made, result)


def _degrees(ddof: Any, correction: Any) -> Any:
    if not is_given(correction):
        return ddof
    if ddof != 0:
        msg = "ddof and correction can't be provided simultaneously."
        raise ValueError(msg)
    return correction


@implements(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Any:
    x = array_of(a)
    return stored(_mean(x, axes_of(axis, x.ndim), keepdims, _mask(where, x.shape), dtype), out)


@implements(np.var)
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False,
    *, where: Any = True, mean: Any = None, correction: Any = NOT_GIVEN,
) -> Any:  # fmt: skip
    x = array_of(a)
    axes, mask = axes_of(axis, x.ndim), _mask(where, x.shape)
    return stored(_var(x, axes, keepdims, mask, dtype, _degrees(ddof, correction), mean), out)


@implements(np.std)
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False,
    *, where: Any = True, mean: Any = None, correction: Any = NOT_GIVEN,
) -> Any:  # fmt: skip
    x = array_of(a)
    axes, mask = axes_of(axis, x.ndim), _mask(where, x.shape)
    work, result = _working(x, dtype)
    variance = _var(x, axes, keepdims, mask, work, _degrees(ddof, correction), mean)
    return stored(cast(apply(root, (variance,)), result), out)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    x = array_of(a)
    keepdims = is_given(keepdims) and bool(keepdims)
    if weights is None:
        made = np.mean(x, axis=axis, keepdims=keepdims)
        axes = axes_of(axis, x.ndim)
        scale: Any = made.dtype.type(math.prod(x.shape[one] for one in axes))
    else:
        w = _aligned_weights(x, array_of(weights), axis)
        dtype = (
            np.result_type(x.dtype, w.dtype, np.float64) if x.dtype.kind in "biu" else np.result_type(x.dtype, w.dtype)
        )
        scale = np.sum(w, axis=axis, dtype=dtype, keepdims=keepdims)
        if not is_recorded(scale) and np.any(scale == 0):
            msg = "Weights sum to zero, can't be normalized"
            raise ZeroDivisionError(msg)
        made = np.sum(cast(x, dtype) * cast(w, dtype), axis=axis, keepdims=keepdims) / scale
    if returned:
        return made, scale if np.shape(scale) == made.shape else np.broadcast_to(scale, made.shape)
    return made


def _aligned_weights(x: Any, weights: Any, axis: Any) -> Any:
    """Weights that broadcast against ``x``; raises the errors of ``numpy.average``."""
    if weights.shape == x.shape:
        return weights
    if axis is None:
        msg = "Axis must be specified when shapes of a and weights differ."
        raise TypeError(msg)
    axes = normalize_axis_tuple(axis, x.ndim, argname="axis")
    if weights.shape != tuple(x.shape[one] for one in axes):
        msg = "Shape of weights must be consistent with shape of a along specified axis."
        raise ValueError(msg)
    order = tuple(int(one) for one in np.argsort(axes))
    if order != tuple(range(len(order))):
        weights = np.transpose(weights, order)
    shape = tuple(extent if place in axes else 1 for place, extent in enumerate(x.shape))
    return np.broadcast_to(np.reshape(weights, shape), x.shape)


# --- NaN left out ---------------------------------------------------------------------------------------------------


def _numbers(x: Any, where: Any) -> Any:
    """The mask of entries that count: not NaN, and not excluded."""
    if x.dtype.kind != "f":
        return _mask(where, x.shape)
    mask = _mask(where, x.shape)
    present = ~np.isnan(x)
    return present if mask is None else present & mask


@implements(np.nansum)
def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    x = array_of(a)
    return total(_present(x, 0), axis, dtype, out, keepdims, initial, where)


@implements(np.nanprod)
def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    return product(_present(array_of(a), 1), axis, dtype, out, keepdims, initial, where)


def _present(x: Any, instead: Any) -> Any:
    return np.where(np.isnan(x), instead, x) if x.dtype.kind == "f" else x


@implements(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Any:
    x = array_of(a)
    return mean(x, axis, dtype, out, keepdims, where=_numbers(x, where))


@implements(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False,
    *, where: Any = True, mean: Any = None, correction: Any = NOT_GIVEN,
) -> Any:  # fmt: skip
    return stored(_nanvar(array_of(a), axis, dtype, _degrees(ddof, correction), keepdims, where, mean), out)


@implements(np.nanstd)
def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False,
    *, where: Any = True, mean: Any = None, correction: Any = NOT_GIVEN,
) -> Any:  # fmt: skip
    made = _nanvar(array_of(a), axis, dtype, _degrees(ddof, correction), keepdims, where, mean)
    return stored(apply(root, (made,)), out)


def _nanvar(x: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any, where: Any, mean: Any) -> Any:
    axes, mask = axes_of(axis, x.ndim), _numbers(x, where)
    made = _var(x, axes, keepdims, mask, dtype, ddof, mean)
    if mask is None:
        return made
    # Without a degree of freedom the result is NaN, not infinite.
    freedom = _count(x, axes, keepdims, mask, made.dtype) - ddof
    return np.where(freedom > 0, made, math.nan)


@implements(np.nanmax)
def nanmax(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    return _nan_extreme(np.max, -math.inf, a, axis, out, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    return _nan_extreme(np.min, math.inf, a, axis, out, keepdims, initial, where)


def _nan_extreme(
    extreme: Any, idle: float, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any
) -> Any:
    x = array_of(a)
    keepdims = is_given(keepdims) and bool(keepdims)
    given = {"initial": initial} if is_given(initial) else {}
    if is_given(where) and where is not True:
        given["where"] = where
    if x.dtype.kind != "f":
        return stored(extreme(x, axis=axis, keepdims=keepdims, **given), out)
    made = extreme(np.where(np.isnan(x), idle, x), axis=axis, keepdims=keepdims, **given)
    if not is_given(initial):
        made = np.where(np.all(np.isnan(x), axis=axis, keepdims=keepdims), math.nan, made)
    return stored(made, out)
