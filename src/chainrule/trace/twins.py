"""Twins: what stands in for NumPy, ``math``, ``scipy.special``, ``scipy.linalg`` and ``float`` in traced code.

Each twin calls the original where none of its arguments is a stand-in. Functions that make arrays give, in a thread
that is tracing, a plain stand-in, which can later hold a traced value.
"""

from __future__ import annotations

import functools
import math
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.build import is_recorded
from chainrule.errors import TraceError
from chainrule.rule import FUNCTIONS
from chainrule.source import excerpt
from chainrule.trace import answers
from chainrule.trace.array_api import add_array_api
from chainrule.trace.frames import user_site
from chainrule.trace.reach import holds_twins
from chainrule.trace.standin import StandIn, Text, call, lowered, plain
from chainrule.trace.tracer import STACK, active

__all__ = ["TWINS", "load"]

#: Functions whose result is a new array: in a trace it may later be written to.
_MAKERS = (
    "array asarray asanyarray zeros ones empty full copy linspace logspace geomspace eye identity tri arange fromiter "
    "fromfunction zeros_like ones_like empty_like full_like atleast_1d atleast_2d atleast_3d ascontiguousarray "
    "asfortranarray asarray_chkfinite require diag diagflat tile repeat concatenate stack hstack vstack column_stack "
    "meshgrid outer"
).split()


def _mentions(values: Any, depth: int = 4) -> bool:
    """Whether a stand-in is among the values, or in lists and tuples among them."""
    for one in values:
        kind = type(one)
        if kind is StandIn:
            return True
        if kind in (list, tuple):
            if depth and _mentions(one, depth - 1):
                return True
        elif getattr(kind, "_chainrule_level", None) is not None:
            return True
    return False


