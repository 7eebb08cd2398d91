"""Derivatives of derivatives: any order by nesting, operators inside operators, no confusion of perturbations."""

# ruff: noqa: E731, PLW0108 - functions are short here, and many

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.frontend.agreement import agrees, close, right_or_refused, witness_of

import chainrule as cr

X = np.array([0.7, 1.3, 0.4])
V = np.array([0.3, -1.0, 2.0])
A = np.array([[2.0, 0.5, 0.1], [0.5, 3.0, 0.2], [0.1, 0.2, 1.5]])


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def plain(x):
    """In-place writes, math, a loop and a branch on a value."""
    y = np.zeros(3)
    for i in range(3):
        y[i] = math.sin(x[i]) * x[0] if x[i] > 0.5 else math.exp(x[i])
    y[1:] += y[:-1] ** 2
    return np.sum(y**2) + float(x[1]) * x[2]


FUNCTIONS = [
    rosenbrock,
    plain,
    lambda x: np.exp(np.sum(x * x)) / (1 + x[0]),
    lambda x: np.sum(np.tanh(A @ x) * x),
    lambda x: np.prod(x) + np.sum(np.outer(x, x) ** 3),
    lambda x: np.sum(np.where(x > 0.5, x**3, x**4)),
    lambda x: np.log(np.sum(np.exp(x))) + np.linalg.norm(x),
    lambda x: np.sum(np.cumsum(x) ** 3 * x[::-1]),
    lambda x: x @ np.linalg.solve(A + np.outer(x, x), x),
    lambda x: np.max(x) * np.sum(np.sort(x) ** 2),
    lambda x: np.sum(x[[0, 0, 2]] ** 2 * x[1:2] ** x[0]),
]


# --- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", range(6))
def test_orders_of_a_power(order):
    def f(x):
        return x**5

    g: Any = f
    for _ in range(order):
        g = cr.grad(g)
    expected = math.perm(5, order) * 1.5 ** (5 - order)
    assert float(g(1.5)) == pytest.approx(expected, rel=1e-13)


def test_functions_of_math_and_numpy_themselves():
    close(cr.grad(np.sum)(X), np.ones(3))
    close(cr.grad(np.sin)(0.7), np.float64(math.cos(0.7)))
    close(cr.grad(np.linalg.norm)(X), X / np.linalg.norm(X))
    close(cr.grad(math.sin)(0.7), np.float64(math.cos(0.7)))
    close(cr.grad(cr.grad(math.exp))(0.7), np.float64(math.exp(0.7)))


def test_orders_of_sin():
    derivatives: Any = [lambda x: math.sin(x)]
    for _ in range(6):
        derivatives.append(cr.grad(derivatives[-1]))
    expected = [math.sin, math.cos, lambda t: -math.sin(t), lambda t: -math.cos(t)]
    for order, g in enumerate(derivatives):
        assert float(g(0.7)) == pytest.approx(expected[order % 4](0.7), rel=1e-12)


def test_third_derivatives_of_an_array_function():
    def f(x):
        return np.sum(x**4) + x[0] * x[1] * x[2]

    third = cr.jacobian(cr.hessian(f))(X)
    assert third.shape == (3, 3, 3)
    expected = np.zeros((3, 3, 3))
    for i in range(3):
        expected[i, i, i] = 24 * X[i]
    for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        expected[i, j, k] = 1.0
    close(third, expected)


@pytest.mark.parametrize("inner", [cr.grad, cr.jacobian])
@pytest.mark.parametrize(
    "outer", [cr.grad, lambda f: cr.jacobian(f, mode="forward"), lambda f: cr.jacobian(f, mode="reverse")]
)
def test_second_derivative_of_a_number_by_every_pair(inner, outer):
    close(outer(inner(lambda x: x**3 * math.sin(x)))(0.7), cr.grad(cr.grad(lambda x: x**3 * math.sin(x)))(0.7))


