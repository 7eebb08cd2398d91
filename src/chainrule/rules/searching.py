"""Where things are: argmax, argsort, searchsorted, nonzero, any, all, isin. Integers and booleans, derivative zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.rule import RULES, Cost, Discrete, apply, implements, register
from chainrule.rules.arguments import array_of, as_copy, cast, concrete, one_axis, several_axes, stored
from chainrule.rules.index import axis_source

__all__ = ["ordered"]

_INDEX = np.dtype(np.intp)
_BOOL = np.dtype(bool)


def _log2(size: int) -> int:
    return max(size, 2).bit_length()


def _per_example(rule: Any, batched: Any, size: int, arguments: Any, params: Any) -> Any:
    """One example after the other."""
    return np.stack(
        [
            apply(rule, [one[place] if yes else one for one, yes in zip(arguments, batched, strict=True)], params)
            for place in range(size)
        ]
    )


# --- the place of an extreme ----------------------------------------------------------------------------------------


def _place_of(name: str, function: Any) -> Any:
    return register(
        Discrete(
            name=name,
            value=lambda x, axis: function(x, axis=axis),
            source=lambda types, params, numbers: f"np.{name}({{0}}" + axis_source(types[0].ndim, params) + ")",
            native=name,
            params=("axis",),
            infer=lambda types, params: (types[0].shape[: params[0]] + types[0].shape[params[0] + 1 :], _INDEX),
            batch=lambda batched, size, arguments, params: apply(RULES[name], arguments, (params[0] + 1,)),
            latex=rf"\operatorname{{{{{name}}}}} {{0}}",
            cost=lambda types, params, outs: Cost(types[0].size),
            points=((("5",), (0,)), (("3,4",), (1,)), (("3,4",), (0,))),
        )
    )


_argmax = _place_of("argmax", np.argmax)
_argmin = _place_of("argmin", np.argmin)


def _find(rule: Any, a: Any, axis: Any, out: Any, keepdims: Any) -> Any:
    a = array_of(a)
    if a.size == 0:
        msg = f"attempt to get {rule.name} of an empty sequence"
        raise ValueError(msg)
    keep = keepdims is True or (keepdims is not np._NoValue and bool(keepdims))  # noqa: SLF001
    if axis is None:
        made = apply(rule, (np.reshape(a, -1),), (0,))
        return stored(np.reshape(made, (1,) * a.ndim) if keep else made, out)
    axis = one_axis(axis, a.ndim)
    made = apply(rule, (a,), (axis,))
    return stored(np.expand_dims(made, axis) if keep else made, out)


@implements(np.argmax)
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    return _find(_argmax, a, axis, out, keepdims)


@implements(np.argmin)
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    return _find(_argmin, a, axis, out, keepdims)


# --- order ----------------------------------------------------------------------------------------------------------

_argsort: Any = register(
    Discrete(
        name="argsort",
        value=lambda x, axis, kind: np.argsort(x, axis=axis, kind=kind),
        source="np.argsort({0}, axis={axis}, kind={kind})",
        native="argsort",
        params=("axis", "kind"),
        infer=lambda types, params: (types[0].shape, _INDEX),
        batch=lambda batched, size, arguments, params: apply(_argsort, arguments, (params[0] + 1, params[1])),
        latex=r"\operatorname{{argsort}} {0}",
        cost=lambda types, params, outs: Cost(types[0].size * _log2(types[0].shape[params[0]])),
        points=((("5",), (0, "stable")), (("3,4",), (1, "stable"))),
    )
)

_argpartition: Any = register(
    Discrete(
        name="argpartition",
        value=lambda x, kth, axis: np.argpartition(x, kth, axis=axis),
        source="np.argpartition({0}, {kth}, axis={axis})",
        native="argpartition",
        params=("kth", "axis"),
        infer=lambda types, params: (types[0].shape, _INDEX),
        batch=lambda batched, size, arguments, params: apply(_argpartition, arguments, (params[0], params[1] + 1)),
        latex=r"\operatorname{{argpartition}} {0}",
        cost=lambda types, params, outs: Cost(2 * types[0].size),
        points=((("5",), ((2,), 0)), (("3,4",), ((1,), 1))),
    )
)


def _lexsort_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    whole = [
        one if yes else np.broadcast_to(one, (size, *np.shape(one)))
        for one, yes in zip(arguments, batched, strict=True)
    ]
    return apply(_lexsort, whole, (params[0] + 1,))


_lexsort: Any = register(
    Discrete(
        name="lexsort",
        value=lambda *rest: np.lexsort(rest[:-1], axis=rest[-1]),
        source="np.lexsort([{*}], axis={axis})",
        native="lexsort",
        params=("axis",),
        infer=lambda types, params: (types[0].shape, _INDEX),
        batch=_lexsort_batch,
        latex=r"\operatorname{{lexsort}} ({0})",
        cost=lambda types, params, outs: Cost(sum(one.size for one in types) * 4),
        points=((("5", "5"), (0,)), (("3,4", "3,4"), (1,))),
    )
)


def ordered(x: Any, axis: int, kind: Any = "stable") -> Any:
    """The positions that sort x along an axis; of equal elements the first comes first."""
    return apply(_argsort, (x,), (axis, kind))


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    a = array_of(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    if a.ndim == 0:
        a = np.reshape(a, (1,))
    return ordered(a, one_axis(axis, a.ndim), "stable" if stable else "quicksort" if kind is None else str(kind))


def places_of(kth: Any, extent: int) -> tuple[int, ...]:
    """``kth`` of partition as non-negative ints."""
    given = np.atleast_1d(concrete(array_of(kth)))
    if given.size and (given.min() < -extent or given.max() >= extent):
        wrong = given[(given < -extent) | (given >= extent)][0]
        msg = f"kth(={wrong}) out of bounds ({extent})"
        raise ValueError(msg)
    return tuple(sorted({int(one) % extent for one in given}))


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> Any:
    a = array_of(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    axis = one_axis(axis, a.ndim)
    return apply(_argpartition, (a,), (places_of(kth, a.shape[axis]), axis))


@implements(np.lexsort)
def lexsort(keys: Any, axis: Any = -1) -> Any:
    parts = [array_of(one) for one in keys]
    if not parts:
        msg = "need sequence of keys with len > 0 in lexsort"
        raise TypeError(msg)
    if parts[0].ndim == 0:
        return apply(_lexsort, [np.reshape(one, (1,)) for one in parts], (0,))[0]
    return apply(_lexsort, parts, (one_axis(axis, parts[0].ndim),))


# --- positions in sorted arrays -------------------------------------------------------------------------------------


def _searchsorted_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    if not batched[0]:
        return apply(_searchsorted, arguments, params)
    return _per_example(_searchsorted, batched, size, arguments, params)


_searchsorted: Any = register(
    Discrete(
        name="searchsorted",
        value=lambda a, v, side: np.searchsorted(a, v, side=side),
        source="np.searchsorted({0}, {1}, side={side})",
        native="searchsorted",
        params=("side",),
        infer=lambda types, params: (types[1].shape, _INDEX),
        batch=_searchsorted_batch,
        latex=r"\operatorname{{searchsorted}}({0}, {1})",
        cost=lambda types, params, outs: Cost(types[1].size * _log2(types[0].size)),
        points=((("5", "3"), ("left",)), (("5", "2,3"), ("right",)), (("5", ""), ("left",))),
    )
)


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    a, v = array_of(a), array_of(v)
    if a.ndim != 1:
        msg = "object too deep for desired array" if a.ndim else "object of too small depth for desired array"
        raise ValueError(msg)
    if side not in ("left", "right"):
        msg = f"search side must be one of 'left' or 'right' (got {side!r})"
        raise ValueError(msg)
    if sorter is not None:
        a = np.take(a, array_of(sorter))
    return apply(_searchsorted, (a, v), (side,))


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    x, bins = array_of(x), array_of(bins)
    if bins.ndim != 1:
        msg = "object too deep for desired array" if bins.ndim else "object of too small depth for desired array"
        raise ValueError(msg)
    rises = concrete(np.all(bins[1:] >= bins[:-1]))
    if not rises and not concrete(np.all(bins[1:] <= bins[:-1])):
        msg = "bins must be monotonically increasing or decreasing"
        raise ValueError(msg)
    side = "left" if right else "right"
    return searchsorted(bins, x, side) if rises else bins.shape[0] - searchsorted(bins[::-1], x, side)


# --- truth ----------------------------------------------------------------------------------------------------------


def _truth_of(name: str, function: Any, native: str) -> Any:
    return register(
        Discrete(
            name=name,
            value=lambda x, axes: function(x, axis=axes),
            native=native,
            source=lambda types, params, numbers: f"np.{name}({{0}}" + axis_source(types[0].ndim, params[0]) + ")",
            params=("axes",),
            infer=lambda types, params: (
                tuple(extent for place, extent in enumerate(types[0].shape) if place not in params[0]),
                _BOOL,
            ),
            batch=lambda batched, size, arguments, params: apply(
                RULES[name], arguments, (tuple(axis + 1 for axis in params[0]),)
            ),
            latex=rf"\operatorname{{{{{name}}}}} {{0}}",
            cost=lambda types, params, outs: Cost(types[0].size),
            points=((("5",), ((0,),)), (("3,4",), ((1,),)), (("3,4",), ((0, 1),)), (("3,0",), ((1,),))),
        )
    )


_any = _truth_of("any", np.any, "reduce or")
_all = _truth_of("all", np.all, "reduce and")


def _is_given(argument: Any) -> bool:
    return argument is not np._NoValue and argument is not None  # noqa: SLF001


def _truth(rule: Any, a: Any, axis: Any, out: Any, keepdims: Any, where: Any) -> Any:
    a = array_of(a)
    if _is_given(where) and where is not True:
        truth = a if a.dtype == _BOOL else a != 0
        a = apply(RULES["where"], (array_of(where), truth, np.bool(rule is _all)))
    axes = tuple(range(a.ndim)) if axis is None else tuple(sorted(several_axes(axis, a.ndim)))
    made = apply(rule, (a,), (axes,))
    if _is_given(keepdims) and keepdims:
        made = np.reshape(made, tuple(1 if place in axes else extent for place, extent in enumerate(a.shape)))
    return stored(made, out)


@implements(np.any)
def any_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    return _truth(_any, a, axis, out, keepdims, where)


@implements(np.all)
def all_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    return _truth(_all, a, axis, out, keepdims, where)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    a = array_of(a)
    return np.sum(a if a.dtype == _BOOL else a != 0, axis=axis, keepdims=keepdims)


# --- positions of what is not zero: they decide a shape, so the values are asked for --------------------------------


@implements(np.nonzero)
def nonzero(a: Any) -> Any:
    return np.nonzero(concrete(array_of(a) != 0))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> Any:
    return np.flatnonzero(concrete(array_of(a) != 0))


@implements(np.argwhere)
def argwhere(a: Any) -> Any:
    return np.argwhere(concrete(array_of(a) != 0))


@implements(np.ix_)
def ix_(*args: Any) -> Any:
    made = []
    for place, one in enumerate(map(array_of, args)):
        if one.ndim != 1:
            msg = "Cross index must be 1 dimensional"
            raise ValueError(msg)
        if one.dtype == _BOOL:
            one = np.flatnonzero(concrete(one))
        made.append(np.reshape(one, tuple(-1 if place == other else 1 for other in range(len(args)))))
    return tuple(made)


# --- members --------------------------------------------------------------------------------------------------------


def _isin_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    if not batched[1]:
        return apply(_isin, arguments, params)
    return _per_example(_isin, batched, size, arguments, params)


_isin: Any = register(
    Discrete(
        name="isin",
        value=lambda element, test, invert: np.isin(element, test, invert=invert),
        source=lambda types, params, numbers: "np.isin({0}, {1}" + (", invert=True)" if params[0] else ")"),
        native="isin",
        params=("invert",),
        infer=lambda types, params: (types[0].shape, _BOOL),
        batch=_isin_batch,
        latex=r"{0} \in {1}",
        cost=lambda types, params, outs: Cost(types[0].size * _log2(types[1].size)),
        points=((("5", "3"), (False,)), (("2,3", "4"), (True,))),
    )
)


@implements(np.isin)
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Any:
    return apply(_isin, (array_of(element), array_of(test_elements)), (bool(invert),))


_in1d = vars(np).get("in1d")
if _in1d is not None:

    @implements(_in1d)
    def in1d(ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None) -> Any:
        return isin(np.reshape(array_of(ar1), -1), ar2, invert=invert)


# --- positions as numbers -------------------------------------------------------------------------------------------

_unravelled: Any = register(
    Discrete(
        name="unravelled",
        value=lambda index, shape, order: np.stack(np.unravel_index(index, shape, order=order), axis=-1),
        source="np.stack(np.unravel_index({0}, {shape}, order={order}), axis=-1)",
        native="unravelled",
        params=("shape", "order"),
        infer=lambda types, params: ((*types[0].shape, len(params[0])), _INDEX),
        batch=lambda batched, size, arguments, params: apply(_unravelled, arguments, params),
        latex=r"\operatorname{{unravel}}_{{{shape}}} {0}",
        cost=lambda types, params, outs: Cost(outs[0].size),
        points=((([0, 5, 3],), ((2, 3), "C")),),
    )
)


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    indices = array_of(indices)
    extents = tuple(int(one) for one in np.atleast_1d(concrete(array_of(shape))))
    made = apply(_unravelled, (indices,), (extents, order))
    return tuple(as_copy(made[..., place]) for place in range(len(extents)))


def _ravelled_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    rank = max(np.ndim(one) - yes for one, yes in zip(arguments, batched, strict=True))
    whole = [
        np.reshape(one, (size, *(1,) * (rank + 1 - np.ndim(one)), *np.shape(one)[1:])) if yes else one
        for one, yes in zip(arguments, batched, strict=True)
    ]
    return apply(_ravelled, whole, params)


_ravelled: Any = register(
    Discrete(
        name="ravelled",
        value=lambda *rest: np.ravel_multi_index(rest[:-3], rest[-3], mode=rest[-2], order=rest[-1]),
        source="np.ravel_multi_index(({*},), {dims}, mode={mode}, order={order})",
        native="ravelled",
        params=("dims", "mode", "order"),
        infer=lambda types, params: (np.broadcast_shapes(*[one.shape for one in types]), _INDEX),
        batch=_ravelled_batch,
        latex=r"\operatorname{{ravel}}_{{{dims}}} ({0})",
        cost=lambda types, params, outs: Cost(outs[0].size * len(types)),
        points=((([0, 1], [2, 1]), ((2, 3), "raise", "C")),),
    )
)


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    extents = tuple(int(one) for one in np.atleast_1d(concrete(array_of(dims))))
    parts = [array_of(one) for one in multi_index]
    return apply(_ravelled, parts, (extents, mode if isinstance(mode, str) else tuple(mode), order))


# --- equality -------------------------------------------------------------------------------------------------------


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    x, y = array_of(a), array_of(b)
    if y.dtype.kind in "bu":
        y = cast(y, np.result_type(y.dtype, 1.0))
    if x.dtype.kind in "bu":
        x = cast(x, np.result_type(x.dtype, 1.0))
    near = (abs(x - y) <= atol + rtol * abs(y)) & np.isfinite(y) | (x == y)
    return near | (np.isnan(x) & np.isnan(y)) if equal_nan else near


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    return np.all(isclose(a, b, rtol, atol, equal_nan))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    x, y = array_of(a1), array_of(a2)
    if x.shape != y.shape:
        return False
    same = x == y
    if equal_nan and x.dtype.kind == "f" and y.dtype.kind == "f":
        same = same | (np.isnan(x) & np.isnan(y))
    return np.all(same)


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    x, y = array_of(a1), array_of(a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return np.all(x == y)
