"""How far compiled functions are from the truth: at most 4 units in the last place, over their whole range."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import native
from chainrule.build import Builder
from chainrule.program import array_type
from chainrule.rule import RULES, rule_named

mp = pytest.importorskip("mpmath")
rule_named("erf")
TRUTH = {
    "exp": mp.exp, "exp2": lambda x: mp.mpf(2) ** x, "expm1": mp.expm1, "log": mp.log, "log2": lambda x: mp.log(x, 2),
    "log10": mp.log10, "log1p": mp.log1p, "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "arcsin": mp.asin,
    "arccos": mp.acos, "arctan": mp.atan, "sinh": mp.sinh, "cosh": mp.cosh, "tanh": mp.tanh, "arcsinh": mp.asinh,
    "arccosh": mp.acosh, "arctanh": mp.atanh, "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "erf": mp.erf, "erfc": mp.erfc, "sqrt": mp.sqrt,
    "logistic": lambda x: 1 / (1 + mp.exp(-x)), "expit": lambda x: 1 / (1 + mp.exp(-x)),
    "log_expit": lambda x: -mp.log1p(mp.exp(-x)),
}  # fmt: skip
LIMIT = 4.0


def points() -> np.ndarray:
    rng = np.random.default_rng(3)
    sign = rng.choice([-1.0, 1.0], 40)
    return np.concatenate([
        rng.normal(size=80) * 3, rng.uniform(-700, 700, 60), np.exp(rng.uniform(-300, 300, 40)) * sign,
        10.0 ** rng.uniform(-18, -1, 40) * sign, rng.uniform(-1, 1, 80), 1 + rng.normal(size=40) * 1e-3,
    ])  # fmt: skip


def result_of(name: str, x: np.ndarray) -> np.ndarray:
    builder = Builder(name)
    value = builder.input(array_type(x.shape, x.dtype))
    compiled = native.build(builder.finish([builder.record(RULES[name], [value], ())]))
    assert not compiled.callbacks
    (made,) = compiled.run([x])
    return np.asarray(made)


def worst(name: str, dtype: type) -> float:
    """The largest error in units in the last place."""
    with np.errstate(all="ignore"), mp.workprec(120):
        x: np.ndarray = points().astype(dtype)
        x = x[np.isfinite(x)]
        got = result_of(name, x)
        errors = [0.0]
        for at, one in zip(x.tolist(), got, strict=True):
            try:
                truth = TRUTH[name](mp.mpf(at))
            except (ValueError, ZeroDivisionError):
                continue
            if isinstance(truth, mp.mpc) or not np.isfinite(dtype(truth)):
                assert not np.isfinite(one), (name, at, one)
                continue
            near = dtype(truth)
            unit = (
                mp.mpf(float(np.spacing(np.abs(near)))) if near else mp.mpf(float(np.finfo(dtype).smallest_subnormal))
            )
            errors.append(float(abs(mp.mpf(float(one)) - truth) / unit))
        return max(errors)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", TRUTH)
def test_within_four_units_in_the_last_place(name, dtype):
    assert worst(name, dtype) <= LIMIT


@pytest.mark.parametrize("name", TRUTH)
def test_special_values_are_those_of_numpy(name):
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 5e-324, -5e-324, 1e308, -1e308, 2.0] * 3)
    with np.errstate(all="ignore"):
        want = np.asarray(RULES[name].value(values), dtype=float)
    for count in (1, 12, 36):
        got = result_of(name, values[:count])
        np.testing.assert_allclose(got, want[:count], rtol=1e-15, atol=0)
        exact = np.abs(want[:count]) < 1e-300
        np.testing.assert_array_equal(np.signbit(got)[exact], np.signbit(want[:count])[exact])


def test_the_check_sees_a_wrong_function(monkeypatch):
    monkeypatch.setitem(TRUTH, "exp", lambda x: mp.exp(x) * (1 + mp.mpf(2) ** -49))
    assert worst("exp", np.float64) > LIMIT
