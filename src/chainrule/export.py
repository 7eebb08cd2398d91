"""A function, or an operator of chainrule, written out as source that needs no chainrule: a module of plain NumPy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.arguments import parameter_names
from chainrule.containers import flatten
from chainrule.operators import Operator, trace
from chainrule.program import Program

__all__ = ["to_c", "to_numpy"]


def to_numpy(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> str:
    """A plain-NumPy module that computes ``function(*args)`` for arguments of these shapes, as its text.

    ``function`` is a function of yours, or what an operator made of one: ``to_numpy(cr.grad(f), x)``. The text has your
    names, and a comment for each line of yours that it is from or differentiates; it is meant to be read, changed and
    kept. The function takes the floating-point arguments (containers as they are), then captured arrays of more than 32
    elements; all other arguments are fixed at what they were. It refuses other shapes, and values for which your
    function would have taken another branch (ValueError). Results are equal to those of chainrule, bit for bit.

    Raises what ``grad`` raises, and NoRule for a rule of your own whose function can not be printed.

    >>> text = to_numpy(lambda x: np.sum(x * x), np.ones(3))
    >>> print(text[text.rindex("    return"):])
        return np.sum(x * x)
    <BLANKLINE>
    """
    from chainrule.derive.numpy_source import numpy_source

    program, notes = _program(function, args, kwargs)
    return numpy_source(program, notes=notes)


def to_c(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> str:
    """A self-contained C99 file that computes ``function(*args)`` for arguments of these shapes, as its text.

    ``function`` is a function of yours, or what an operator made of one: ``to_c(cr.grad(f), x)``. The file has one
    function, ``int name(inputs..., captured arrays..., outputs..., void *workspace)``, whose comment documents types,
    shapes and order (containers are flattened): numbers are passed by value, arrays as blocks in C order. It returns 0,
    or the number of what went wrong, which the comment explains. It needs libm only and allocates nothing.

    Raises what ``grad`` raises, and NoRule for a step that has no form in C.

    >>> text = to_c(lambda x: np.sum(x * x), np.ones(3))
    >>> "int f(const double *restrict x, double *result, void *workspace)" in text
    True
    """
    from chainrule.derive.c_source import c_source

    program, notes = _program(function, args, kwargs)
    return c_source(program, notes=notes)


def _program(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, list[str]]:
    """The program to be written, its captured arrays under the user's names for them, and what was fixed in it."""
    program = function.program(*args, **kwargs) if isinstance(function, Operator) else trace(function, *args, **kwargs)
    inner = inspect.unwrap(function)
    known = _arrays_of(inner)
    for var, constant in zip(program.captures, program.constants, strict=True):
        name = next((name for name, array in known.items() if _is_same(array, constant)), None)
        if name is not None and not isinstance(program.names.get(var), str):
            program.names[var] = name
    fixed = {
        name: value for name, value in zip(parameter_names(inner, len(args)), args, strict=False) if _is_fixed(value)
    }
    listed = [f"{name} = {_short(value)}" for name, value in {**fixed, **kwargs}.items()]
    return program, [f"Written for {', '.join(listed)}."] if listed else []


def _is_fixed(value: Any) -> bool:
    found, _ = flatten(value)
    return not all(
        isinstance(one, float | np.floating) or getattr(one, "dtype", np.dtype(int)).kind == "f" for one in found
    )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_same(array: Any, constant: Any) -> bool:
    # The trace keeps copies of small arrays.
    return array is constant or (
        constant is not None
        and (array.shape, array.dtype) == (constant.shape, constant.dtype)
        and np.array_equal(array, constant, equal_nan=array.dtype.kind == "f")
    )


def _arrays_of(function: Any) -> dict[str, Any]:
    """The arrays that a function reads by the name of a global or of a variable around it."""
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    named = {name: function.__globals__[name] for name in code.co_names if name in function.__globals__}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            named[name] = cell.cell_contents
        except ValueError:
            continue
    return {name: value for name, value in named.items() if isinstance(value, np.ndarray)}
