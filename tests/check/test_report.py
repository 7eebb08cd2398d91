"""The report: its power is true, it is readable, and bad input gets a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chainrule import provider as provider_registry
from chainrule.check import check, set_default_backend
from chainrule.errors import ArgumentError, CheckFailed
from chainrule.numerical.point import Point

X = np.random.default_rng(3).standard_normal(10)


def f(x):
    return np.sum(np.sin(x) * x**2)


def g(x):
    return np.cos(x) * x**2 + 2 * x * np.sin(x)


def test_one_wrong_entry_among_1e5_is_found_with_few_evaluations() -> None:
    x = np.random.default_rng(0).standard_normal(100_000)

    def wrong(z):
        out = 2 * z
        out[77_777] *= 1.001
        return out

    report = check(lambda z: np.sum(z**2), x, grad=wrong)
    assert report.verdict == "FAIL"
    assert report.worst[0]["name"] == "z[77777]"
    assert report.worst[0]["index"] == (77_777,)
    assert report.evaluations < 1000
    assert "0.001" in report.sentence


def test_evaluations_do_not_grow_with_the_size() -> None:
    counts = []
    for size in (100, 1000, 100_000):
        report = check(f, np.random.default_rng(1).standard_normal(size), grad=g)
        assert report.verdict == "PASS"
        counts.append(report.evaluations)
    assert max(counts) <= 130


@pytest.mark.parametrize("size", [20, 200, 2000])
def test_stated_resolution_is_true(size) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal(size)
    scale = Point(x).scale
    norm = np.linalg.norm(g(x) * scale)
    seen = 0
    for seed in range(40):
        right = check(f, x, grad=g, elementwise=False, probes=False, seed=seed)
        index = int(rng.integers(size))
        error = np.zeros(size)
        error[index] = 1.01 * right.resolution * norm / scale[index]
        report = check(f, x, grad=lambda z, e=error: g(z) + e, elementwise=False, probes=False, seed=seed)
        seen += not report
    assert seen >= 39


def test_would_detect() -> None:
    report = check(f, X, grad=g)
    assert report.would_detect(1e-3, "x[3]")
    assert report.would_detect(1e-3, 3)
    assert not report.would_detect(1e-15, 3)
    with pytest.raises(ArgumentError, match="no entry"):
        report.would_detect(0.1, "x[99]")


def test_truth_and_raising() -> None:
    good, bad = check(f, X, grad=g), check(f, X, grad=lambda x: 2 * g(x))
    assert good
    assert not bad
    assert good.raise_if_wrong() is good
    with pytest.raises(CheckFailed, match="factor 2 too much") as caught:
        bad.raise_if_wrong()
    assert caught.value.report is bad


def test_text_json_html_plot(tmp_path) -> None:
    report = check(f, X, grad=lambda x: 2 * g(x), seed=7)
    assert "seed=7" in report.reproduce
    assert "evaluations of f" in str(report)
    data = json.loads(report.json())
    assert data["verdict"] == "FAIL"
    assert data["worst"][0]["name"].startswith("x[")
    page = report.html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert "<svg" in page
    report.plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert "FAIL" in report._repr_html_()


def test_same_seed_same_report() -> None:
    one, two = (check(f, X, grad=lambda x: 2 * g(x), seed=5) for _ in range(2))
    assert one.sentence == two.sentence
    assert one.evaluations == two.evaluations


@pytest.mark.parametrize("budget", [8, 15, 40, 100])
def test_budget_gives_a_verdict_with_the_resolution_it_has(budget) -> None:
    calls = []

    def counted(x):
        calls.append(1)
        return f(x)

    report = check(counted, X, grad=g, budget=budget)
    assert report.verdict == "PASS"
    assert len(calls) <= budget + 1
    assert report.resolution < 1e-5
    calls.clear()
    assert check(counted, X, grad=lambda x: 2 * g(x), budget=budget).verdict == "FAIL"
    assert len(calls) <= budget + 1


def test_registered_backend() -> None:
    before = list(provider_registry._default)
    try:
        provider_registry._default.clear()
        with pytest.raises(ArgumentError, match="no backend"):
            check(f, X)
        set_default_backend(lambda fun, args, argnums: (fun(*args), lambda v: v * g(args[0])))
        assert check(f, X).verdict == "PASS"
    finally:
        provider_registry._default[:] = before


def test_frozen_random_state_lets_dropout_be_checked() -> None:
    def dropout(x):
        return np.sum((x * (np.random.random(x.shape) < 0.5)) ** 2)  # noqa: NPY002 - the state that is frozen

    def gradient(x):
        return 2 * x * (np.random.random(x.shape) < 0.5)  # noqa: NPY002 - the state that is frozen

    state = np.array(np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002 - the state that is frozen
    assert not check(dropout, X, grad=gradient)
    np.random.seed(0)  # noqa: NPY002 - the state that is frozen
    state = np.array(np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002 - the state that is frozen
    assert check(dropout, X, grad=gradient, freeze_rng=True).verdict == "PASS"
    assert np.array_equal(np.random.get_state()[1], state)  # type: ignore[index]  # noqa: NPY002 - the state that is frozen


def test_float32_is_lifted_and_small_errors_seen() -> None:
    x = X.astype(np.float32)
    right = check(f, x, grad=lambda z: g(z).astype(np.float32))
    assert right.verdict == "PASS"
    assert right.lifted
    assert right.resolution < 1e-5
    assert check(f, x, grad=lambda z: (g(z) * 1.0001).astype(np.float32)).verdict == "FAIL"
    inside = check(lambda z: f(z.astype(np.float32)), x, grad=lambda z: g(z).astype(np.float32))
    assert not inside.lifted
    assert inside.verdict in {"PASS", "INCONCLUSIVE"}


@pytest.mark.parametrize(
    ("function", "x", "options", "word"),
    [
        (lambda x: 1 / 0, X, {"grad": g}, "raises ZeroDivisionError"),
        (lambda x: None, X, {"grad": g}, "returns None"),
        (lambda x: "text", X, {"grad": g}, "returned"),
        (lambda x: np.nan * np.sum(x), X, {"grad": g}, "no derivative"),
        (lambda x: np.sum(x) * 1j, X, {"grad": g}, "complex"),
        (f, X, {"grad": lambda x: 1 / 0}, "gradient raises"),
        (f, X, {"grad": lambda x: g(x)[:-1]}, "shape"),
        (f, X, {"grad": lambda x: "text"}, "gradient of x"),
        (f, X, {"grad": lambda x: (g(x), g(x))}, "container"),
        (f, X, {"grad": lambda x: g(x) * 1j}, "complex"),
        (np.sin, X, {"grad": np.cos}, "function of one number"),
    ],
)
def test_bad_functions_get_a_sentence(function, x, options, word) -> None:
    report = check(function, x, **options)
    assert word in report.sentence
    assert not report


@pytest.mark.parametrize("x", [np.arange(3), np.ones(2) * 1j, "abc", None, True])
def test_points_that_are_no_real_numbers(x) -> None:
    with pytest.raises(ArgumentError):
        check(lambda z: 1.0, x, grad=lambda z: z)


def test_empty_input_and_output() -> None:
    assert check(np.sum, np.ones(0), grad=lambda x: x).verdict == "PASS"
    assert check(lambda x: x[:0], np.ones(3), vjp=lambda x, v: np.zeros(3)).verdict == "PASS"


def test_input_is_left_alone() -> None:
    x = X.copy()
    check(lambda z: float(np.sum(np.multiply(z, 2, out=z))), x, grad=lambda z: np.full(10, 2.0))
    assert np.array_equal(x, X)


def test_bounds() -> None:
    low = np.zeros(3)

    def inside(x):
        assert np.all(x >= 0)
        return np.sum(x**3)

    assert check(inside, np.array([0.0, 1.0, 2.0]), grad=lambda x: 3 * x**2, bounds=(low, np.inf), rtol=1e-3)
