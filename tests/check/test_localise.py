"""The faulty step is named: random mutants, every pattern, wrong chaining; right steps are not accused."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from tests.check.localisation import count

import chainrule as cr
from chainrule.check import check, set_default_backend
from chainrule.check import localise as localise_module
from chainrule.errors import ArgumentError
from chainrule.provider import Tape, TapeStep

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 5))
B = RNG.standard_normal(5)


@pytest.mark.parametrize(("form", "number"), [("steps", 80), ("primitives", 40)])
def test_the_mutated_step_is_named_first(form, number) -> None:
    found = count(2027, number, form)
    assert found.false == 0
    assert found.detected == number
    assert found.first >= 0.97 * number, found.missed[:2]


def test_a_localiser_that_looks_at_nothing_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr(localise_module, "_defects", lambda weights, number, *_: np.zeros(len(weights) * number))
    monkeypatch.setattr(localise_module, "MOST_ALONE", 0)
    assert count(2027, 5, "steps").first == 0


# --- patterns ---------------------------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x, gain):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * gain


def norm_backward(x, gain, g, eps=1e-5, ddof=0, gained=np.sum, variance=True):
    std = np.sqrt(x.var(1, keepdims=True, ddof=ddof) + eps)
    xhat = (x - x.mean(1, keepdims=True)) / std
    d = g * gain
    dx = d - d.mean(1, keepdims=True)
    if variance:
        dx = dx - xhat * (d * xhat).mean(1, keepdims=True)
    return dx / std, gained(g * xhat, axis=0)


GRID = np.round(X * 4) / 4 + 0.1
SQUARE = X[:, :4]
PATTERNS: list[tuple[str, Any, Any, Any, str]] = [
    ("factor 2", np.square, lambda x, g: g * x, (X,), "0.5 x the true one .*factor 2"),
    ("sign", np.cos, lambda x, g: g * np.sin(x), (X,), "-1 x the true one .*the sign"),
    ("detached", np.sin, lambda x, g: 0 * g, (X,), "zero .*detached"),
    ("none", np.sin, lambda x, g: None, (X,), "zero .*detached"),
    ("transpose", lambda x: x.T * 2, lambda x, g: 2 * g, (SQUARE,), "transpose of the true one"),
    ("shifted", lambda x: np.roll(x, 1, 1) ** 2, lambda x, g: 2 * x * np.roll(g, -2, 1), (X,), ""),
    ("shift", lambda x: np.roll(x, 1, 1), lambda x, g: np.roll(g, -2, 1), (X,), "shifted by 1 along axis 1"),
    ("reversed", lambda x: x[::-1] * 1.0, lambda x, g: g, (X,), "handed on as it is|reversed along axis 0"),
    ("straight", lambda x: np.round(3 * x) / 3, lambda x, g: g, (X,), "straight-through estimator"),
    ("handed on", np.tanh, lambda x, g: g, (X,), "handed on as it is: the factor"),
    ("negative", np.abs, lambda x, g: g, (X,), "handed on as it is|wrong only where x < 0"),
    ("leaky", lambda x: np.where(x > 0, x, 0.1 * x), lambda x, g: g * (x > 0), (X,), "wrong only where x < 0"),
    ("broadcast", np.add, lambda x, b, g: (g, g), (X, B), "sum over a broadcast axis is missing"),
    ("first row", np.add, lambda x, b, g: (g, g[0]), (X, B), "index 0 along axis 0 of the output only: a sum"),
    ("boundary", np.add, lambda x, b, g: (g, g[1:].sum(0)), (X, B), "index 0 along axis 0 of the output is left out"),
    ("mean", np.add, lambda x, b, g: (g, g.mean(0)), (X, B), "missing factor n = 4: a mean for a sum"),
    ("sum", lambda x: x.mean(0), lambda x, g: g * np.ones_like(x), (X,), "factor n = 4 too much: a sum for a mean"),
    ("exchanged", np.multiply, lambda x, y, g: (g * x, g * y), (X, X[::-1]), "it is the adjoint of y: two inputs ex"),
    ("no sum", softmax, lambda x, g: softmax(x) * g, (X,), "along axis 1, a multiple of the output is missing"),
    ("centre", lambda x: x - x.mean(1, keepdims=True), lambda x, g: 1.0 * g, (X,), "handed on as it is|a constant"),
    ("eps", norm, lambda x, s, g: norm_backward(x, s, g, eps=0.0), (X, B), "input shrinks: an eps forgotten"),
    ("bessel", norm, lambda x, s, g: norm_backward(x, s, g, ddof=1), (X, B), "n - 1 and n = 5 exchanged"),
    ("gain", norm, lambda x, s, g: norm_backward(x, s, g, gained=np.mean), (X, B), "n = 4: a mean for a sum"),
    ("variance", norm, lambda x, s, g: norm_backward(x, s, g, variance=False), (X, B), "a multiple of x less its mean"),
    ("cotangent", np.exp, lambda x, g: np.exp(x), (X,), "zero cotangent is not zero"),
    ("clipped", np.exp, lambda x, g: np.clip(g * np.exp(x), -1, 1), (X,), "not linear in its cotangent"),
    ("raises", np.exp, lambda x, g: g @ g @ g, (X,), "raises ValueError"),
    ("number", np.multiply, lambda x, y, g: (g * y,), (X, X), "an adjoint for each input"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("forward", "backward", "args", "pattern"), [p[1:] for p in PATTERNS], ids=[p[0] for p in PATTERNS]
)
def test_pattern_of_a_step(forward, backward, args, pattern) -> None:
    reads = ["h", "y"][: len(args)]
    steps = [
        ("before", lambda x: 2 * x - x, lambda x, g: g, "x -> h"),
        ("wrong", forward, backward, f"{', '.join(reads)} -> z"),
        ("after", np.sin, lambda z, g: g * np.cos(z), "z -> w"),
    ]
    argnums = tuple(range(len(args))) if len(args) > 1 else 0
    names = "x, y"[: 1 if len(args) == 1 else 4]

    def f(x: Any, y: Any = None) -> Any:
        return np.sin(forward(2 * x - x, *(() if y is None else (y,))))

    report = check(f, *args, argnums=argnums, steps=steps, probes=False)
    assert report.verdict in {"FAIL", "WARN"}, str(report)
    assert report.steps, str(report)
    assert report.steps[0]["step"] == "wrong", str(report)
    assert re.search(pattern, report.steps[0]["pattern"]), f"{names}: {report}"


def test_a_stale_pullback_is_named() -> None:
    kept: dict[str, Any] = {}

    def forward(x):
        kept["x"] = x
        return x**2, lambda g: 2 * kept["x"] * g

    steps = [
        ("sin", np.sin, lambda x, g: g * np.cos(x)),
        ("square", forward),
        ("exp", np.exp, lambda x, g: g * np.exp(x)),
    ]
    report = check(None, X, steps=steps)
    assert report.verdict == "FAIL"
    assert report.steps[0]["step"] == "square"
    assert "has run at another point" in report.steps[0]["pattern"]


# --- chaining, programs, notes ----------------------------------------------------------------------------------------

CHAIN = [
    ("sin", np.sin, lambda x, g: g * np.cos(x), "x -> a"),
    ("mul", np.multiply, lambda x, a, g: (g * a, g * x), "x, a -> b"),
    ("sum", np.sum, lambda b, g: g * np.ones_like(b), "b -> y"),
]


def product(x):
    return np.sum(x * np.sin(x))


def test_right_steps_are_not_accused() -> None:
    report = check(product, X, steps=CHAIN)
    assert report.verdict == "PASS", str(report)
    assert report.steps == []
    assert check(None, X, steps=CHAIN).verdict == "PASS"


def test_wrong_chaining_of_right_steps() -> None:
    report = check(product, X, steps=CHAIN, grad=np.sin)
    assert report.verdict == "FAIL"
    assert report.steps[0]["number"] == -1
    assert report.steps[0]["share"] == pytest.approx(1)
    assert "steps chained one by one give another gradient" in report.steps[0]["pattern"]


def test_two_faults_share_the_blame() -> None:
    steps = [
        ("sin", np.sin, lambda x, g: -g * np.cos(x), "x -> a"),
        CHAIN[1],
        ("sum", np.sum, lambda b, g: 2 * g * np.ones_like(b), "b -> y"),
    ]
    report = check(product, X, steps=steps)
    assert {row["step"] for row in report.steps} == {"sin", "sum"}
    assert sum(row["share"] for row in report.steps) == pytest.approx(1, rel=1e-6)


def test_steps_that_are_not_f() -> None:
    report = check(lambda x: 2 * product(x), X, steps=CHAIN)
    assert report.verdict == "FAIL"
    assert "does not return the value of f" in report.sentence


def test_a_primitive_of_the_user_is_named_with_its_line_and_its_backward_pass() -> None:
    def half(g, y, a):
        return g * a

    square = cr.primitive(np.square, pullback=half)

    def f(x):
        a = np.sin(x)
        b = square(a)  # the faulty one
        return np.sum(b * np.exp(a))

    report = check(f, X)
    (row,) = report.steps
    assert row["step"] == "square"
    assert "the faulty one" in row["text"]
    assert row["input"] == "a"
    assert row["share"] == pytest.approx(1, rel=1e-6)
    assert row["place"].startswith("test_localise.py:")
    assert row["rule"] == f"test_localise.py:{half.__code__.co_firstlineno}"
    assert "`square`" in report.sentence
    assert "100.0 %" in report.sentence


def test_second_order_of_a_function_that_is_traced() -> None:
    report = check(lambda x: np.sum(np.sin(x) * x), X, order=2)
    assert report.verdict == "PASS", str(report)


def test_a_stopped_gradient_is_named_with_its_line() -> None:
    report = check(lambda x: np.sum(cr.stop_gradient(np.sin(x)) * x), X)
    assert report.verdict == "FAIL"
    assert report.steps[0]["step"] == "stop_gradient"
    assert "detached" in report.steps[0]["pattern"]


def test_wrong_at_another_point_only() -> None:
    relu = cr.primitive(lambda x: np.where(x > 0, x**2, -x), pullback=lambda g, y, x: g * np.where(x > 0, 2 * x, 1.0))
    relu.__name__ = "relu"
    report = check(lambda x: np.sum(relu(np.exp(x)) + relu(x)), np.linspace(0.5, 3.0, 7))
    assert report.verdict == "FAIL"
    assert "a point with other signs" in report.sentence
    assert [row["step"] for row in report.steps] == ["relu"]
    assert "wrong only where x < 0" in report.steps[0]["pattern"]


def test_at_a_kink_the_right_steps_are_not_accused() -> None:
    square = cr.primitive(np.square, pullback=lambda g, y, x: g * x)
    report = check(lambda x: np.sum(np.maximum(x, 0) + square(x + 1.0)), np.array([0.0, 1.0, -2.0, 0.0]))
    assert report.verdict == "FAIL"
    assert [row["step"] for row in report.steps] == ["square"]


def test_a_path_outside_of_the_steps() -> None:
    seen: dict[str, Any] = {}

    def first(x):
        seen["mean"] = float(x.mean())
        return np.sin(x)

    steps = [
        ("sin", first, lambda x, g: g * np.cos(x)),
        ("scale", lambda a: a * seen["mean"], lambda a, g: g * seen["mean"]),
    ]
    report = check(None, X, steps=steps)
    assert report.verdict == "FAIL"
    assert report.steps[0]["step"] == "scale"
    assert "a path that the backward pass does not know" in report.steps[0]["pattern"]


def test_a_program_that_can_not_be_run_again() -> None:
    report = check(product, X, steps=[("sin", np.sin, lambda x, g: -g * np.cos(x), "x -> a"), *CHAIN[1:]], budget=40)
    assert report.verdict == "FAIL"
    assert report.steps == []
    assert any("budget was too small to tell the steps" in note for note in report.notes)

    def path(*_: Any) -> Tape:
        step = TapeStep("f", (0,), (1,), lambda x: [x], lambda x: ([x], lambda g: g))
        return Tape([step], [0], [1], lambda _leaves: None)

    provider = lambda f, args, argnums: (f(*args), lambda v: v * 2)  # noqa: E731
    before = list(cr.provider._default)
    try:
        set_default_backend(provider, path)
        report = check(np.sin, X)
    finally:
        cr.provider._default[:] = before
    assert report.verdict == "FAIL"
    assert any("took another path" in note for note in report.notes)


# --- the report, and bad questions ------------------------------------------------------------------------------------


def test_steps_are_in_text_page_and_json(tmp_path) -> None:
    steps = [("sin <1>", np.sin, lambda x, g: -g * np.cos(x), "x -> a"), *CHAIN[1:]]
    report = check(product, X, steps=steps)
    assert re.search(r"100\.0 %  step 1 `sin <1>`, adjoint of x: .*the sign", str(report))
    page = report.html(tmp_path / "report.html")
    assert "share of the mismatch" in page
    assert "sin &lt;1&gt;" in page
    row = json.loads(report.json())["steps"][0]
    assert row["step"] == "sin <1>"
    assert row["number"] == 0


@pytest.mark.parametrize(
    "steps",
    [
        [], "sin", [("sin",)], [("sin", np.sin, 3)], [(np.sin, np.cos, np.cos)], [("sin", np.sin, np.cos, "x y")],
        [("sin", np.sin, lambda x, g: g, "q -> y")], [("sin", np.sin)],
        [("sin", np.sin, lambda x, g: g, "x -> y, z")],
    ],
)  # fmt: skip
def test_lists_that_are_no_steps(steps) -> None:
    with pytest.raises(ArgumentError):
        check(np.sin, X, steps=steps)


def test_steps_with_another_framework_or_order() -> None:
    with pytest.raises(ArgumentError, match="steps= is for"):
        check(np.sin, X, steps=CHAIN, order=2)


def test_containers_scalars_and_several_results() -> None:
    def split(p):
        return p["w"] * 2.0, p["b"]

    steps = [
        ("split", split, lambda p, g: {"w": 2 * g[0], "b": g[1]}, "params -> w, b"),
        ("line", lambda w, b, x: w @ x + b, lambda w, b, x, g: (np.outer(g, x), g, None), "w, b, x -> y"),
        ("loss", lambda y: float(np.sum(y**2)), lambda y, g: 2 * g * y, "y -> loss"),
    ]

    def f(params, x):
        return float(np.sum((2 * params["w"] @ x + params["b"]) ** 2))

    params = {"w": RNG.standard_normal((3, 4)), "b": RNG.standard_normal(3)}
    x = RNG.standard_normal(4)
    assert check(f, params, x, steps=steps).verdict == "PASS"
    steps[1] = ("line", steps[1][1], lambda w, b, x, g: (np.outer(g, x), 3 * g, None), "w, b, x -> y")
    report = check(f, params, x, steps=steps)
    assert report.verdict == "FAIL"
    assert report.steps[0]["step"] == "line"
    assert report.steps[0]["input"] == "b"
    assert "3 x the true one" in report.steps[0]["pattern"]
