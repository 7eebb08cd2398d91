"""The functions that compiled code calls, and the processor that it runs on: libm, glibc's libmvec, vector widths."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib
import platform
import sys
from typing import Any

from chainrule.native.loops import Loop, Store, Update, Value

__all__ = ["SPECIAL", "Machine", "library_address", "special_arguments"]

#: Functions of the C library by the names that values call them by.
SCALAR = {
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log2": "log2", "log10": "log10", "log1p": "log1p",
    "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "cbrt": "cbrt",
    "power": "pow", "hypot": "hypot", "arctan2": "atan2", "erf": "erf", "erfc": "erfc", "fmod": "fmod",
    "nextafter": "nextafter",
}  # fmt: skip


class Machine:
    """What code is made for: the bytes of a vector register, and the functions that can be called."""

    def __init__(self, vector_bytes: int, vector_library: bool) -> None:
        self.vector_bytes = vector_bytes
        self.vector_library = _vector_library() if vector_library else None
        self._known: dict[str, bool] = {}

    def width_for(self, loop: Loop) -> int:
        """Lanes of a vector loop: the widest of its numbers fill a register."""
        widest = 1
        for item in loop.body:
            if isinstance(item, Value):
                widest = max(widest, int(item.kind[1:]))
            elif isinstance(item, Store):
                widest = max(widest, int(item.buffer.kind[1:]))
            elif isinstance(item, Update):
                widest = max(widest, int(item.into.kind[1:]))
        return max(1, self.vector_bytes // max(widest, 4))

    def scalar_function(self, name: str, kind: str) -> str:
        """The symbol of a function of the C library, or of SciPy."""
        if name not in SCALAR:
            return SPECIAL + name
        return SCALAR[name] + ("f" if kind == "f4" else "")

    def vector_function(self, name: str, kind: str, width: int) -> str | None:
        """The symbol of a function of glibc's vector library, or None."""
        letter = {64: "e", 32: "d", 16: "b"}.get(int(kind[1:]) * width)
        if (
            letter is None
            or name not in SCALAR
            or self.vector_library is None
            or int(kind[1:]) * width > self.vector_bytes
        ):
            return None
        arguments = "vv" if name in {"power", "hypot", "arctan2"} else "v"
        symbol = f"_ZGV{letter}N{width}{arguments}_{SCALAR[name]}" + ("f" if kind == "f4" else "")
        found = self._known.get(symbol)
        if found is None:
            found = self._known[symbol] = hasattr(self.vector_library, symbol)
        return symbol if found else None


SPECIAL = "chainrule_special_"


@functools.cache
def special_arguments(name: str) -> int:
    """How many doubles the function of this name of ``scipy.special`` takes, to give one; 0 where there is none."""
    found = _special(name)
    return 0 if found is None else _signature(found).count("double") - 1


def _special(name: str) -> Any:
    table = importlib.import_module("scipy.special.cython_special").__pyx_capi__
    for key in (name, f"__pyx_fuse_0{name}", f"__pyx_fuse_1{name}"):
        if key in table:
            kinds = _signature(table[key]).replace("(", ",").replace(")", "").split(",")
            result, *arguments, last = [kind.strip() for kind in kinds]
            if last.startswith("int ") and {result, *arguments} == {"double"}:
                return table[key]
    return None


def _signature(capsule: Any) -> str:
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    name: bytes = api.PyCapsule_GetName(capsule)
    return name.decode()


def library_address(symbol: str) -> int:
    """The address of a function of SciPy by its symbol: ``chainrule_dgemm`` is its ``dgemm``.

    Raises KeyError where there is none.
    """
    if symbol.startswith(SPECIAL):
        found = _special(symbol.removeprefix(SPECIAL))
        if found is None:
            raise KeyError(symbol)
        return _pointer(found)
    name = symbol.removeprefix("chainrule_")
    for home in ("scipy.linalg.cython_blas", "scipy.linalg.cython_lapack"):
        table = importlib.import_module(home).__pyx_capi__
        if name in table:
            return _pointer(table[name])
    raise KeyError(symbol)


def _pointer(capsule: Any) -> int:
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address: int = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    return address


@functools.cache
def _vector_library() -> Any:
    """Glibc's vector maths library, or None."""
    if not sys.platform.startswith("linux") or platform.machine() not in {"x86_64", "AMD64", "aarch64"}:
        return None
    try:
        return ctypes.CDLL("libmvec.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return None
