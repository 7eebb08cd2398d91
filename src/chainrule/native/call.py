"""Compiled kernel -> a function of CPython's own kind, which checks its arguments in nanoseconds and makes its results.

``function`` fills the record that the machine code of ``glue.py`` reads, and makes a ``METH_FASTCALL`` function of it.
That function relies on where CPython and NumPy keep things in their objects; ``refusal`` checks each of these places
once in a process, and where one is not as expected, or the interpreter is of another kind (PyPy, free-threaded, a
subinterpreter, 32 bits), compiled programs are called through Python instead: slower, with the same results.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.errors import ProgramError
from chainrule.native import cache, glue
from chainrule.native.glue import Api, Argument, Hashed, Record, Result, Slot
from chainrule.native.linking import link
from chainrule.program import ProgramCost

__all__ = [
    "Array",
    "Boxed",
    "Fixed",
    "Given",
    "Place",
    "arena_of",
    "content_hash",
    "function",
    "function_fields",
    "is_long",
    "machine_code",
    "raise_from_callback",
    "refusal",
]

_FASTCALL_WITH_KEYWORDS = 0x0080 | 0x0002


class Array(NamedTuple):
    """An argument, capture or result that is an array: C-contiguous, aligned, of this dtype and shape."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Boxed(NamedTuple):
    """An argument or result that is a number in an object of this type (``float``, ``np.float64``, ...)."""

    type: type
    dtype: np.dtype[Any]


class Fixed(NamedTuple):
    """An argument or result that is this very object; ``equal``: an equal one of its type will do."""

    value: Any
    equal: bool = False


class Given(NamedTuple):
    """A result that is written into this array (which must stand among the captures too, to be checked)."""

    array: Any


class Place(NamedTuple):
    """Somewhere that must hold what it held when the function was traced.

    ``kind`` is ``"word"`` (``holder`` is an address), ``"entry"`` (of a dict), ``"attribute"``, ``"item"`` (of a list)
    or ``"question"`` (``holder`` is called, and must answer True); ``expected`` is what it held (an int for a word).
    """

    kind: str
    holder: Any
    key: Any = None
    expected: Any = None


_PLACES = {"word": 0, "entry": 1, "attribute": 2, "item": 3, "question": 4}
_ABSENT: Any = object()


