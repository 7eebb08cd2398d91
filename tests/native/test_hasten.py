"""Uncompiled calls that come again and again: when machine code takes over, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import hasten
from chainrule.operators import _CACHE


@pytest.fixture(autouse=True)
def on(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "on")
    monkeypatch.setattr(hasten, "_WORTH", 100.0)


def plans():
    (*_, (_, _, uses)) = _CACHE.held.values()
    return uses, [program._plan for program in uses.programs]


def test_machine_code_takes_over_after_a_number_of_calls():
    table = np.linspace(1, 2, 300)

    def f(x, k):
        return np.sum(np.exp(x) * np.sin(x * k) * table)

    gradient = cr.value_and_grad(f)
    x = np.linspace(-1, 1, 300)
    first = gradient(x, 17.25)
    uses, _ = plans()
    made = [gradient(x, 17.25) for _ in range(2 * uses.start + 3)]
    assert [type(one) for one in plans()[1]] == [hasten._Plan]
    for number, (value, slope) in enumerate(made):
        assert type(value) is type(first[0])
        assert value == pytest.approx(first[0], rel=1e-13)
        np.testing.assert_allclose(slope, first[1], rtol=1e-12)
        if number < 2 * uses.start - 1:
            assert value == first[0]
    # The same program with other arrays, and other layouts.
    table = table * 3
    np.testing.assert_allclose(gradient(x[::-1], 17.25)[1], 3 * first[1][::-1] * 0 + gradient(x[::-1].copy(), 17.25)[1])
    assert gradient(x, 17.25)[0] == pytest.approx(3 * first[0])


def test_the_same_calls_give_the_same_digits():
    x = np.linspace(-1, 1, 1000)
    runs = []
    for k in (0.125, 0.125):
        _CACHE.held.clear()
        gradient = cr.grad(lambda x, k=k: np.sum(np.exp(x * k) / (1 + x * x)))
        runs.append([gradient(x).tobytes() for _ in range(40)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("mode", ["off", "asked"])
def test_it_can_be_turned_off(monkeypatch, mode):
    monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    gradient = cr.grad(lambda x: np.sum(np.exp(x) * 3.03125))
    for _ in range(100):
        gradient(np.ones(100))
    assert not any(isinstance(one, hasten._Plan) for one in plans()[1])


def test_a_compiler_that_fails_is_no_harm(monkeypatch):
    from chainrule import native

    def broken(program):
        raise MemoryError

    monkeypatch.setattr(native, "build", broken)
    gradient = cr.grad(lambda x: np.sum(np.exp(x) * 3.0625))
    for _ in range(100):
        np.testing.assert_allclose(gradient(np.ones(100)), np.exp(1) * 3.0625)


def test_errors_and_special_results_stay():
    def f(a):
        return np.sum(np.linalg.inv(a))

    gradient = cr.grad(f)
    for _ in range(60):
        gradient(np.eye(3) * 2)
    with pytest.raises(np.linalg.LinAlgError):
        gradient(np.zeros((3, 3)))
    assert type(cr.grad(lambda x: x * x)(3.0)) is np.float64
