"""Steps that compiled code leaves to Python: C functions that wrap the arrays and call the rule's NumPy value."""

from __future__ import annotations

import ctypes
import threading
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.native.loops import Callback
from chainrule.program import ArrayType, Literal

__all__ = ["made_callbacks", "raised"]

_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_void_p))
_here = threading.local()


def raised() -> BaseException | None:
    """What a callback of this thread raised last; asking forgets it."""
    error: BaseException | None = getattr(_here, "error", None)
    _here.error = None
    return error


def array_at(address: int | None, kind: ArrayType) -> Any:
    """The array of this type at an address."""
    size = kind.size * kind.dtype.itemsize
    if not size or address is None:
        return np.empty(kind.shape, kind.dtype)
    memory = memoryview((ctypes.c_char * size).from_address(address))
    return np.frombuffer(memory, dtype=kind.dtype).reshape(kind.shape)


def made_callbacks(callbacks: Sequence[Callback]) -> list[Any]:
    """A C function for each step that calls back."""
    return [_SIGNATURE(_function(one.step)) for one in callbacks]


def _function(step: Any) -> Any:
    if not isinstance(step, tuple):
        return _fingerprint(step.value, step.kind)
    one, program = step
    ins = [operand.value if isinstance(operand, Literal) else program.types[operand] for operand in one.inputs]
    outs = [program.types[var] for var in one.outputs]
    value, params = one.rule.value, one.params

    def run(pointers: Any) -> int:
        try:
            place = 0
            args = []
            for given in ins:
                if isinstance(given, ArrayType):
                    array = array_at(pointers[place], given)
                    args.append(array if given.shape else array[()])
                    place += 1
                else:
                    args.append(given)
            with np.errstate(all="ignore"):
                made = value(*args, *params)
            for kind, part in zip(outs, (made,) if len(outs) == 1 else made, strict=True):
                target = array_at(pointers[place], kind)
                target[...] = part
                place += 1
        except BaseException as error:  # noqa: BLE001 - nothing may pass through compiled code; it is raised after it
            _here.error = error
            return 1
        return 0

    return run


def _fingerprint(value: Any, kind: ArrayType) -> Any:
    def run(pointers: Any) -> int:
        array = array_at(pointers[0], kind)
        if isinstance(value, tuple):
            # One value for each iteration of a loop.
            holds = len(value) == len(array) and all(map(_is_as_before, array, value))
        else:
            holds = _is_as_before(array, value)
        ctypes.c_bool.from_address(pointers[1]).value = holds
        return 0

    return run


def _is_as_before(array: Any, value: Any) -> bool:
    """Whether a guarded value is what it was: a number, or the fingerprint of an array."""
    if np.ndim(array):
        return bool(zlib.crc32(np.ascontiguousarray(array).data) == value)
    return bool(array == value) or (array != array and value != value)  # noqa: PLR0124 - NaN is not itself
