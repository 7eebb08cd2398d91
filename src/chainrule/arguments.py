"""The arguments of a call: those that are differentiated by, checked and taken apart into leaves."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.build import is_recorded
from chainrule.containers import Structure, flatten, leaf_paths, unflatten
from chainrule.errors import ArgumentError, TraceError
from chainrule.program import Program
from chainrule.trace.reach import Reach, forget, reach_of
from chainrule.trace.standin import StandIn, lowered
from chainrule.trace.tracer import Trace, trace_leaves
from chainrule.trace.twins import TWINS

__all__ = ["Point", "name_of", "parameter_names", "reached_by"]


class Point:
    """The arguments of a call, those that are differentiated taken apart into leaves."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], argnums: Any
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.single = not isinstance(argnums, tuple | list)
        self.argnums = _positions(function, argnums, len(args))
        self.leaves: list[Any] = []
        self.trees: list[Structure] = []
        self.names: list[str] = []
        labels = parameter_names(function, len(args))
        for position in self.argnums:
            leaves, tree = flatten(args[position])
            paths = leaf_paths(tree, labels[position])
            self.leaves.extend(_kept(_leaf(one, path)) for one, path in zip(leaves, paths, strict=True))
            self.trees.append(tree)
            self.names.extend(paths)
        self.tree = Structure(tuple, None, tuple(self.trees))

    def call(self, standins: Sequence[Any]) -> Any:
        """The function, with these in the place of the leaves."""
        args = list(self.args)
        start = 0
        for position, tree in zip(self.argnums, self.trees, strict=True):
            args[position] = unflatten(tree, standins[start : start + tree.size])
            start += tree.size
        # math.sin itself, not a function that calls it, may be what is differentiated.
        return (TWINS.of(self.function) or self.function)(*args, **self.kwargs)

    def shaped(self, leaves: Sequence[Any]) -> Any:
        """Results for each leaf in the containers of the arguments."""
        whole = unflatten(self.tree, leaves)
        return whole[0] if self.single else whole

    def trace(
        self, *, function: Callable[..., Any] | None = None, abstract: bool = False, constant: bool = False
    ) -> tuple[Program, Trace, Any]:
        """The program of the call (or of ``function``, given the stand-ins), its trace, and what was returned."""
        # A function may write into its argument's memory behind our back, through another name for the array.
        large = [(one, zlib.crc32(one.data)) for one in self.leaves if type(one) is np.ndarray and one.nbytes > _SMALL]
        try:
            made = trace_leaves(
                function or self.call, self.leaves, self.names, name=name_of(self.function),
                reached=self.reach(), abstract=abstract, constant=constant,
            )  # fmt: skip
        except TraceError:
            forget(self.function)
            raise
        for one, mark in large:
            if zlib.crc32(one.data) != mark:
                raise TraceError(
                    f"{made[0].name} overwrote the memory of an argument, of shape {one.shape}, through another name",
                    cure="pass a copy of the array, or write to the argument itself: the caller's array stays as it is",
                )
        return made

    def reach(self) -> Reach:
        """The places whose names the call can reach."""
        return reached_by(self.function, self.args, self.kwargs)


_SMALL = 1 << 20


def _kept(value: Any) -> Any:
    """A leaf that nobody else can write to, or (a large one) that is checked afterwards."""
    if type(value) is np.ndarray:
        return value.copy("K") if value.nbytes <= _SMALL or not value.flags.c_contiguous else value
    return value


