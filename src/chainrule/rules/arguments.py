"""Arguments as NumPy's functions take them: arrays or nested lists, recorded or plain; axes; ``out=``."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from chainrule.errors import NoRule
from chainrule.rule import FUNCTIONS

__all__ = [
    "array_of",
    "as_copy",
    "cast",
    "concrete",
    "is_copied",
    "is_recorded",
    "mentions",
    "one_axis",
    "refuse",
    "several_axes",
    "stored",
    "whole",
]


def is_recorded(value: Any) -> bool:
    """Whether code that computes with the value is recorded."""
    return getattr(value, "_chainrule_level", None) is not None


def mentions(value: Any) -> bool:
    """Whether the value is recorded, or a list or tuple that holds such a value at any depth."""
    if is_recorded(value):
        return True
    return isinstance(value, list | tuple) and any(map(mentions, value))


def array_of(value: Any) -> Any:
    """The value as an array, recorded if anything in it is."""
    if is_recorded(value) or type(value) is np.ndarray:
        return value
    return FUNCTIONS[np.array](value) if mentions(value) else np.asarray(value)


def concrete(value: Any) -> Any:
    """The plain array of a value that decides a shape; where it is recorded, the tracer keeps a guard."""
    return FUNCTIONS["concrete"](value) if is_recorded(value) else np.asarray(value)


def whole(value: Any) -> int:
    """A Python int of an integer, which decides a shape or an axis."""
    return operator.index(concrete(value).item() if is_recorded(value) else value)


def as_copy(value: Any) -> Any:
    """The same value, as an array that shares no memory with any other."""
    copy = FUNCTIONS.get("copy")
    if not is_recorded(value):
        return np.copy(value)
    return value if copy is None else copy(value)


def cast(value: Any, dtype: Any) -> Any:
    """The value in this dtype (None: in its own)."""
    if dtype is None:
        return value
    dtype = np.dtype(dtype)
    if value.dtype == dtype:
        return value
    return FUNCTIONS["astype"](value, dtype) if is_recorded(value) else value.astype(dtype)


def stored(result: Any, out: Any) -> Any:
    """The result, written into ``out`` where that is given."""
    return result if out is None else FUNCTIONS["store"](out, result)


def one_axis(axis: Any, ndim: int, name: str | None = None) -> int:
    """A non-negative axis; raises numpy.exceptions.AxisError as NumPy does."""
    return int(normalize_axis_index(whole(axis), ndim, name))


def several_axes(axis: Any, ndim: int, name: str | None = None, *, allow_duplicate: bool = False) -> tuple[int, ...]:
    """Non-negative axes of an int or a sequence of ints."""
    if is_recorded(axis) or not isinstance(axis, Sequence | np.ndarray) or np.ndim(axis) == 0:
        axis = (whole(axis),)
    return normalize_axis_tuple([whole(one) for one in axis], ndim, name, allow_duplicate)


def refuse(function: str, argument: str, cure: str) -> NoRule:
    """The error for an argument that a rule does not cover."""
    return NoRule(f"{function} with {argument} has no rule", cure=cure)


def is_copied(copy: Any) -> bool:
    """Whether ``copy=`` asks for a copy in any case: True, or what NumPy's ``_CopyMode.ALWAYS`` is."""
    return bool(copy.name == "ALWAYS") if hasattr(copy, "name") else bool(copy)
