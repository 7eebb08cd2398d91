"""scipy.special: loaded when needed, conventions, entries that are -inf, errors that say what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special
from tests.rules.directional import agrees, gradient, hessian, program

import chainrule
from chainrule.build import dispatch, is_recorded
from chainrule.errors import NoRule, NotDifferentiable
from chainrule.program import Program
from chainrule.rule import FUNCTIONS, UFUNCS, load_module
from chainrule.transforms.backprop import backprop

INF = np.inf
X = np.array([-1.7, -0.4, 0.3, 1.1, 2.6])

load_module("scipy.special")


def reached(function: Any) -> Any:
    """SciPy's Python functions know no protocol: a stand-in of them, as the tracer puts in their place."""

    def call(*args: Any, **kwargs: Any) -> Any:
        recorded = any(map(is_recorded, (*args, *kwargs.values())))
        return dispatch(function, args, kwargs) if recorded else function(*args, **kwargs)

    return call


logsumexp, softmax, log_softmax = map(reached, (special.logsumexp, special.softmax, special.log_softmax))
polygamma, softplus = map(reached, (special.polygamma, special.softplus))


def slope(f: Any, *x: float) -> list[float]:
    return [float(one) for one in gradient(f, *map(np.float64, x))]


# --- loading ----------------------------------------------------------------------------------------------------------


def _run(code: str) -> str:
    source = str(Path(chainrule.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    return done.stdout.strip() + done.stderr.strip()


def test_the_rules_are_loaded_when_a_function_is_met() -> None:
    assert _run(
        "import sys; import chainrule as cr; import numpy as np\n"
        "assert 'scipy' not in sys.modules and 'chainrule.rules.special' not in sys.modules\n"
        "from scipy.special import erf\n"
        "assert 'chainrule.rules.special' not in sys.modules\n"
        "print(cr.grad(lambda x: erf(x))(0.0) == 2 / np.sqrt(np.pi))"
    ) == "True"  # fmt: skip


def test_a_program_that_is_read_loads_the_rules_it_names() -> None:
    text = str(program(special.erf, np.float64(0.5)))
    assert _run(f"from chainrule.program import Program; print(Program.parse({text!r}).run([0.0])[0])") == "0.0"
    assert Program.parse(text) == program(special.erf, np.float64(0.5))


# --- conventions ------------------------------------------------------------------------------------------------------


def test_conventions() -> None:
    assert slope(special.xlogy, 0.0, 0.0) == [-INF, 0.0]
    assert slope(special.xlogy, 0.0, 2.0) == [np.log(2.0), 0.0]
    assert slope(special.xlog1py, 0.0, -1.0) == [-INF, 0.0]
    assert slope(special.rel_entr, 0.0, 2.0) == [-INF, 0.0]
    assert slope(special.entr, 0.0) == [INF]
    assert slope(lambda x: special.xlogy(x, x), 0.0) == [-INF]
    assert slope(special.i0e, 0.0) == [0.0]
    assert slope(lambda x: special.gammainc(1.0, x), 0.0) == [1.0]
    assert slope(special.expit, -800.0) == [0.0]
    assert slope(special.exprel, 0.0) == [0.5]
    assert slope(lambda x: special.huber(1.0, x), 3.0) == [1.0]
    assert slope(lambda x: special.boxcox(2.0, x), 0.0) == [pytest.approx(np.log(2.0) ** 2 / 2, rel=1e-15)]


def test_the_cross_derivative_of_xlogy_at_zero() -> None:
    # d2/dxdy of x log y is 1/y, at x = 0 as well.
    second = hessian(lambda v: special.xlogy(v[0], v[1]), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(second, [[0.0, 0.5], [0.5, 0.0]])


def test_third_derivatives_far_out() -> None:
    held = program(special.erfcx, np.float64(50.0))
    for _ in range(3):
        held = backprop(held, [0])
    # erfcx(x) = (1/x - 1/(2 x^3) + 3/(4 x^5) - 15/(8 x^7) + ...) / sqrt(pi)
    x = 50.0
    series = (-6 / x**4 + 30 / x**6 - 157.5 / x**8 + 945 / x**10) / np.sqrt(np.pi)
    assert held.run([np.float64(x)])[0] == pytest.approx(series, rel=1e-9)


@pytest.mark.parametrize(
    ("f", "error", "what"),
    [
        (lambda x: special.jv(x, 1.0), NotDifferentiable, "order"),
        (lambda x: special.kve(x, 1.0), NotDifferentiable, "order"),
        (lambda x: special.gammainc(x, 1.0), NoRule, "gammainc has no rule for its derivative in a"),
        (lambda x: special.betainc(1.0, x, 0.5), NoRule, "in b"),
    ],
)
def test_what_is_missing_is_said(f: Any, error: Any, what: str) -> None:
    with pytest.raises(error, match=what):
        gradient(f, np.float64(1.5))


# --- other names, parts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        special.erf, special.expit, softplus, special.cbrt, special.exp2, special.expm1, special.sici,
        lambda x: polygamma(2, x * x), lambda x: special.digamma(x * x), lambda x: special.jn(2, x * x),
        lambda x: special.boxcox(x * x, 0.0), lambda x: special.inv_boxcox(x * x, 0.0), lambda x: special.log1p(x * x),
    ],
)  # fmt: skip
def test_functions(f: Any) -> None:
    agrees(f, X, exact=False)


def test_keywords_of_special_ufuncs() -> None:
    x = X.astype(np.float32)
    made = program(lambda v: special.erf(v, dtype=np.float64), x).run([x])[0]
    assert made.dtype == np.float64
    np.testing.assert_array_equal(made, special.erf(x.astype(float)))


# --- logsumexp, softmax -----------------------------------------------------------------------------------------------

ROWS = np.array([[1.0, -2.0, 0.3], [4.0, 4.0, 4.0], [700.0, -700.0, 3.0]])


@pytest.mark.parametrize("keywords", [{}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"axis": (0, 1)}])
def test_logsumexp(keywords: Any) -> None:
    agrees(lambda x: logsumexp(x, **keywords), ROWS[:2], exact=False)
    made = program(lambda x: logsumexp(x, **keywords), ROWS).run([ROWS])[0]
    np.testing.assert_allclose(made, logsumexp(ROWS, **keywords), rtol=1e-14)


