"""The interpreter: overwriting is invisible, results are the caller's own, values are freed."""

import numpy as np
import pytest

import chainrule as cr


def test_a_chain_of_writes_overwrites_one_array_and_leaves_the_input_alone():
    def f(x):
        y = np.zeros(4)
        for place in range(4):
            y[place] = x[place] ** 2
        return np.sum(y)

    x = np.array([1.0, 2.0, 3.0, 4.0])
    kept = x.copy()
    assert np.array_equal(cr.grad(f)(x), 2 * x)
    assert np.array_equal(x, kept)


def test_overwriting_is_not_seen_through_a_view_that_is_still_read():
    def f(x):
        y = x * 1.0
        old = y[:2] * 1.0
        view = y[1:]
        y[0] = 10.0
        return np.sum(old * y[:2]) + np.sum(view**2)

    x = np.array([1.0, 2.0, 3.0])
    program = cr.trace(f, x)
    assert program.run([x])[0] == f(x)
    assert np.allclose(cr.grad(f)(x), [10.0, 2 * 2.0 + 2 * 2.0, 2 * 3.0], rtol=1e-15)


def test_constants_survive_a_run():
    data = np.arange(3.0)

    def f(x):
        y = np.array(data)
        y[1] = x
        return np.sum(y * y)

    gradient = cr.grad(f)
    assert [gradient(2.0), gradient(2.0), gradient(5.0)] == [4.0, 4.0, 10.0]
    assert np.array_equal(data, [0.0, 1.0, 2.0])


def test_results_share_no_memory():
    x = np.ones(3)
    a, b = cr.grad(lambda a, b: np.sum(a + b), argnums=(0, 1))(x, x)
    a[0] = 7.0
    assert b[0] == 1.0
    assert x[0] == 1.0
    value = cr.vjp(lambda x: x, x)[0]
    value[0] = 5.0
    assert x[0] == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_of_results(dtype):
    x = np.array([0.5, 2.0], dtype=dtype)
    assert cr.grad(lambda x: np.sum(np.exp(x) * 2.0))(x).dtype == dtype
    assert cr.grad(lambda x: np.sum(x[0] * 2.0 + 1))(x).dtype == dtype
