"""Which names a call can reach, and their replacement by twins while it is traced.

NumPy's protocols see an array argument of a NumPy function. They do not see ``np.zeros(3)``, ``np.array([x0, x1])``,
``math.sin(x)``, ``float(x)``. So for the duration of a trace the globals of the modules that the function reaches hold
twins of these names. A twin passes straight through where no argument is a stand-in and the calling thread is not
tracing, so other threads see no difference; every name is put back on any exit.
"""

from __future__ import annotations

import builtins
import dis
import functools
import sys
import threading
import types
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from chainrule.trace.tracer import active

__all__ = ["Reach", "forget", "holds_twins", "reach_of", "twins_in"]

_SKIPPED = frozenset(
    {
        "numpy",
        "chainrule",
        "torch",
        "jax",
        "jaxlib",
        "autograd",
        "llvmlite",
        "rich",
        "hypothesis",
        "_pytest",
        "pytest",
        "pluggy",
    }
)
_MOST = 4000


class Reach:
    """The globals and closure cells that a function reaches."""

    __slots__ = ("cells", "compared", "defaults", "imports", "modules", "uses")

    def __init__(self) -> None:
        #: Globals of modules, and other dicts and lists (attributes of objects) that hold names with a twin, by id.
        self.modules: dict[int, Any] = {}
        self.cells: list[Any] = []
        #: Functions that have such a thing for a default.
        self.defaults: list[types.FunctionType] = []
        #: Names that the code of each module uses, by the id of its globals.
        self.uses: dict[int, set[Any]] = {}
        #: Of these, the names that it compares with ``is``.
        self.compared: dict[int, set[str]] = {}
        #: Whether some code imports inside a function.
        self.imports = False


@lru_cache(maxsize=4096)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """All global and attribute names in a code object and those inside it."""
    found: dict[str, None] = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(dict.fromkeys(_names(constant)))
    return tuple(found)


@lru_cache(maxsize=4096)
def compared_by_identity(code: types.CodeType) -> frozenset[str]:
    """What this code compares with ``is``, where a twin would make a difference: ``"float"``, ``"np"``, ``".mean"``."""
    instructions = [one for one in dis.get_instructions(code) if one.opname != "CACHE"]
    found: set[str] = set()
    for place, instruction in enumerate(instructions):
        if instruction.opname != "IS_OP" or place == 0:
            continue
        # The last instruction of the right operand, and of the left one: that which ends before the right one begins.
        right = instructions[place - 1]
        left = None
        if right.positions is not None and None not in right.positions:
            begins = (right.positions.lineno, right.positions.col_offset)
            for one in reversed(instructions[: place - 1]):
                here = one.positions
                if here is None or None in here:
                    break
                if (here.end_lineno, here.end_col_offset) <= begins:
                    left = one
                    break
        for one in (right, left):
            if one is None:
                continue
            if one.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                found.add(f".{one.argval}")
            elif one.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
                found.add(str(one.argval))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= compared_by_identity(constant)
    return frozenset(found)


@lru_cache(maxsize=4096)
def _imports(code: types.CodeType) -> bool:
    return dis.opmap["IMPORT_NAME"] in code.co_code[::2] or any(
        _imports(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)
    )


#: What functions without a closure reach, for as long as they live, and what their names meant when that was found.
_REACHED: weakref.WeakKeyDictionary[types.FunctionType, tuple[Any, Reach]] = weakref.WeakKeyDictionary()


def reach_of(function: Any) -> Reach:
    """What a call of the function can reach, by reading the names in its code and in the code that it calls."""
    if type(function) is not types.FunctionType or function.__closure__ is not None:
        # A closure or an object holds the user's data, which a cache must not keep alive.
        return _explore(function)
    meaning = _meaning(function)
    found = _REACHED.get(function)
    if found is not None and found[0] == meaning:
        return found[1]
    reach = _explore(function)
    _REACHED[function] = (meaning, reach)
    return reach


def forget(function: Any) -> None:
    """Look anew next time: what was found has turned out not to be enough."""
    if type(function) is types.FunctionType:
        _REACHED.pop(function, None)


