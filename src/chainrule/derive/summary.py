"""Arrays in a few words: never dumped, whatever their size."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.derive.names import unicode_number

__all__ = ["shape_text", "summary"]

_FEW = 6


def shape_text(shape: tuple[int, ...]) -> str:
    """``a number``, ``3``, ``3×5``."""
    return "×".join(map(str, shape)) if shape else "a number"


def _short(value: Any) -> str:
    if isinstance(value, float | np.floating) and np.isfinite(value):
        text = f"{float(value):.6g}"
        return unicode_number(float(text))
    return unicode_number(value)


def summary(value: Any) -> str:
    """A number, the entries of a short vector, or the range of a larger array with what is not finite in it.

    >>> import numpy as np
    >>> summary(np.arange(12.0).reshape(3, 4)), summary(np.array([1.0, 0.5])), summary(2.0)
    ('0 … 11', '[1, 0.5]', '2')
    """
    array = np.asarray(value)
    if array.ndim == 0:
        return _short(array[()])
    if array.size == 0:
        return "(empty)"
    if array.size <= _FEW and array.ndim == 1:
        return "[" + ", ".join(_short(one) for one in array) + "]"
    if array.dtype.kind == "b":
        return f"True in {int(array.sum())} of {array.size}"
    if array.dtype.kind not in "fiu":
        return f"{array.size} entries"
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array.reshape(-1)
    said = []
    if finite.size:
        low, high = finite.min(), finite.max()
        said.append(f"all {_short(low)}" if low == high else f"{_short(low)} … {_short(high)}")
    if array.dtype.kind == "f" and finite.size < array.size:
        nans = int(np.isnan(array).sum())
        infinite = array.size - finite.size - nans
        said += [f"{nans} NaN"] if nans else []
        said += [f"{infinite} infinite"] if infinite else []
    return ", ".join(said)
