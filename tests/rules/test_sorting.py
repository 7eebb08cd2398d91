"""Sorting, medians, quantiles, searches, counts: values against NumPy, derivatives against which element was taken."""

# ruff: noqa: PLW0108 - a list of calls reads best as calls
# mypy: disable-error-code="call-overload"

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.rules.moves import moves_as_numpy, number

import chainrule as cr
from chainrule.errors import ChainruleError, NoRule

X = np.random.default_rng(1).normal(size=(4, 5))
METHODS = [
    "linear",
    "lower",
    "higher",
    "midpoint",
    "nearest",
    "hazen",
    "weibull",
    "median_unbiased",
    "normal_unbiased",
    "inverted_cdf",
    "averaged_inverted_cdf",
    "closest_observation",
    "interpolated_inverted_cdf",
]


def shuffled(x: Any) -> Any:
    """The numbers of ``x`` in another order."""
    order = np.random.default_rng(3).permutation(x.size)
    return x.reshape(-1)[order].reshape(x.shape)


@pytest.mark.parametrize(
    "f",
    [
        np.sort,
        lambda x: np.sort(x, axis=0),
        lambda x: np.sort(x, axis=None),
        lambda x: np.sort(x, kind="stable"),
        lambda x: np.sort(x[0]),
        lambda x: x[np.argsort(x[:, 0])],
        lambda x: np.sort(x, stable=True),
        lambda x: np.partition(x, 2),
        lambda x: np.partition(x, (0, -1), axis=0),
        lambda x: np.partition(x, 3, axis=None),
        lambda x: np.take_along_axis(x, np.argsort(x, axis=0), 0),
        lambda x: x[np.lexsort((x[:, 0], x[:, 1] * 0))],
        lambda x: x.ravel()[x.argsort(axis=None)],
        lambda x: np.take_along_axis(x, np.argpartition(x, 1, axis=1), 1),
        lambda x: np.median(x[:3]),
        lambda x: np.median(x, axis=1),
        lambda x: np.median(x[:3], axis=0, keepdims=True),
        lambda x: np.median(x[:3, :3], axis=(0, 1), keepdims=True),
        lambda x: np.quantile(x, 0.3, method="lower"),
        lambda x: np.quantile(x, [0.0, 1.0], axis=0),
        lambda x: np.percentile(x, 50, axis=1),
        lambda x: np.sort(x, axis=0)[::-1],
        lambda x: np.max(np.sort(x), axis=0),
        lambda x: np.sort(x[:, :1]),
    ],
)
def test_elements_are_found_again(f: Any) -> None:
    moves_as_numpy(lambda x: f(shuffled(x)), (4, 5))