def _meaning(function: types.FunctionType) -> Any:
    """The code, and what its global names stand for."""
    seen = function.__globals__
    return (
        function.__code__,
        id(function.__defaults__),
        tuple([id(seen.get(name)) for name in _names(function.__code__) if name in seen]),
    )


def _explore(function: Any, reach: Reach | None = None) -> Reach:
    reach = Reach() if reach is None else reach
    # Breadth first: where a large library makes the search end early, what is near has been seen.
    seen: dict[int, Any] = {}
    work: deque[tuple[Any, int]] = deque([(function, 0)])
    while work and len(seen) < _MOST:
        value, depth = work.popleft()
        if id(value) in seen:
            continue
        # The value is kept: the id of something that was freed would be given to something else.
        seen[id(value)] = value
        work.extend(_next(value, depth, reach))
    return reach


def _next(value: Any, depth: int, reach: Reach) -> Iterator[tuple[Any, int]]:
    if isinstance(value, types.FunctionType):
        yield from _from_function(value, depth, reach)
    elif isinstance(value, types.MethodType):
        yield value.__func__, depth
        yield value.__self__, depth
    elif isinstance(value, functools.partial):
        yield value.func, depth
        for one in (*value.args, *value.keywords.values()):
            yield one, depth + 1
    elif isinstance(value, type):
        if _is_foreign(value):
            for base in value.__mro__:
                if _is_foreign(base):
                    names = {
                        name
                        for name, one in vars(base).items()
                        if _is_named_original(one.__func__ if isinstance(one, staticmethod) else one)
                    }
                    if names:
                        reach.modules[id(base)] = base
                        reach.uses[id(base)] = set(names)
                    for one in list(vars(base).values()):
                        if not isinstance(one, _DATA):
                            yield one, depth + 1
    elif isinstance(value, list | tuple | set | frozenset):
        if depth < 6:
            if isinstance(value, list) and any(map(_is_named_original, value[:64])):
                reach.modules[id(value)] = value
                reach.uses[id(value)] = set(range(min(len(value), 64)))
            for one in list(value)[:64]:
                if not isinstance(one, _DATA):
                    yield one, depth + 1
    elif isinstance(value, dict):
        if depth < 6:
            yield from _from_dict(value, depth, reach)
    elif isinstance(value, types.ModuleType | int | float | str | bytes | np.ndarray):
        return
    else:
        for name in _WRAPPERS:
            wrapped = _attribute(value, name)
            if wrapped is not None and not isinstance(wrapped, _DATA):
                yield wrapped, depth
        if _is_foreign(type(value)) and depth < 12:
            yield type(value), depth
            held = _attribute(value, "__dict__")
            if isinstance(held, dict):
                yield from _from_dict(held, depth, reach)


#: Plain data, in which there is no code to find.
_DATA = (int, float, complex, str, bytes, np.ndarray, np.generic, type(None))
#: Where wrappers (caches, properties, partial methods, vectorised and compiled functions) keep what they wrap.
_WRAPPERS = ("__wrapped__", "__func__", "func", "fget", "fset", "pyfunc", "py_func", "registry")


def _is_named_original(value: Any) -> bool:
    """A module, or a function of C, held as data: it may have a twin."""
    return isinstance(value, types.ModuleType | types.BuiltinFunctionType)


def _from_dict(held: dict[Any, Any], depth: int, reach: Reach) -> Iterator[tuple[Any, int]]:
    names = {name for name, one in list(held.items())[:256] if _is_named_original(one)}
    if names:
        reach.modules[id(held)] = held
        reach.uses.setdefault(id(held), set()).update(names)
    for one in list(held.values())[:256]:
        if callable(one) or isinstance(one, list | tuple | dict) or _is_foreign(type(one)):
            yield one, depth + 1


def _attribute(value: Any, name: str) -> Any:
    # object.__getattribute__: a lazy or hostile __getattr__ of the user's object is not run.
    try:
        return object.__getattribute__(value, name)
    except Exception:  # noqa: BLE001 - whatever a foreign object's descriptor raises, there is nothing to explore
        return None


def _is_foreign(kind: type) -> bool:
    """A class written in Python by neither us, NumPy nor the standard library."""
    module = getattr(kind, "__module__", None)
    return isinstance(module, str) and not _is_skipped(module)


