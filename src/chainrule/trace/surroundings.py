"""What a function reads besides its arguments: globals, closures, defaults, attributes, and the arrays in them.

A compiled function is traced once and run often. What its path through the code depended on is looked up again at
each run, each place by identity: an entry of a module's globals, a closure cell, a default, an attribute, an item of a
list, an entry of a dict. Code of NumPy, of the standard library and of installed packages is taken as constant.
"""

from __future__ import annotations

import builtins
import dis
import functools
import operator
import pickle
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from chainrule.trace.reach import _is_skipped

__all__ = ["ABSENT", "Found", "Surroundings", "surroundings_of"]

#: What a place holds that is not there.
ABSENT: Any = object()
_MOST = 4000
_MOST_ITEMS = 1024
#: Values that are equal when they print alike: a name that is bound anew to one of them means what it meant.
PLAIN = (int, float, complex, str, bytes, bool, type(None))


class Found(NamedTuple):
    """A place and what it held: see ``now``."""

    #: "entry" (holder[key]), "cell", "field" (of a function), "attribute", "item" (of a list), "length", or "items"
    #: (all of them at once, of what is too large or has no order).
    kind: str
    holder: Any
    key: Any
    value: Any

    def now(self) -> Any:
        """What the place holds at present (twins that a trace in another thread has put there do not count)."""
        return _settled(self._held())

    def _held(self) -> Any:
        kind, holder, key, _ = self
        try:
            if kind == "entry":
                held = holder.get(key, ABSENT)
                return vars(builtins).get(key, ABSENT) if held is ABSENT and "__builtins__" in holder else held
            if kind == "cell":
                return holder.cell_contents
            if kind == "item":
                return holder[key] if key < len(holder) else ABSENT
            if kind == "length":
                return len(holder)
            if kind == "items":
                return _items(holder)
            return getattr(holder, key)
        except (ValueError, AttributeError):
            return ABSENT

    def same(self) -> bool:
        """Whether it holds the same, or a plain value that is equal."""
        now = self.now()
        if now is self.value:
            return True
        if self.kind == "items":
            return len(now) == len(self.value) and all(map(operator.is_, now, self.value))
        return type(now) is type(self.value) and isinstance(now, PLAIN) and repr(now) == repr(self.value)

    def __str__(self) -> str:
        kind, holder, key, _ = self
        if kind == "entry":
            module = holder.get("__name__") if isinstance(holder.get("__name__"), str) else None
            return f"the global {key} of {module}" if module else f"the entry {key!r} of a dict"
        if kind == "cell":
            return f"the closure variable {key}"
        if kind == "field":
            return f"{key} of the function {holder.__name__}"
        if kind == "attribute":
            owner = holder.__name__ if isinstance(holder, type) else type(holder).__name__
            return f"the attribute {key} of {owner}"
        if kind == "items":
            return f"the contents of a {type(holder).__name__}"
        return f"item {key} of a list" if kind == "item" else f"the length of a {type(holder).__name__}"


class Surroundings:
    """The places that a function reads, the arrays in them, and the sources of random numbers."""

    __slots__ = ("arrays", "complete", "generators", "late", "places")

    def __init__(self) -> None:
        self.places: list[Found] = []
        self.arrays: list[Any] = []
        self.generators: list[Any] = []
        #: False where there was too much to follow, or something that can not be looked into.
        self.complete = True
        #: Whether some code imports a module that is not there yet.
        self.late = False

    def changed(self) -> Found | None:
        """A place that no longer holds what it held."""
        return next((one for one in self.places if not one.same()), None)

    def random_state(self) -> Any:
        """What the next random numbers depend on."""
        states: list[Any] = [_state(one) for one in self.generators]
        for name in ("random", "numpy.random"):
            module = sys.modules.get(name)
            if module is not None:
                states.append(_state(module))
        return states


def _settled(value: Any) -> Any:
    from chainrule.trace.twins import TWINS

    original = TWINS.original_of(value)
    return value if original is None else original


def _items(holder: Any) -> list[Any]:
    if isinstance(holder, np.ndarray):
        return list(holder.ravel())
    if isinstance(holder, dict):
        return [*holder.keys(), *holder.values()]
    return list(holder)