class _FunctionTwin:
    """Stands for a function: equal to it, hashed like it, pickled as it; only ``is`` tells them apart."""

    def __init__(self, original: Any, code: Callable[..., Any]) -> None:
        self._original = original
        self.__wrapped__ = original
        self.__call = code
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            value = getattr(original, name, None)
            if isinstance(value, str):
                setattr(self, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._original

    def __hash__(self) -> int:
        return hash(self._original)

    def __repr__(self) -> str:
        return repr(self._original)

    def __reduce__(self) -> Any:
        return _looked_up, (self._original.__module__, self._original.__qualname__)


def _looked_up(module: str, name: str) -> Any:
    import importlib

    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def _named(code: Any, original: Any) -> Any:
    return _FunctionTwin(original, code)


def _function_twin(original: Any) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        if _mentions(args) or (kwargs and _mentions(kwargs.values())):
            return call(original, args, kwargs)
        return original(*args, **kwargs)

    return _named(twin, original)


def _maker_twin(original: Any) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        if _mentions(args) or (kwargs and _mentions(kwargs.values())):
            return call(original, args, kwargs)
        made = original(*args, **kwargs)
        trace = active()
        if trace is None or kwargs.get("out") is not None:
            return made
        if isinstance(made, list):
            return [_ours(trace, one, args) for one in made]
        if type(made) is tuple:
            return tuple(_ours(trace, one, args) for one in made)
        return _ours(trace, made, args)

    return _named(twin, original)


def _ours(trace: Any, made: Any, args: Any) -> Any:
    if type(made) is not np.ndarray or made.dtype.kind != "f" or any(made is one or made.base is one for one in args):
        return made
    if made.base is not None and not made.flags.writeable:
        return made
    return plain(trace, made)


class _UfuncTwin:
    """Stands for a ufunc: sees stand-ins inside lists, and saves a round through NumPy's dispatch."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._nin = original.nin
        self.__name__ = original.__name__
        self.__doc__ = original.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs and args and type(args[0]) is StandIn and len(args) == self._nin:
            return args[0]._chainrule_ufunc(self._original, args)
        if _mentions(args) or (kwargs and _mentions(kwargs.values())):
            if not kwargs and len(args) > self._original.nin:
                args, kwargs = args[: self._original.nin], {"out": args[self._original.nin :]}
            for one in args:
                if type(one) is StandIn:
                    return one.__array_ufunc__(self._original, "__call__", *args, **kwargs)
            args = tuple(
                FUNCTIONS[np.array](one) if isinstance(one, list | tuple) and _mentions(one) else one for one in args
            )
            return self._original(*args, **kwargs)
        return self._original(*args, **kwargs)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return np.ufunc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __repr__(self) -> str:
        return repr(self._original)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._original

    def __hash__(self) -> int:
        return hash(self._original)

    def __reduce__(self) -> Any:
        return self._original.__reduce__()


# --- math -----------------------------------------------------------------------------------------------------------

_MATH_UFUNCS = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "atan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "exp": np.exp, "expm1": np.expm1, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
    "sqrt": np.sqrt, "fabs": np.abs, "fmod": np.fmod, "copysign": np.copysign, "degrees": np.degrees,
    "radians": np.radians, "pow": np.power, "exp2": np.exp2, "cbrt": np.cbrt,
}  # fmt: skip
_MATH_SPECIAL = {"erf": "erf", "erfc": "erfc", "gamma": "gamma", "lgamma": "gammaln"}


def _value_of(one: Any) -> Any:
    """The concrete number, or None in a trace without values; asks without a guard, for domain checks only."""
    while type(one) is StandIn:
        if one.is_plain:
            return one._array()
        if one._trace.abstract:
            return None
        one = one._trace.evaluate(one._read())
    return None if is_recorded(one) else one


def _math_twin(original: Any, code: Callable[..., Any]) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        if not (_mentions(args) or (kwargs and _mentions(kwargs.values()))):
            return original(*args, **kwargs)
        for one in args:
            if is_recorded(one) and np.size(one) != 1:
                msg = "only 0-dimensional arrays can be converted to Python scalars"
                raise TypeError(msg)
        values = [_value_of(one) for one in args]
        if all(one is not None for one in values):
            original(
                *[float(one) if np.ndim(one) or isinstance(one, np.generic | np.ndarray) else one for one in values],
                **kwargs,
            )
        scalars = [one.reshape(()) if type(one) is StandIn and one.ndim else one for one in args]
        made = code(*scalars, **kwargs)
        if type(made) is StandIn:
            made._scalar = True
        return made

    return _named(twin, original)


_ASKED: dict[Any, Any] = {
    math.floor: np.floor,
    math.ceil: np.ceil,
    math.trunc: np.trunc,
    math.isfinite: np.isfinite,
    math.isinf: np.isinf,
    math.isnan: np.isnan,
}


def _math_question(original: Any) -> Any:
    """isfinite, floor, ... : the concrete value is asked for, and guarded."""

    def twin(*args: Any, **kwargs: Any) -> Any:
        if not _mentions(args):
            return original(*args, **kwargs)
        first, *rest = args
        if rest:
            return original(*[one._ask(float) if type(one) is StandIn else one for one in args], **kwargs)
        # What is asked for is a step of its own: its result is the guard.
        asked = _ASKED.get(original)
        if asked is None:
            return original(first._ask(float))
        if original in (math.floor, math.ceil, math.trunc):
            first._trace.leave(f"math.{original.__name__}()")
            return first._ask_whole(asked)
        return bool(asked(first))

    return _named(twin, original)


def _log(x: Any, base: Any = None) -> Any:
    return np.log(x) if base is None else np.log(x) / np.log(base)


def _dist(p: Any, q: Any) -> Any:
    return np.sqrt(sum((a - b) ** 2 for a, b in zip(p, q, strict=True)))


def _hypot(*coordinates: Any) -> Any:
    if len(coordinates) == 2:
        return np.hypot(*coordinates)
    return np.linalg.norm(np.stack([FUNCTIONS[np.array](one) if not is_recorded(one) else one for one in coordinates]))


def _prod(iterable: Any, *, start: Any = 1) -> Any:
    total = start
    for one in iterable:
        total = total * one
    return total


def _fsum(iterable: Any) -> Any:
    total: Any = 0.0
    for one in iterable:
        total = total + one
    return total


def _math_namespace() -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for name, ufunc in _MATH_UFUNCS.items():
        original = getattr(math, name, None)
        if original is not None:
            found[original] = _math_twin(original, lambda *args, _ufunc=ufunc: _recorded_call(_ufunc, args))
    found[math.log] = _math_twin(math.log, _log)
    for name, special in _MATH_SPECIAL.items():
        found[getattr(math, name)] = _math_twin(getattr(math, name), functools.partial(_special, special))
    for name in ("isfinite", "isnan", "isinf", "floor", "ceil", "trunc", "isclose"):
        found[getattr(math, name)] = _math_question(getattr(math, name))
    for name, code in (("hypot", _hypot), ("dist", _dist)):
        found[getattr(math, name)] = _with_lists(getattr(math, name), code)
    for name, code in (("prod", _prod), ("fsum", _fsum)):
        found[getattr(math, name)] = _with_iterable(getattr(math, name), code)
    found[math.modf] = _with_lists(math.modf, lambda x: (np.fmod(x, 1.0), np.trunc(x)))
    found[math.ldexp] = _with_lists(math.ldexp, lambda x, i: x * 2.0**i)
    found[math.remainder] = _with_lists(math.remainder, lambda x, y: x - y * np.rint(x / y))
    if hasattr(math, "sumprod"):
        found[math.sumprod] = _with_lists(math.sumprod, lambda p, q: sum(a * b for a, b in zip(p, q, strict=True)))
    return found


def _recorded_call(ufunc: Any, args: Any) -> Any:
    for one in args:
        if is_recorded(one):
            return one._chainrule_ufunc(ufunc, args)
    return ufunc(*args)


def _special(name: str, x: Any) -> Any:
    import scipy.special

    return getattr(scipy.special, name)(x)


def _with_lists(original: Any, code: Any) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        return code(*args, **kwargs) if _mentions(args) else original(*args, **kwargs)

    return _named(twin, original)


def _with_iterable(original: Any, code: Any) -> Any:
    def twin(iterable: Any, **kwargs: Any) -> Any:
        held = iterable if is_recorded(iterable) else list(iterable)
        return code(held, **kwargs) if is_recorded(held) or _mentions(held) else original(held, **kwargs)

    return _named(twin, original)


# --- float and NumPy's scalar types ---------------------------------------------------------------------------------


def _read_from_text() -> TraceError:
    return TraceError(
        "a number is read from the text of a value that is being differentiated: the path to the input is lost",
        where=excerpt(user_site()),
        cure="compute with the value itself; text is for showing",
    )


def _scalar_type(original: Any, convert: Callable[[Any], Any]) -> Any:
    """A type that is ``original`` to everybody who asks, and keeps a stand-in a stand-in when it is called."""

    class Meta(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            if cls is not twin:
                return type.__call__(cls, *args, **kwargs)
            if args and (is_recorded(args[0]) or _mentions(args)):
                return convert(args[0])
            if args and type(args[0]) is Text:
                raise _read_from_text()
            return original(*args, **kwargs)

        def fromhex(cls, text: str) -> Any:
            if type(text) is Text:
                raise _read_from_text()
            return float.fromhex(text)

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, original) if cls is twin else type.__instancecheck__(cls, value)

        def __subclasscheck__(cls, kind: Any) -> bool:
            return issubclass(kind, original) if cls is twin else type.__subclasscheck__(cls, kind)

        def __eq__(cls, other: object) -> bool:
            return other is cls or (cls is twin and other is original)

        def __hash__(cls) -> int:
            return hash(original) if cls is twin else type.__hash__(cls)

        def __repr__(cls) -> str:
            return repr(original) if cls is twin else type.__repr__(cls)

    twin: Any = None
    twin = Meta(
        original.__name__,
        (original,),
        {"dtype": np.dtype(original), "__module__": original.__module__, "__doc__": original.__doc__},
    )
    return twin


def _to_float(value: Any) -> Any:
    value = lowered(value, None)
    if not is_recorded(value):
        return float(value)
    if type(value) is StandIn and value.is_plain:
        return float(value._array())
    if type(value) is StandIn and not holds_twins(sys._getframe(2)):
        # Called back by foreign code (json's default=float), which needs a float indeed.
        return float(value)
    if value.size != 1:
        msg = "only 0-dimensional arrays can be converted to Python scalars"
        raise TypeError(msg)
    made = value.reshape(()) if value.ndim else value
    made = made if made.dtype == np.float64 else FUNCTIONS["astype"](made, np.float64)
    made = FUNCTIONS["copy"](made)
    if type(made) is StandIn:
        made._scalar = True
    return made


def _to_dtype(dtype: Any) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not is_recorded(value):
            value = FUNCTIONS[np.array](value)
        made = FUNCTIONS["astype"](value, dtype)
        if type(made) is StandIn and made.ndim == 0:
            made._scalar = True
        return made

    return convert


# --- vectorize, wrapped functions -----------------------------------------------------------------------------------


def _vectorize_twin(original: Any) -> Any:
    """``np.vectorize`` objects: the Python function on each element, one after the other."""

    def twin(*args: Any, **kwargs: Any) -> Any:
        if not (_mentions(args) or _mentions(kwargs.values())):
            return original(*args, **kwargs)
        if original.signature is not None:
            raise TraceError(
                "np.vectorize with a signature is not differentiated",
                where=excerpt(user_site()),
                cure="loop over the examples and np.stack the results, or use chainrule.vmap",
            )
        names = list(kwargs)
        shapes = [np.shape(one) for one in (*args, *kwargs.values())]
        shape = np.broadcast_shapes(*shapes)
        whole = [np.broadcast_to(_array(one), shape) for one in (*args, *kwargs.values())]
        made = []
        for place in np.ndindex(*shape):
            one = [value[place] for value in whole]
            made.append(original.pyfunc(*one[: len(args)], **dict(zip(names, one[len(args) :], strict=True))))
        if made and isinstance(made[0], tuple):
            return tuple(_array(list(part)).reshape(shape) for part in zip(*made, strict=True))
        return _array(made).reshape(shape)

    return _named(twin, original)


def _array(value: Any) -> Any:
    if is_recorded(value):
        return value
    if isinstance(value, list | tuple) and _mentions(value):
        return FUNCTIONS[np.array](value)
    return np.asarray(value)


class _VectorizeTwin:
    """The class ``np.vectorize`` as traced code sees it."""

    def __call__(self, pyfunc: Any = np._NoValue, *args: Any, **kwargs: Any) -> Any:
        made = np.vectorize(pyfunc, *args, **kwargs)
        return _vectorize_twin(made) if callable(getattr(made, "pyfunc", None)) and pyfunc is not np._NoValue else made


def _wrapped_twin(original: Any, inner: Any) -> Any:
    """A wrapper around a Python function that needs plain arguments (a cache, a jit): its function for stand-ins."""

    def twin(*args: Any, **kwargs: Any) -> Any:
        if _mentions(args) or _mentions(kwargs.values()):
            return inner(*args, **kwargs)
        return original(*args, **kwargs)

    return _named(twin, original)


# --- the table ------------------------------------------------------------------------------------------------------


def _module_twin(original: types.ModuleType, overrides: dict[str, Any]) -> types.ModuleType:
    """A module in which a tracing thread finds twins, and every other thread what is in the original."""

    class Twin(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            if STACK.traces:
                found = overrides.get(name)
                if found is not None:
                    return found
            return getattr(original, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(original, name, value)

        def __delattr__(self, name: str) -> None:
            delattr(original, name)

        def __dir__(self) -> list[str]:
            return dir(original)

        def __eq__(self, other: object) -> bool:
            return other is self or other is original

        def __hash__(self) -> int:
            return hash(original)

        def __reduce__(self) -> Any:
            return _module_called, (original.__name__,)

    twin = Twin(original.__name__)
    _OVERRIDES[id(twin)] = (original, overrides)
    return twin


#: Of each twin of a module: the module, and its names that have twins.
_OVERRIDES: dict[int, tuple[types.ModuleType, dict[str, Any]]] = {}


def _module_called(name: str) -> types.ModuleType:
    import importlib

    return importlib.import_module(name)


class _Twins:
    """Original -> twin, by identity."""

    def __init__(self) -> None:
        self.table: dict[int, Any] = {}
        self.originals: list[Any] = []
        self.float_twin: Any = None
        self.cached: dict[int, tuple[Any, Any]] = {}
        #: id of a twin -> what it stands for.
        self.reverse: dict[int, Any] = {}
        self.variants: dict[Any, Any] = {}
        self.has_array_api = False

    def add(self, original: Any, twin: Any) -> None:
        self.table[id(original)] = twin
        self.reverse[id(twin)] = original
        self.originals.append(original)

    def of(self, value: Any, compared: frozenset[str] | set[str] = frozenset()) -> Any:
        """The twin of a value found under a name, or None."""
        found = self.table.get(id(value))
        if found is not None:
            return self.without(found, frozenset(compared)) if compared and id(found) in _OVERRIDES else found
        kind = type(value)
        if (
            kind is np.vectorize
            or kind is functools._lru_cache_wrapper
            or (kind.__module__.partition(".")[0] == "numba" and hasattr(value, "py_func"))
        ):
            held = self.cached.get(id(value))
            if held is not None and held[0] is value:
                return held[1]
            if kind is np.vectorize:
                twin = _vectorize_twin(value)
            else:
                twin = _wrapped_twin(value, getattr(value, "py_func", None) or value.__wrapped__)
            if len(self.cached) > 1000:
                self.cached.clear()
            self.cached[id(value)] = (value, twin)
            return twin
        if kind is types.ModuleType and value.__name__ in ("scipy.special", "scipy.linalg", "scipy"):
            self.add_scipy()
            return self.table.get(id(value))
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and module.startswith("scipy._lib") and callable(value) and not self.has_array_api:
            self.add_scipy()
            return self.table.get(id(value))
        if isinstance(module, str) and module.startswith(("scipy.special", "scipy.linalg")) and callable(value):
            self.add_scipy()
            return self.table.get(id(value))
        if kind is np.ufunc and "scipy.special" in sys.modules:
            self.add_scipy()
            return self.table.get(id(value))
        return None

    def builtin(self, name: str) -> Any:
        """The twin of a builtin that a module's code uses under its own name."""
        return self.float_twin if name == "float" else None

    def original_of(self, value: Any) -> Any:
        """What a value stands for, if it is a twin."""
        return self.reverse.get(id(value)) if value is not None else None

    def without(self, twin: Any, compared: frozenset[str]) -> Any:
        """The twin of a module for code that compares some of its attributes with ``is``: those are the originals."""
        original, overrides = _OVERRIDES[id(twin)]
        names = frozenset(one[1:] for one in compared if one.startswith(".") and one[1:] in overrides)
        if not names:
            return twin
        key = (id(twin), names)
        if key not in self.variants:
            kept = {name: one for name, one in overrides.items() if name not in names}
            self.variants[key] = _module_twin(original, kept)
            self.reverse[id(self.variants[key])] = original
        return self.variants[key]

    # -- filling

    def fill(self) -> None:
        for original, twin in _math_namespace().items():
            self.add(original, twin)
        self.add(
            math,
            _module_twin(
                math, {name: self.table[id(one)] for name, one in vars(math).items() if id(one) in self.table}
            ),
        )
        self.float_twin = _scalar_type(float, _to_float)
        self.reverse[id(self.float_twin)] = float
        names = self.numpy_names(np, _MAKERS)
        for name in ("float64", "float32", "double", "single"):
            original = getattr(np, name)
            if id(original) not in self.table:
                self.add(original, _scalar_type(original, _to_dtype(np.dtype(original))))
            names[name] = self.table[id(original)]
        names["vectorize"] = _VectorizeTwin()
        self.add(np.errstate, answers.ErrorState)
        names["errstate"] = answers.ErrorState
        for name in ("ndenumerate", "nditer"):
            self.add(getattr(np, name), _function_twin(getattr(np, name)))
            names[name] = self.table[id(getattr(np, name))]
        for name in ("r_", "c_"):
            names[name] = _Concatenator(getattr(np, name))
        linalg = _module_twin(np.linalg, self.numpy_names(np.linalg, ()))
        self.add(np.linalg, linalg)
        names["linalg"] = linalg
        twin = _module_twin(np, names)
        self.add(np, twin)
        for one in (np.r_, np.c_):
            self.add(one, names["r_" if one is np.r_ else "c_"])
        self.add(np.vectorize, names["vectorize"])

    def numpy_names(self, module: Any, makers: Any) -> dict[str, Any]:
        names = {}
        for name, original in list(vars(module).items()):
            if name.startswith("_") or isinstance(original, type | types.ModuleType) or not callable(original):
                continue
            twin = self.table.get(id(original))
            if twin is None:
                if isinstance(original, np.ufunc):
                    twin = _UfuncTwin(original)
                elif name in makers:
                    twin = _maker_twin(original)
                elif isinstance(original, types.FunctionType | types.BuiltinFunctionType) or hasattr(
                    original, "__wrapped__"
                ):
                    twin = _function_twin(original)
                elif type(original).__name__ == "_ArrayFunctionDispatcher":
                    twin = _function_twin(original)
                else:
                    continue
                self.add(original, twin)
            names[name] = twin
        return names

    def add_scipy(self) -> None:
        """Twins of the parts of SciPy that the user has imported."""
        overrides = {}
        for name in ("special", "linalg"):
            module = sys.modules.get(f"scipy.{name}")
            if module is None or id(module) in self.table:
                if module is not None:
                    overrides[name] = self.table[id(module)]
                continue
            _load_rules(name)
            twin = _module_twin(module, self.numpy_names(module, ()))
            self.add(module, twin)
            overrides[name] = twin
        if not self.has_array_api and "scipy._lib.array_api_compat.numpy" in sys.modules:
            self.has_array_api = True
            add_array_api(
                self.table[id(np)],
                _module_twin,
                _FunctionTwin,
                _mentions,
                self.add,
            )
        scipy = sys.modules.get("scipy")
        if scipy is not None and id(scipy) not in self.table:
            self.add(scipy, _module_twin(scipy, overrides))
        elif scipy is not None:
            _OVERRIDES[id(self.table[id(scipy)])][1].update(overrides)


def _load_rules(name: str) -> None:
    from chainrule import rule

    load_for = getattr(rule, "load_module", None)
    if load_for is not None:
        load_for(f"scipy.{name}")


class _Concatenator:
    """``np.r_`` and ``np.c_``."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if not _mentions(parts):
            made = self._original[key]
            trace = active()
            return made if trace is None else _ours(trace, made, ())
        if any(isinstance(one, str) for one in parts):
            raise TraceError(
                "np.r_ and np.c_ with a directive in a string are not differentiated",
                where=excerpt(user_site()),
                cure="use np.concatenate or np.stack",
            )
        arrays = []
        for one in parts:
            if isinstance(one, slice):
                arrays.append(self._original[one] if self._original is np.r_ else np.r_[one])
            else:
                arrays.append(_array(one))
        if self._original is np.r_:
            return np.concatenate(
                [FUNCTIONS[np.atleast_1d](one) if is_recorded(one) else np.atleast_1d(one) for one in arrays]
            )
        columns = [one.reshape(-1, 1) if np.ndim(one) < 2 else one for one in map(_array, arrays)]
        return np.concatenate(columns, axis=-1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


TWINS = _Twins()
_LOADED = False


def load() -> None:
    """Fill the table, once."""
    global _LOADED  # noqa: PLW0603 - the table is made once for the process
    if not _LOADED:
        TWINS.fill()
        _LOADED = True
