"""NumPy's functions that are elementwise by pieces: clip, select, piecewise, interp, unwrap, round, nan_to_num."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import NoRule
from chainrule.rule import FUNCTIONS, RULES, Cost, Discrete, apply, implements, register
from chainrule.rules.arguments import array_of, concrete, is_recorded, stored

__all__: list[str] = []

# --- rounding -------------------------------------------------------------------------------------------------------

_round: Any = register(
    Discrete(
        name="round", value=lambda x, decimals: np.round(x, decimals), params=("decimals",),
        source="np.round({0}, {decimals})", native="round",
        infer=lambda types, params: (types[0].shape, np.round(np.ones(1, types[0].dtype), params[0]).dtype),
        batch=lambda batched, size, arguments, params: apply(_round, arguments, params),
        latex=r"\operatorname{{round}}_{{{decimals}}} {0}", cost=lambda types, params, outs: Cost(3 * outs[0].size),
        convention="the derivative is 0 wherever it exists, and is taken as 0 at the jumps too",
        points=((("3,4",), (1,)), (("",), (0,)), (("2",), (-2,))),
    )
)  # fmt: skip


@implements(np.round, np.around)
def _(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    return stored(apply(_round, (array_of(a),), (int(decimals),)), out)


@implements(np.fix)
def _(x: Any, out: Any = None) -> Any:
    return stored(np.trunc(array_of(x)), out)


# --- real arrays seen as complex ------------------------------------------------------------------------------------


@implements(np.real, np.real_if_close)
def _(val: Any, tol: Any = 100) -> Any:
    return array_of(val)


@implements(np.imag)
def _(val: Any) -> Any:
    return np.zeros_like(array_of(val))


@implements(np.isreal)
def _(x: Any) -> Any:
    return np.ones(np.shape(x), dtype=bool)[()]


@implements(np.iscomplex)
def _(x: Any) -> Any:
    return np.zeros(np.shape(x), dtype=bool)[()]


@implements(np.angle)
def _(z: Any, deg: Any = False) -> Any:
    made = apply(RULES["angle"], (array_of(z),))
    return made * (180 / np.pi) if deg else made


@implements(np.isposinf)
def _(x: Any, out: Any = None) -> Any:
    return stored(array_of(x) == np.inf, out)


@implements(np.isneginf)
def _(x: Any, out: Any = None) -> Any:
    return stored(array_of(x) == -np.inf, out)


# --- replacement ----------------------------------------------------------------------------------------------------


@implements(np.nan_to_num)
def _(x: Any, copy: Any = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Where an element is replaced its derivative is zero."""
    held = array_of(x)
    if held.dtype.kind != "f":
        return FUNCTIONS["astype"](held, held.dtype)
    limits = np.finfo(held.dtype)
    made = np.where(held == np.inf, limits.max if posinf is None else posinf, held)
    made = np.where(held == -np.inf, limits.min if neginf is None else neginf, made)
    made = np.where(np.isnan(held), nan, made)
    if made.dtype != held.dtype:
        made = FUNCTIONS["astype"](made, held.dtype)
    return made if copy else stored(made, x)


_UNSET: Any = object()


@implements(np.clip)
def _(
    a: Any, a_min: Any = _UNSET, a_max: Any = _UNSET, out: Any = None, *, min: Any = _UNSET, max: Any = _UNSET,  # noqa: A002
    **keywords: Any,
) -> Any:  # fmt: skip
    if a_min is _UNSET and a_max is _UNSET:
        a_min, a_max = (None if one is _UNSET else one for one in (min, max))
    elif min is not _UNSET or max is not _UNSET:
        msg = "Passing `min` or `max` keyword argument when `a_min` and `a_max` are provided is forbidden."
        raise ValueError(msg)
    elif a_min is _UNSET or a_max is _UNSET:
        msg = f"clip() missing 1 required positional argument: {'a_min' if a_min is _UNSET else 'a_max'!r}"
        raise TypeError(msg)
    a, low, high = (array_of(one) if isinstance(one, list | tuple) or one is a else one for one in (a, a_min, a_max))
    if a.dtype.kind == "f" and (low is None) != (high is None):
        low, high = -np.inf if low is None else low, np.inf if high is None else high
    if low is None and high is None:
        rule, inputs = RULES["positive"], [a]
    elif low is None:
        rule, inputs = RULES["minimum"], [a, high]
    elif high is None:
        rule, inputs = RULES["maximum"], [a, low]
    else:
        rule, inputs = RULES["clip"], [a, low, high]
    return FUNCTIONS["ufunc keywords"](rule, inputs, out=out, **keywords)


# --- one of several -------------------------------------------------------------------------------------------------