def test_third_derivative_by_three_different_operators():
    def f(x):
        return x**5

    first = cr.grad(f)
    second = lambda x: cr.jvp(first, (x,), (1.0,))[1]
    third = lambda x: cr.vjp(second, x)[1](1.0)[0]
    fourth = cr.jacobian(third, mode="forward")
    assert float(third(2.0)) == pytest.approx(240)
    assert float(fourth(2.0)) == pytest.approx(240)


# --- Hessians ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", FUNCTIONS)
def test_hessian_is_symmetric_and_right(f):
    hessian = cr.hessian(f)(X)
    scale = 1 + np.abs(hessian).max()
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12 * scale)
    for i in range(3):

        def entry(x, i=i):
            return cr.grad(f)(x)[i]

        value, error = witness_of(entry, X)
        close(hessian[i], value, error + 1e-11 * scale)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_hessian_in_four_ways(f):
    expected = cr.hessian(f)(X)
    scale = 1 + np.abs(expected).max()
    for inner in ("forward", "reverse"):
        for outer in ("forward", "reverse"):
            found = cr.jacobian(cr.jacobian(f, mode=inner), mode=outer)(X)
            close(found, expected, 1e-11 * scale)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_hvp_is_the_hessian_times_a_vector(f):
    hessian = cr.hessian(f)(X)
    scale = 1 + np.abs(hessian).max()
    close(cr.hvp(f, (X,), (V,)), hessian @ V, 1e-11 * scale)
    close(cr.grad(lambda x: cr.grad(f)(x) @ V)(X), hessian @ V, 1e-11 * scale)
    close(cr.jvp(cr.grad(f), (X,), (V,))[1], hessian @ V, 1e-11 * scale)
    close(cr.vjp(cr.grad(f), X)[1](V)[0], hessian @ V, 1e-11 * scale)


def test_hessian_of_several_arguments_and_containers():
    def f(a, p):
        return np.sum(a**2 * p["s"]) + p["s"] ** 3

    blocks = cr.hessian(f, argnums=(0, 1))(X, {"s": 2.0})
    close(blocks[0][0], 4 * np.eye(3))
    close(blocks[0][1], {"s": 2 * X})
    close(blocks[1]["s"][0], 2 * X)
    close(blocks[1]["s"][1], {"s": np.float64(12.0)})


def test_hvp_of_several_arguments():
    a, b = cr.hvp(lambda x, y: np.sum(x**2) * y, (X, 3.0), (V, 0.5))
    close(a, 6.0 * V + 2 * X * 0.5)
    close(b, np.float64(2 * X @ V))


def test_hessian_of_a_quadratic_form_and_of_a_linear_function():
    close(cr.hessian(lambda x: 0.5 * x @ A @ x)(X), A)
    close(cr.hessian(lambda x: np.sum(x * 2.0))(X), np.zeros((3, 3)))
    close(cr.hessian(lambda x: 3.0)(X), np.zeros((3, 3)))


# --- forward and reverse ----------------------------------------------------------------------------------------------

MAPS = [
    lambda x: np.array([x[0] * x[1], math.exp(x[2]), x[0] ** 2, 1.0]),
    lambda x: np.outer(x, x) @ A,
    lambda x: x[0] * np.sin(x[1]),
    lambda x: np.cumsum(x * x)[::-1],
    lambda x: np.linalg.inv(A + np.outer(x, x)),
    lambda x: np.concatenate([x[:2] ** 3, np.zeros(2), x]),
    lambda x: np.where(x > 0.5, np.sqrt(x), 0.0),
    lambda x: np.zeros(2),
]


