"""Holds a rule against NumPy's value and against differences along a random direction, with their error bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import numerical
from chainrule.build import Builder
from chainrule.program import Program, array_type
from chainrule.transforms.backprop import backprop
from chainrule.transforms.batch import batch
from chainrule.transforms.forward import forward
from chainrule.transforms.simplify import simplify

__all__ = ["agrees", "gradient", "hessian", "program"]


def program(f: Callable[..., Any], *arrays: Any) -> Program:
    """``f`` recorded at these arrays; several results become several outputs."""
    builder = Builder("f")
    inputs = [
        builder.input(array_type(np.shape(one), np.asarray(one).dtype), "xyzwuv"[n]) for n, one in enumerate(arrays)
    ]
    made = f(*inputs)
    return builder.finish(list(made) if isinstance(made, tuple) else [made]).verify()


def gradient(f: Callable[..., Any], *arrays: Any) -> list[Any]:
    """Adjoints of a scalar function."""
    return simplify(backprop(program(f, *arrays))).verify().run([np.asarray(one) for one in arrays])


def hessian(f: Callable[[Any], Any], x: Any) -> np.ndarray:
    """The Hessian of a scalar function, by backprop twice."""
    x = np.asarray(x)
    first = simplify(backprop(program(f, x)))
    second = simplify(backprop(first, [0], seeded=True)).verify()
    rows = [second.run([x, one.reshape(x.shape)])[0].ravel() for one in np.eye(x.size)]
    return np.reshape(rows, (x.size, x.size))


def _weighted(results: Any, weights: list[Any]) -> float:
    return float(sum(np.sum(one * weight) for one, weight in zip(results, weights, strict=True) if np.size(one)))


def _moved(arrays: list[Any], directions: list[Any], t: float) -> list[Any]:
    return [one + t * direction for one, direction in zip(arrays, directions, strict=True)]


def _derivative(f: Callable[[float], float]) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        witness = numerical.derivative(f, 0.0)
    value, error = float(np.asarray(witness.value)), float(np.asarray(witness.error))
    # A witness that does not know proves nothing.
    assert error <= 1e-5 * (1 + abs(value)), witness
    return value, error


def agrees(
    f: Callable[..., Any], *arrays: Any, second: bool = True, exact: bool = True, reference: Any = None, seed: int = 0
) -> None:
    """``f`` recorded has NumPy's value, and its first and second derivatives are those of the witness.

    ``reference`` is what NumPy computes, if it is not ``f``; ``exact=False`` allows rounding in the value.
    """
    rng = np.random.default_rng(seed)
    arrays = tuple(np.asarray(one) for one in arrays)
    reference = reference or f
    held = program(f, *arrays)
    found = held.run(arrays)
    wanted = reference(*arrays)
    for one, other in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert np.shape(one) == np.shape(other)
        assert np.asarray(one).dtype == np.asarray(other).dtype, (np.asarray(one).dtype, np.asarray(other).dtype)
        if exact:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(
                one, other, rtol=2e-5 if np.asarray(one).dtype == np.float32 else 1e-11, atol=1e-12
            )
    kinds = [one.dtype for one in (*arrays, *map(np.asarray, found)) if one.dtype.kind == "f"]
    if set(kinds) != {np.dtype(np.float64)} or not any(one.size for one in arrays):
        reverse = simplify(backprop(held, seeded=True)).verify()
        for one, kind in zip(reverse.run([*arrays, *found]), arrays, strict=True):
            assert one.shape == kind.shape
            assert one.dtype == kind.dtype
        return
    floats = [place for place, kind in enumerate(held.outputs) if held.type_of(kind).dtype.kind == "f"]
    weights = [
        rng.normal(size=np.shape(one)) if place in floats else np.zeros(np.shape(one))
        for place, one in enumerate(found)
    ]
    directions = [rng.normal(size=one.shape) for one in arrays]

    def along(t: float) -> float:
        results = reference(*_moved(list(arrays), directions, t))
        return _weighted(results if isinstance(results, tuple) else (results,), weights)

    slope, error = _derivative(along)
    reverse = simplify(backprop(held, list(range(len(arrays))), seeded=True)).verify()
    adjoints = reverse.run([*arrays, *weights])
    by_reverse = _weighted(adjoints, directions)
    tangents = simplify(forward(held, list(range(len(arrays))))).verify().run([*arrays, *directions])[len(found) :]
    by_forward = _weighted(tangents, weights)
    rounding = 1e-12 * (1 + abs(slope))
    assert abs(by_reverse - slope) <= error + rounding, (by_reverse, slope, error)
    assert abs(by_forward - slope) <= error + rounding, (by_forward, slope, error)
    assert abs(by_forward - by_reverse) <= 1e-9 * (1 + abs(slope))
    doubled = simplify(batch(held, [True] * len(arrays), 2)).verify()
    stacked = doubled.run([np.stack([one, one + direction]) for one, direction in zip(arrays, directions, strict=True)])
    for one, first, other in zip(stacked, found, held.run(_moved(list(arrays), directions, 1.0)), strict=True):
        np.testing.assert_allclose(one, np.stack([first, other]), rtol=1e-9, atol=1e-9)
    if not second:
        return

    def slope_along(t: float) -> float:
        return _weighted(reverse.run([*_moved(list(arrays), directions, t), *weights]), directions)

    bend, error = _derivative(slope_along)
    twice = simplify(backprop(reverse, list(range(len(arrays))), seeded=True)).verify()
    again = _weighted(twice.run([*arrays, *weights, *directions]), directions)
    rounding = 1e-11 * (1 + abs(bend))
    assert abs(again - bend) <= error + rounding, (again, bend, error)
    over = simplify(forward(reverse, list(range(len(arrays))))).verify()
    tangents = over.run([*arrays, *weights, *directions])[len(arrays) :]
    assert abs(_weighted(tangents, directions) - bend) <= error + rounding