def _state(generator: Any) -> Any:
    """The state of a generator (or of a module's own one) as something that can be compared."""
    get = getattr(generator, "getstate", None) or getattr(generator, "get_state", None)
    state = get() if get is not None else generator.bit_generator.state
    return pickle.dumps(state)


def _is_generator(value: Any) -> bool:
    known = []
    if "random" in sys.modules:
        known.append(sys.modules["random"].Random)
    if "numpy.random" in sys.modules:
        known += [sys.modules["numpy.random"].Generator, sys.modules["numpy.random"].RandomState]
    return isinstance(value, tuple(known))


def surroundings_of(*things: Any) -> Surroundings:
    """What calls of these functions and objects read."""
    found = Surroundings()
    seen: dict[int, Any] = {}
    names: set[str] = set()
    looked_up: list[Found] = []
    work: deque[Any] = deque(things)
    while work:
        value = work.popleft()
        if id(value) in seen:
            continue
        if len(seen) >= _MOST:
            found.complete = False
            break
        seen[id(value)] = value
        for place, inner in _within(value, found, names):
            inner = _settled(inner)
            if place is not None:
                place = place._replace(value=_settled(place.value))
                (looked_up if place.kind == "attribute" else found.places).append(place)
                if type(place.value) in PLAIN:
                    continue
            if inner is not ABSENT:
                work.append(inner)
    # Of an object's attributes those count whose name some code says (all, where code makes up names as it runs).
    every = not names.isdisjoint({"getattr", "vars", "__dict__", "eval", "exec", "asdict", "fields"})
    found.places.extend(one for one in looked_up if every or one.key in names or one.key.startswith("__"))
    return found


_Step = tuple[Found | None, Any]


def _within(value: Any, found: Surroundings, names: set[str]) -> Iterator[_Step]:
    """The places in a value with what they hold, and what else it leads to."""
    if isinstance(value, types.FunctionType):
        yield from _in_function(value, found, names)
    elif isinstance(value, np.ndarray):
        found.arrays.append(value)
        if value.dtype.hasobject:
            yield _together(value, found), ABSENT
    elif _is_generator(value):
        found.generators.append(value)
    elif isinstance(value, types.MethodType):
        yield None, value.__func__
        yield None, value.__self__
    elif isinstance(value, functools.partial):
        yield None, value.func
        for one in (*value.args, *value.keywords.values()):
            yield None, one
    elif isinstance(value, type):
        yield from _in_class(value)
    elif isinstance(value, dict):
        if len(value) > _MOST_ITEMS:
            yield _together(value, found), ABSENT
            return
        yield Found("length", value, None, len(value)), ABSENT
        for key, one in list(value.items()):
            yield Found("entry", value, key, one), one
    elif isinstance(value, list):
        if len(value) > _MOST_ITEMS:
            yield _together(value, found), ABSENT
            return
        yield Found("length", value, None, len(value)), ABSENT
        for place, one in enumerate(list(value)):
            yield Found("item", value, place, one), one
    elif isinstance(value, tuple | frozenset):
        for one in value:
            if not isinstance(one, PLAIN):
                yield None, one
    elif isinstance(value, set | bytearray | deque):
        yield _together(value, found), ABSENT
    elif isinstance(value, types.BuiltinFunctionType):
        # A method of an object of C: the object is what it reads.
        if not isinstance(value.__self__, types.ModuleType):
            yield None, value.__self__
    elif not isinstance(value, (types.ModuleType, np.generic, np.dtype, np.ufunc, *PLAIN)):
        yield from _in_object(value, found)


def _together(holder: Any, found: Surroundings) -> Found:
    items = _items(holder)
    if not all(isinstance(one, (*PLAIN, np.generic)) for one in items):
        found.complete = False
    return Found("items", holder, None, items)