def reached_by(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reach:
    """The places whose names a call of the function with these arguments can reach."""
    objects = [one for one in (*args, *kwargs.values()) if not _is_plain_data(one)]
    if not objects:
        return reach_of(function)
    return reach_of((function, *objects))


def _is_plain_data(value: Any) -> bool:
    kind = type(value)
    if kind in (float, int, str, bool, StandIn, np.ndarray, type(None)) or isinstance(value, np.generic | np.ndarray):
        return True
    if kind in (list, tuple):
        return all(map(_is_plain_data, value))
    if kind is dict:
        return all(map(_is_plain_data, value.values()))
    return False


def name_of(function: Any) -> str:
    """A name for the function, as programs and messages show it."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return name if str(name).isidentifier() else "f"


def _signature_names(function: Any) -> list[str]:
    skipped = 0
    while isinstance(function, functools.partial | types.MethodType):
        if isinstance(function, functools.partial):
            skipped += len(function.args)
            function = function.func
        else:
            skipped += 1
            function = function.__func__
    code = getattr(function, "__code__", None)
    if isinstance(code, types.CodeType):
        return list(code.co_varnames[skipped : code.co_argcount])
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)][skipped:]


def parameter_names(function: Any, count: int) -> list[str]:
    """Names for the positional arguments of a call."""
    names = _signature_names(function)
    return [names[place] if place < len(names) else f"x{place}" for place in range(count)]


def _positions(function: Any, argnums: Any, count: int) -> tuple[int, ...]:
    wanted = tuple(argnums) if isinstance(argnums, tuple | list) else (argnums,)
    found = []
    for one in wanted:
        if isinstance(one, bool) or not isinstance(one, int | np.integer):
            raise ArgumentError(f"argnums must be an int or a tuple of ints, got {argnums!r}")
        place = int(one) + count if one < 0 else int(one)
        if not 0 <= place < count:
            raise ArgumentError(
                f"argnums={argnums!r}, but {name_of(function)} was called with {count} positional "
                f"argument{'s' if count != 1 else ''}",
                cure="number the positional arguments from 0; keyword arguments are passed through, not differentiated",
            )
        found.append(place)
    if len(set(found)) != len(found):
        raise ArgumentError(f"argnums={argnums!r} names an argument twice")
    if not found:
        raise ArgumentError("argnums is empty: there is nothing to differentiate by")
    return tuple(found)


def _leaf(value: Any, path: str) -> Any:
    """A leaf that is differentiated: a float, or an array of floats."""
    if type(value) is StandIn:
        value = lowered(value, None)
        if type(value) is StandIn and value.is_plain:
            value = value._array()
    if is_recorded(value):
        if value.dtype.kind != "f":
            raise _refused(path, f"an array of dtype {value.dtype}", "make it floating: x * 1.0, or x.astype(float)")
        return value
    if isinstance(value, bool | int) or (isinstance(value, np.generic) and value.dtype.kind in "iub"):
        raise _refused(
            path, f"the {type(value).__name__} {value!r}", f"integers have no derivative: pass float({value!r})"
        )
    if isinstance(value, complex) or (isinstance(value, np.generic) and value.dtype.kind == "c"):
        raise _refused(path, "a complex number", "differentiate by its real and imaginary parts, two real arguments")
    if isinstance(value, float | np.floating):
        return np.float64(value) if type(value) is float else value
    if type(value) is np.ndarray and value.dtype.kind == "f":
        return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    if isinstance(value, np.matrix):
        raise _refused(path, "an np.matrix, whose * means the matrix product", "pass np.asarray(matrix)")
    if "numpy.ma" in sys.modules and isinstance(value, np.ma.MaskedArray):
        raise _refused(path, "a masked array", "pass masked.filled(value), and use np.where for the mask")
    if isinstance(value, np.ndarray):
        kind = value.dtype.kind
        if kind in "iub":
            cure = "integers have no derivative: pass x.astype(float)"
        elif kind == "c":
            cure = "differentiate by its real and imaginary parts, two real arguments"
        elif kind == "O":
            cure = "it holds Python objects (a ragged list?): make it a float array, or pass a list of arrays"
        else:
            cure = "pass numbers; what is text or a date should reach the function in another argument"
        if kind != "f":
            raise _refused(path, f"an array of dtype {value.dtype}", cure)
        if type(value) not in (np.ndarray, np.memmap):
            raise _refused(path, f"a {type(value).__name__} (a subclass of ndarray)", "pass np.asarray(x)")
        array = np.asarray(value)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if value is None:
        raise _refused(path, "None", "choose another argument by argnums, or pass numbers")
    if hasattr(value, "__array__") and not isinstance(value, type):
        raise _refused(path, f"a {type(value).__module__}.{type(value).__qualname__}", "pass np.asarray(x)")
    if hasattr(value, "__next__"):
        raise _refused(path, "a generator", "pass a list or an array: a generator can be read only once")
    raise _refused(
        path,
        f"a {type(value).__module__}.{type(value).__qualname__}",
        "pass floats, float arrays, or containers of them",
    )


def _refused(path: str, what: str, cure: str) -> ArgumentError:
    return ArgumentError(f"argument {path} is {what}; it can not be differentiated by", cure=cure)
