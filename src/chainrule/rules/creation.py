"""Arrays made of recorded values, or like them: ``np.array`` of nested lists, asarray, zeros_like, full, arange.

``np.zeros_like(x)`` depends on the shape of x only, so it is a plain array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import NoRule
from chainrule.rule import FUNCTIONS, apply, implements
from chainrule.rules.arguments import array_of, as_copy, cast, concrete, is_copied, is_recorded, mentions, refuse, whole
from chainrule.rules.gather import stack as stack_rule
from chainrule.rules.manipulation import in_one_block

__all__: list[str] = []


# --- np.array -------------------------------------------------------------------------------------------------------


def _leaves(value: Any) -> tuple[tuple[int, ...], list[Any]] | None:
    """The shape of nested lists and their leaves in order, or None where the lists are ragged."""
    if not isinstance(value, list | tuple) or is_recorded(value):
        return (), [value]
    inner = [_leaves(one) for one in value]
    shapes = {None if one is None else one[0] for one in inner}
    if len(shapes) > 1 or None in shapes:
        return None
    found = [leaf for one in inner if one is not None for leaf in one[1]]
    return (len(value), *(shapes.pop() if shapes else ())), found  # type: ignore[misc]


def _ragged(shape: Any) -> ValueError:
    return ValueError(
        "setting an array element with a sequence. The requested array has an inhomogeneous shape after "
        f"{len(shape)} dimensions. The detected shape was {shape} + inhomogeneous part."
    )


def _stacked(value: Any) -> Any:
    """One array of nested lists in which something is recorded."""
    if is_recorded(value):
        return value
    if not mentions(value):
        return np.asarray(value)
    found = _leaves(value)
    if found is not None:
        shape, leaves = found
        parts = [one if is_recorded(one) else _number(one) for one in leaves]
        if len({np.shape(one) for one in parts}) == 1:
            made = apply(stack_rule, parts, (0,))
            return made if len(shape) == 1 else np.reshape(made, (*shape, *np.shape(parts[0])))
    rows = [_stacked(one) for one in value]
    if len({np.shape(one) for one in rows}) > 1:
        raise _ragged((len(rows),))
    return apply(stack_rule, rows, (0,))


def _number(one: Any) -> Any:
    """A plain leaf: a number stays one (a literal of the program), else an array."""
    return one if isinstance(one, bool | int | float | np.generic) else np.asarray(one)


def _with_rank(made: Any, ndmin: int) -> Any:
    return made if made.ndim >= ndmin else np.reshape(made, (1,) * (ndmin - made.ndim) + tuple(made.shape))


@implements(np.array)
def array(
    object: Any,  # noqa: A002 - NumPy's name
    dtype: Any = None,
    *,
    copy: Any = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> Any:
    made = _stacked(object)
    if dtype is not None:
        made = cast(made, dtype)
    if is_copied(copy) and made is object:
        made = as_copy(made)
    return _with_rank(made, ndmin)


@implements(np.asarray, np.asanyarray)
def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None, like: Any = None
) -> Any:
    made = array(a, dtype, copy=is_copied(copy))
    return in_one_block(made, order) if order in ("C", "F") else made


@implements(np.ascontiguousarray)
def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    return in_one_block(array(a, dtype, copy=False, ndmin=1))


@implements(np.asfortranarray)
def asfortranarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    return in_one_block(array(a, dtype, copy=False, ndmin=1), "F")


@implements(np.require)
def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    given = [requirements] if isinstance(requirements, str) else requirements or []
    wanted = {one.upper()[0] for one in given}
    if "O" in wanted:
        raise refuse("np.require", "requirement 'O' (own memory)", "use np.array(a), which always has its own")
    made = array(a, dtype, copy=False)
    return in_one_block(made, "F" if "F" in wanted else "C") if wanted & {"F", "C"} else made


@implements(np.asarray_chkfinite)
def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Any:
    made = array(a, dtype, copy=False)
    if made.dtype.kind == "f" and not concrete(np.all(np.isfinite(made))):
        msg = "array must not contain infs or NaNs"
        raise ValueError(msg)
    return made


# --- filled arrays --------------------------------------------------------------------------------------------------


def _like(a: Any, dtype: Any, shape: Any) -> tuple[Any, Any]:
    if shape is None:
        size: Any = tuple(a.shape)
    else:
        size = tuple(whole(one) for one in shape) if np.ndim(shape) else (whole(shape),)
    return size, a.dtype if dtype is None else np.dtype(dtype)


@implements(np.zeros_like)
def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    return np.zeros(*_like(array_of(a), dtype, shape))


@implements(np.ones_like)
def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    return np.ones(*_like(array_of(a), dtype, shape))


@implements(np.empty_like)
def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    # Zeros: what memory holds by chance is no function of the input.
    return np.zeros(*_like(array_of(prototype), dtype, shape))


@implements(np.full_like)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
    device: Any = None,
) -> Any:  # fmt: skip
    size, kind = _like(array_of(a), dtype, shape)
    return full(size, fill_value, kind)


@implements(np.full)
def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
) -> Any:
    size = tuple(whole(one) for one in shape) if np.ndim(shape) else (whole(shape),)
    value = array_of(fill_value)
    if not is_recorded(value):
        return np.full(size, value, dtype)
    # An assignment, so that the array has memory of its own.
    kind = value.dtype if dtype is None else np.dtype(dtype)
    return FUNCTIONS["setitem"](np.zeros(size, kind), ..., value)


@implements(np.arange)
def arange(*args: Any, step: Any = None, start: Any = None, stop: Any = None, dtype: Any = None, **kwargs: Any) -> Any:
    given = list(args)
    if len(given) == 1 and stop is None and start is None:
        first, last = 0, given[0]
    else:
        first = given[0] if given else 0 if start is None else start
        last = given[1] if len(given) > 1 else stop
    by = given[2] if len(given) > 2 else 1 if step is None else step
    dtype = given[3] if len(given) > 3 else dtype
    if last is None:
        raise NoRule("np.arange without a stop has no rule", cure="give start and stop in order")
    # Only the count is asked for, so that other values with the same count need no new trace.
    count = max(0, whole(np.ceil(array_of((last - first) / by)).astype(np.int64)))
    made = first + by * np.arange(count)
    return made if dtype is None else cast(made, dtype)


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    count = num - 1 if endpoint else num
    span = np.subtract(stop, start)
    shape = np.shape(span)
    places = np.arange(num, dtype=np.float64).reshape((num, *(1,) * len(shape)))
    step = span / count if count > 0 else span * np.nan
    made = start + places * step if count > 0 else start + places * span
    if endpoint and num > 1:
        # NumPy puts the last point exactly at the end.
        made = np.concatenate([made[:-1], np.expand_dims(stop + 0.0 * span, 0)])
    if dtype is None:
        dtype = np.result_type(*[getattr(one, "dtype", one) for one in (start, stop)], 1.0)
    if made.dtype != dtype:
        made = made.astype(dtype)
    if axis != 0:
        made = np.moveaxis(made, 0, axis)
    return (made, step) if retstep else made


@implements(np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    made = np.power(base, linspace(start, stop, num, endpoint, axis=axis))
    return made if dtype is None else made.astype(dtype)


@implements(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    made = np.sign(start) * np.exp(linspace(np.log(np.abs(start)), np.log(np.abs(stop)), num, endpoint, axis=axis))
    return made if dtype is None else made.astype(dtype)