@implements(np.select)
def _(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        msg = "list of cases must be same length as list of conditions"
        raise ValueError(msg)
    if len(condlist) == 0:
        msg = "select with an empty condition list is not possible"
        raise ValueError(msg)
    choices = [one if type(one) in (int, float) else array_of(one) for one in (*choicelist, default)]
    conditions = [array_of(one) for one in condlist]
    for place, one in enumerate(conditions):
        if one.dtype.kind != "b":
            msg = f"invalid entry {place} in condlist: should be boolean ndarray"
            raise TypeError(msg)
    dtype = np.result_type(*[one if type(one) in (int, float) else one.dtype for one in choices])
    made = choices[-1]
    for condition, choice in zip(reversed(conditions), reversed(choices[:-1]), strict=True):
        made = np.where(condition, choice, made)
    return made if made.dtype == dtype else FUNCTIONS["astype"](made, dtype)


@implements(np.piecewise)
def _(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any:
    """Each function sees only its own elements, as in NumPy, so the conditions are asked for and guarded."""
    x = array_of(x)
    if np.ndim(condlist) == 0 or (
        not isinstance(condlist[0], list | np.ndarray) and not is_recorded(condlist[0]) and x.ndim
    ):
        condlist = [condlist]
    conditions = [np.asarray(concrete(one), dtype=bool) for one in condlist]
    count, functions = len(conditions), len(funclist)
    if count == functions - 1:
        conditions.append(~np.any(conditions, axis=0))
    elif count != functions:
        msg = f"with {count} condition(s), either {count} or {count + 1} functions are expected"
        raise ValueError(msg)
    shape = x.shape
    x = np.reshape(x, shape or (1,))
    made: Any = np.zeros(x.shape, dtype=x.dtype)
    for condition, function in zip(conditions, funclist, strict=True):
        places = np.nonzero(np.broadcast_to(condition, shape).reshape(x.shape))
        if not callable(function):
            values = array_of(function)
        elif places[0].size:
            values = array_of(function(FUNCTIONS["getitem"](x, places), *args, **kw))
        else:
            continue
        if values.dtype != x.dtype:
            values = FUNCTIONS["astype"](values, x.dtype)
        made = apply(RULES["setitem"], (made, values, *places), (("?",) * x.ndim,))
    return np.reshape(made, shape)


# --- broken lines and polynomials -----------------------------------------------------------------------------------


def _at(x: Any, index: Any) -> Any:
    return apply(RULES["getitem"], (x, index), (("?",),))


@implements(np.interp)
def _(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """A broken line: differentiable in x, in the heights and in the knots. At a knot the piece on its right counts."""
    x, xp, fp = map(array_of, (x, xp, fp))
    if fp.dtype.kind == "c":
        raise NoRule(
            "numpy.interp of complex heights has no rule", cure="interpolate the real and imaginary parts on their own"
        )
    x, xp, fp = (one if one.dtype == np.float64 else FUNCTIONS["astype"](one, np.float64) for one in (x, xp, fp))
    if xp.ndim != 1 or fp.ndim != 1:
        msg = "Data points must be 1-D sequences"
        raise ValueError(msg)
    if xp.shape != fp.shape:
        msg = "fp and xp are not of the same length."
        raise ValueError(msg)
    if not xp.size:
        msg = "array of sample points is empty"
        raise ValueError(msg)
    if period is not None:
        if not is_recorded(period) and period == 0:
            msg = "period must be a non-zero value"
            raise ValueError(msg)
        period = np.abs(period)
        left = right = None
        x, xp = x % period, xp % period
        order = np.argsort(xp)
        xp, fp = _at(xp, order), _at(fp, order)
        xp = np.concatenate((xp[-1:] - period, xp, xp[:1] + period))
        fp = np.concatenate((fp[-1:], fp, fp[:1]))
    left = fp[0] if left is None else left
    right = fp[-1] if right is None else right
    if xp.shape[0] == 1:
        inside = fp[0]
    else:
        piece = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, xp.shape[0] - 2)
        start, height = _at(xp, piece), _at(fp, piece)
        slope = (_at(fp, piece + 1) - height) / (_at(xp, piece + 1) - start)
        inside = slope * (x - start) + height
    return np.where(x < xp[0], left, np.where(x > xp[-1], right, inside))


@implements(np.unwrap)
def _(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * np.pi) -> Any:
    p = array_of(p)
    steps = np.diff(p, axis=axis)
    if discont is None:
        discont = period / 2
    dtype = np.result_type(steps.dtype, period.dtype if hasattr(period, "dtype") else period)
    if np.issubdtype(dtype, np.integer):
        high, odd = divmod(period, 2)
        ambiguous = odd == 0
    else:
        high = period / 2
        ambiguous = True
    low = -high
    wrapped = np.mod(steps - low, period) + low
    if ambiguous:
        wrapped = np.where((wrapped == low) & (steps > 0), high, wrapped)
    correction = np.where(np.abs(steps) < discont, 0, wrapped - steps)
    axis = axis % p.ndim
    first, rest = ((slice(None),) * axis + (part,) for part in (slice(None, 1), slice(1, None)))
    return np.concatenate((p[first], p[rest] + np.cumsum(correction, axis=axis)), axis=axis)


@implements(np.polyval)
def _(p: Any, x: Any) -> Any:
    p, x = array_of(p), array_of(x)
    if p.shape[0] == 0:
        return np.zeros_like(x)
    made = p[0] + np.zeros(x.shape, np.result_type(p.dtype, x.dtype))
    for power in range(1, p.shape[0]):
        made = made * x + p[power]
    return made