@pytest.mark.parametrize("f", MAPS)
def test_jacobian_forward_equals_reverse_and_the_witness(f):
    forward, reverse = cr.jacobian(f, mode="forward")(X), cr.jacobian(f, mode="reverse")(X)
    close(forward, reverse)
    close(cr.jacobian(f)(X), forward)
    witness = cr.numerical.jacobian(f, X)
    close(forward, np.asarray(witness.value), np.asarray(witness.error))
    value, tangent = cr.jvp(f, (X,), (V,))
    close(tangent, np.asarray(forward @ V)[()])
    close(value, np.asarray(f(X))[()])
    value, pullback = cr.vjp(f, X)
    seed = np.cos(np.arange(value.size, dtype=float)).reshape(np.shape(value))
    close(pullback(seed)[0], np.tensordot(seed, forward, np.ndim(seed)))


def test_jacobian_of_containers_of_containers():
    def f(p, c):
        return {"a": p["x"] * c, "b": (np.sum(p["x"]) * p["y"],)}

    found = cr.jacobian(f, argnums=(0, 1))({"x": X, "y": 2.0}, 3.0)
    close(found["a"][0], {"x": 3.0 * np.eye(3), "y": np.zeros(3)})
    close(found["a"][1], X)
    close(found["b"][0][0], {"x": np.full(3, 2.0), "y": np.float64(X.sum())})
    for mode in ("forward", "reverse"):
        close(cr.jacobian(f, argnums=(0, 1), mode=mode)({"x": X, "y": 2.0}, 3.0), found)


def test_jacobian_shapes():
    f = lambda x, y: np.outer(x, y)
    found = cr.jacobian(f, argnums=(0, 1))(np.ones(2), np.ones(3))
    assert [one.shape for one in found] == [(2, 3, 2), (2, 3, 3)]
    assert np.shape(cr.jacobian(lambda x: x * 2)(1.0)) == ()
    assert cr.jacobian(lambda x: np.ones(4) * x)(1.0).shape == (4,)


def test_pullback_runs_many_times():
    _, pullback = cr.vjp(plain, X)
    gradient = cr.grad(plain)(X)
    for scale in (1.0, -2.0, 0.0, 1):
        close(pullback(scale)[0], scale * gradient)
    close(pullback(1.0)[0], gradient)


def test_vjp_argnums_and_several_arguments():
    f = lambda a, b: a * b
    close(cr.vjp(f, X, V)[1](np.ones(3)), (V, X))
    close(cr.vjp(f, X, V, argnums=1)[1](np.ones(3)), X)
    close(cr.vjp(f, X, V, argnums=(1,))[1](np.ones(3)), (X,))
    close(cr.jvp(f, (X, V), (np.ones(3), np.zeros(3)))[1], V)


# --- operators inside -------------------------------------------------------------------------------------------------


def test_grad_of_a_function_that_calls_grad():
    def f(x):
        return np.sum(cr.grad(rosenbrock)(x) ** 2)

    expected = 2 * cr.hessian(rosenbrock)(X) @ cr.grad(rosenbrock)(X)
    close(cr.grad(f)(X), expected, 1e-9)


def test_grad_of_a_function_that_calls_value_and_grad():
    def f(x):
        value, gradient = cr.value_and_grad(plain)(x)
        return value * np.sum(gradient**2)

    agrees(f, X)


def test_grad_of_a_function_that_calls_jvp():
    agrees(lambda x: np.sum(cr.jvp(plain, (x,), (x**2,))[1]) * cr.jvp(lambda y: y[0] * y[1], (x,), (V,))[0], X)


def test_grad_of_a_function_that_calls_vjp():
    def f(x):
        value, pullback = cr.vjp(lambda y: np.array([y[0] * y[1], math.sin(y[2]) * y[0]]), x)
        return np.sum(pullback(value)[0] ** 2) + np.sum(pullback(np.array([x[0], 1.0]))[0])

    agrees(f, X)


def test_grad_of_a_function_that_calls_jacobian():
    agrees(lambda x: np.sum(cr.jacobian(lambda y: np.tanh(A @ y) * y[0], mode="forward")(x) ** 2), X)
    agrees(lambda x: np.sum(cr.jacobian(lambda y: np.tanh(A @ y) * y[0], mode="reverse")(x) ** 2), X)