def test_logsumexp_with_weights() -> None:
    weights = np.array([[1.0, 0.0, 2.0], [0.5, 3.0, 0.0]])
    agrees(lambda x, b: logsumexp(x, axis=1, b=b), ROWS[:2], weights, exact=False)
    signed = np.array([1.0, -3.0, 0.5])
    agrees(lambda x: logsumexp(x, b=signed, return_sign=True), ROWS[0] * 0.1, exact=False)
    large = np.array([1000.0, 0.0])
    made = gradient(lambda x, b: logsumexp(x, b=b), large, np.array([0.0, 1.0]))
    np.testing.assert_array_equal(made[0], [0.0, 1.0])


@pytest.mark.parametrize("f", [softmax, log_softmax])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_softmax(f: Any, axis: Any) -> None:
    agrees(lambda x: f(x, axis=axis), ROWS[:2], exact=False)


@pytest.mark.parametrize(
    "f",
    [
        logsumexp, lambda x: softmax(x)[1], lambda x: log_softmax(x)[1],
        lambda x: np.logaddexp(x[0], x[1]),
    ],
)  # fmt: skip
def test_entries_of_minus_infinity(f: Any) -> None:
    x = np.array([-INF, 0.5, 1.5, -INF])
    with np.errstate(all="ignore"):
        assert program(f, x).run([x])[0] == pytest.approx(float(f(x)), rel=1e-15)
    made = gradient(f, x)[0]
    assert made[0] == made[3] == 0
    assert np.isfinite(made).all()
    assert np.isfinite(hessian(f, x)).all()


def test_entries_that_are_all_minus_infinity() -> None:
    x = np.full(3, -INF)
    assert program(logsumexp, x).run([x])[0] == -INF
    np.testing.assert_array_equal(gradient(logsumexp, x)[0], np.zeros(3))


def test_float32() -> None:
    x = ROWS[:2].astype(np.float32)
    for f in (softmax, log_softmax, logsumexp):
        made = program(f, x).run([x])[0]
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, f(x.astype(float)), rtol=1e-5)


def test_the_common_half_is_there() -> None:
    names = """
        erf erfc erfcx erfi erfinv erfcinv gamma gammaln loggamma digamma psi polygamma rgamma gammainc
        gammaincc beta betaln betainc expit logit log_expit logsumexp softmax log_softmax xlogy xlog1py entr
        rel_entr kl_div j0 j1 y0 y1 jv jn yv yn iv kv kn ive kve i0 i1 i0e i1e k0 k1 k0e k1e ndtr log_ndtr
        ndtri exp1 expi sici dawsn boxcox boxcox1p inv_boxcox inv_boxcox1p exprel cbrt exp2 exp10 expm1 log1p
        sinc cosdg sindg tandg huber pseudo_huber softplus binom poch hyp1f1 hyperu cosm1
    """
    missing = [
        one for one in names.split() if getattr(special, one) not in UFUNCS and getattr(special, one) not in FUNCTIONS
    ]
    assert not missing
