"""What a PASS is worth: an error of the stated size, put into one entry, is seen, in every kind of precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.check import check
from chainrule.numerical.noise import measured_noise
from chainrule.numerical.point import Point

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(4)
X = RNG.standard_normal(300)
SPARSE = np.where(np.arange(300) % 3 == 0, 0.0, X)
K = RNG.standard_normal((8, 300))


def f(x):
    return np.sum(np.sin(x) * x**2)


def g(x):
    return np.cos(x) * x**2 + 2 * x * np.sin(x)


SETTINGS: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "float64": (X, f, g, {}),
    "few": (X[:30], f, g, {}),
    "float32 inside the gradient": (X, f, lambda x: g(x.astype(np.float32)).astype(float), {}),
    "float32 inside the gradient, few": (X[:30], f, lambda x: g(x.astype(np.float32)).astype(float), {}),
    "float32, lifted": (X.astype(np.float32), f, g, {}),
    "float32 throughout": (X.astype(np.float32), lambda x: f(np.float32(x)), g, {}),
    "float32 throughout, few": (X[:30].astype(np.float32), lambda x: f(np.float32(x)), g, {}),
    "noise": (X, lambda x: f(x) + 1e-9 * np.sin(1e15 * np.sum(x)), g, {"rtol": 1e-3}),
    "relus": (X, lambda x: np.sum(np.maximum(K @ x, 0) ** 2), lambda x: K.T @ (2 * np.maximum(K @ x, 0)), {}),
    "kinks": (SPARSE, lambda x: np.sum(np.abs(x) + x**2), lambda x: np.sign(x) + 2 * x, {}),
    "sizes": (X * 10.0 ** RNG.integers(-4, 4, 300), lambda x: np.sum(np.arctan(x)), lambda x: 1 / (1 + x * x), {}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_stated_resolution_is_true(name) -> None:
    x, function, gradient, options = SETTINGS[name]
    scale = Point(x).scale
    norm = np.linalg.norm(np.asarray(gradient(x), dtype=float) * scale)
    rng = np.random.default_rng(1)
    for seed in range(8):
        right = check(function, x, grad=gradient, probes=False, seed=seed, **options)
        assert right.verdict in {"PASS", "PASS*", "WARN"}, str(right)
        assert right.resolution < 1e-2
        index = int(rng.choice(np.flatnonzero(x)))
        error = np.zeros(x.size)
        error[index] = 1.01 * right.resolution * norm / scale[index]

        def wrong(z, error=error):
            return np.asarray(gradient(z)) + error.astype(x.dtype)

        report = check(function, x, grad=wrong, probes=False, seed=seed, **options)
        assert not report, f"{right}\n{report}"


@pytest.mark.parametrize(
    "vjp",
    [
        lambda x, v: np.cos(x.astype(np.float32)) * v.astype(np.float32),
        lambda x, v: (np.cos(x) * v).astype(np.float32),
        lambda x, v: (np.cos(x.astype(np.float32)) * v.astype(np.float32)).astype(float),
    ],
)
def test_float32_inside_a_pullback_is_named_and_no_fault_of_linearity(vjp) -> None:
    report = check(np.sin, X[:12], vjp=vjp)
    assert report.verdict == "WARN", str(report)
    assert "float32 inside" in str(report)
    doubled = check(np.sin, X[:12], vjp=lambda x, v: 2 * vjp(x, v))
    assert doubled.verdict == "FAIL"


def test_a_pullback_that_is_a_little_nonlinear_is_still_wrong() -> None:
    report = check(np.sin, X[:12], vjp=lambda x, v: np.cos(x) * (v + 1e-4 * v**2))
    assert report.verdict == "FAIL"
    assert "not linear" in report.sentence


def test_calls_that_differ_in_single_precision_are_told() -> None:
    rng = np.random.default_rng(0)
    report = check(np.sin, X[:12], vjp=lambda x, v: np.cos(x) * v * (1 + 1e-8 * rng.standard_normal()))
    assert report.verdict == "WARN", str(report)
    assert "differ by" in str(report)


def test_nothing_to_compare_has_no_resolution() -> None:
    report = check(np.sum, np.zeros(0), grad=lambda x: x)
    assert report.verdict == "PASS"
    assert "resolution" not in str(report)


def test_at_kinks_alone_the_resolution_is_the_distance_of_the_slopes() -> None:
    report = check(lambda x: np.sum(np.abs(x)), np.zeros(200), grad=np.sign)
    assert report.verdict == "PASS*"
    assert report.resolution > 0.1


@pytest.mark.parametrize("size", [1e-305, 1e-200, 1e200, 1e305])
def test_noise_of_values_near_the_ends_of_floats(size) -> None:
    rng = np.random.default_rng(0)
    with np.errstate(all="raise", under="ignore"):
        sigma, _ = measured_noise(size * (1 + 1e-6 * rng.standard_normal((7, 50))))
    assert 0.3e-6 < np.median(sigma) / size < 3e-6


def test_a_jump_at_x_is_no_noise() -> None:
    t = np.arange(7.0)
    values = np.sin(1e-3 * t) + 1e-12 * np.random.default_rng(0).standard_normal(7)
    values[0] -= 3.0
    sigma, _ = measured_noise(values[:, None])
    assert sigma[0] < 1e-10
