"""A derivation tells what the sweep computes: its items, adjoints and verdicts, and a planted mistake is seen."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.derive import Derivation, derive
from chainrule.derive.writing import entry, written
from chainrule.rule import IDENTITIES, RULES, UFUNCS, Opaque, load_module

load_module("scipy.special")


def network(p: Any, X: Any, Y: Any) -> Any:
    h = np.tanh(X @ p["W1"] + p["b1"])
    logits = h @ p["W2"] + p["b2"]
    z = logits - np.max(logits, axis=1, keepdims=True)
    logp = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(np.sum(Y * logp, axis=1))


def point() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    shapes = {"W1": (3, 5), "b1": (5,), "W2": (5, 4), "b2": (4,)}
    p = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return p, rng.normal(size=(7, 3)), np.eye(4)[rng.integers(0, 4, 7)]


@pytest.fixture(scope="module")
def told() -> Derivation:
    return derive(network, *point())


def test_the_items_are_the_steps_under_the_users_names(told: Derivation) -> None:
    names = [item.name for item in told.items]
    assert [one for one in names if not one.startswith("v")] == ["h", "logits", "z", "logp"]
    assert [one.name for one in told.inputs] == ["W1", "b1", "W2", "b2", "X", "Y"]
    assert told.items[0].kind == "group"
    assert told.items[0].words == "linear layer"
    assert [part.label for part in told.items[0].parts] == ["1.1", "1.2"]


def test_the_gradient_is_that_of_grad(told: Derivation) -> None:
    wanted = cr.grad(network)(*point())
    for one in told.gradient:
        np.testing.assert_array_equal(one.value, wanted[one.name])


def test_every_line_is_verified(told: Derivation) -> None:
    assert told.unverified == ()
    assert told.check.verdict.ok
    for item in told.walk():
        assert item.verdict.ok, (item.name, item.verdict)
        assert item.adjoint is not None
        assert item.adjoint.verdict.ok


def test_an_adjoint_is_the_sum_of_its_contributions(told: Derivation) -> None:
    for item in told.items[:-1]:
        assert item.adjoint is not None
        total = sum(np.asarray(one.value) for one in item.adjoint.contributions)
        np.testing.assert_allclose(total, item.adjoint.value, rtol=1e-12)
        assert tuple(one.consumer for one in item.adjoint.contributions) == item.consumers
    last = told.items[-1].adjoint
    assert last is not None
    assert last.seed
    assert last.value == 1.0


def test_the_formulas_read_like_mathematics(told: Derivation) -> None:
    lines = {item.name: item for item in told.walk()}
    h = lines["h"]
    assert h.expr is not None
    assert written(h.expr) == "tanh(v1)"
    assert [written(one.expr) for one in h.partials if one.expr] == ["1 − h²"]
    adjoint = lines["v1"].adjoint
    assert adjoint is not None
    assert [written(one.expr) for one in adjoint.contributions if one.expr] == ["dh ⊙ (1 − h²)"]
    weights = told.inputs[0].adjoint
    assert weights is not None
    (only,) = weights.contributions
    assert only.expr is not None
    assert written(only.expr) == "Xᵀ dv1"
    assert written(only.expr, "latex") == r"X^{\mathsf{T}}\,\mathrm{d}v_{1}"
    assert entry(only.expr) == "Σₖ X[k,i]·dv1[k,j]"


@pytest.mark.parametrize("number", range(len(IDENTITIES)))
def test_an_identity_for_readers_holds_for_real_numbers(number: int) -> None:
    before, after = IDENTITIES[number]
    count = before.__code__.co_argcount
    for _ in range(20):
        at = np.random.default_rng(number).uniform(-2, 2, count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_allclose(before(*at), after(*at), rtol=1e-12)


def test_a_container_is_not_a_gradient() -> None:
    with pytest.raises(cr.ShapeError, match="shape"):
        derive(lambda x: x * 2, np.ones(3))


def test_a_wrong_rule_is_marked_by_name() -> None:
    rule = UFUNCS[np.sin]
    right = rule.partials
    object.__setattr__(rule, "partials", (lambda y, x: 1.001 * np.cos(x),))
    try:
        d = derive(lambda x: np.sum(x * np.sin(x * x)), np.array([0.3, 1.2, -0.7]))
    finally:
        object.__setattr__(rule, "partials", right)
    assert d.unverified == ("v2",)
    assert d.items[1].words == "sin"
    assert d.items[1].verdict.ok is False
    assert d.check.verdict.ok is False
    text = str(d)
    assert "NOT VERIFIED: v2" in text
    assert r"\textcolor{red}" in d.latex()
    assert "\x1b[1;31m" in d.text(colour=True)
    assert "NOT VERIFIED" in repr(d)


def test_a_wrong_pullback_of_matrices_is_marked_by_name() -> None:
    rule = RULES["solve"]
    assert isinstance(rule, Opaque)
    right = rule.pullback

    def halved(*given: Any) -> Any:
        return tuple(None if one is None else 0.5 * one for one in right(*given))

    object.__setattr__(rule, "pullback", halved)
    try:
        d = derive(lambda a: np.sum(np.linalg.solve(a, np.ones(2)) ** 2), np.array([[2.0, 0.3], [0.1, 1.0]]))
    finally:
        object.__setattr__(rule, "pullback", right)
    assert d.unverified == ("v1",)


def test_a_kink_is_told_apart_from_a_mistake() -> None:
    d = derive(lambda x: np.sum(np.abs(x)), np.array([0.0, 1.0]))
    assert d.unverified == ()
    assert "kink" in d.items[0].verdict.how


def test_choices_by_values_are_told() -> None:
    def f(x: Any) -> Any:
        if np.sum(x) > 1.0:
            return np.sum(x[x > 0.5] ** 2)
        return x[0]

    d = derive(f, np.array([0.2, 0.7, 0.9]))
    assert len(d.choices) == 2
    assert "x > 0.5 is what it is, entry by entry" in d.choices
    assert "> 1 is True" in d.choices[0]
    assert "The derivation holds while these choices stay the same" in " ".join(str(d).split())


def test_source_is_that_of_the_call() -> None:
    x = np.array([1.0, 2.0])
    d = derive(lambda x: np.sum(x**3), x)
    x[:] = 7.0
    space: dict[str, Any] = {}
    source = d.numpy_source()
    exec(source, space)
    (name,) = [one for one in space if one.startswith("value_and_grad")]
    value, gradient = space[name](np.array([1.0, 2.0]))
    assert value == d.value
    np.testing.assert_array_equal(gradient, d.gradient[0].value)
    assert "chainrule" not in "".join(line for line in source.splitlines() if line.startswith(("import", "from")))


def test_two_thousand_steps() -> None:
    def long(x: Any) -> Any:
        for number in range(1000):
            x = np.sin(x) + 0.001 * (number * number % 7)
        return x

    d = derive(long, 0.5)
    assert d.unverified == ()
    assert d.check.verdict.ok
    np.testing.assert_allclose(d.gradient[0].value, cr.grad(long)(0.5))
