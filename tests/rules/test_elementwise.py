"""NumPy's elementwise functions: conventions at kinks and singular points, dtypes, keywords, functions by pieces."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from tests.rules.directional import agrees, gradient, hessian, program

from chainrule import operators as cr
from chainrule.errors import NoRule
from chainrule.rule import FUNCTIONS, RULES, UFUNCS
from chainrule.transforms.backprop import backprop
from chainrule.transforms.forward import forward

INF = np.inf
X = np.array([-1.7, -0.4, 0.3, 1.1, 2.6])


def slope(f: Any, x: float) -> float:
    return float(gradient(f, np.float64(x))[0])


def bend(f: Any, x: float) -> float:
    return float(hessian(f, np.float64(x))[0, 0])


def onward(f: Any, *arguments: Any) -> list[float]:
    """The partials by forward mode."""
    arrays = [np.float64(one) for one in arguments]
    tangents = forward(program(f, *arrays), range(len(arrays)))
    return [float(tangents.run([*arrays, *row])[1]) for row in np.eye(len(arrays))]


# --- every ufunc ------------------------------------------------------------------------------------------------------

#: Ufuncs of NumPy that are no elementwise functions of real numbers, or that other families have.
ELSEWHERE = {"isnat", "matmul", "matvec", "vecdot", "vecmat"}


def test_every_ufunc_of_numpy_has_a_rule() -> None:
    ufuncs = {one for one in vars(np).values() if isinstance(one, np.ufunc)}
    missing = {one.__name__ for one in ufuncs if one not in UFUNCS and one not in FUNCTIONS}
    assert missing <= ELSEWHERE


# --- kinks and singular points ----------------------------------------------------------------------------------------

CONVENTIONS = [
    (np.abs, 0.0, 0.0, 0.0),
    (np.fabs, 0.0, 0.0, 0.0),
    (np.sign, 0.0, 0.0, 0.0),
    (np.floor, 2.0, 0.0, 0.0),
    (np.sinc, 0.0, 0.0, -(np.pi**2) / 3),
    (lambda x: x**0, 0.0, 0.0, 0.0),
    (lambda x: x**0.0, 0.0, 0.0, 0.0),
    (lambda x: x**0.0, -2.0, 0.0, 0.0),
    (lambda x: x**1, 0.0, 1.0, 0.0),
    (lambda x: x**2, 0.0, 0.0, 2.0),
    (lambda x: x**2.0, -3.0, -6.0, 2.0),
    (lambda x: x**3, -2.0, 12.0, -12.0),
    (lambda x: x**-1, -2.0, -0.25, -0.25),
    (lambda x: x**0.5, 4.0, 0.25, -1 / 32),
    (lambda x: np.float64(2.0) ** x, 0.0, np.log(2), np.log(2) ** 2),
    (lambda x: 0.0**x, 2.0, 0.0, 0.0),
    (lambda x: np.hypot(x, 0.0), 0.0, 0.0, 0.0),
    (lambda x: np.maximum(x, 0.0), 0.0, 0.5, 0.0),
    (lambda x: np.maximum(x, x), 1.3, 1.0, 0.0),
    (lambda x: np.clip(x, 0.0, 1.0), 0.0, 1.0, 0.0),
    (lambda x: np.clip(x, 0.0, 1.0), 1.0, 1.0, 0.0),
    (lambda x: np.clip(x, 0.0, 1.0), 1.5, 0.0, 0.0),
    (lambda x: np.copysign(x, -1.0), 0.0, 0.0, 0.0),
    (lambda x: np.logaddexp(x, -INF), 0.7, 1.0, 0.0),
    (lambda x: np.logaddexp(x, -INF), -INF, 0.0, 0.0),
    (lambda x: np.logaddexp(x, 3.0), -INF, 0.0, 0.0),
    (lambda x: np.logaddexp(x, 0.0), -800.0, 0.0, 0.0),
    (lambda x: np.logaddexp(x, 0.0), 0.0, 0.5, 0.25),
    (lambda x: np.logaddexp2(x, 0.0), 0.0, 0.5, 0.25 * np.log(2)),
    (lambda x: np.where(x > 0, np.log(x), 0.0), 0.0, 0.0, 0.0),
    (lambda x: np.where(x > 0, np.sqrt(x), x * x), -1.0, -2.0, 2.0),
    (lambda x: np.nan_to_num(1 / x), 0.0, 0.0, 0.0),
    (lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 2.0, 1.0]), 1.0, -1.0, 0.0),
    (lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 2.0, 1.0]), 2.0, -1.0, 0.0),
    (lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 2.0, 1.0]), 2.5, 0.0, 0.0),
    (lambda x: np.nextafter(x, INF), 1.5, 1.0, 0.0),
    (np.spacing, 1.5, 0.0, 0.0),
    (lambda x: np.fmax(x, np.nan), 1.5, 1.0, 0.0),
    (lambda x: np.heaviside(x, 0.5), 0.0, 0.0, 0.0),
    (np.positive, -1.5, 1.0, 0.0),
]


@pytest.mark.parametrize(("f", "x", "first", "second"), CONVENTIONS)
def test_conventions(f: Any, x: float, first: float, second: float) -> None:
    assert slope(f, x) == pytest.approx(first, rel=1e-15)
    assert onward(f, x)[0] == pytest.approx(first, rel=1e-15)
    assert bend(f, x) == pytest.approx(second, rel=1e-15)


def test_infinite_slopes_are_infinite() -> None:
    assert slope(np.sqrt, 0.0) == INF
    assert slope(np.cbrt, 0.0) == INF
    assert slope(np.log, 0.0) == INF
    assert slope(np.arcsin, 1.0) == INF
    assert slope(np.arccos, 1.0) == -INF
    assert slope(np.arccosh, 1.0) == INF
    assert slope(np.arctanh, 1.0) == INF
    assert slope(lambda x: x**0.5, 0.0) == INF
    assert slope(lambda x: 0.0**x, 0.0) == -INF


def test_what_can_not_be_known_is_nan_and_never_a_wrong_number() -> None:
    # Both are inf times 0 to the chain rule; the derivatives are 0 (the middle of -1 and 1) and 1.
    assert np.isnan(slope(lambda x: np.sqrt(x**2), 0.0))
    assert np.isnan(slope(lambda x: np.sqrt(x) ** 2, 0.0))
    assert np.isnan(slope(lambda x: x * np.log(x), 0.0))
    assert np.isnan(gradient(np.arctan2, np.float64(0.0), np.float64(0.0))).all()
    assert np.isnan(slope(lambda x: (-2.0) ** x, 3.0))


@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_ties_share(ufunc: Any) -> None:
    assert gradient(ufunc, np.float64(2.0), np.float64(2.0)) == [0.5, 0.5]
    assert onward(ufunc, 2.0, 2.0) == [0.5, 0.5]


def test_hypot_at_the_origin() -> None:
    assert gradient(np.hypot, np.float64(0.0), np.float64(0.0)) == [0.0, 0.0]
    np.testing.assert_array_equal(hessian(lambda x: np.hypot(x[0], x[1]), np.zeros(2)), np.zeros((2, 2)))


def test_a_selected_argument_keeps_infinities_to_itself() -> None:
    assert gradient(lambda a, b: np.sqrt(np.maximum(a, b)), np.float64(0.0), np.float64(-1.0)) == [INF, 0.0]
    assert gradient(lambda a, b: np.sqrt(np.clip(a, b, 5.0)), np.float64(0.0), np.float64(-1.0)) == [INF, 0.0]


def test_power_with_an_array_of_exponents() -> None:
    a = np.array([0.0, 0.0, 0.0, -2.0, -2.0, 3.0, 0.0])
    b = np.array([0.0, 1.0, 2.0, 2.0, 0.0, 0.5, 0.5])
    wanted = np.array([0.0, 1.0, 0.0, -4.0, 0.0, 0.5 / np.sqrt(3.0), INF])
    np.testing.assert_allclose(gradient(lambda x: np.power(x, b).sum(), a)[0], wanted, rtol=1e-15)
    in_exponent = gradient(lambda e: np.power(a[[1, 2, 5]], e).sum(), b[[1, 2, 5]])[0]
    np.testing.assert_allclose(in_exponent, [0.0, 0.0, np.sqrt(3.0) * np.log(3.0)], rtol=1e-15)
    second = hessian(lambda x: np.power(x, np.array([0.0, 1.0, 2.0])).sum(), np.zeros(3))
    np.testing.assert_array_equal(second, np.diag([0.0, 0.0, 2.0]))


@pytest.mark.parametrize("n", range(5))
def test_derivatives_of_sinc_at_zero(n: int) -> None:
    # sinc(x) = sum of (-1)^k (pi x)^(2k) / (2k+1)!
    def f(x: Any) -> Any:
        return np.sinc(x)

    held = program(f, np.float64(0.0))
    for _ in range(n):
        held = backprop(held, [0])
    wanted = [1.0, 0.0, -(np.pi**2) / 3, 0.0, np.pi**4 / 5][n]
    assert held.run([np.float64(0.0)])[0] == pytest.approx(wanted, rel=1e-14)


def test_a_clipped_bound_has_what_the_element_has_not() -> None:
    x, low, high = np.array([-2.0, 0.5, 3.0, 0.0]), np.zeros(4), np.array([1.0, 1.0, 1.0, -1.0])
    parts = gradient(lambda *each: np.clip(*each).sum(), x, low, high)
    np.testing.assert_array_equal(parts, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]])


# --- dtypes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x**2, lambda x: x**0.5, lambda x: x**3, lambda x: 2.0**x, lambda x: np.maximum(x, 0.5), np.tanh,
        np.sinc, lambda x: np.where(x > 1, x, 0.0), lambda x: np.clip(x, 0.0, 1.0), np.degrees, np.i0, np.nan_to_num,
        np.copy,
        lambda x: np.copysign(x, -1.0), lambda x: np.hypot(x, 1), lambda x: np.logaddexp(x, 0), np.reciprocal,
    ],
)  # fmt: skip
def test_float32_stays_float32_at_every_step(f: Any) -> None:
    x = np.array([0.3, 1.2], dtype=np.float32)
    made = backprop(program(lambda v: f(v).sum(), x), with_value=True)
    kinds = {kind.dtype for step in made.steps for kind in [made.types[var] for var in step.outputs]}
    assert kinds <= {np.dtype(np.float32), np.dtype(bool)}


@pytest.mark.parametrize(("base", "exponent"), list(itertools.product((np.int32, np.float32, np.float64), repeat=2)))
def test_power_has_numpys_dtype(base: Any, exponent: Any) -> None:
    a, b = np.array([1, 2], dtype=base), np.array([0, 3], dtype=exponent)
    made = program(np.power, a, b).run([a, b])[0]
    assert made.dtype == np.power(a, b).dtype
    np.testing.assert_array_equal(made, np.power(a, b))


def test_float_power_is_float64() -> None:
    agrees(lambda x: np.float_power(x, 2), np.array([0.5, 1.5]))
    x = np.array([0.5, 1.5], dtype=np.float32)
    made = program(lambda v: np.float_power(v, 2), x).run([x])[0]
    np.testing.assert_array_equal(made, np.float_power(x, 2))
    assert made.dtype == np.float64
    assert gradient(lambda v: np.float_power(v, 2).sum(), x)[0].dtype == np.float32


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1", "?"])
def test_astype(dtype: str) -> None:
    x = np.array([0.5, 1.5, 3.25])
    made = program(lambda v: v.astype(dtype), x).run([x])[0]
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, x.astype(dtype))
    slopes = gradient(lambda v: (2.0 * v.astype(dtype)).sum().astype(float), x)[0]
    np.testing.assert_array_equal(slopes, np.full(3, 2.0 if dtype[0] == "f" else 0.0))
    assert slopes.dtype == np.float64


def test_astype_refuses() -> None:
    with pytest.raises(NoRule, match="complex"):
        program(lambda v: v.astype(complex), X)
    with pytest.raises(TypeError, match="Cannot cast"):
        program(lambda v: v.astype("i4", casting="safe"), X)


# --- keywords of ufuncs -----------------------------------------------------------------------------------------------


def test_out() -> None:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        held = np.multiply(x, x, out=y)
        assert held is y
        return (y * x).sum()

    np.testing.assert_allclose(cr.grad(f)(X), 3 * X**2)


def test_where_keeps_the_elements_of_out() -> None:
    def f(x: Any) -> Any:
        y = 3.0 * x
        np.log(x, out=y, where=x > 0)
        return y.sum()

    np.testing.assert_allclose(cr.grad(f)(X), np.where(X > 0, 1 / X, 3.0))
    assert cr.value_and_grad(f)(X)[0] == pytest.approx(np.where(X > 0, np.log(np.abs(X)), 3 * X).sum())


def test_where_without_out_is_refused() -> None:
    with pytest.raises(NoRule, match="out="):
        program(lambda x: np.exp(x, where=x > 0), X)


def test_dtype_picks_the_loop() -> None:
    x = X.astype(np.float32)
    made = program(lambda v: np.multiply(v, v, dtype=np.float64), x).run([x])[0]
    np.testing.assert_array_equal(made, np.multiply(x, x, dtype=np.float64))
    assert made.dtype == np.float64
    assert program(lambda v: np.less(v, 1.0, dtype=bool), X).run([X])[0].dtype == bool
    made = program(lambda v: np.add(v, 1.0, dtype="f4", casting="unsafe"), X).run([X])[0]
    np.testing.assert_array_equal(made, np.add(X, 1.0, dtype="f4", casting="unsafe"))
    made = program(lambda v: np.add(v, 1.0, signature="ff->f", casting="unsafe"), X).run([X])[0]
    assert made.dtype == np.float32
    with pytest.raises(TypeError):
        program(lambda v: np.add(v, 1.0, dtype="f4", casting="safe"), X)


@pytest.mark.parametrize("ufunc", [np.modf, np.frexp, np.divmod])
def test_ufuncs_with_two_results(ufunc: Any) -> None:
    given = (X, 0.7) if ufunc is np.divmod else (X,)
    agrees(lambda x: ufunc(x, *given[1:]), X)
    special = np.array([0.0, -0.0, INF, -INF, np.nan, 5e-324, -1e300])
    with np.errstate(all="ignore"):
        for one, other in zip(
            program(lambda x: ufunc(x, *given[1:]), special).run([special]), ufunc(special, *given[1:]), strict=True
        ):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


# --- functions by pieces ----------------------------------------------------------------------------------------------


def test_where_with_one_argument_is_nonzero() -> None:
    np.testing.assert_allclose(cr.grad(lambda x: (x[np.where(x > 0)] ** 2).sum())(X), np.where(X > 0, 2 * X, 0))
    with pytest.raises(ValueError, match="both"):
        program(lambda x: np.where(x > 0, x), X)


@pytest.mark.parametrize(
    "bounds",
    [(-1.0, 1.0), (None, 1.0), (-1.0, None), (np.full(5, -0.2), 0.9), (1.0, -1.0)],
    ids=["both", "high", "low", "array", "crossed"],
)  # fmt: skip
def test_clip(bounds: Any) -> None:
    agrees(lambda x: np.clip(x, *bounds), X)
    agrees(lambda x: x.clip(*bounds), X)
    agrees(lambda x: np.clip(x, min=bounds[0], max=bounds[1]), X)


def test_clip_of_integers_and_with_out() -> None:
    whole = np.array([-3, 0, 7])
    assert program(lambda x: np.clip(x, 0, 5), whole).run([whole])[0].tolist() == [0, 0, 5]
    assert program(lambda x: np.clip(x, None, 5), whole).run([whole])[0].dtype == whole.dtype

    def f(x: Any) -> Any:
        y = x * 1.0
        np.clip(y, 0.0, 2.0, out=y)
        return (y * y).sum()

    np.testing.assert_allclose(cr.grad(f)(X), np.where((X > 0) & (X < 2), 2 * X, 0))


def test_nan_to_num() -> None:
    x = np.array([1.5, np.nan, INF, -INF, -2.0])
    settings: list[dict[str, Any]] = [{}, {"nan": 3.0, "posinf": 1.0, "neginf": 2.0}]
    for keywords in settings:
        np.testing.assert_array_equal(
            program(lambda v, k=keywords: np.nan_to_num(v, **k), x).run([x])[0], np.nan_to_num(x, **keywords)
        )
    np.testing.assert_array_equal(gradient(lambda v: np.nan_to_num(v).sum(), x)[0], [1, 0, 0, 0, 1])


def test_select() -> None:
    agrees(lambda x: np.select([x < -1, x < 1], [x * x, np.sin(x)], 7.0), X)
    agrees(lambda x: np.select([x < -1, x < 1], [x * x, np.sin(x)]), X)
    with pytest.raises(TypeError, match="boolean"):
        program(lambda x: np.select([x], [x]), X)
    with pytest.raises(ValueError, match="same length"):
        program(lambda x: np.select([x < 0], [x, x]), X)


def test_piecewise() -> None:
    def f(x: Any) -> Any:
        functions: Any = [lambda v: v - v.mean(), lambda v, k: k * v**3, 5.0]
        return np.piecewise(x, [x < -1, x > 1], functions, 2.0).sum()

    def slow(x: Any) -> Any:
        functions: Any = [lambda v: v - v.mean(), lambda v, k=2.0: k * v**3, 5.0]
        return np.piecewise(x, [x < -1, x > 1], functions).sum()

    with pytest.raises(TypeError):
        f(X)  # NumPy passes the extra argument to every function
    assert cr.value_and_grad(slow)(X)[0] == slow(X)
    np.testing.assert_allclose(cr.grad(slow)(X), np.where(X > 1, 6 * X**2, 0), atol=1e-15)


@pytest.mark.parametrize(
    "keywords", [{}, {"left": -7.0, "right": 9.0}, {"period": 3.1}], ids=["plain", "ends", "period"]
)
def test_interp(keywords: Any) -> None:
    knots, heights = np.array([-1.0, 0.1, 0.7, 2.0]), np.array([0.5, 2.0, -1.0, 3.0])
    agrees(lambda x, y: np.interp(x, knots, y, **keywords), X, heights, exact=False)
    agrees(lambda x, k: np.interp(x, k, heights, **keywords), X, knots, exact=False)
    at = np.array([-5.0, -1.0, 0.1, 2.0, 5.0])
    np.testing.assert_allclose(
        program(lambda x: np.interp(x, knots, heights), at).run([at])[0], np.interp(at, knots, heights)
    )


@pytest.mark.parametrize("keywords", [{}, {"discont": 4.0}, {"period": 2.0}, {"axis": 0}])
def test_unwrap(keywords: Any) -> None:
    rng = np.random.default_rng(0)
    agrees(lambda p: np.unwrap(p, **keywords), rng.normal(size=(4, 5)) * 5, exact=False)


def test_rounding_and_polynomials() -> None:
    for decimals in (0, 1, -1):
        agrees(lambda x, d=decimals: np.round(x, d), X * 10)
    agrees(lambda x: x.round(1), X)
    agrees(np.fix, X)
    agrees(lambda x: np.polyval([2.0, -1.0, 0.5], x), X)
    agrees(lambda p: np.polyval(p, 0.7), np.array([2.0, -1.0, 0.5]))
    agrees(np.polyval, np.array([2.0, -1.0, 0.5]), X)


def test_real_parts() -> None:
    agrees(lambda x: np.real(x) + np.imag(x) + np.conj(x), X)
    agrees(lambda x: np.where(np.isreal(x), x, 0.0) + np.angle(x), X)
    agrees(lambda x: np.angle(x, deg=True), X, exact=False)
    agrees(lambda x: np.isposinf(x) | np.isneginf(x), X)


def test_every_rule_that_has_a_kink_says_so() -> None:
    for name in (
        "absolute",
        "maximum",
        "sqrt",
        "hypot",
        "arctan2",
        "power",
        "clip",
        "where",
        "logaddexp",
        "log",
        "sinc",
    ):
        assert RULES[name].convention, name
