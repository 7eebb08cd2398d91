"""Norms of vectors and matrices: ``numpy.linalg.norm``, ``vector_norm``, ``matrix_norm``.

A norm that is the root of a sum has derivative 0 at 0 (see ``root`` in ``reductions``): its second derivative does not
exist there, so neither does that of ``norm(x)**2`` written this way; ``np.sum(x * x)`` has it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from chainrule.rule import apply, implements
from chainrule.rules.arguments import array_of
from chainrule.rules.factorisations import svdvals
from chainrule.rules.index import matmul
from chainrule.rules.reductions import is_given, root

__all__: list[str] = []


def _floating(x: Any) -> Any:
    x = array_of(x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _vector(x: Any, order: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if order is None or order == 2:
        return apply(root, (np.sum(x * x, axis=axes, keepdims=keepdims),))
    if isinstance(order, str):
        msg = f"Invalid norm order '{order}' for vectors"
        raise ValueError(msg)  # noqa: TRY004 - as NumPy does
    if order == math.inf:
        return np.max(np.abs(x), axis=axes, keepdims=keepdims)
    if order == -math.inf:
        return np.min(np.abs(x), axis=axes, keepdims=keepdims)
    if order == 0:
        return np.sum((x != 0).astype(x.dtype), axis=axes, keepdims=keepdims)
    if order == 1:
        return np.sum(np.abs(x), axis=axes, keepdims=keepdims)
    order = float(order)
    powers = np.sum(np.abs(x) ** order, axis=axes, keepdims=keepdims)
    if order < 0:
        return powers ** (1 / order)
    # At 0 the root has the value and the derivative 0, which the power has not.
    zero = powers == 0
    return np.where(zero, apply(root, (powers,)), np.where(zero, 1.0, powers) ** (1 / order))


def _matrix(x: Any, order: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    row, column = axes
    if row == column:
        msg = "Duplicate axes given."
        raise ValueError(msg)
    if order is None or order in {"fro", "f"}:
        return apply(root, (np.sum(x * x, axis=axes, keepdims=keepdims),))
    if order in {1, -1, math.inf, -math.inf}:
        inner, outer = (row, column) if abs(order) == 1 else (column, row)
        sums = np.sum(np.abs(x), axis=inner, keepdims=True)
        extreme = np.max if order > 0 else np.min
        made = extreme(sums, axis=outer, keepdims=True)
    elif order in {2, -2, "nuc"}:
        s = apply(svdvals, (np.moveaxis(x, axes, (-2, -1)),))
        if order == "nuc":
            made = np.sum(s, axis=-1)
        else:
            made = np.max(s, axis=-1) if order == 2 else np.min(s, axis=-1)
        made = np.expand_dims(made, axes)
    else:
        msg = "Invalid norm order for matrices."
        raise ValueError(msg)
    return made if keepdims else np.squeeze(made, axis=axes)


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:  # noqa: A002 - NumPy's name
    x = _floating(x)
    keepdims = bool(keepdims)
    if axis is None:
        if ord is None or (ord in {"fro", "f"} and x.ndim == 2) or (ord == 2 and x.ndim == 1):
            flat = x if x.ndim == 1 else np.reshape(x, (x.size,))
            made = apply(root, (apply(matmul, (flat, flat)),))
            return np.reshape(made, (1,) * x.ndim) if keepdims else made
        axes = tuple(range(x.ndim))
    else:
        try:
            axes = normalize_axis_tuple(axis, x.ndim)
        except TypeError:
            msg = "'axis' must be None, an integer or a tuple of integers"
            raise TypeError(msg) from None
    if len(axes) == 1:
        return _vector(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix(x, ord, (axes[0], axes[1]), keepdims)
    msg = "Improper number of dimensions to norm."
    raise ValueError(msg)


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:  # noqa: A002 - NumPy's name
    x = _floating(x)
    axes = normalize_axis_tuple(axis, x.ndim) if is_given(axis) else tuple(range(x.ndim))
    return _vector(x, ord, axes, bool(keepdims))


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> Any:  # noqa: A002 - NumPy's name
    x = _floating(x)
    return _matrix(x, ord, (x.ndim - 2, x.ndim - 1), bool(keepdims))
