"""Rules of ``scipy.special``; imported only when a program needs one, since it imports SciPy.

Formulas: NIST Digital Library of Mathematical Functions (DLMF), chapters 5 to 8, 10 and 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from chainrule.errors import NoRule
from chainrule.rule import (
    FUNCTIONS,
    IDENTITIES,
    RULES,
    UFUNCS,
    Cost,
    Elementwise,
    Undefined,
    apply,
    implements,
    register,
)
from chainrule.rules.arguments import array_of
from chainrule.rules.elementwise import dtype_by_trial, in_parts

__all__ = ["i1"]

INF = math.inf
REALS = (-INF, INF)
POSITIVE = (0.0, INF)
UNIT = (0.0, 1.0)
#: Orders and shapes that tests draw.
ORDER = (0.25, 6.0)
NATURALS = (0, 5)
SPECIAL = Cost(20, 2)
ORDER_IS_FIXED = Undefined("the order of the function is taken as a fixed number")
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def function(
    ufunc: Any, *partials: Any, latex: str, domain: Any = (REALS,), name: str | None = None, **facets: Any
) -> Any:
    """The rule of a ufunc of SciPy."""
    name = name or str(ufunc.__name__)
    facets.setdefault("native", name)
    if not isinstance(ufunc, np.ufunc):
        facets.setdefault("dtype", dtype_by_trial(ufunc))
    rule = Elementwise(
        name=name, value=ufunc, nin=len(partials), partials=partials, latex=latex, cost=SPECIAL, domain=domain, **facets
    )
    return register(rule, *(() if ufunc.__name__ == "<lambda>" else (ufunc,)))


def missing(name: str, argument: str) -> Callable[..., Any]:
    """A partial that exists but is not implemented: asking is an error that says so."""

    def partial(*arguments: Any) -> Any:
        raise NoRule(
            f"scipy.special.{name} has no rule for its derivative in {argument}",
            cure=f"keep {argument} independent of what you differentiate by, or write the function with a rule of your "
            "own: chainrule.primitive",
        )

    return partial


# --- error functions ------------------------------------------------------------------------------------------------

function(special.erf, lambda y, x: TWO_OVER_ROOT_PI * np.exp(-(x * x)), latex=r"\operatorname{{erf}} {0}")
function(special.erfc, lambda y, x: -TWO_OVER_ROOT_PI * np.exp(-(x * x)), latex=r"\operatorname{{erfc}} {0}")
function(special.erfi, lambda y, x: TWO_OVER_ROOT_PI * np.exp(x * x), latex=r"\operatorname{{erfi}} {0}")


def _erfcx_partial(y: Any, x: Any) -> Any:
    # 2 x erfcx(x) - 2 / sqrt(pi) loses all digits at large x. Tricomi's function has them (DLMF 7.11.5, 13.3.22), and
    # beyond 1e8 it is its own first term.
    tail = special.hyperu(1.0, 0.5, np.where((x < 8) | (x > 1e8), 64.0, x * x))
    far = np.where(x > 1e8, 1 / x / x, tail)
    return np.where(x < 8, 2 * x * y - TWO_OVER_ROOT_PI, -0.5 * TWO_OVER_ROOT_PI * far)


function(special.erfcx, _erfcx_partial, latex=r"\operatorname{{erfcx}} {0}")
function(
    special.erfinv, lambda y, x: np.exp(y * y) / TWO_OVER_ROOT_PI,
    latex=r"\operatorname{{erf}}^{{-1}} {0}", domain=((-1.0, 1.0),), singular=True,
    convention="the derivative at -1 and 1 is inf",
)  # fmt: skip
function(
    special.erfcinv, lambda y, x: -np.exp(y * y) / TWO_OVER_ROOT_PI,
    latex=r"\operatorname{{erfc}}^{{-1}} {0}", domain=((0.0, 2.0),), singular=True,
    convention="the derivative at 0 and 2 is -inf",
)  # fmt: skip
# Dawson's integral: 1 - 2 x D(x) is 1F1(1; 1/2; -x^2), which does not cancel.
function(special.dawsn, lambda y, x: special.hyp1f1(1.0, 0.5, -(x * x)), latex="D({0})")
function(special.ndtr, lambda y, x: np.exp(-0.5 * (x * x)) / math.sqrt(2 * math.pi), latex=r"\Phi({0})")
function(
    special.log_ndtr, lambda y, x: math.sqrt(2 / math.pi) / special.erfcx(x * -math.sqrt(0.5)), latex=r"\log \Phi({0})"
)
function(
    special.ndtri, lambda y, x: math.sqrt(2 * math.pi) * np.exp(0.5 * (y * y)),
    latex=r"\Phi^{{-1}}({0})", domain=(UNIT,), singular=True, convention="the derivative at 0 and 1 is inf",
)  # fmt: skip

# --- logistic, logarithms that are finite at 0, entropies -----------------------------------------------------------

function(special.expit, lambda y, x: y * special.expit(-x), latex=r"\sigma({0})")
function(
    special.logit, lambda y, x: 1 / (x * (1 - x)),
    latex=r"\operatorname{{logit}} {0}", domain=(UNIT,), singular=True, convention="the derivative at 0 and 1 is inf",
)  # fmt: skip
IDENTITIES.append((lambda a: special.expit(-a), lambda a: 1 - special.expit(a)))
function(special.log_expit, lambda y, x: special.expit(-x), latex=r"\log \sigma({0})")
function(
    special.xlogy,
    lambda y, a, b: np.log(b),
    lambda y, a, b: np.where((a == 0) & (b == 0), 0, a / b),
    latex=r"{0} \log {1}", domain=(POSITIVE, POSITIVE), binds=6, singular=True,
    convention="at (0, 0) the derivative in x is -inf, the derivative in y is 0",
)  # fmt: skip
function(
    special.xlog1py,
    lambda y, a, b: np.log1p(b),
    lambda y, a, b: np.where((a == 0) & (b == -1), 0, a / (1 + b)),
    latex=r"{0} \log(1 + {1})", domain=(POSITIVE, (-1.0, INF)), binds=6, singular=True,
    convention="at (0, -1) the derivative in x is -inf, the derivative in y is 0",
)  # fmt: skip
function(
    special.entr, lambda y, x: -1 - np.log(x),
    latex=r"\operatorname{{entr}} {0}", domain=(POSITIVE,), singular=True, convention="the derivative at 0 is inf",
)  # fmt: skip


def _log_of_ratio(a: Any, b: Any) -> Any:
    # The ratio keeps the digits of numbers that are close; its logarithm is finite where the ratio is not.
    ratio = a / b
    tiny = float(np.finfo(ratio.dtype).tiny)
    return np.where((ratio < tiny) | (ratio > 1 / tiny), np.log(a) - np.log(b), np.log(ratio))


function(
    special.rel_entr,
    lambda y, a, b: _log_of_ratio(a, b) + 1,
    lambda y, a, b: np.where((a == 0) & (b == 0), 0, -a / b),
    latex=r"{0} \log \frac{{{0}}}{{{1}}}", domain=(POSITIVE, POSITIVE), binds=6, singular=True,
    convention="at x = 0 the derivative in x is -inf; at (0, 0) that in x is NaN and that in y is 0",
)  # fmt: skip
function(
    special.kl_div,
    lambda y, a, b: _log_of_ratio(a, b),
    lambda y, a, b: np.where((a == 0) & (b == 0), 1, (b - a) / b),
    latex=r"{0} \log \frac{{{0}}}{{{1}}} - {0} + {1}", domain=(POSITIVE, POSITIVE), binds=4, singular=True,
    convention="at x = 0 the derivative in x is -inf; at (0, 0) that in x is NaN and that in y is 1",
)  # fmt: skip
# --- gamma and beta -------------------------------------------------------------------------------------------------

function(
    special.gamma, lambda y, x: y * special.psi(x), latex=r"\Gamma({0})", domain=(POSITIVE,), singular=True,
    convention="at the poles, which are 0 and the negative integers, the derivative is NaN or infinite",
)  # fmt: skip
function(special.gammaln, lambda y, x: special.psi(x), latex=r"\log |\Gamma({0})|", domain=(POSITIVE,), singular=True)
function(special.loggamma, lambda y, x: special.psi(x), latex=r"\log \Gamma({0})", domain=(POSITIVE,), singular=True)
function(
    special.rgamma, lambda y, x: -y * special.psi(x),
    latex=r"\frac{{1}}{{\Gamma({0})}}", domain=(POSITIVE,), singular=True,
    convention="at 0 and the negative integers the derivative is NaN, though the function is smooth there",
)  # fmt: skip
_polygamma: Any = function(
    special.polygamma,
    Undefined("the order of polygamma is an integer"),
    lambda y, n, x: apply(_polygamma, (n + 1, x)),
    latex=r"\psi^{{({0})}}({1})", domain=(NATURALS, POSITIVE), singular=True,
)  # fmt: skip
function(special.psi, lambda y, x: apply(_polygamma, (1, x)), latex=r"\psi({0})", domain=(POSITIVE,), singular=True)


def _gamma_density(a: Any, x: Any) -> Any:
    return np.exp(special.xlogy(a - 1, x) - x - special.gammaln(a))


function(
    special.gammainc, missing("gammainc", "a"), lambda y, a, x: _gamma_density(a, x),
    latex="P({0}, {1})", domain=(ORDER, POSITIVE), singular=True,
    convention="the derivative in a is not implemented: asking for it is an error",
)  # fmt: skip
function(
    special.gammaincc, missing("gammaincc", "a"), lambda y, a, x: -_gamma_density(a, x),
    latex="Q({0}, {1})", domain=(ORDER, POSITIVE), singular=True,
    convention="the derivative in a is not implemented: asking for it is an error",
)  # fmt: skip
function(
    special.beta,
    lambda y, a, b: y * (special.psi(a) - special.psi(a + b)),
    lambda y, a, b: y * (special.psi(b) - special.psi(a + b)),
    latex=r"B({0}, {1})", domain=(POSITIVE, POSITIVE), singular=True,
)  # fmt: skip
function(
    special.betaln,
    lambda y, a, b: special.psi(a) - special.psi(a + b),
    lambda y, a, b: special.psi(b) - special.psi(a + b),
    latex=r"\log B({0}, {1})", domain=(POSITIVE, POSITIVE), singular=True,
)  # fmt: skip
function(
    special.betainc, missing("betainc", "a"), missing("betainc", "b"),
    lambda y, a, b, x: np.exp(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b)),
    latex=r"I_{{{2}}}({0}, {1})", domain=(ORDER, ORDER, UNIT), singular=True,
    convention="the derivatives in a and b are not implemented: asking for them is an error",
)  # fmt: skip
function(
    special.binom,
    lambda y, n, k: y * (special.psi(n + 1) - special.psi(n - k + 1)),
    lambda y, n, k: y * (special.psi(n - k + 1) - special.psi(k + 1)),
    latex=r"\binom{{{0}}}{{{1}}}", domain=((6.0, 20.0), (0.0, 6.0)), singular=True,
)  # fmt: skip
function(
    special.poch,
    lambda y, z, m: y * (special.psi(z + m) - special.psi(z)),
    lambda y, z, m: y * special.psi(z + m),
    latex=r"({0})_{{{1}}}", domain=((0.0, 20.0), (0.0, 6.0)), singular=True,
)  # fmt: skip

# --- Bessel functions -----------------------------------------------------------------------------------------------

function(special.j0, lambda y, x: -special.j1(x), latex="J_0({0})")
function(special.j1, lambda y, x: 0.5 * (special.j0(x) - special.jv(2.0, x)), latex="J_1({0})")
function(special.y0, lambda y, x: -special.y1(x), latex="Y_0({0})", domain=(POSITIVE,), singular=True)
function(special.y1, lambda y, x: special.y0(x) - y / x, latex="Y_1({0})", domain=(POSITIVE,), singular=True)
function(special.i0, lambda y, x: special.i1(x), latex="I_0({0})")
i1 = function(special.i1, lambda y, x: 0.5 * (special.i0(x) + special.iv(2.0, x)), latex="I_1({0})")
function(special.k0, lambda y, x: -special.k1(x), latex="K_0({0})", domain=(POSITIVE,), singular=True)
function(
    special.k1,
    lambda y, x: -0.5 * (special.k0(x) + special.kv(2.0, x)),
    latex="K_1({0})",
    domain=(POSITIVE,),
    singular=True,
)
function(special.i0e, lambda y, x: special.i1e(x) - np.sign(x) * y, latex=r"e^{{-|{0}|}} I_0({0})", binds=6)
function(
    special.i1e, lambda y, x: 0.5 * (special.i0e(x) + special.ive(2.0, x)) - np.sign(x) * y,
    latex=r"e^{{-|{0}|}} I_1({0})", binds=6,
)  # fmt: skip
function(
    special.k0e,
    lambda y, x: y - special.k1e(x),
    latex=r"e^{{{0}}} K_0({0})",
    domain=(POSITIVE,),
    binds=6,
    singular=True,
)
function(
    special.k1e, lambda y, x: y - 0.5 * (special.k0e(x) + special.kve(2.0, x)),
    latex=r"e^{{{0}}} K_1({0})", domain=(POSITIVE,), binds=6, singular=True,
)  # fmt: skip


def bessel(ufunc: Any, before: Any, partial: Any, *, latex: str, domain: Any) -> None:
    """A Bessel function of any order, by those of the orders next to it (DLMF 10.6.1 and 10.29.1)."""
    function(
        ufunc, ORDER_IS_FIXED, lambda y, v, x: partial(before(v - 1, x), y, before(v + 1, x), x),
        latex=latex, domain=domain, singular=True,
        convention="the order is a fixed number: asking for the derivative in it is an error",
    )  # fmt: skip


def _minus(below: Any, y: Any, above: Any, x: Any) -> Any:
    return 0.5 * (below - above)


def _plus(below: Any, y: Any, above: Any, x: Any) -> Any:
    return 0.5 * (below + above)


def _minus_plus(below: Any, y: Any, above: Any, x: Any) -> Any:
    return -0.5 * (below + above)


bessel(special.jv, special.jv, _minus, latex="J_{{{0}}}({1})", domain=(ORDER, POSITIVE))
bessel(special.yv, special.yv, _minus, latex="Y_{{{0}}}({1})", domain=(ORDER, POSITIVE))
bessel(special.yn, special.yv, _minus, latex="Y_{{{0}}}({1})", domain=(NATURALS, POSITIVE))
bessel(special.iv, special.iv, _plus, latex="I_{{{0}}}({1})", domain=(ORDER, POSITIVE))
bessel(special.kv, special.kv, _minus_plus, latex="K_{{{0}}}({1})", domain=(ORDER, POSITIVE))
bessel(special.kn, special.kv, _minus_plus, latex="K_{{{0}}}({1})", domain=(NATURALS, POSITIVE))
bessel(
    special.ive, special.ive, lambda below, y, above, x: 0.5 * (below + above) - np.sign(x) * y,
    latex=r"e^{{-|{1}|}} I_{{{0}}}({1})", domain=(ORDER, POSITIVE),
)  # fmt: skip
bessel(
    special.kve, special.kve, lambda below, y, above, x: y - 0.5 * (below + above),
    latex=r"e^{{{1}}} K_{{{0}}}({1})", domain=(ORDER, POSITIVE),
)  # fmt: skip

# --- integrals, hypergeometric functions ----------------------------------------------------------------------------

function(special.exp1, lambda y, x: -np.exp(-x) / x, latex="E_1({0})", domain=(POSITIVE,), singular=True)
function(special.expi, lambda y, x: np.exp(x) / x, latex=r"\operatorname{{Ei}}({0})", domain=(POSITIVE,), singular=True)
_sine_integral = function(
    lambda x: special.sici(x)[0], lambda y, x: np.sinc(x / np.pi),
    name="sine_integral", latex=r"\operatorname{{Si}}({0})", source="special.sici({0})[0]",
)  # fmt: skip
_cosine_integral = function(
    lambda x: special.sici(x)[1], lambda y, x: np.cos(x) / x,
    name="cosine_integral", latex=r"\operatorname{{Ci}}({0})", source="special.sici({0})[1]",
    domain=(POSITIVE,), singular=True,
)  # fmt: skip


def _part(rule: Any) -> Callable[..., Any]:
    return lambda inputs, keywords: FUNCTIONS["ufunc keywords"](rule, inputs, **keywords)


in_parts(special.sici, _part(_sine_integral), _part(_cosine_integral))
function(
    special.hyp1f1, missing("hyp1f1", "a"), missing("hyp1f1", "b"),
    lambda y, a, b, x: a / b * special.hyp1f1(a + 1, b + 1, x),
    latex=r"{{}}_1F_1({0}; {1}; {2})", domain=(ORDER, ORDER, (-20.0, 20.0)),
    convention="the derivatives in a and b are not implemented: asking for them is an error",
)  # fmt: skip
function(
    special.hyperu, missing("hyperu", "a"), missing("hyperu", "b"),
    lambda y, a, b, x: -a * special.hyperu(a + 1, b + 1, x),
    latex=r"U({0}, {1}, {2})", domain=(ORDER, ORDER, POSITIVE), singular=True,
    convention="the derivatives in a and b are not implemented: asking for them is an error",
)  # fmt: skip

# --- Box and Cox, losses --------------------------------------------------------------------------------------------


def _slope_of_exprel(u: Any) -> Any:
    """The derivative of (exp(u) - 1) / u, which is 1F1(2; 3; u) / 2, without the cancellation at 0."""
    return 0.5 * special.hyp1f1(2.0, 3.0, u)


def _power_slope(logarithm: Any, power: Any) -> Any:
    """The derivative in ``power`` of (exp(power * logarithm) - 1) / power."""
    return logarithm * logarithm * _slope_of_exprel(power * logarithm)


function(special.exprel, lambda y, x: _slope_of_exprel(x), latex=r"\frac{{e^{{{0}}} - 1}}{{{0}}}")
function(
    special.boxcox,
    lambda y, x, power: np.exp((power - 1) * np.log(x)),
    lambda y, x, power: _power_slope(np.log(x), power),
    latex=r"\operatorname{{boxcox}}({0}, {1})", domain=(POSITIVE, (-3.0, 3.0)), singular=True,
)  # fmt: skip
function(
    special.boxcox1p,
    lambda y, x, power: np.exp((power - 1) * np.log1p(x)),
    lambda y, x, power: _power_slope(np.log1p(x), power),
    latex=r"\operatorname{{boxcox1p}}({0}, {1})", domain=((-1.0, INF), (-3.0, 3.0)), singular=True,
)  # fmt: skip


def _inverse_in_power(logarithm: Any, power: Any) -> Any:
    return -_power_slope(logarithm, power) * np.exp((1 - power) * logarithm)


# With x = inv_boxcox(z, power), boxcox(x, power) = z gives both partials by implicit differentiation.
function(
    special.inv_boxcox,
    lambda y, z, power: np.exp((1 - power) * np.log(y)),
    lambda y, z, power: _inverse_in_power(np.log1p(special.inv_boxcox1p(z, power)), power),
    latex=r"\operatorname{{boxcox}}^{{-1}}({0}, {1})", domain=((0.0, 3.0), (0.0, 3.0)), singular=True,
)  # fmt: skip
function(
    special.inv_boxcox1p,
    lambda y, z, power: np.exp((1 - power) * np.log1p(y)),
    lambda y, z, power: _inverse_in_power(np.log1p(y), power),
    latex=r"\operatorname{{boxcox1p}}^{{-1}}({0}, {1})", domain=((0.0, 3.0), (0.0, 3.0)), singular=True,
)  # fmt: skip
function(
    special.huber,
    lambda y, delta, r: np.where(np.abs(r) <= delta, 0, np.abs(r) - delta),
    lambda y, delta, r: np.clip(r, -delta, delta),
    latex=r"\operatorname{{huber}}_{{{0}}}({1})", domain=(POSITIVE, REALS),
    convention="at |r| = delta the second derivative is that of the parabola inside",
)  # fmt: skip


def _pseudo_huber_in_delta(y: Any, delta: Any, r: Any) -> Any:
    u = np.abs(r / delta)
    s = np.hypot(u, 1.0)
    # delta u^4 / (s (s + 1)^2), multiplied in an order that does not overflow.
    return np.abs(r) * (u / s) * np.square(u / (s + 1))


function(
    special.pseudo_huber,
    _pseudo_huber_in_delta,
    lambda y, delta, r: r / np.hypot(r / delta, 1.0),
    latex=r"\operatorname{{pseudohuber}}_{{{0}}}({1})", domain=(POSITIVE, REALS), singular=True,
)  # fmt: skip

# --- the same functions under SciPy's names, degrees ----------------------------------------------------------------

for _ufunc in (special.cbrt, special.exp2, special.expm1, special.log1p):
    UFUNCS[_ufunc] = RULES[_ufunc.__name__]  # type: ignore[assignment]
function(special.exp10, lambda y, x: y * math.log(10), latex="10^{{{0}}}", binds=8)
function(special.cosm1, lambda y, x: -np.sin(x), latex=r"\cos {0} - 1", binds=4)
function(special.sindg, lambda y, x: special.cosdg(x) * (math.pi / 180), latex=r"\sin {0}^\circ")
function(special.cosdg, lambda y, x: special.sindg(x) * (-math.pi / 180), latex=r"\cos {0}^\circ")
function(special.tandg, lambda y, x: (1 + y * y) * (math.pi / 180), latex=r"\tan {0}^\circ", domain=((-80.0, 80.0),))

# --- composites -----------------------------------------------------------------------------------------------------


def _floating(x: Any) -> Any:
    held = array_of(x)
    return held if held.dtype.kind == "f" else held.astype(np.float64)


def _shift(x: Any, axis: Any) -> Any:
    """The maximum along the axis: the result does not depend on it, so nothing is differentiated through it."""
    top = apply(RULES["stop_gradient"], (np.max(x, axis=axis, keepdims=True),))
    return np.where(np.isfinite(top), top, 0)


@implements(special.logsumexp)
def _(a: Any, axis: Any = None, b: Any = None, keepdims: Any = False, return_sign: Any = False) -> Any:
    """An element that is -inf has derivative 0, also where all are."""
    a = _floating(a)
    if b is None:
        shift = _shift(a, axis)
        terms = np.exp(a - shift)
    else:
        b = array_of(b)
        shift = _shift(np.where(b == 0, -INF, a), axis)
        distance = a - shift
        # A term of weight 0 is 0, even if its exponential overflows.
        limit = math.log(np.finfo(distance.dtype).max)
        terms = b * np.exp(np.where((b == 0) & (distance > limit), limit, distance))
    total = np.sum(terms, axis=axis, keepdims=keepdims)
    sign = np.sign(total)
    if return_sign:
        total = np.abs(total)
    logarithm = np.where(total == 0, -INF, np.log(total)) if b is None else np.log(total)
    made = logarithm + np.reshape(shift, np.shape(total))
    return (made, sign) if return_sign else made


@implements(special.softmax)
def _(x: Any, axis: Any = None) -> Any:
    x = _floating(x)
    terms = np.exp(x - apply(RULES["stop_gradient"], (np.max(x, axis=axis, keepdims=True),)))
    return terms / np.sum(terms, axis=axis, keepdims=True)


@implements(special.log_softmax)
def _(x: Any, axis: Any = None) -> Any:
    x = _floating(x)
    below = x - _shift(x, axis)
    return below - np.log(np.sum(np.exp(below), axis=axis, keepdims=True))


@implements(special.softplus)
def _(x: Any) -> Any:
    return np.logaddexp(0.0, array_of(x))