def _in_object(value: Any, found: Surroundings) -> Iterator[_Step]:
    if hasattr(type(value), "__next__"):
        # What an iterator gives next is no place that could be looked at.
        found.complete = False
        return
    for name in ("__wrapped__", "func", "fget"):
        wrapped = _attribute(value, name)
        if wrapped is not ABSENT and callable(wrapped):
            yield None, wrapped
    if _is_constant(getattr(type(value), "__module__", None)):
        return
    held = _attribute(value, "__dict__")
    slots = {name for base in type(value).__mro__ for name in _slots(base)}
    if not isinstance(held, dict) and not slots and type(value).__basicsize__ > object.__basicsize__:
        # An object of C, with contents that can not be seen.
        found.complete = False
    if isinstance(held, dict):
        # (A new attribute may hide one of the class.)
        yield Found("length", held, None, len(held)), ABSENT
        for name, one in list(held.items()):
            if isinstance(name, str):
                yield Found("attribute", value, name, one), one
    for name in slots:
        one = _attribute(value, name)
        if one is not ABSENT:
            yield Found("attribute", value, name, one), one
    yield None, type(value)


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _attribute(value: Any, name: str) -> Any:
    # object.__getattribute__: a lazy or hostile __getattr__ of the user's object is not run.
    try:
        return object.__getattribute__(value, name)
    except Exception:  # noqa: BLE001 - whatever a foreign object's descriptor raises, there is nothing to follow
        return ABSENT


def _in_class(kind: type) -> Iterator[_Step]:
    seen: set[str] = set()
    for base in kind.__mro__:
        if _is_constant(base.__module__):
            continue
        for name, one in list(vars(base).items()):
            if name in seen:
                continue
            seen.add(name)
            if isinstance(one, classmethod | staticmethod):
                yield None, one.__func__
            elif isinstance(one, property):
                yield None, one.fget
            elif isinstance(one, types.FunctionType) or (not name.startswith("__") and not hasattr(one, "__get__")):
                yield Found("attribute", kind, name, one), one


def _in_function(function: types.FunctionType, found: Surroundings, names: set[str]) -> Iterator[_Step]:
    code = function.__code__
    if _is_constant(function.__globals__.get("__name__")) or _is_installed(code.co_filename):
        return
    yield Found("field", function, "__code__", code), ABSENT
    for field in ("__defaults__", "__kwdefaults__"):
        yield Found("field", function, field, getattr(function, field)), getattr(function, field)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield Found("cell", cell, name, cell.cell_contents), cell.cell_contents
        except ValueError:
            continue
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None:
        yield None, wrapped
    for name, value in list(function.__dict__.items()):
        yield Found("attribute", function, name, value), value
    read, attributes, imported = names_in(code)
    names.update(read, attributes)
    seen = function.__globals__
    if not read.isdisjoint({"globals", "eval", "exec", "vars"}):
        # Code that makes up names as it runs.
        read = frozenset(seen)
    for name in imported:
        module = sys.modules.get(name)
        if module is not None:
            yield from _in_module(module, attributes, 0)
        elif not _is_constant(name):
            found.late = True
    for name in read:
        value = seen.get(name, ABSENT)
        if value is ABSENT:
            continue
        yield Found("entry", seen, name, value), value
        if isinstance(value, types.ModuleType):
            yield from _in_module(value, attributes, 0)


def _in_module(module: types.ModuleType, attributes: frozenset[str], inside: int) -> Iterator[_Step]:
    """What ``module.name`` and ``module.inner.name`` are, for the attributes that some code reads."""
    if _is_constant(module.__name__) or _is_installed(getattr(module, "__file__", None) or "") or inside > 3:
        return
    for name in attributes:
        value = vars(module).get(name, ABSENT)
        if value is not ABSENT:
            yield Found("entry", vars(module), name, value), value
            if isinstance(value, types.ModuleType):
                yield from _in_module(value, attributes, inside + 1)


@lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The global names, the attributes and the modules that a code object and those inside it read."""
    read: set[str] = set()
    attributes: set[str] = set()
    imported: set[str] = set()
    for one in dis.get_instructions(code):
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read.add(str(one.argval))
        elif one.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"):
            attributes.add(str(one.argval))
        elif one.opname == "IMPORT_NAME":
            imported.add(str(one.argval))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = names_in(constant)
            read |= inner[0]
            attributes |= inner[1]
            imported |= inner[2]
    return frozenset(read), frozenset(attributes), frozenset(imported)


def _is_constant(module: Any) -> bool:
    return isinstance(module, str) and (_is_skipped(module) or module.partition(".")[0] == "scipy")


_INSTALLED = tuple(
    sorted({path for name in ("purelib", "platlib", "stdlib") if (path := sysconfig.get_path(name))})
)  # fmt: skip


@lru_cache(maxsize=4096)
def _is_installed(path: str) -> bool:
    return path.startswith(_INSTALLED) or path.startswith(("<frozen", "<__array_function__"))