def slope_is_the_witness(f: Any, *arrays: Any) -> None:
    found = cr.trace(f, *arrays).run(arrays)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = f(*arrays)
    assert np.shape(found) == np.shape(wanted)
    assert found.dtype == np.asarray(wanted).dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-14)
    weights = np.cos(number(np.shape(wanted)))
    gradients = cr.grad(lambda *given: np.sum(f(*given) * weights), argnums=tuple(range(len(arrays))))(*arrays)
    for place, gradient in enumerate(gradients):

        def along(one: Any, place: int = place) -> float:
            return float(np.sum(f(*[one if rank == place else other for rank, other in enumerate(arrays)]) * weights))

        witness = cr.numerical.grad(along, arrays[place])
        assert np.all(np.abs(gradient - witness.value) <= witness.error + 1e-11 * (1 + np.abs(witness.value)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_quantiles_of_every_method(method: str, axis: Any) -> None:
    x = X[:3, :4]
    slope_is_the_witness(lambda x: np.quantile(x, 0.17, axis=axis, method=method), x)
    slope_is_the_witness(lambda x: np.quantile(x, [0.0, 0.7, 0.5, 1.0], axis=axis, method=method, keepdims=True), x)
    slope_is_the_witness(lambda x: np.percentile(x, np.array([[20.0], [77.7]]), axis=axis, method=method), x)
    assert (
        cr.trace(lambda x: np.quantile(x, 0.4, method=method), X.astype(np.float32))
        .run([X.astype(np.float32)])[0]
        .dtype
        == np.float32
    )


@settings(max_examples=100)
@given(
    hnp.arrays(np.float64, st.integers(1, 9), elements=st.floats(-5, 5, width=16)),
    st.floats(0, 1),
    st.sampled_from(METHODS),
)
def test_quantiles_are_numpys_to_the_last_bit_and_their_weights_sum_to_one(x: Any, q: float, method: str) -> None:
    found = cr.trace(lambda x: np.quantile(x, q, method=method), x).run([x])[0]
    np.testing.assert_array_equal(found, np.quantile(x, q, method=method))
    gradient = cr.grad(lambda x: np.quantile(x, q, method=method))(x)
    assert abs(gradient.sum() - 1) < 1e-12
    # What the gradient weighs are elements next to the result (ties may choose any of them).
    assert abs(gradient @ x - found) < 1e-12 * (1 + abs(found))


def test_a_quantile_is_differentiated_by_its_probability() -> None:
    x = np.array([3.0, 1.0, 4.0, 9.0])
    for method in ("linear", "hazen", "weibull"):
        slope_is_the_witness(lambda q, method=method: np.quantile(x, q, method=method), np.array([0.4, 0.77]))
    assert cr.grad(lambda q: np.quantile(x, q))(0.5) == pytest.approx(3.0)
    assert cr.grad(lambda p: np.percentile(x, p))(50.0) == pytest.approx(0.03)


def test_ties_of_a_sort_are_shared_out_whole() -> None:
    x = np.array([2.0, 1.0, 2.0, 2.0])
    np.testing.assert_array_equal(
        cr.grad(lambda x: np.sum(np.sort(x) * np.array([1.0, 10, 100, 1000])))(x), [10, 1, 100, 1000]
    )
    np.testing.assert_array_equal(cr.grad(np.median)(x), [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(cr.grad(np.median)(np.ones(5)), [0, 0, 1, 0, 0])


def test_nan_reaches_a_median_as_in_numpy() -> None:
    x = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])
    for f in (lambda x: np.median(x, axis=1), lambda x: np.quantile(x, 0.3, axis=1), lambda x: np.sort(x)):
        np.testing.assert_array_equal(cr.trace(f, x).run([x])[0], f(x))


# --- searches: integers and booleans --------------------------------------------------------------------------------

T = np.round(X, 1)


@pytest.mark.parametrize(
    "f",
    [
        np.argmax,
        lambda x: np.argmax(x, axis=0),
        lambda x: x.argmin(axis=1),
        lambda x: np.argmin(x, keepdims=True),
        lambda x: np.argmax(x, axis=-1, keepdims=True),
        np.argsort,
        lambda x: np.argsort(x, axis=0, kind="stable"),
        lambda x: np.argsort(x[0, 0]),
        lambda x: np.lexsort(x),
        lambda x: np.lexsort((x[0], x[1])),
        lambda x: np.searchsorted(np.array([-1.0, 0.0, 1.0]), x),
        lambda x: np.searchsorted(np.array([-1.0, 0.0, 1.0]), x, side="right"),
        lambda x: np.searchsorted(np.sort(x[0]), x),
        lambda x: np.searchsorted(x[0], x[1, 2], sorter=np.argsort(x[0])),
        lambda x: np.any(x > 1),
        lambda x: np.any(x > 1, axis=0),
        lambda x: np.all(x < 1, axis=(0, 1), keepdims=True),
        lambda x: (x > 0).all(axis=1),
        lambda x: (x > 9).any(),
        lambda x: np.any(x > 0, where=x < 0.5, axis=1),
        lambda x: np.all(x, axis=1),
        lambda x: np.count_nonzero(x > 0),
        lambda x: np.count_nonzero(x, axis=0),
        lambda x: np.count_nonzero(x > 0, axis=1, keepdims=True),
        lambda x: np.isin(x, [0.1, -0.4, T[0, 0]]),
        lambda x: np.isin(T[1], x[1], invert=True),
        lambda x: np.stack(np.unravel_index(np.argmax(x), (4, 5))),
        lambda x: np.ravel_multi_index((np.argmax(x, axis=0) % 3, [0, 1, 2, 3, 4]), (3, 5)),
        lambda x: np.isclose(x, T + 1e-9),
        lambda x: np.isclose(x, x[0]),
        lambda x: np.allclose(x, x),
        lambda x: np.array_equal(x, x[::-1]),
        lambda x: np.array_equiv(x, x[0]),
        lambda x: np.isclose(x / (x - T[0, 0]), np.inf, equal_nan=True),
        lambda x: np.argmax(x > 0.5, axis=1),
        lambda x: np.array_equal(x, T, equal_nan=True),
    ],
)
def test_discrete_results_are_numpys_and_so_are_their_batches(f: Any) -> None:
    with np.errstate(all="ignore"):
        wanted = np.asarray(f(T))
        found = cr.trace(lambda x: (f(x), np.sum(x)), T).run([T])[0]
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        many = np.stack([T, -T, T[::-1]])
        made = cr.vmap(lambda x: (f(x), np.sum(x)))(many)[0]
        np.testing.assert_array_equal(made, np.stack([f(one) for one in many]))
        assert not np.any(cr.grad(lambda x: np.sum(f(x) * 1.0) + 0 * np.sum(x))(T))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.digitize(x, np.array([-1.0, 0.0, 1.0])),
        lambda x: np.digitize(x, np.array([1.0, 0.0, -1.0]), right=True),
        lambda x: np.digitize(x, np.sort(x[0])),
        lambda x: np.nonzero(x > 0)[0],
        lambda x: np.flatnonzero(x > 0),
        lambda x: np.argwhere(x > 0),
        lambda x: np.unique(x),
        lambda x: np.unique(x, return_inverse=True)[1],
        lambda x: np.unique(x, return_counts=True)[1],
        lambda x: np.unique(x, return_index=True)[1],
        lambda x: np.unique(x, axis=0),
        lambda x: np.unique(x[:0]),
        lambda x: np.bincount((x > 0).ravel().astype(int)),
        lambda x: np.bincount(np.argmax(x, axis=1), minlength=9),
        lambda x: np.histogram(x)[0],
        lambda x: np.histogram(x, bins=4, range=(-1, 1))[0],
        lambda x: np.histogram(x, bins=np.array([-1.0, 0, 0.5]))[0],
        lambda x: np.histogram(x, bins=3)[1],
        lambda x: np.histogram(x, density=True, bins=3)[0],
        lambda x: np.histogram_bin_edges(x, 4),
        lambda x: np.histogram(x * 0, 3)[0],
        lambda x: np.histogram(x[:0], 3)[1],
    ],
)
def test_results_whose_shape_or_steps_depend_on_values(f: Any) -> None:
    wanted = f(T)
    found = cr.trace(lambda x: (f(x), np.sum(x)), T).run([T])[0]
    assert np.asarray(found).dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-15)


