"""Random programs of views, writes and reads: traced and run by NumPy they give the same numbers and derivatives."""

# ruff: noqa: PLW0108, PT017 - a refusal is one of two right answers

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

X = np.array([0.7, 1.3, 0.4, 2.1, -0.6, 0.9])


def _view(pick: random.Random) -> Callable[[Any], Any]:
    """A random view of an array of any shape."""
    kind = pick.randrange(10)
    if kind == 7:
        return lambda y: y.ravel()
    if kind == 8:
        return lambda y: y.reshape(-1)
    if kind == 9:
        return lambda y: y.squeeze() if y.size > 1 else y
    if kind == 0:
        return lambda y: y.T
    if kind == 1:
        start, step = pick.randrange(2), pick.choice([1, 2, -1])
        return lambda y: y[start::step]
    if kind == 2:
        return lambda y: y[..., ::-1]
    if kind == 3:
        return lambda y: y[0] if y.ndim > 1 else y[:2]
    if kind == 4:
        return lambda y: y[:, None] if y.ndim == 1 else y[:, 0]
    if kind == 5:
        return lambda y: y.reshape(2, -1) if y.size % 2 == 0 and y.size else y[...]
    return lambda y: y[-1:]


def _make(pick: random.Random) -> Callable[[Any], Any]:
    kind = pick.randrange(10)
    if kind == 6:
        return lambda x: np.asfortranarray(x.reshape(2, 3))
    if kind == 7:
        return lambda x: x.reshape(2, 3).T * 1.0
    if kind == 8:
        return lambda x: np.zeros((2, 3), order="F")
    if kind == 9:
        return lambda x: x
    if kind == 0:
        return lambda x: np.zeros(6)
    if kind == 1:
        return lambda x: np.ones((2, 3))
    if kind == 2:
        return lambda x: x.copy()
    if kind == 3:
        return lambda x: x.reshape(2, 3) * 1.0
    if kind == 4:
        return lambda x: np.full((3, 2), 0.5)
    return lambda x: np.array(x)


def _change(pick: random.Random) -> Callable[[Any, Any, Any], None]:
    """A random write into an array, from another array or from x."""
    kind = pick.randrange(8)
    where = pick.randrange(6)
    scale = pick.choice([0.5, -1.0, 1.25])

    def element(y: Any, z: Any, x: Any) -> None:
        y[(0,) * y.ndim] = x[where] * scale

    def plain(y: Any, z: Any, x: Any) -> None:
        y[0] = scale

    def add(y: Any, z: Any, x: Any) -> None:
        y += x[where]

    def product(y: Any, z: Any, x: Any) -> None:
        y *= scale

    def whole(y: Any, z: Any, x: Any) -> None:
        y[...] = np.sin(x[where]) * y

    def other(y: Any, z: Any, x: Any) -> None:
        y[:1] += z.sum() * 0.25

    def fancy(y: Any, z: Any, x: Any) -> None:
        y[[0, -1]] = x[where] ** 2

    def overlap(y: Any, z: Any, x: Any) -> None:
        y[:] = y[::-1] * 0.5

    return [element, plain, add, product, whole, other, fancy, overlap][kind]


def _function(seed: int) -> Callable[[Any], Any]:
    pick = random.Random(seed)
    makes = [_make(pick) for _ in range(pick.randint(1, 2))]
    script: list[tuple[str, int, Any, int]] = []
    number = len(makes)
    for _ in range(pick.randint(4, 12)):
        if pick.random() < 0.4:
            script.append(("view", pick.randrange(number), _view(pick), 0))
            number += 1
        else:
            script.append(("write", pick.randrange(number), _change(pick), pick.randrange(number)))

    def f(x: Any) -> Any:
        arrays = [make(x) for make in makes]
        total = 0.0
        for word, place, code, source in script:
            if word == "view":
                arrays.append(code(arrays[place]))
            else:
                code(arrays[place], arrays[source], x)
                total = total + np.sum(np.cos(arrays[source])) * 0.1
        for place, array in enumerate(arrays):
            total = total + np.sum(array * array) * (place + 1.0)
        return total + np.sum(x) * 0.5

    return f


@pytest.mark.parametrize("seed", range(400))
def test_traced_and_plain_agree(seed):
    f = _function(seed)
    try:
        value, gradient = cr.value_and_grad(f)(X.copy())
    except cr.TraceError as refusal:
        # Only what depends on the memory layout may be refused.
        assert "layout" in str(refusal)
        return
    assert value == pytest.approx(f(X.copy()), rel=1e-12)
    # A central difference over a random direction, exact up to h**4 by one extrapolation.
    direction = np.random.default_rng(seed).normal(size=6)
    slopes = [(f(X + h * direction) - f(X - h * direction)) / (2 * h) for h in (1e-3, 2e-3)]
    slope = (4 * slopes[0] - slopes[1]) / 3
    assert gradient @ direction == pytest.approx(slope, rel=1e-6, abs=1e-6 * (1 + abs(value)))
