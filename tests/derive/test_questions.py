"""``why`` and ``where_nonfinite``: paths and their sum; the line, the operand and the factors of what went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import ArgumentError
from chainrule.derive import derive


def chosen(x: Any) -> Any:
    y = np.where(x > 0.3, np.sqrt(x - 0.3), 0 * x)
    return np.sum(y * y)


def logarithm(x: Any) -> Any:
    z = np.log(x)
    return np.sum(z)


def difference(x: Any) -> Any:
    a = 1 / x
    b = a - a
    return np.sum(b)


def test_a_path_that_is_not_chosen_is_named_and_does_not_reach_the_result() -> None:
    d = derive(chosen, np.array([0.1, 0.5, 0.3]))
    found = d.where_nonfinite()
    assert found is not None
    assert found.kind == "value"
    assert found.index == (0,)
    assert np.isnan(found.value)
    assert found.factors == (("v2[0]", pytest.approx(-0.2)),)
    assert not found.reaches
    assert found.where is not None
    assert "np.sqrt(x - 0.3)" in found.where.text
    assert "√v2" in str(found)
    np.testing.assert_allclose(d.gradient[0].value, [0.0, 1.0, 0.0])
    asked = d.why("x", 0)
    assert asked.state == "zero"
    assert asked.culprit == "y"


def test_the_logarithm_of_zero() -> None:
    d = derive(logarithm, np.array([1.0, 0.0, 2.0]))
    found = d.where_nonfinite()
    assert found is not None
    assert (found.step, found.index, found.value) == ("z", (1,), -np.inf)
    assert found.factors == (("x[1]", 0.0),)
    assert found.reaches
    assert found.where is not None
    assert found.where.text == "z = np.log(x)"
    asked = d.why("x", 1)
    assert asked.state == "infinite"
    assert asked.culprit == "z"
    assert "∂z/∂x = 1 / x = ∞" in str(asked)


def test_infinity_minus_infinity() -> None:
    d = derive(difference, np.array([0.0, 2.0]))
    found = d.where_nonfinite()
    assert found is not None
    assert (found.step, found.value) == ("a", np.inf)
    assert found.factors == (("x[0]", 0.0),)
    assert "1 / x" in str(found)
    assert "NaN because of it" in str(found)
    assert d.why("x", 0).state == "nan"


def test_an_adjoint_that_is_infinite_where_all_values_are_finite() -> None:
    found = derive(lambda x: np.sum(np.sqrt(x)), np.array([1.0, 0.0])).where_nonfinite()
    assert found is not None
    assert found.kind == "adjoint"
    assert found.index == (1,)
    assert dict(found.factors)["v1[1]"] == 0.0
    assert derive(lambda x: np.sum(np.sqrt(x)), np.array([1.0, 4.0])).where_nonfinite() is None


def test_an_argument_that_is_not_finite() -> None:
    found = derive(lambda x: np.sum(x * x), np.array([1.0, np.nan])).where_nonfinite()
    assert found is not None
    assert found.step == "x"
    assert "already when" in str(found)


def test_paths_and_their_sum() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        return np.sum(x * y) + y[0]

    x = np.array([0.3, 0.7])
    asked = derive(f, x).why("x", 0)
    assert asked.state == "finite"
    assert not asked.grouped
    assert [path.names[:3] for path in asked.paths] == [("x", "y", "v2"), ("x", "y", "v4"), ("x", "v2", "v3")]
    wanted = [x[0] * np.cos(x[0]), np.cos(x[0]), np.sin(x[0])]
    np.testing.assert_allclose([path.value for path in asked.paths], wanted)
    np.testing.assert_allclose(sum(path.value for path in asked.paths), asked.value)


def test_many_paths_are_grouped_and_add_up() -> None:
    def f(x: Any) -> Any:
        for _ in range(8):
            x = np.sin(x) + x * 0.5
        return x

    asked = derive(f, 0.3).why("x")
    assert asked.grouped
    assert len(asked.paths) == 2
    np.testing.assert_allclose(sum(path.value for path in asked.paths), asked.value)


def test_zero_by_a_factor_by_cancelling_and_for_want_of_a_reader() -> None:
    def f(x: Any, w: Any) -> Any:
        h = np.maximum(x, 0.0)
        return np.sum(h * w) + np.sum(w - w)

    d = derive(f, np.array([-1.0, 2.0]), np.array([3.0, 4.0]), argnums=(0, 1))
    off = d.why("x", 0)
    assert (off.state, off.culprit) == ("zero", "h")
    assert "is 0 for what x is" in str(off)
    assert d.why("w", 0).state == "zero"
    assert d.why("w", 0).value == 0
    cancels = derive(lambda x: (x + 1) - x, 2.0).why("x")
    assert "cancels: 1, −1" in str(cancels)
    unread = derive(lambda a, b: a * 2, 1.0, 2.0, argnums=(0, 1)).why("b")
    assert "no step of" in str(unread)


def test_a_large_factor_is_named() -> None:
    d = derive(lambda x: 1.0 / (x * x) + x, 1e-4)
    asked = d.why("x")
    assert asked.state == "huge"
    assert "It is large because of step" in str(asked)
    assert asked.culprit == "v2"


def test_names_and_indices_that_are_not_there() -> None:
    d = derive(logarithm, np.array([1.0, 2.0]))
    with pytest.raises(ArgumentError, match="'zz'") as caught:
        d.why("zz")
    assert "choose one of" in str(caught.value)
    with pytest.raises(ArgumentError, match="1 numbers, not 2"):
        d.why("x", (0, 0))
    with pytest.raises(IndexError):
        d.why("x", 7)
    assert d.why("x", -1).index == (1,)
    assert d.find("z").name == "z"
    assert d.find("x").name == "x"