class _Method(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Arena:
    """Frees the arena that a record has kept, when the last function of that record is gone."""

    def __init__(self, words: Any) -> None:
        self.words = words

    def __del__(self) -> None:
        held = int(self.words[Record.ARENA])
        if held:
            self.words[Record.ARENA] = 0
            _free(held)


@functools.cache
def _libc() -> Any:
    found = ctypes.CDLL(None)
    found.free.argtypes = [ctypes.c_void_p]
    found.free.restype = None
    return found


def _free(address: int) -> None:
    _libc().free(address)


def _address(one: Any) -> int:
    found = ctypes.cast(one, ctypes.c_void_p).value
    assert found is not None
    return found


# --- whether it can be done here ------------------------------------------------------------------------------------


@functools.cache
def refusal() -> str | None:
    """Why functions can not be made in this process, or None if they can."""
    if os.environ.get("CHAINRULE_NATIVE", "").lower() in ("off", "0", "no", "false"):
        return "CHAINRULE_NATIVE says so"
    if sys.implementation.name != "cpython":
        return f"the interpreter is {sys.implementation.name}, not CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this CPython has no global interpreter lock, and its objects are laid out differently"
    if sys.maxsize != 2**63 - 1 or object.__basicsize__ != 16:
        return "the objects of this CPython are not laid out as expected"
    python = ctypes.pythonapi
    python.PyInterpreterState_Get.restype = python.PyInterpreterState_Main.restype = ctypes.c_void_p
    if python.PyInterpreterState_Get() != python.PyInterpreterState_Main():
        return "this is a subinterpreter"
    wrong = _misplaced()
    return f"CPython or NumPy keep {wrong} elsewhere than expected" if wrong else None


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def _misplaced() -> str | None:
    """The first thing that is not where the machine code will look for it."""
    array = np.arange(6.0).reshape(2, 3)
    other = np.asfortranarray(array)
    one = id(array)
    if _word(one + glue.TYPE) != id(np.ndarray) or _word(one + glue.DATA) != array.ctypes.data:
        return "the type or the data of an array"
    if ctypes.c_int32.from_address(one + glue.NDIM).value != 2 or _word(one + glue.DTYPE) != id(array.dtype):
        return "the dimensions or the dtype of an array"
    shape = _word(one + glue.SHAPE)
    if (_word(shape), _word(shape + 8)) != (2, 3):
        return "the shape of an array"
    flags = [ctypes.c_int32.from_address(id(given) + glue.FLAGS).value & glue.LAYOUT for given in (array, other)]
    if flags != [glue.LAYOUT, glue.LAYOUT & ~1]:
        return "the flags of an array"
    for boxed in (2.5, np.float64(2.5)):
        if ctypes.c_double.from_address(id(boxed) + glue.BOXED).value != 2.5:
            return f"the number of a {type(boxed).__name__}"
    if ctypes.c_float.from_address(id(half := np.float32(2.5)) + glue.BOXED).value != 2.5 or half != 2.5:
        return "the number of a float32"
    if _word(id(whole := np.int64(-77)) + glue.BOXED) != -77 or whole != -77:
        return "the number of an int64"
    items = [array, other]
    if _word(_word(id(items) + glue.LIST_ITEMS) + 8) != id(other):
        return "the items of a list"
    pair = (array, other)
    return None if _word(id(pair) + glue.TUPLE_FIRST) == one else "the items of a tuple"


@functools.cache
def function_fields() -> dict[str, int]:
    """Where a function object keeps its code and its defaults, in bytes."""

    def sample(a: int = 1, *, b: int = 2) -> int:
        return a + b

    fields = {name: getattr(sample, name) for name in ("__code__", "__defaults__", "__kwdefaults__")}
    found = {}
    for offset in range(16, type(sample).__basicsize__, 8):
        held = _word(id(sample) + offset)
        found.update({name: offset for name, value in fields.items() if held == id(value)})
    return found


# --- the table of addresses -----------------------------------------------------------------------------------------

_NEW_FROM_DESCR, _SCALAR = 94, 60  # positions in NumPy's table of functions, part of its binary interface since 1.0


@functools.cache
def _table() -> Any:
    python = ctypes.pythonapi
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    numpy_c: Any = importlib.import_module("numpy._core._multiarray_umath")
    numpy_api = python.PyCapsule_GetPointer(numpy_c._ARRAY_API, None)  # noqa: SLF001 - NumPy's C interface
    libc = _libc()
    words = np.zeros(len(Api), dtype=np.int64)
    words[Api.ARRAY_TYPE] = id(np.ndarray)
    words[Api.NEW_ARRAY] = _word(numpy_api + 8 * _NEW_FROM_DESCR)
    words[Api.NEW_SCALAR] = _word(numpy_api + 8 * _SCALAR)
    words[Api.TRUE] = id(True)
    for place, found in {
        Api.VECTORCALL: python.PyObject_Vectorcall,
        Api.INCREF: python.Py_IncRef,
        Api.DECREF: python.Py_DecRef,
        Api.NEW_TUPLE: python.PyTuple_New,
        Api.SAVE_THREAD: python.PyEval_SaveThread,
        Api.RESTORE_THREAD: python.PyEval_RestoreThread,
        Api.NO_MEMORY: python.PyErr_NoMemory,
        Api.DICT_GET: python.PyDict_GetItemWithError,
        Api.GET_ATTRIBUTE: python.PyObject_GetAttr,
        Api.COMPARE: python.PyObject_RichCompareBool,
        Api.CLEAR: python.PyErr_Clear,
        Api.ALIGNED_ALLOC: libc.aligned_alloc,
        Api.FREE: libc.free,
    }.items():
        words[place] = _address(found)
    return words


#: Operations from which on the interpreter's lock is given back while a program runs (about 20 microseconds).
_LONG = 50_000


def is_long(work: ProgramCost) -> bool:
    """Whether a program runs long enough to give the interpreter's lock back meanwhile."""
    return work.operations + work.bytes / 8 > _LONG


def arena_of(compiled: Any) -> int:
    """Bytes of the arena, with room to align it."""
    size: int = compiled.arena_bytes
    return size + 64 if size else 0


def raise_from_callback() -> None:
    """Raise what a step that Python did for the machine code of this thread has raised."""
    from chainrule.native.callbacks import raised

    raise raised() or ProgramError("a step of a compiled program failed")


class MachineCode:
    """The loaded machine code of ``glue.py``."""

    def __init__(self) -> None:
        text = glue.glue_text()
        key = cache.text_key(text)
        entry = cache.get(key)
        if entry is None:
            from chainrule.native import llvm

            entry = cache.Entry({}, llvm.object_code(text))
            cache.put(key, entry)
        self._linked = link(entry.code, [glue.ENTRY, glue.HASH])
        self.entry = self._linked.address(glue.ENTRY)
        self.hash = self._linked.address(glue.HASH)


@functools.cache
def machine_code() -> MachineCode:
    """The machine code that every compiled function enters; made once in a process."""
    return MachineCode()


# --- functions ------------------------------------------------------------------------------------------------------


def _records(rows: Sequence[Sequence[int]], width: int) -> Any:
    made = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made


def _shape(shape: tuple[int, ...], kept: list[Any]) -> int:
    made = np.array(shape or (0,), dtype=np.int64)
    kept.append(made)
    return int(made.ctypes.data)


def _argument(one: Array | Boxed | Fixed, kept: list[Any], object_: Any = None) -> list[int]:
    kept.append((one, object_))
    if isinstance(one, Array):
        return [0, id(object_), id(one.dtype), len(one.shape), _shape(one.shape, kept)]
    if isinstance(one, Boxed):
        return [1, id(one.type)]
    return [2, id(one.value), 0, 0, 0, int(one.equal)]


def _result(one: Array | Boxed | Fixed | Given, kept: list[Any]) -> list[int]:
    kept.append(one)
    if isinstance(one, Array):
        return [0, 0, id(one.dtype), len(one.shape), _shape(one.shape, kept)]
    if isinstance(one, Boxed):
        return [1, 0, id(one.dtype)]
    return [3, id(one.array)] if isinstance(one, Given) else [2, id(one.value)]


def _slot(one: Place, kept: list[Any]) -> list[int]:
    kept.append(one)
    if one.kind == "word":
        return [0, one.holder, 0, one.expected]
    if one.kind == "question":
        return [4, id(one.holder)]
    key = one.key if one.kind == "item" else id(one.key)
    return [_PLACES[one.kind], id(one.holder), key, id(one.expected)]


def function(
    entry: int,
    *,
    name: str,
    kernel: int,
    arena_bytes: int,
    arguments: Sequence[Array | Boxed | Fixed],
    given: int = 0,
    captures: Sequence[Any],
    results: Sequence[Array | Boxed | Fixed | Given],
    assemble: Callable[[tuple[Any, ...]], Any] | bool,
    following: Callable[..., Any],
    raise_: Callable[[], Any],
    withdrawn: Callable[..., Any] | None = None,
    refused: Callable[..., Any] | None = None,
    places: Sequence[Place] = (),
    hashed: Sequence[tuple[Any, int]] = (),
    releases: bool = False,
    context: int = 0,
    keep: Any = None,
) -> tuple[Callable[..., Any], Callable[[Callable[..., Any]], None]]:
    """A built-in function that runs ``kernel``, and a function that sets what it asks where it can not answer.

    ``entry`` is the address of the machine code of ``glue.py``. ``captures`` are arrays that are read where they are,
    and checked at each call like arguments; without them the arguments after the first ``given`` are what is captured.
    ``assemble`` is False for one bare result, True for a tuple of results, or a callable that is given that tuple.
    ``raise_`` raises what a step that called back has raised; ``withdrawn`` is
    given the arguments where the kernel leaves the answer to the interpreter, ``refused`` where a guard fails (without
    it the next function is). ``hashed`` are arrays with the number that tells their contents. ``keep`` lives as long as
    the function does.
    """
    kept: list[Any] = [keep, list(captures), [one for one, _ in hashed]]
    arrays = {
        Record.ARGUMENTS: _records([_argument(one, kept) for one in arguments], len(Argument)),
        Record.CAPTURES: _records(
            [_argument(Array(one.dtype, one.shape), kept, one) for one in captures], len(Argument)
        ),
        Record.SLOTS: _records([_slot(one, kept) for one in places], len(Slot)),
        Record.HASHED: _records([(id(one), one.nbytes, value) for one, value in hashed], len(Hashed)),
        Record.RESULTS: _records([_result(one, kept) for one in results], len(Result)),
    }
    words = np.zeros(len(Record), dtype=np.int64)
    for place, array in arrays.items():
        words[place] = array.ctypes.data
        words[place + 1] = len(array)
    table = _table()
    words[Record.API] = table.ctypes.data
    words[Record.ASSEMBLE] = int(assemble) if isinstance(assemble, bool) else id(assemble)
    words[Record.RAISE] = id(raise_)
    words[Record.WITHDRAWN] = 0 if withdrawn is None else id(withdrawn)
    words[Record.REFUSED] = 0 if refused is None else id(refused)
    words[Record.KERNEL] = kernel
    words[Record.ARENA_BYTES] = arena_bytes
    words[Record.RELEASES] = int(releases)
    words[Record.CONTEXT] = context
    words[Record.GIVEN] = given
    method = _Method(name.encode(), entry, _FASTCALL_WITH_KEYWORDS, None)
    asked: list[Any] = [following]
    words[Record.NEXT] = id(following)
    kept += [arrays, table, assemble, method, asked, raise_, withdrawn, refused]

    def ask(other: Callable[..., Any]) -> None:
        # The old one may be running: the function holds a reference to it until it has returned.
        words[Record.NEXT] = id(other)
        asked[0] = other

    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    made = new(ctypes.addressof(method), (words, kept, _Arena(words)), None)
    return made, ask


def content_hash(address: int, array: Any) -> int:
    """The number that tells the contents of a C-contiguous array; ``address`` is that of the machine code for it."""
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)
    return int(run(array.ctypes.data, array.nbytes))
