"""Layouts: arrays of bytes without memory of their own, which views are taken of to see where their elements are."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.native.nodes import c_strides

__all__ = ["Shaped", "code_of", "fake", "offset_of", "size_of"]


class Shaped:
    """A shape, as rules take it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.size = size_of(shape)


def size_of(shape: tuple[int, ...]) -> int:
    """How many elements an array of this shape has."""
    size = 1
    for extent in shape:
        size *= extent
    return size


def code_of(dtype: Any) -> str:
    """The code of any dtype: what its bytes are."""
    return f"{dtype.kind}{dtype.itemsize}"


def fake(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> Any:
    """An array of bytes without memory of its own whose strides are those of an array, in elements."""
    one = np.empty(1, np.int8)
    return np.lib.stride_tricks.as_strided(one, shape, c_strides(shape) if strides is None else strides)


def offset_of(part: Any, whole: Any) -> int:
    """Where a view of an array of bytes begins."""
    offset: int = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return offset
