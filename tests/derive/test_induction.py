"""Loops of the user's are told once, by induction: base case, step, conclusion; and what is told is true."""

from __future__ import annotations

import re
from typing import Any
from unittest import mock

import numpy as np
import pytest

import chainrule as cr
from chainrule.derive import passes
from chainrule.rule import RULES

RNG = np.random.default_rng(3)


def deep(layers, x):
    h = x
    for W, b in layers:
        h = np.tanh(W @ h + b)
    return np.sum(h**2)


def recurrent(W, U, b, X):
    h = np.zeros(3)
    for t in range(6):
        h = np.tanh(W @ h + U @ X[t] + b)
    return np.sum(h**2)


def layers(count):
    return [(0.5 * RNG.normal(size=(3, 3)), RNG.normal(size=3)) for _ in range(count)]


def adjoint(one):
    assert one.adjoint is not None
    return one.adjoint


def lines(d):
    return [re.sub(r"\d+", "N", line) for line in str(d).splitlines()]


def test_a_network_of_any_depth_is_told_in_the_same_length():
    texts = [cr.derive(deep, layers(count), np.ones(3)) for count in (3, 50)]
    short, long = ([line for line in lines(one) if "argument" not in line] for one in texts)
    assert abs(len(short) - len(long)) <= 3
    assert [item.kind for item in texts[1].items] == ["loop", "step", "step"]
    for d, count in zip(texts, (3, 50), strict=True):
        text = " ".join(str(d).split())
        for words in (
            "repeated for l = 1, …,", f"Base case, l = {count}: the steps after the loop give dh⁽", "Step: for l <",
            "Conclusion:", "dh⁽ˡ⁾ = layers_0⁽ˡ⁺¹⁾ᵀ dv1.1⁽ˡ⁺¹⁾", "dlayers_0⁽ˡ⁾ = dv1.1⁽ˡ⁾ h⁽ˡ⁻¹⁾ᵀ",
        ):  # fmt: skip
            assert words in text
        assert "NOT VERIFIED" not in text
        assert d.latex(standalone=True).count("Base case") == 2


def test_the_adjoints_of_the_passes_are_those_of_the_gradient():
    given = layers(5)
    d = cr.derive(deep, given, np.ones(3))
    exact = cr.grad(deep)(given, np.ones(3))
    weights = d.inputs[0]
    assert weights.passes == 5
    np.testing.assert_allclose(adjoint(weights).value, np.stack([W for W, _ in exact]), rtol=1e-12, atol=1e-300)
    np.testing.assert_array_equal(weights.value, np.stack([W for W, _ in given]))


def test_what_every_pass_reads_gets_a_sum_over_the_passes():
    point = (0.5 * np.eye(3), np.eye(3), np.ones(3), RNG.normal(size=(6, 3)))
    d = cr.derive(recurrent, *point, argnums=(0, 1, 2, 3))
    text = str(d)
    assert "dW = Σₗ dv1.1⁽ˡ⁾ h⁽ˡ⁻¹⁾ᵀ" in text
    assert "X⁽ˡ⁾ is the part of X that pass l reads" in " ".join(text.split())
    for one, exact in zip(d.inputs, cr.grad(recurrent, (0, 1, 2, 3))(*point), strict=False):
        np.testing.assert_allclose(adjoint(one).value, exact, rtol=1e-12, atol=1e-15)
        assert adjoint(one).verdict.ok


def test_an_argument_that_begins_the_loop_and_is_read_in_it_has_both_terms():
    def powers(x):
        y = x
        for _ in range(5):
            y = np.sin(y) * x
        return np.sum(y)

    assert "dx = dv1.1⁽¹⁾ ⊙ cos(x) + Σₗ dy⁽ˡ⁾ ⊙ v1.1⁽ˡ⁾" in str(cr.derive(powers, np.ones(3)))


def test_a_step_that_reads_the_same_twice_in_the_first_pass_only_is_not_written_as_a_sum():
    def factors(x):
        y = x
        for _ in range(5):
            y = y * x
        return np.sum(y)

    (x,) = cr.derive(factors, np.ones(3) * 1.5).inputs
    assert all(one.expr is None for one in adjoint(x).contributions)
    np.testing.assert_allclose(adjoint(x).value, 6 * 1.5**5)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_told_once_or_written_out_the_values_are_the_same(count):
    given = layers(count)
    told = cr.derive(deep, given, np.ones(3), argnums=(0, 1))
    with mock.patch("chainrule.derive.story.passes_of", return_value=[]):
        out = cr.derive(deep, given, np.ones(3), argnums=(0, 1))
    assert len(out.inputs) == 2 * count + 1
    np.testing.assert_array_equal(adjoint(told.inputs[-1]).value, adjoint(out.inputs[-1]).value)
    np.testing.assert_array_equal(
        adjoint(told.inputs[0]).value, np.stack([adjoint(one).value for one in out.inputs[:-1:2]])
    )


def test_a_wrong_rule_within_a_pass_is_marked():
    wrong: Any = RULES["tanh"]
    right = wrong.partials
    object.__setattr__(wrong, "partials", (lambda y, x: 1 + y * y,))
    try:
        d = cr.derive(lambda layers, x: deep(layers, x * 1.01), layers(4), np.ones(3))
    finally:
        object.__setattr__(wrong, "partials", right)
    (loop,) = [item for item in d.items if item.kind == "loop"]
    assert loop.verdict.ok is False
    assert any(one.verdict.ok is False for one in loop.body)
    assert "NOT" in str(d)


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["h", "h_2", "h_3"], "h"),
        (["layers_0_1", "layers_1_1", "layers_2_1"], "layers_1"),
        (["W_0", "W_1", "W_2"], "W"),
        (["a", "b", "c"], "a"),
    ],
)
def test_what_names_have_in_common(names, common):
    assert passes.stem(names) == common
