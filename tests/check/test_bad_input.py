"""What is the matter with f, with the point, with the options or with the gradient is said in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.check import check
from chainrule.errors import ArgumentError

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).standard_normal(6)


def f(x):
    return np.sum(x**2)


def g(x):
    return 2 * x


class Diverges:
    """Raises at every point but the first few."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        if self.calls > 12:
            raise RuntimeError("the solver diverged")
        return np.sum(x**2)


def test_an_error_beside_the_point_is_told_and_does_not_end_the_check() -> None:
    report = check(Diverges(), X, grad=g)
    assert report.verdict == "INCONCLUSIVE"
    assert "f raises RuntimeError at a point near the given one: the solver diverged" in report.notes


def test_a_shape_that_changes_with_the_values() -> None:
    report = check(lambda x: x[x > 0.15 * (1 + 1e-3)] ** 2, np.array([0.1501, 0.2]), jvp=lambda x, t: np.zeros(1))
    assert report.verdict in {"INCONCLUSIVE", "FAIL"}
    assert "numbers" in report.sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bounds": (0, 1)}, "outside its bounds, 0 to 1"),
        ({"bounds": 3}, "bounds is a int"),
        ({"rtol": 0}, "rtol=0"),
        ({"rtol": -1.0}, "rtol=-1"),
        ({"budget": 0}, "budget=0"),
        ({"vjp": lambda x, v: 2 * x * v}, "two gradients"),
    ],
)
def test_options_that_make_no_sense(options, words) -> None:
    with pytest.raises(ArgumentError, match=words):
        check(f, np.array([0.5, 3.0]), grad=g, **options)


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda x: {"a": 2 * x}, "the gradient is a container dict(a=*) where the input is one array"),
        (lambda x: list(2 * x), "a container list"),
        (lambda x: 2 * x[:, None], "shape (6, 1)"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: "no", "a str"),
    ],
)
def test_gradients_of_another_kind(gradient, words) -> None:
    report = check(f, X, grad=gradient)
    assert report.verdict == "FAIL"
    assert words in report.sentence


def test_a_zero_gradient_has_its_resolution_in_the_size_of_f() -> None:
    report = check(lambda x: 3.0, X, grad=np.zeros_like)
    assert report.verdict == "PASS"
    assert "of the size of f" in report.sentence


def test_a_jump_of_another_output_is_no_excuse() -> None:
    report = check(lambda x: np.array([np.sum(np.sin(x)), np.argmax(x)]), X, vjp=lambda x, v: 0.5 * np.cos(x) * v[0])
    assert report.verdict == "FAIL", str(report)