def _is_skipped(module: str) -> bool:
    top = module.partition(".")[0]
    return top in _SKIPPED or (top in sys.stdlib_module_names and top != "__main__")


def _from_function(function: types.FunctionType, depth: int, reach: Reach) -> Iterator[tuple[Any, int]]:
    seen = function.__globals__
    if str(seen.get("__name__", "")).partition(".")[0] in ("chainrule", "numpy"):
        return
    names = _names(function.__code__)
    modules = []
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None:
        yield wrapped, depth
    for cell in function.__closure__ or ():
        try:
            contents = cell.cell_contents
        except ValueError:
            continue
        if isinstance(contents, types.ModuleType):
            modules.append(contents)
        reach.cells.append(cell)
        yield contents, depth + 1
    if function.__defaults__:
        if any(map(_is_named_original, function.__defaults__)):
            reach.defaults.append(function)
        yield function.__defaults__, depth + 1
    if function.__kwdefaults__:
        yield function.__kwdefaults__, depth + 1
    if _is_skipped(str(seen.get("__name__", ""))):
        return
    reach.modules[id(seen)] = seen
    used = reach.uses.setdefault(id(seen), set())
    used.update(names)
    if "eval" in names or "exec" in names:
        # The names in text that is made into code are not known beforehand.
        used.update(seen)
        used.add("float")
    reach.compared.setdefault(id(seen), set()).update(compared_by_identity(function.__code__))
    reach.imports = reach.imports or _imports(function.__code__)
    for name in names:
        value = seen.get(name)
        if isinstance(value, types.ModuleType):
            modules.append(value)
        elif value is not None and not isinstance(value, _DATA):
            yield value, depth + 1
    for module in modules:
        yield from _from_module(module, names, depth, 0)


def _from_module(
    module: types.ModuleType, names: tuple[str, ...], depth: int, inside: int
) -> Iterator[tuple[Any, int]]:
    """What ``module.name`` and ``module.inner.name`` are, for the names in some code."""
    if _is_skipped(module.__name__) or inside > 3:
        return
    for name in names:
        value = vars(module).get(name)
        if isinstance(value, types.ModuleType):
            yield from _from_module(value, names, depth, inside + 1)
        elif value is not None and not isinstance(value, _DATA):
            yield value, depth + 1


# --- putting twins in -----------------------------------------------------------------------------------------------


class _Place:
    """One module's globals (or a cell) that hold twins: how many traces use it, and what was there before."""

    __slots__ = ("before", "count", "names", "target")

    def __init__(self, target: Any) -> None:
        self.target = target
        self.count = 0
        self.names: set[Any] = set()
        self.before: list[tuple[str, Any, Any]] = []


_LOCK = threading.RLock()
_PLACES: dict[int, _Place] = {}
_MISSING: Any = object()
_IMPORTING = 0
_real_import = builtins.__import__


def holds_twins(frame: Any) -> bool:
    """Whether the code of a frame sees twins."""
    return id(frame.f_globals) in _PLACES


class _Open(threading.local):
    """The places that the traces of this thread hold, innermost last."""

    def __init__(self) -> None:
        self.entered: list[list[int]] = []


_OPEN = _Open()


def _enter(reach: Reach, entered: list[int]) -> None:
    from chainrule.trace.twins import TWINS

    for target in (*reach.modules.values(), *reach.cells, *reach.defaults):
        place = _PLACES.get(id(target))
        if place is None:
            place = _PLACES[id(target)] = _Place(target)
        place.count += 1
        entered.append(id(target))
        _put(place, reach, TWINS)


@contextmanager
def twins_in(reach: Reach) -> Iterator[None]:
    """Twins in every place that the reach names, until the block ends, however it ends."""
    from chainrule.trace.twins import load

    load()
    entered: list[int] = []
    hooked = False
    _OPEN.entered.append(entered)
    try:
        with _LOCK:
            _enter(reach, entered)
            if reach.imports:
                _hook_import(1)
                hooked = True
        yield
    finally:
        _OPEN.entered.remove(entered)
        with _LOCK:
            if hooked:
                _hook_import(-1)
            for key in entered:
                place = _PLACES[key]
                place.count -= 1
                if place.count == 0:
                    del _PLACES[key]
                    _restore(place)


