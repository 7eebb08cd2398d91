"""Numerical derivatives: values, bounds that hold, statuses, modes, budgets, bounds, workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.numerical.expressions import Expression, exact_derivative

from chainrule import numerical
from chainrule.errors import ArgumentError, ShapeError
from chainrule.numerical.point import Point


def test_stated_errors_hold_on_random_expressions() -> None:
    rng = np.random.default_rng(11)
    honest = accurate = number = 0
    while number < 1000:
        tree = Expression(rng, int(rng.integers(2, 6)))
        x = float(rng.normal() * 10 ** rng.uniform(-2, 0.7))
        y = tree(x)
        if not tree.has_x() or not np.isfinite(y) or abs(y) > 1e8:
            continue
        number += 1
        result = numerical.derivative(tree, x)
        true = exact_derivative(tree, float(Point(x).x[0]))
        miss = abs(result.value - true)
        honest += bool(miss <= result.error + 4e-16 * abs(true))
        accurate += bool(miss <= 1e-6 * abs(true) + 1e-12 * max(1.0, abs(y)))
        assert result.evaluations <= 60
    assert honest >= 985
    assert accurate >= 970


@pytest.mark.parametrize(
    ("f", "x", "status"),
    [
        (np.sin, 1.0, "ok"),
        (abs, 0.0, "kink"),
        (lambda x: max(x, 0.0), 0.0, "kink"),
        (abs, 1e-7, "ok"),
        (np.sign, 0.0, "jump"),
        (np.floor, 3.0, "jump"),
        (np.sqrt, 0.0, "unresolved"),
        (np.cbrt, 0.0, "unresolved"),
        (lambda x: x * abs(x), 0.0, "ok"),
        (lambda x: 5.0, 1.0, "ok"),
        (lambda x: x + np.sin(1e12 * x), 0.3, "noisy"),
        (lambda x: np.nan, 1.0, "nan"),
    ],
)
def test_status(f, x, status) -> None:
    assert numerical.derivative(f, x).status == status


def test_kink_has_one_sided_slopes() -> None:
    result = numerical.derivative(lambda x: np.sin(x) + 3 * abs(x - 0.5), 0.5)
    left, right = result.one_sided
    assert result.status == "kink"
    assert abs(left - (np.cos(0.5) - 3)) < 1e-9
    assert abs(right - (np.cos(0.5) + 3)) < 1e-9
    assert left <= result.value <= right


def test_boundary_of_the_domain_is_one_sided() -> None:
    result = numerical.derivative(lambda x: np.sqrt(x) ** 3 * np.sqrt(x) if x >= 0 else np.nan, 0.0)
    assert result.status == "ok"
    assert abs(result.value) <= result.error < 1e-3
    result = numerical.derivative(np.exp, 0.0, bounds=(0.0, 1.0))
    assert abs(result.value - 1) <= result.error < 1e-6


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_scales_of_f_and_x(factor) -> None:
    result = numerical.derivative(lambda x: factor * np.exp(x), 20.0)
    assert abs(result.value / (factor * np.exp(20.0)) - 1) < 1e-11
    result = numerical.derivative(lambda x: np.sin(x / factor), 1.1 * factor)
    assert abs(result.value * factor - np.cos(1.1)) < 1e-11


def test_float32_keeps_its_type_and_states_its_error() -> None:
    seen = []

    def f(x):
        seen.append(x.dtype)
        return np.sum(np.sin(x) * x)

    x = np.linspace(-2, 2, 9, dtype=np.float32)
    result = numerical.grad(f, x)
    true = np.cos(x.astype(float)) * x + np.sin(x.astype(float))
    assert set(seen) == {np.dtype(np.float32)}
    assert np.all(np.abs(result.value - true) <= result.error + 1e-6)
    assert np.max(result.error) < 2e-3


@pytest.mark.parametrize("mode", ["accurate", "economic", "forward", "complex"])
def test_modes_agree_and_count(mode) -> None:
    x = np.random.default_rng(0).standard_normal(200)
    calls = []

    def f(z):
        calls.append(1)
        return np.sum(np.sin(z) * z)

    result = numerical.grad(f, x, mode=mode)
    assert result.mode == mode
    assert result.evaluations == len(calls)
    limit = {"accurate": 6 * 200 + 30, "economic": 2 * 200 + 43, "forward": 200 + 43, "complex": 200 + 80}[mode]
    assert len(calls) <= limit
    assert np.all(np.abs(result.value - (np.cos(x) * x + np.sin(x))) <= result.error)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(np.abs(x) ** 2),
        lambda x: np.sum(x * np.conj(x)).real,
        lambda x: np.sum(np.where(x.real > 0, x**2, np.asarray(x.real) ** 3)),
        np.linalg.norm,
        lambda x: np.sum(np.maximum(x, 0) * x.astype(float)),
    ],
)
def test_complex_step_is_never_silently_wrong(f) -> None:
    x = np.array([0.5, -1.5, 2.0])
    careful = numerical.grad(f, x)
    quick = numerical.grad(f, x, mode="complex")
    assert np.all(np.abs(quick.value - careful.value) <= quick.error + careful.error)


def test_containers_and_python_floats() -> None:
    def f(p):
        assert type(p["b"]) is float
        return np.sum(p["w"] ** 2) * p["b"]

    result = numerical.grad(f, {"w": np.ones((2, 3)), "b": 2.0})
    assert result.value["w"].shape == (2, 3)
    assert np.allclose(result.value["w"], 4.0, atol=1e-9)
    assert abs(result.value["b"] - 6) < 1e-9
    assert result.ok


def test_jacobian_shapes_and_pattern() -> None:
    x = np.linspace(1, 2, 40)

    def f(z):
        out = z**2
        out[:-1] += np.sin(z[1:])
        return out

    pattern = np.eye(40, dtype=bool) | np.eye(40, k=1, dtype=bool)
    full, banded = numerical.jacobian(f, x), numerical.jacobian(f, x, sparsity=pattern)
    true = np.diag(2 * x) + np.diag(np.cos(x[1:]), 1)
    assert np.all(np.abs(full.value - true) <= full.error)
    assert np.all(np.abs(banded.value - true) <= banded.error)
    assert banded.evaluations < 50 < full.evaluations
    two = numerical.jacobian(lambda p: {"y": p[0] @ p[1]}, (np.ones((2, 3)), np.ones(3)))
    assert two.value["y"][0].shape == (2, 2, 3)
    assert two.value["y"][1].shape == (2, 3)


def test_hessian_with_and_without_gradient() -> None:
    def f(x):
        return np.sum(x**3) + x[0] * x[1]

    x = np.array([1.0, 2.0, -0.5])
    true = np.diag(6 * x)
    true[0, 1] = true[1, 0] = 1.0
    plain = numerical.hessian(f, x)
    quick = numerical.hessian(f, x, grad=lambda z: 3 * z**2 + np.array([z[1], z[0], 0.0]))
    assert np.all(np.abs(plain.value - true) <= plain.error)
    assert np.max(plain.error) < 1e-5
    assert np.all(np.abs(quick.value - true) <= quick.error)
    second = numerical.derivative(np.sin, 1.0, order=2)
    assert abs(second.value + np.sin(1.0)) <= second.error < 1e-7


def test_jvp_does_not_grow_with_the_size() -> None:
    x = np.random.default_rng(1).standard_normal(100_000)
    u = np.random.default_rng(2).standard_normal(100_000)
    result = numerical.jvp(lambda z: np.sum(z**2), x, u)
    assert result.evaluations < 40
    assert abs(result.value - 2 * x @ u) <= result.error + 1e-12 * np.abs(2 * x * u).sum()


@pytest.mark.parametrize("budget", [11, 25, 60, 70, 100])
def test_budget_is_never_exceeded(budget) -> None:
    calls = []
    x = np.arange(1.0, 11.0)

    def f(z):
        calls.append(1)
        return np.sum(z**2)

    result = numerical.grad(f, x, budget=budget)
    assert len(calls) == result.evaluations <= budget
    assert np.allclose(result.value, 2 * x, rtol=1e-3)
    assert budget == 100 or result.remarks


def test_bounds_are_never_left() -> None:
    low, high = np.array([0.0, 0.0]), np.array([1.0, 2.0])

    def f(z):
        assert np.all(z >= low)
        assert np.all(z <= high)
        return np.sum(np.exp(z))

    result = numerical.grad(f, np.array([0.0, 2.0]), bounds=(low, high))
    assert np.allclose(result.value, np.exp([0.0, 2.0]), rtol=1e-5)
    with pytest.raises(ArgumentError, match="outside its bounds"):
        numerical.grad(f, np.array([-1.0, 0.0]), bounds=(low, high))


def square_sum(x):
    return float(np.sum(x**2))


def test_workers_and_batches_give_the_same_numbers() -> None:
    x = np.linspace(0.5, 3, 7)
    plain = numerical.grad(square_sum, x)
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(numerical.grad(square_sum, x, workers=pool.map).value, plain.value)
    assert np.array_equal(numerical.grad(square_sum, x, workers=2).value, plain.value)
    batched = numerical.grad(lambda z: np.sum(z**2, axis=-1), x, batched=True)
    assert np.allclose(batched.value, plain.value, rtol=1e-11)
    with pytest.raises(ArgumentError, match="can not be sent"):
        numerical.grad(lambda z: np.sum(z * z), x, workers=2)


def test_interrupt_keeps_what_was_computed() -> None:
    calls = []

    def f(z):
        calls.append(1)
        if len(calls) == 50:
            raise KeyboardInterrupt
        return np.sum(z**2)

    result = numerical.grad(f, np.arange(1.0, 21.0))
    assert result.stopped == "interrupt"
    assert np.isfinite(result.value).sum() >= 4
    assert np.isnan(result.value).any()
    assert "interrupted" in result.remarks[0]


@pytest.mark.parametrize(
    ("f", "x", "error", "word"),
    [
        (np.sum, np.arange(3), ArgumentError, "integers"),
        (np.sum, np.ones(2) + 1j, ArgumentError, "complex"),
        (np.sum, "abc", ArgumentError, "str"),
        (np.sin, np.ones(3), ShapeError, "3 numbers"),
        (lambda x: None, np.ones(3), ArgumentError, "None"),
        (3, np.ones(3), ArgumentError, "not a function"),
    ],
)
def test_bad_input_is_named(f, x, error, word) -> None:
    with pytest.raises(error, match=word):
        numerical.grad(f, x)


def test_empty_point() -> None:
    assert numerical.grad(np.sum, np.ones(0)).value.shape == (0,)


def test_function_that_writes_to_its_input() -> None:
    def f(z):
        z *= 2
        return np.sum(z)

    x = np.ones(3)
    assert np.allclose(numerical.grad(f, x).value, 2)
    assert np.array_equal(x, np.ones(3))


def test_progress_bar_can_be_had_and_switched_off(capsys) -> None:
    pytest.importorskip("rich")
    x = np.arange(1.0, 31.0)
    numerical.grad(lambda z: np.sum(z**2), x, progress=False)
    assert capsys.readouterr().err == ""
    result = numerical.grad(lambda z: np.sum(z**2), x, progress=True)
    assert np.allclose(result.value, 2 * x)


def test_result_says_what_it_is() -> None:
    result = numerical.grad(lambda z: np.sum(np.abs(z)), np.array([0.0, 1.0]))
    assert "1 kink" in repr(result)
    assert "1 ok" in repr(result)
    assert not result.ok
    assert np.asarray(result).shape == (2,)
    assert result.one_sided[0][0] == pytest.approx(-1.0)
