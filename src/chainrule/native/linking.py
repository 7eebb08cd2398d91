"""Object code -> addresses: the functions that it calls are found, and it is placed in memory.

By ``loader.py`` where that knows the kind of file, else by LLVM's linker.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

from chainrule.native import loader

__all__ = ["Linked", "link"]


@functools.cache
def _libraries() -> list[Any]:
    found = [ctypes.CDLL(None)]
    for name in ("libm.so.6", "libmvec.so.1"):
        try:
            found.append(ctypes.CDLL(name))
        except OSError:
            continue
    return found


@functools.cache
def _in_libraries(name: str) -> int | None:
    for library in _libraries():
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        except AttributeError:
            continue
    return None


class Linked:
    """Object code at its place in memory, for as long as this object lives."""

    def __init__(self, code: bytes, names: Sequence[str], symbols: Sequence[str]) -> None:
        known: dict[str, int] = {}
        if symbols:
            from chainrule.native.mathlib import library_address

            known = {name: library_address(name) for name in symbols}
        self._held: Any = loader.load(code, names, lambda name: known.get(name) or _in_libraries(name))
        if self._held is not None:
            self._addresses: dict[str, int] = self._held.addresses
            return
        from chainrule.native.llvm import Engine

        self._held = Engine(code, known)
        self._addresses = {name: self._held.address(name) for name in names}

    def address(self, name: str) -> int:
        """The address of a function or of a table."""
        return self._addresses[name]

    def table(self, name: str, entries: int) -> Any:
        """A table of pointers, to be filled."""
        return (ctypes.c_void_p * entries).from_address(self._addresses[name])


def link(code: bytes, names: Sequence[str], symbols: Sequence[str] = ()) -> Linked:
    """Place object code in memory; ``names`` are what is asked of it, ``symbols`` the BLAS functions that it calls."""
    return Linked(code, names, symbols)