def test_grad_of_a_function_that_calls_hessian():
    agrees(lambda x: np.linalg.slogdet(cr.hessian(lambda y: np.exp(y @ A @ y))(x))[1], 0.3 * X)


def test_grad_of_a_function_that_calls_hvp():
    agrees(lambda x: np.sum(cr.hvp(lambda y: np.sum(y**4) + np.prod(y), (x,), (x * 2.0,))), X)


def test_grad_of_a_function_that_calls_vmap():
    agrees(lambda x: np.sum(cr.vmap(lambda a: math.sin(a) * a**2)(x) * x), X)


def test_hessian_of_a_function_that_calls_grad():
    def f(x):
        return np.sum(cr.grad(lambda y: np.sum(y**4))(x))

    close(cr.hessian(f)(X), np.diag(24 * X))


def test_jvp_of_a_function_that_calls_vjp_and_the_other_way_round():
    f = lambda x: np.sin(x) * x[0]
    jacobian = cr.jacobian(f)(X)
    along = cr.jvp(lambda x: cr.vjp(f, x)[1](V)[0], (X,), (np.ones(3),))[1]
    against = cr.vjp(lambda x: cr.jvp(f, (x,), (V,))[1], X)[1](np.ones(3))[0]
    close(along, cr.jacobian(lambda x: cr.vjp(f, x)[1](V)[0])(X) @ np.ones(3))
    close(against, np.ones(3) @ cr.jacobian(lambda x: cr.jacobian(f)(x) @ V)(X))
    assert jacobian.shape == (3, 3)


def test_gradient_descent_inside_a_function_that_is_differentiated():
    def loss(w, x):
        return np.sum((A @ w - x) ** 2)

    def f(x):
        w = np.zeros(3)
        for _ in range(5):
            w -= 0.02 * cr.grad(loss)(w, x)
        return np.sum(w**2) + loss(w, x)

    agrees(f, X)


def test_newton_step_inside_a_function_that_is_differentiated():
    def f(x):
        y = x * 1.0
        for _ in range(2):
            y = y - np.linalg.solve(cr.hessian(energy)(y) + np.eye(3), cr.grad(energy)(y))
        return energy(y)

    def energy(y):
        return np.sum(np.cosh(y)) + y[0] * y[1]

    agrees(f, X)


def test_physics_by_derivatives_of_a_lagrangian():
    def lagrangian(q, v):
        return 0.5 * v @ v - math.cos(q[0]) * q[1] ** 2

    def acceleration(q, v):
        force = cr.grad(lagrangian, argnums=0)(q, v)
        mixed = cr.jacobian(cr.grad(lagrangian, argnums=1), argnums=0)(q, v)
        mass = cr.hessian(lagrangian, argnums=1)(q, v)
        return np.linalg.solve(mass, force - mixed @ v)

    q, v = np.array([0.3, 0.8]), np.array([1.0, -0.5])
    close(acceleration(q, v), np.array([math.sin(0.3) * 0.64, -2 * 0.8 * math.cos(0.3)]))
    close(
        cr.jacobian(acceleration)(q, v),
        np.array([[math.cos(0.3) * 0.64, 2 * 0.8 * math.sin(0.3)], [2 * 0.8 * math.sin(0.3), -2 * math.cos(0.3)]]),
    )


# --- no confusion of perturbations ------------------------------------------------------------------------------------