def test_unique_values_are_differentiated_where_they_first_occur() -> None:
    x = np.array([2.0, 1.0, 2.0, 5.0, 1.0])
    np.testing.assert_array_equal(
        cr.grad(lambda x: np.sum(np.unique(x) * np.array([1.0, 10, 100])))(x), [10, 1, 0, 100, 0]
    )
    x = np.array([np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(cr.trace(np.unique, x).run([x])[0], np.unique(x))
    np.testing.assert_array_equal(
        cr.trace(lambda x: np.unique(x, equal_nan=False), x).run([x])[0], np.unique(x, equal_nan=False)
    )


def test_weights_are_added_where_they_fall() -> None:
    bins = np.array([0, 2, 2, 1, 0])
    slope_is_the_witness(lambda w: np.bincount(bins, weights=w), X[0])
    slope_is_the_witness(lambda w: np.bincount(bins, weights=w, minlength=7) ** 2, X[0])
    slope_is_the_witness(lambda w: np.histogram(T[0], bins=3, weights=w)[0] ** 2, X[0])
    slope_is_the_witness(lambda w: np.histogram(T[0], bins=3, weights=w, density=True)[0], X[0] + 5)
    slope_is_the_witness(lambda x: np.histogram(x, bins=3, density=True)[0] * np.histogram(x, bins=3)[1][1:], X[0])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.quantile(x, 1.5),
        lambda x: np.percentile(x, -1),
        lambda x: np.quantile(x, 0.5, method="no"),
        lambda x: np.partition(x, 9),
        lambda x: np.sort(x, axis=3),
        lambda x: np.searchsorted(x, 1.0),
        lambda x: np.searchsorted(x[0], 1.0, side="no"),
        lambda x: np.argmax(x[:0]),
        lambda x: np.digitize(x, np.array([0.0, 2.0, 1.0])),
        lambda x: np.bincount((x[0] > 0) * -1),
        lambda x: np.bincount(x[0]),
        lambda x: np.histogram(x, bins=0),
        lambda x: np.histogram(x, bins=[1.0, 0.0]),
        lambda x: np.histogram(x, range=(1, 0)),
        lambda x: np.lexsort(()) + x,
    ],
)
def test_wrong_arguments_are_refused_as_numpy_does(f: Any) -> None:
    with pytest.raises((ValueError, IndexError, TypeError)) as wanted:
        f(T)
    with pytest.raises(wanted.type) as seen:
        cr.trace(lambda x: (f(x), np.sum(x)), T)
    assert not isinstance(seen.value, ChainruleError) or wanted.type is not ValueError


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.quantile(x, 0.5, weights=np.ones(x.shape), method="inverted_cdf"),
        lambda x: np.histogram(x, bins="auto")[0],
        lambda x: np.median(x[:0]),
        lambda x: np.nanmedian(x),
    ],
)
def test_what_has_no_rule_says_so(f: Any) -> None:
    with pytest.raises(NoRule, match="What to do"):
        cr.grad(lambda x: np.sum(f(x) * 1.0))(T)