def _put(place: _Place, reach: Reach, twins: Any) -> None:
    target = place.target
    if isinstance(target, types.CellType):
        if place.count == 1:
            try:
                contents = target.cell_contents
            except ValueError:
                return
            twin = twins.of(contents)
            if twin is not None:
                place.before.append(("", contents, twin))
                target.cell_contents = twin
        return
    if isinstance(target, types.FunctionType):
        if place.count == 1 and target.__defaults__:
            before = target.__defaults__
            after = tuple(twins.of(one) or one for one in before)
            place.before.append(("", before, after))
            target.__defaults__ = after
        return
    if isinstance(target, list):
        if place.count == 1:
            for position, one in enumerate(target):
                twin = twins.of(one)
                if twin is not None:
                    place.before.append((position, one, twin))  # type: ignore[arg-type]
                    target[position] = twin
        return
    if isinstance(target, type):
        if place.count == 1:
            for name in reach.uses.get(id(target), ()):
                value = vars(target).get(name)
                twin = twins.of(value.__func__ if isinstance(value, staticmethod) else value)
                if twin is not None:
                    if isinstance(value, staticmethod):
                        twin = staticmethod(twin)
                    place.before.append((name, value, twin))
                    setattr(target, name, twin)
        return
    held = {name for name, _, _ in place.before}
    uses = reach.uses.get(id(target), ())
    place.names.update(uses)
    for name in uses:
        if name in held:
            continue
        compared: Any = reach.compared.get(id(target), frozenset())
        if name in compared:
            continue
        value = target.get(name, _MISSING)
        if value is _MISSING:
            twin = twins.builtin(name)
        else:
            twin = twins.of(value, compared)
        if twin is not None:
            place.before.append((name, value, twin))
            target[name] = twin


def _restore(place: _Place) -> None:
    target = place.target
    for name, value, twin in reversed(place.before):
        if isinstance(target, types.CellType):
            try:
                if target.cell_contents is twin:
                    target.cell_contents = value
            except ValueError:
                continue
        elif isinstance(target, types.FunctionType):
            if target.__defaults__ is twin:
                target.__defaults__ = value
        elif isinstance(target, type):
            if vars(target).get(name) is twin:
                setattr(target, name, value)
        elif isinstance(target, list):
            for position, one in enumerate(target):
                if one is twin:
                    target[position] = value
        elif target.get(name, _MISSING) is twin:
            # A name that the user's code has rebound meanwhile is theirs.
            if value is _MISSING:
                del target[name]
            else:
                target[name] = value
    if isinstance(target, dict):
        # ... but not to a twin that it has got hold of.
        from chainrule.trace.twins import TWINS

        for name in place.names:
            original = TWINS.original_of(target.get(name))
            if original is not None:
                target[name] = original


def _hook_import(change: int) -> None:
    global _IMPORTING, _real_import  # noqa: PLW0603 - one process has one __import__
    _IMPORTING += change
    if change > 0 and _IMPORTING == 1:
        _real_import = builtins.__import__
        builtins.__import__ = _import_with_twins
    elif change < 0 and _IMPORTING == 0 and builtins.__import__ is _import_with_twins:
        builtins.__import__ = _real_import


def _import_with_twins(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    module = _real_import(name, globals, locals, fromlist, level)
    if active() is None or globals is None or id(globals) not in _PLACES:
        return module
    from chainrule.trace.twins import TWINS

    twin = TWINS.of(module)
    if twin is not None:
        return twin
    if _OPEN.entered and not _is_skipped(name):
        # A module that the function imports itself: what is in it is reached from here on.
        for one in {id(one): one for one in (module, sys.modules.get(name))}.values():
            if isinstance(one, types.ModuleType):
                held = [value for value in vars(one).values() if not isinstance(value, (*_DATA, types.ModuleType))]
                found = Reach()
                for value in held:
                    _explore(value, found)
                with _LOCK:
                    _enter(found, _OPEN.entered[-1])
    return module
