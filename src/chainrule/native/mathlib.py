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

__all__ = ["Machine", "library_address"]

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
        """The symbol of a function of the C library."""
        return SCALAR[name] + ("f" if kind == "f4" else "")

    def vector_function(self, name: str, kind: str, width: int) -> str | None:
        """The symbol of a function of glibc's vector library, or None."""
        letter = {64: "e", 32: "d", 16: "b"}.get(int(kind[1:]) * width)
        if letter is None or self.vector_library is None or int(kind[1:]) * width > self.vector_bytes:
            return None
        arguments = "vv" if name in {"power", "hypot", "arctan2"} else "v"
        symbol = f"_ZGV{letter}N{width}{arguments}_{SCALAR[name]}" + ("f" if kind == "f4" else "")
        found = self._known.get(symbol)
        if found is None:
            found = self._known[symbol] = hasattr(self.vector_library, symbol)
        return symbol if found else None


def library_address(symbol: str) -> int:
    """The address of a function of BLAS or LAPACK by its symbol: ``chainrule_dgemm`` is SciPy's ``dgemm``."""
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
