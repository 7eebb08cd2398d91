"""Running sums, products and extremes: values, derivatives, zeros, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.directional import agrees, gradient, hessian, program

from chainrule.rule import apply
from chainrule.rules.cumulative import cumprod, cumsum, linear_recurrence

X = np.random.default_rng(1).normal(size=(3, 4, 2))


@pytest.mark.parametrize("axis", [None, 0, -1, 1])
@pytest.mark.parametrize("f", [np.cumsum, np.cumprod, np.nancumsum, np.nancumprod])
def test_axes(f, axis) -> None:
    agrees(lambda x: f(x, axis=axis), X)
    agrees(lambda x: f(x, axis=axis), X.astype(np.float32))
    agrees(lambda x: f(x, axis=axis, dtype=np.float64), X.astype(np.float32))
    agrees(lambda x: f(x, axis=axis), np.zeros((0, 2, 3)))


@pytest.mark.parametrize("f", [np.cumsum, np.cumprod])
def test_scalars_and_vectors(f) -> None:
    agrees(f, np.array(2.0))
    agrees(f, np.array([2.0]))
    agrees(f, X[0, :, 0])
    with pytest.raises(np.exceptions.AxisError):
        program(lambda x: f(x, axis=3), X)


@pytest.mark.parametrize("f", [np.nancumsum, np.nancumprod])
def test_nan_is_left_out(f) -> None:
    x = np.array([1.0, np.nan, 3.0, 2.0])
    agrees(f, x)
    assert gradient(lambda x: np.sum(f(x)), x)[0][1] == 0


@pytest.mark.skipif(not hasattr(np, "cumulative_sum"), reason="NumPy 2.1")
@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_array_api_names(name) -> None:
    f = getattr(np, name)
    agrees(lambda x: f(x, axis=1), X)
    agrees(lambda x: f(x, axis=1, include_initial=True), X)
    agrees(lambda x: f(x, include_initial=True, dtype=np.float64), X[0, :, 0].astype(np.float32))
    with pytest.raises(ValueError, match="axis"):
        program(f, X)


@given(st.lists(st.sampled_from([0.0, 1.0, -2.0, 0.5]), min_size=1, max_size=6))
def test_running_product_with_zeros_is_exact(numbers) -> None:
    x = np.array(numbers)
    weights = np.arange(1.0, len(x) + 1)
    slopes = [sum(weights[i] * np.prod(np.delete(x[: i + 1], k)) for i in range(k, len(x))) for k in range(len(x))]
    np.testing.assert_allclose(gradient(lambda x: np.sum(weights * np.cumprod(x)), x)[0], slopes, rtol=1e-14)
    bends = [
        [0 if j == k else sum(weights[i] * np.prod(np.delete(x[: i + 1], [j, k])) for i in range(max(j, k), len(x)))
         for j in range(len(x))]
        for k in range(len(x))
    ]  # fmt: skip
    np.testing.assert_allclose(hessian(lambda x: np.sum(weights * np.cumprod(x)), x), bends, rtol=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_linear_recurrence(axis, reverse) -> None:
    def by_hand(a, b):
        a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
        s, last = np.zeros_like(b), 0.0
        for place in reversed(range(len(a))) if reverse else range(len(a)):
            last = s[place] = b[place] + a[place] * last
        return np.moveaxis(s, 0, axis)

    agrees(lambda a, b: apply(linear_recurrence, (a, b), (axis, reverse)), X, X[::-1] + 1, reference=by_hand)
    agrees(
        lambda a, b: apply(linear_recurrence, (a, b), (0, reverse)), X[:, 0, 0], X[:, 1, 0], exact=False,
        reference=lambda a, b: apply(linear_recurrence, (a[:, np.newaxis], b[:, np.newaxis]), (0, reverse))[:, 0],
    )  # fmt: skip


@pytest.mark.parametrize("params", [(0, False, True), (1, True, False), (2, True, True)])
def test_products_before_and_behind(params) -> None:
    agrees(lambda x: apply(cumprod, (x,), params), X)


def test_reversed_sum() -> None:
    agrees(lambda x: apply(cumsum, (x,), (1, True)), X)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum])
def test_accumulate(ufunc) -> None:
    agrees(ufunc.accumulate, X)
    agrees(lambda x: ufunc.accumulate(x, axis=-1), X)
    agrees(ufunc.accumulate, np.zeros((0, 2)))


def test_running_extremes_with_ties_and_nan() -> None:
    weights = np.array([1.0, 2.0, 4.0, 8.0])
    ties = np.array([1.0, 3.0, 3.0, 2.0])
    np.testing.assert_array_equal(
        gradient(lambda x: np.sum(weights * np.maximum.accumulate(x)), ties)[0], [1, 14, 0, 0]
    )
    held = np.array([1.0, np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(program(np.maximum.accumulate, held).run([held])[0], np.maximum.accumulate(held))
    np.testing.assert_array_equal(
        gradient(lambda x: np.sum(weights * np.maximum.accumulate(x)), held)[0], [1, 14, 0, 0]
    )
