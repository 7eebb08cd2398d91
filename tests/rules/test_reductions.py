"""Reductions: every argument against NumPy's value, derivatives against the witness, edges as documented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.directional import agrees, gradient, hessian, program

X = np.random.default_rng(1).normal(size=(2, 3, 4))
MASK = np.random.default_rng(2).random((2, 3, 4)) < 0.6
# At least two entries count everywhere: the spread of one is 0, where its second derivative is documented not to exist.
MASK[:, :2] = True
WITH_NAN = np.where(np.random.default_rng(3).random((2, 3, 4)) < 0.5, np.nan, X)
WITH_NAN[:, :2] = X[:, :2]
AXES = [None, 0, -1, (0, 2), (-1, 0), ()]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("f", [np.sum, np.prod, np.mean, np.var, np.std, np.max, np.min, np.amax, np.amin, np.ptp])
def test_axes(f, axis, keepdims) -> None:
    if axis == () and f in {np.std, np.ptp, np.var}:
        return
    # var and std of NumPy add in another order than a sum does.
    agrees(lambda x: f(x, axis=axis, keepdims=keepdims), X, exact=f not in {np.var, np.std, np.mean, np.prod})


@pytest.mark.parametrize("axis", [None, 1, (0, 2)])
@pytest.mark.parametrize("f", [np.sum, np.prod, np.mean, np.var, np.std])
def test_where(f, axis) -> None:
    agrees(lambda x: f(x, axis=axis, where=MASK), X, exact=False)
    agrees(lambda x: f(x, axis=axis, where=MASK[0]), X, exact=False)
    hidden = np.where(MASK, X, np.nan)
    adjoint = gradient(lambda x: np.sum(f(x, axis=axis, where=MASK)), hidden)[0]
    assert (adjoint[~MASK] == 0).all()
    np.testing.assert_allclose(
        adjoint, gradient(lambda x: np.sum(f(x, axis=axis, where=MASK)), X)[0], rtol=1e-12, atol=1e-15
    )


def test_where_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="dimensions"):
        program(lambda x: np.sum(x, where=np.ones((2, 3), dtype=bool)), np.ones(3))


@pytest.mark.parametrize("f", [np.sum, np.prod, np.max, np.min])
def test_initial(f) -> None:
    agrees(lambda x: f(x, axis=1, initial=0.3), X, exact=False)
    agrees(lambda x: f(x, axis=1, initial=0.3, where=MASK), X, exact=False)
    agrees(lambda x: f(x, axis=1, initial=0.3, keepdims=True), np.zeros((2, 0, 3)))


@pytest.mark.parametrize("f", [np.var, np.std])
def test_degrees_of_freedom(f) -> None:
    agrees(lambda x: f(x, axis=1, ddof=1), X, exact=False)
    agrees(lambda x: f(x, axis=1, correction=1.5), X, exact=False)
    agrees(lambda x: f(x, axis=1, mean=np.mean(x, axis=1, keepdims=True)), X, exact=False)
    agrees(lambda x, m: f(x, axis=1, mean=m), X, np.ones((2, 1, 4)), exact=False)
    with pytest.raises(ValueError, match="simultaneously"):
        program(lambda x: f(x, ddof=1, correction=1), X)


@pytest.mark.parametrize("f", [np.sum, np.prod, np.mean, np.var, np.std])
def test_dtype(f) -> None:
    agrees(lambda x: f(x, axis=0, dtype=np.float32), X, exact=False)
    agrees(lambda x: f(x, axis=0, dtype=np.float64), X.astype(np.float32), exact=False)
    agrees(lambda x: f(x, axis=0), X.astype(np.float32), exact=False)


@pytest.mark.parametrize("f", [np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin])
def test_nan_is_left_out(f) -> None:
    for options in ({}, {"axis": 1}, {"axis": (0, -1), "keepdims": True}):
        # A step moves the NaN nowhere, so differences see the numbers only.
        agrees(lambda x, o=options: f(x, **o), WITH_NAN, exact=False, second=f is not np.nanprod)
        adjoint = gradient(lambda x, o=options: np.sum(f(x, **o)), WITH_NAN)[0]
        assert (adjoint[np.isnan(WITH_NAN)] == 0).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("f", [np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin, np.nansum, np.nanprod])
def test_nothing_but_nan(f) -> None:
    agrees(f, np.full(3, np.nan), second=False) if f in {np.nansum, np.nanprod} else None
    np.testing.assert_array_equal(program(f, np.full(3, np.nan)).run([np.full(3, np.nan)])[0], f(np.full(3, np.nan)))
    if f in {np.nanvar, np.nanstd}:
        one = np.array([2.0, np.nan])
        np.testing.assert_array_equal(program(lambda x: f(x, ddof=1), one).run([one])[0], f(one, ddof=1))


def test_average() -> None:
    w = np.abs(X) + 0.1
    agrees(np.average, X)
    agrees(lambda x: np.average(x, axis=1, keepdims=True), X)
    agrees(lambda x, w: np.average(x, axis=(0, 2), weights=w), X, w, exact=False)
    agrees(lambda x, w: np.average(x, weights=w), X, w, exact=False)
    agrees(lambda x, w: np.average(x, axis=1, weights=w), X, w[0, :, 0], exact=False)
    agrees(lambda x, w: np.average(x, axis=(2, 0), weights=w), X, w[:, 0].T, exact=False)
    agrees(lambda x: np.average(x, axis=1, weights=[1, 2, 3], returned=True), X, exact=False)
    agrees(lambda x: np.average(x, axis=1, returned=True), X)
    agrees(lambda x: np.average(x, axis=1, weights=[1, 2, 3]), X.astype(np.float32), exact=False)
    with pytest.raises(TypeError, match="Axis must be"):
        program(lambda x: np.average(x, weights=[1.0, 2.0]), X)
    with pytest.raises(ValueError, match="consistent"):
        program(lambda x: np.average(x, axis=0, weights=[1.0, 2.0, 3.0]), X)
    with pytest.raises(ZeroDivisionError):
        program(lambda x: np.average(x, axis=0, weights=[1.0, -1.0]), X)


# --- edges ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.0, 1.0, -2.0, 0.5]), min_size=1, max_size=6))
def test_product_with_zeros_is_exact(numbers) -> None:
    x = np.array(numbers)
    others = [np.prod(np.delete(x, k)) for k in range(len(x))]
    np.testing.assert_array_equal(gradient(np.prod, x)[0], others)
    pairs = [[0 if j == k else np.prod(np.delete(x, [j, k])) for j in range(len(x))] for k in range(len(x))]
    np.testing.assert_array_equal(hessian(np.prod, x), pairs)


@given(st.lists(st.sampled_from([0.0, 1.0, -2.0, 3.0]), min_size=1, max_size=6))
def test_ties_share_equally(numbers) -> None:
    x = np.array(numbers)
    for f in (np.max, np.min):
        attained = x == f(x)
        np.testing.assert_array_equal(gradient(f, x)[0], attained / attained.sum())
        np.testing.assert_array_equal(hessian(f, x), np.zeros((len(x), len(x))))


def test_extremes_with_nan_and_infinity() -> None:
    np.testing.assert_array_equal(gradient(np.max, np.array([1.0, np.nan, 3.0, np.nan]))[0], [0, 0.5, 0, 0.5])
    np.testing.assert_array_equal(gradient(np.max, np.array([1.0, np.inf, -np.inf]))[0], [0, 1, 0])


def test_what_is_not_selected_does_not_matter() -> None:
    x = np.array([0.0, 2.0, 4.0])
    np.testing.assert_array_equal(gradient(lambda x: np.max(np.log(x)), x)[0], [0, 0, 0.25])
    np.testing.assert_array_equal(gradient(lambda x: np.max(np.sqrt(x)), x)[0], [0, 0, 0.25])
    np.testing.assert_array_equal(
        gradient(lambda x: np.sum(np.max(np.log(np.stack([x, x + 1])), axis=0)), x)[0], 1 / (x + 1)
    )


def test_spread_of_a_constant() -> None:
    x = np.full(4, 3.0)
    np.testing.assert_array_equal(gradient(np.std, x)[0], np.zeros(4))
    np.testing.assert_array_equal(gradient(lambda x: np.std(x, ddof=1) * 5, x)[0], np.zeros(4))
    # The second derivative does not exist: it is never a plausible number.
    assert not np.isfinite(hessian(np.std, x)).any()
    np.testing.assert_allclose(hessian(np.var, x), 2 * (np.eye(4) - 0.25) / 4, atol=1e-15)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nothing_to_reduce() -> None:
    empty = np.zeros((0, 3))
    for f in (np.sum, np.prod, np.mean, np.var, np.std):
        np.testing.assert_array_equal(program(lambda x, f=f: f(x, axis=0), empty).run([empty])[0], f(empty, axis=0))
        assert simplified_shape(f, empty) == (0, 3)
    for extreme in (np.max, np.min, np.ptp):
        with pytest.raises(ValueError, match="zero-size array to reduction operation"):
            program(extreme, empty)


def simplified_shape(f, x):
    return gradient(lambda x: np.sum(f(x, axis=0)), x)[0].shape


@pytest.mark.parametrize("f", [np.sum, np.prod, np.mean, np.max, np.min, np.ptp])
def test_scalars(f) -> None:
    agrees(f, np.array(1.5))


def test_integers_and_booleans() -> None:
    weights = np.arange(6).reshape(2, 3)
    agrees(lambda x: np.mean(x > 0) * x, np.array([1.0, -1.0, 2.0]))
    agrees(lambda x: np.sum(x > 0, axis=0) * x + np.max(weights, axis=0), np.array([1.0, -1.0, 2.0]))


def test_axis_out_of_range() -> None:
    for axis in (3, -4, (0, 3)):
        with pytest.raises(np.exceptions.AxisError):
            program(lambda x, axis=axis: np.sum(x, axis=axis), X)
    with pytest.raises(ValueError, match=r"[Dd]uplicate|repeated"):
        program(lambda x: np.sum(x, axis=(0, 0)), X)


def test_log_sum_exp_is_exact() -> None:
    x = np.array([1000.0, 1001.0, 990.0])
    p = np.exp(x - x.max()) / np.sum(np.exp(x - x.max()))
    np.testing.assert_allclose(gradient(lambda x: np.log(np.sum(np.exp(x - x.max()))) + x.max(), x)[0], p, rtol=1e-14)


# --- methods of ufuncs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp])
def test_reduce(ufunc) -> None:
    agrees(ufunc.reduce, X, exact=False)
    agrees(lambda x: ufunc.reduce(x, axis=-1, keepdims=True), X, exact=False)
    agrees(lambda x: ufunc.reduce(x, axis=2), X.astype(np.float32), exact=False)


def test_reduce_over_several_axes_with_initial_and_where() -> None:
    agrees(lambda x: np.add.reduce(x, axis=(0, 2), initial=2.0, where=MASK), X, exact=False)
    agrees(lambda x: np.maximum.reduce(x, axis=None, initial=0.5, where=MASK), X)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.subtract])
def test_outer(ufunc) -> None:
    agrees(ufunc.outer, X[0], X[0, 0])
    agrees(lambda x: ufunc.outer(x, 2.0), X[0])


def test_sums_of_slices() -> None:
    for indices in ([0, 2, 1, 3], [0], [3, 3, 0], [1, 2]):
        agrees(lambda x, i=indices: np.add.reduceat(x, i, axis=2), X, exact=False)
    with pytest.raises(IndexError):
        program(lambda x: np.add.reduceat(x, [5]), X)


def test_what_has_no_rule_says_so() -> None:
    from chainrule.errors import NoRule

    for f in (np.subtract.reduce, np.hypot.reduce, np.logaddexp.accumulate, lambda x: np.maximum.reduceat(x, [0, 1])):
        with pytest.raises(NoRule):
            program(f, X)
