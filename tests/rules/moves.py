"""Holds functions that only move elements against NumPy: which number ends where is the whole derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr

__all__ = ["moves_as_numpy", "number", "weighted"]


def number(shape: tuple[int, ...]) -> np.ndarray:
    """A different number in each place, from 1."""
    return np.arange(1.0, 1.0 + np.prod(shape, dtype=int)).reshape(shape)


def weighted(f: Callable[..., Any]) -> Callable[..., Any]:
    """The results of f, each element times another number, added up."""

    def total(*arrays: Any) -> Any:
        made = f(*arrays)
        parts = made if isinstance(made, tuple | list) else [made]
        return sum(np.sum(one * number(one.shape)) for one in parts)

    return total


def moves_as_numpy(f: Callable[..., Any], *shapes: tuple[int, ...], batched: bool = True) -> None:
    """f only moves elements (0 stands for constants): its gradient follows from what it does with their numbers.

    Held against NumPy: values, shapes, dtypes, the gradient, float32, and a batch if no shape depends on values.
    """
    arrays = []
    start = 0
    for shape in shapes:
        arrays.append(number(shape) + start)
        start += arrays[-1].size
    made = f(*[one.copy() for one in arrays])
    parts = made if isinstance(made, tuple | list) else [made]
    several = isinstance(made, tuple | list)
    found = cr.trace(lambda *given: tuple(f(*given)) if several else f(*given), *arrays).run(arrays)
    assert len(found) == len(parts)
    totals = np.zeros(start + 1)
    for one, other in zip(found, parts, strict=True):
        assert np.shape(one) == np.shape(other)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        np.add.at(totals, np.asarray(other).astype(int), number(np.shape(other)))
    gradients = cr.grad(weighted(f), argnums=tuple(range(len(arrays))))(*arrays)
    start = 1
    for one, gradient in zip(arrays, gradients, strict=True):
        np.testing.assert_array_equal(gradient, totals[start : start + one.size].reshape(one.shape))
        start += one.size
    single = [one.astype(np.float32) for one in arrays]
    gradients = cr.grad(weighted(f), argnums=tuple(range(len(arrays))))(*single)
    assert all(one.dtype == np.float32 for one in gradients)
    if batched:
        batch_of_three(f, arrays)


def batch_of_three(f: Callable[..., Any], arrays: list[np.ndarray]) -> None:
    """A batch along a leading axis is what a loop gives."""
    many = [np.stack([one, one + 0.25, one * 0.5]) for one in arrays]

    def several(*given: Any) -> Any:
        made = f(*given)
        return tuple(made) if isinstance(made, tuple | list) else (made,)

    made = cr.vmap(several)(*many)
    for place in range(3):
        wanted = f(*[one[place].copy() for one in many])
        wanted = wanted if isinstance(wanted, tuple | list) else (wanted,)
        for one, other in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(one[place], other)