def test_classic_confusion():
    # d/dx (x * d/dy (x + y)) = 1, and 2 when the two perturbations are taken for one.
    assert float(cr.grad(lambda x: x * cr.grad(lambda y: x + y)(1.0))(1.0)) == 1.0
    assert float(cr.jvp(lambda x: x * cr.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1]) == 1.0
    assert float(cr.grad(lambda x: x * cr.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(1.0)) == 1.0
    assert float(cr.jvp(lambda x: x * cr.grad(lambda y: x + y)(1.0), (1.0,), (1.0,))[1]) == 1.0
    assert float(cr.grad(lambda x: x * cr.jacobian(lambda y: x * y)(x))(3.0)) == 6.0


def test_closure_over_the_outer_variable_at_three_levels():
    def f(x):
        def g(y):
            def h(z):
                return x**2 * y**3 * z**4 + x * z

            return cr.grad(h)(y) * x

        return cr.grad(g)(x)

    # h' = 4 x^2 y^3 z^3 + x at z=y: g = 4 x^3 y^6 + x^2; g' = 24 x^3 y^5 at y=x: f = 24 x^8.
    assert float(f(1.1)) == pytest.approx(24 * 1.1**8)
    assert float(cr.grad(f)(1.1)) == pytest.approx(24 * 8 * 1.1**7)
    assert float(cr.grad(cr.grad(f))(1.1)) == pytest.approx(24 * 56 * 1.1**6)


def test_outer_value_as_a_constant_of_the_inner_function():
    def f(x):
        shift = x * x
        inner = cr.grad(lambda y: np.sum(y**2 * shift))
        return np.sum(inner(np.array([1.0, 2.0, 3.0])) * x)

    agrees(f, X)


def test_outer_array_written_before_and_inside_the_inner_function():
    def f(x):
        work = np.zeros(3)
        work[0] = x[0] ** 2

        def inner(y):
            local = np.zeros(3)
            local[:] = work
            local[1] = y[1] * x[2]
            return np.sum(local * y)

        slope = cr.grad(inner)(x)
        work[1:] = slope[1:]
        return np.sum(work**2)

    agrees(f, X)


def test_outer_array_written_inside_the_inner_function():
    def f(x):
        work = np.zeros(3)

        def inner(y):
            work[0] = x[0] * y[0]
            return np.sum(work) * y[1]

        slope = cr.grad(inner)(x)
        return np.sum(slope**2) + work[0]

    right_or_refused(f, X, witness=lambda x: x[0] ** 2 * x[1] ** 2 + x[0] ** 4 + x[0] ** 2)


def test_inner_function_of_plain_data_that_reads_outer_values():
    data = np.linspace(0, 1, 3)

    def f(x):
        return np.sum(cr.grad(lambda d: np.sum(np.sin(d * x)))(data) * data)

    agrees(f, X)


def test_inner_derivative_in_a_loop_and_in_a_branch():
    def f(x):
        total = x[0]
        for k in range(3):
            slope = cr.grad(lambda t, k=k: t ** (k + 1) * x[k])(total)
            if slope > 0.1:
                total = total + 0.1 * slope
        return total * x[1]

    agrees(f, X)


def test_inner_derivative_at_an_outer_view():
    agrees(lambda x: np.sum(cr.grad(lambda y: np.sum(y**3))(x[1:]) * x[:-1]), X)


def test_outer_derivative_of_an_inner_one_with_respect_to_another_argument():
    def f(x, a):
        return np.sum(np.sin(a * x))

    found = cr.jacobian(lambda a: cr.grad(f, argnums=0)(X, a))(2.0)
    close(found, np.cos(2 * X) - 2 * X * np.sin(2 * X))


def test_value_of_the_inner_function_by_has_aux():
    def f(x):
        slope, aux = cr.grad(lambda y: (np.sum(y**3), {"y": y * 2.0, "text": "a"}), has_aux=True)(x)
        assert aux["text"] == "a"
        return np.sum(slope * aux["y"])

    agrees(f, X)


def test_stop_gradient_at_several_levels():
    f = lambda x: cr.stop_gradient(x) * x**2
    assert float(cr.grad(f)(3.0)) == 18.0
    assert float(cr.grad(cr.grad(f))(3.0)) == 6.0
    assert float(cr.grad(lambda x: cr.grad(lambda y: y**3 * cr.stop_gradient(x))(x))(2.0)) == pytest.approx(24.0)
    assert float(cr.grad(lambda x: cr.stop_gradient(cr.grad(lambda y: y**3)(x)) * x)(2.0)) == pytest.approx(12.0)
    value, tangent = cr.jvp(lambda x: cr.stop_gradient(x) * x, (3.0,), (1.0,))
    assert (float(value), float(tangent)) == (9.0, 3.0)


# --- vmap -------------------------------------------------------------------------------------------------------------

BATCH = np.array([[0.7, 1.3, 0.4], [0.1, -0.2, 0.9], [2.0, 0.3, 0.6], [0.5, 0.5, 0.5]])


def smooth(x):
    y = np.zeros(3)
    y[0] = math.sin(x[0]) * x[1]
    y[1:] = x[1:] ** 2
    return np.sum(y @ A) + np.max(x)


@pytest.mark.parametrize("f", [smooth, *MAPS[:-1], rosenbrock])
def test_vmap_is_a_loop(f):
    found = cr.vmap(f)(BATCH)
    # where() takes the branch of its own example.
    with np.errstate(invalid="ignore"):
        expected = np.stack([f(row.copy()) for row in BATCH])
    close(found, expected)


def test_vmap_of_grad():
    close(cr.vmap(cr.grad(smooth))(BATCH), np.stack([cr.grad(smooth)(row) for row in BATCH]))


def test_grad_of_vmap():
    def f(x):
        return np.sum(cr.vmap(smooth)(x) ** 2)

    expected = np.stack([2 * smooth(row) * cr.grad(smooth)(row) for row in BATCH])
    close(cr.grad(f)(BATCH), expected)


def test_vmap_of_hessian_and_jacobian_of_vmap():
    close(cr.vmap(cr.hessian(rosenbrock))(BATCH), np.stack([cr.hessian(rosenbrock)(row) for row in BATCH]), 1e-9)
    found = cr.jacobian(cr.vmap(lambda x: np.sum(x**2)))(BATCH)
    expected = np.zeros((4, 4, 3))
    for i in range(4):
        expected[i, i] = 2 * BATCH[i]
    close(found, expected)


def test_vmap_of_vmap():
    found = cr.vmap(cr.vmap(lambda a, b: a * math.sin(b)))(BATCH, BATCH)
    close(found, BATCH * np.sin(BATCH))
    table = cr.vmap(lambda a: cr.vmap(lambda b: a * b + 1.0)(BATCH[:, 1]))(BATCH[:, 0])
    close(table, np.outer(BATCH[:, 0], BATCH[:, 1]) + 1)


def test_vmap_in_axes_and_out_axes():
    m = np.arange(12.0).reshape(3, 4)
    close(cr.vmap(np.sum, in_axes=1)(m), m.sum(axis=0))
    close(cr.vmap(np.sum, in_axes=-1)(m), m.sum(axis=0))
    close(cr.vmap(lambda x: x * 2.0, in_axes=1, out_axes=1)(m), m * 2)
    close(cr.vmap(lambda x: x * 2.0, in_axes=1)(m), m.T * 2)
    close(cr.vmap(lambda a, x: a @ x, in_axes=(None, 0))(A, BATCH), BATCH @ A.T)
    close(cr.vmap(lambda a, x: a * x, in_axes=[0, None])(X, 2.0), 2 * X)
    close(cr.vmap(lambda p, s: p["w"] * s, in_axes=(0, None))({"w": BATCH}, 3.0), 3 * BATCH)
    close(cr.vmap(lambda x: {"a": x, "b": (np.sum(x), 1.0)})(BATCH)["b"], (BATCH.sum(axis=1), np.ones(4)))
    close(cr.vmap(lambda x: np.outer(x, x), out_axes=-1)(BATCH).shape, (3, 3, 4))


def test_vmap_of_a_result_that_does_not_depend_on_the_batch():
    close(cr.vmap(lambda x: np.ones(2))(BATCH), np.ones((4, 2)))
    close(cr.vmap(lambda x, y: y * 2.0, in_axes=(0, None))(BATCH, 3.0), np.full(4, 6.0))


def test_vmap_of_integers():
    close(cr.vmap(lambda i, x: x * i, in_axes=(0, None))(np.arange(3), 2.0), np.array([0.0, 2.0, 4.0]))


def test_vmap_over_an_index():
    try:
        found = cr.vmap(lambda i: X[i] * 2.0)(np.array([2, 0, 1]))
    except cr.TraceError:
        return
    close(found, 2 * X[[2, 0, 1]])


def test_vmap_closes_over_the_outer_variable():
    agrees(lambda x: np.sum(cr.vmap(lambda row: np.sum(row * x) ** 2)(BATCH)), X)


def test_vmap_inside_vmap_of_grad_inside_grad():
    def f(x):
        return np.sum(cr.vmap(lambda row: np.sum(cr.grad(lambda y: np.sum(np.sin(y * x)))(row)))(BATCH))

    agrees(f, X)


def test_per_example_gradients():
    def loss(w, x, y):
        return (np.tanh(w @ x) - y) ** 2

    targets = np.array([1.0, 0.0, 1.0, -1.0])
    found = cr.vmap(cr.grad(loss), in_axes=(None, 0, 0))(X, BATCH, targets)
    close(found, np.stack([cr.grad(loss)(X, row, t) for row, t in zip(BATCH, targets, strict=True)]))


def test_vmap_of_one_and_of_no_example():
    close(cr.vmap(smooth)(BATCH[:1]), np.array([smooth(BATCH[0])]))
    assert cr.vmap(lambda x: x * 2.0)(np.zeros((0, 3))).shape == (0, 3)


# --- has_aux, argnums, containers -------------------------------------------------------------------------------------


def with_aux(x, scale=2.0):
    y = np.zeros(3)
    y[:] = x * scale
    return np.sum(y**2), {"y": y, "n": len(x), "name": "aux", "half": [x[0] / 2, None]}


def check_aux(aux, scale=2.0):
    assert type(aux["y"]) is np.ndarray
    np.testing.assert_allclose(aux["y"], X * scale)
    assert aux["n"] == 3
    assert aux["name"] == "aux"
    assert isinstance(aux["half"][0], float)
    assert aux["half"][1] is None
    aux["y"][0] = 5.0


def test_has_aux_everywhere():
    gradient, aux = cr.grad(with_aux, has_aux=True)(X)
    close(gradient, 8 * X)
    check_aux(aux)
    (value, aux), gradient = cr.value_and_grad(with_aux, has_aux=True)(X)
    close(value, np.float64(4 * X @ X))
    close(gradient, 8 * X)
    check_aux(aux)
    value, tangent, aux = cr.jvp(with_aux, (X, 2.0), (V, 0.0), has_aux=True)
    close(tangent, np.float64(8 * X @ V))
    check_aux(aux)
    value, pullback, aux = cr.vjp(with_aux, X, has_aux=True)
    close(pullback(1.0)[0], 8 * X)
    check_aux(aux)
    hessian, aux = cr.hessian(with_aux, has_aux=True)(X)
    close(hessian, 8 * np.eye(3))
    check_aux(aux)
    for mode in ("forward", "reverse", "auto"):
        jacobian, aux = cr.jacobian(lambda x: (x**2, x[0] * 3.0), has_aux=True, mode=mode)(X)
        close(jacobian, np.diag(2 * X))
        close(aux, np.float64(2.1))


def test_aux_has_no_part_in_the_gradient():
    gradient, aux = cr.grad(lambda x: (np.sum(x), np.exp(x)), has_aux=True)(X)
    close(gradient, np.ones(3))
    close(aux, np.exp(X))


def test_aux_that_is_written_to_after():
    def f(x):
        y = x * 1.0
        aux = {"y": y, "copy": y.copy()}
        y[0] = 9.0
        return np.sum(y), aux

    gradient, aux = cr.grad(f, has_aux=True)(X)
    close(gradient, np.array([0.0, 1.0, 1.0]))
    close(aux["y"], np.array([9.0, 1.3, 0.4]))
    close(aux["copy"], X)


def three(a, b, c):
    return np.sum(a * b**2) * c


def test_argnums():
    a, b, c = X, V, 2.0
    expected = (c * b**2, 2 * c * a * b, np.float64(np.sum(a * b**2)))
    numbers: list[Any] = [0, 1, 2, -1, -2, -3, np.int64(1)]
    for argnum in numbers:
        close(cr.grad(three, argnum)(a, b, c), expected[argnum])
    for argnums in ((0,), (1, 0), (0, 1, 2), (-1, 0), [2, 1], (-3, -1)):
        close(cr.grad(three, argnums)(a, b, c), tuple(expected[one] for one in argnums))
        value, gradient = cr.value_and_grad(three, argnums=argnums)(a, b, c)
        close(gradient, tuple(expected[one] for one in argnums))
        close(value, np.float64(three(a, b, c)))
        close(cr.jacobian(three, argnums=argnums)(a, b, c), tuple(expected[one] for one in argnums))


def test_arguments_that_are_not_differentiated_may_be_anything():
    def f(options, x, n, text=None):
        assert text == "text"
        return np.sum(x ** options["power"]) * n

    close(cr.grad(f, argnums=1)({"power": 2, "object": object()}, X, 3, text="text"), 6 * X)


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Layer:
    w: Any
    b: Any


def test_containers_of_containers():
    tree = {"layers": [Layer(A, X), Layer(A * 0.5, V)], "pair": Pair(2.0, (X, [1.5])), "nothing": ()}

    def f(p):
        y = np.ones(3)
        for layer in p["layers"]:
            y = np.tanh(layer.w @ y + layer.b)
        return np.sum(y) * p["pair"].a + np.sum(p["pair"].b[0]) * p["pair"].b[1][0]

    gradient = cr.grad(f)(tree)
    assert type(gradient["layers"][0]) is Layer
    assert type(gradient["pair"]) is Pair
    assert gradient["nothing"] == ()
    close(gradient["pair"].b, (np.full(3, 1.5), [np.float64(X.sum())]))
    value, tangent = cr.jvp(f, (tree,), (gradient,))
    leaves = [gradient["layers"][0].w, gradient["layers"][0].b, gradient["layers"][1].w, gradient["layers"][1].b]
    squares = sum(
        float(np.sum(one**2)) for one in [*leaves, gradient["pair"].a, gradient["pair"].b[0], gradient["pair"].b[1][0]]
    )
    assert float(tangent) == pytest.approx(squares)
    close(value, np.float64(f(tree)))


def test_operators_keep_the_name_and_the_signature_of_a_method():
    class Model:
        scale = 3.0

        def value(self, x):
            return np.sum(x**2) * self.scale

        gradient = cr.grad(value, argnums=1)

    close(Model().gradient(X), 6 * X)
    assert cr.grad(rosenbrock).__name__ == "grad_rosenbrock"
    assert cr.grad(rosenbrock).__wrapped__ is rosenbrock
    assert "rosenbrock" in repr(cr.hessian(rosenbrock))


def test_dtypes_through_nesting():
    x = X.astype(np.float32)
    assert cr.hessian(rosenbrock)(x).dtype == np.float32
    assert cr.jacobian(lambda x: x * 2.0)(x).dtype == np.float32
    assert cr.vmap(cr.grad(smooth))(BATCH.astype(np.float32)).dtype == np.float32
    assert cr.hvp(rosenbrock, (x,), (V,)).dtype == np.float32
    a, b = cr.grad(lambda a, b: np.sum(a * b), argnums=(0, 1))(x, V)
    assert (a.dtype, b.dtype) == (np.float32, np.float64)
