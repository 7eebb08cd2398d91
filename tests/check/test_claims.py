"""The forms in which a gradient may be claimed: arguments, containers, second order, interrupted runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

from chainrule import provider as provider_registry
from chainrule.check import check, set_default_backend
from chainrule.errors import ArgumentError, CheckFailed

X = np.random.default_rng(3).standard_normal(10)
W = np.random.default_rng(4).standard_normal((4, 10))


class Layer(NamedTuple):
    w: np.ndarray
    b: float


def loss(layer, x, power):
    return np.sum(np.tanh(layer.w @ x + layer.b) ** power)


def loss_grad(layer, x, power):
    t = np.tanh(layer.w @ x + layer.b)
    g = power * t ** (power - 1) * (1 - t * t)
    return Layer(np.outer(g, x), float(np.sum(g))), layer.w.T @ g


def test_several_arguments_and_containers() -> None:
    layer = Layer(W, 0.3)
    both = check(loss, layer, X, 2, argnums=(0, 1), grad=loss_grad)
    assert both.verdict == "PASS", str(both)
    one = check(loss, layer, X, 2, argnums=1, grad=lambda *a: loss_grad(*a)[1])
    assert one.verdict == "PASS"

    def wrong(*args):
        first, second = loss_grad(*args)
        return first._replace(b=1.1 * first.b), second

    report = check(loss, layer, X, 2, argnums=(0, 1), grad=wrong)
    assert report.verdict == "FAIL"
    assert report.worst[0]["name"] == "layer.b"


def test_missing_argument() -> None:
    with pytest.raises(ArgumentError, match="argnums=5"):
        check(loss, Layer(W, 0.3), X, 2, argnums=5, grad=loss_grad)
    with pytest.raises(ArgumentError, match="no point"):
        check(loss, grad=loss_grad)


def test_vector_outputs_in_containers() -> None:
    def f(x):
        return {"s": np.sin(x), "n": float(np.sum(x**2))}

    def vjp(x, v):
        return v["s"] * np.cos(x) + v["n"] * 2 * x

    assert check(f, X, vjp=vjp).verdict == "PASS"
    assert check(f, X, vjp=lambda x, v: v["s"] * np.cos(x) + v["n"] * x).verdict == "FAIL"
    assert check(f, X, value_and_pullback=lambda x: (f(x), lambda v: vjp(x, v))).verdict == "PASS"


def test_second_order_from_a_backend() -> None:
    def provider(f, args, argnums):
        x = args[argnums]
        if np.ndim(f(*args)) == 0:
            return f(*args), lambda v: v * 4 * x**3
        return f(*args), lambda v: v * factor * x**2

    before = list(provider_registry._default)
    try:
        set_default_backend(provider)
        factor = 12.0
        assert check(lambda x: np.sum(x**4), X, order=2).verdict == "PASS"
        factor = 11.0
        assert check(lambda x: np.sum(x**4), X, order=2).verdict == "FAIL"
    finally:
        provider_registry._default[:] = before


def test_threads_do_the_evaluations() -> None:
    with ThreadPoolExecutor(2) as pool:
        report = check(lambda x: np.sum(x**3), X, grad=lambda x: 3 * x**2, workers=pool.map)
    assert report.verdict == "PASS"


def test_interrupt_is_told() -> None:
    calls = []

    def f(x):
        calls.append(1)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return np.sum(x**2)

    report = check(f, X, grad=lambda x: 2 * x)
    assert any("interrupted" in note for note in report.notes)


def test_a_gradient_of_lower_precision_is_remarked() -> None:
    report = check(lambda x: np.sum(np.exp(x)), X, grad=lambda x: np.exp(x).astype(np.float32))
    assert report.verdict == "WARN"
    assert "float32" in str(report)
    with pytest.raises(CheckFailed):
        report.raise_if_wrong()


def test_state_between_calls_is_named() -> None:
    class RunningMean:
        mean = 0.0

        def __call__(self, x):
            self.mean = 0.9 * self.mean + 0.1 * x.mean()
            return np.sum((x - self.mean) ** 2)

    report = check(RunningMean(), X, grad=lambda x: 2 * x)
    assert not report
    assert any("two calls at the same point differ" in note for note in report.notes)


def test_integers_beside_the_differentiated_argument() -> None:
    assert check(lambda x, n: np.sum(x**n), X, 3, grad=lambda x, n: n * x ** (n - 1)).verdict == "PASS"


def test_a_function_that_prints_is_left_to_print(capsys) -> None:
    def f(x):
        print("called")
        return np.sum(x)

    check(f, X, grad=np.ones_like, budget=8)
    assert capsys.readouterr().out.count("called") <= 9
