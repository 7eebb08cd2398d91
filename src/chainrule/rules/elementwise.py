"""Rules of NumPy's elementwise functions: value, partials, native form, LaTeX, cost, domain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import NoRule
from chainrule.rule import FUNCTIONS, IDENTITIES, UFUNCS, Cost, Elementwise, Undefined, apply, implements, register
from chainrule.rules.arguments import array_of, is_recorded, refuse

__all__ = ["cast_rule", "dtype_by_trial", "in_parts", "is_number", "logistic"]

INF = math.inf
REALS = (-INF, INF)
POSITIVE = (0.0, INF)
UNIT = (-1.0, 1.0)
#: A domain with integer bounds is that of an integer argument.
INTEGERS = (-9, 9)
NATURALS = (0, 9)
ARITHMETIC = Cost(1)
CALL = Cost(0, 1)
FLAT = "the derivative is 0 wherever it exists, and is taken as 0 at the jumps too"


def unary(
    ufunc: Any, partial: Any, *, latex: str, cost: Cost, domain: tuple[float, float] = REALS, **facets: Any
) -> Any:
    """The rule of a ufunc of one argument."""
    facets.setdefault("native", ufunc.__name__)
    return register(
        Elementwise(
            name=ufunc.__name__, value=ufunc, nin=1, partials=(partial,), latex=latex, cost=cost, domain=(domain,),
            **facets,
        ),
        ufunc,
    )  # fmt: skip


def binary(
    ufunc: Any, a: Any, b: Any, *, latex: str, cost: Cost, domain: tuple[Any, Any] = (REALS, REALS), **facets: Any
) -> Any:
    """The rule of a ufunc of two arguments."""
    facets.setdefault("native", ufunc.__name__)
    return register(
        Elementwise(
            name=ufunc.__name__, value=ufunc, nin=2, partials=(a, b), latex=latex, cost=cost, domain=domain, **facets
        ),
        ufunc,
    )  # fmt: skip


def is_number(value: Any) -> bool:
    """Whether an argument was a literal: a bare number, on which a partial may branch."""
    return isinstance(value, int | float | np.number)


def dtype_by_trial(value: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
    """The dtype facet of a function that is no ufunc: what it makes of ones (``float``, ``int`` are weak scalars)."""

    def dtype(kinds: Sequence[Any]) -> Any:
        ones = [kind(1) if isinstance(kind, type) else np.ones(1, kind) for kind in kinds]
        return np.asarray(value(*ones)).dtype

    return dtype


#: The ufuncs that the loops below go through are of many types to a type checker.
_ufunc: Any

# --- arithmetic -----------------------------------------------------------------------------------------------------

binary(
    np.add, 1, 1,
    latex="{0} + {1}", cost=ARITHMETIC, binds=4, neutral=(-0.0, -0.0), words="sum of two", algebra="plus",
    source="{0} + {1}",
)  # fmt: skip
binary(
    np.subtract, 1, -1,
    latex="{0} - {1}", cost=ARITHMETIC, binds=4, neutral=(None, 0.0), words="difference", algebra="minus",
    source="{0} - {1}",
)  # fmt: skip
binary(
    np.multiply, lambda y, a, b: b, lambda y, a, b: a,
    latex=r"{0}\,{1}", cost=ARITHMETIC, binds=6, neutral=(1.0, 1.0),
    entrywise=r"{0} \odot {1}", words="product", algebra="times", source="{0} * {1}",
)  # fmt: skip
binary(
    np.divide, lambda y, a, b: 1 / b, lambda y, a, b: -y / b,
    latex=r"\frac{{{0}}}{{{1}}}", cost=ARITHMETIC, domain=(REALS, POSITIVE), singular=True, neutral=(None, 1.0),
    convention="a / 0 has infinite or NaN derivatives, as IEEE 754 has it", words="quotient", algebra="over",
    source="{0} / {1}",
)  # fmt: skip
unary(
    np.negative, -1,
    latex="-{0}", cost=ARITHMETIC, binds=5, involution=True, words="change of sign", algebra="opposite",
    source="-{0}",
)  # fmt: skip
unary(np.positive, 1, latex="{0}", cost=Cost(0), algebra="itself")
unary(np.conjugate, 1, latex=r"\overline{{{0}}}", cost=Cost(0))
unary(
    np.reciprocal, lambda y, x: -(y * y),
    latex=r"\frac{{1}}{{{0}}}", cost=ARITHMETIC, domain=POSITIVE, singular=True,
    convention="the derivative at 0 is -inf", algebra="inverse",
)  # fmt: skip
unary(
    np.square, lambda y, x: 2 * x, latex="{0}^{{2}}", cost=ARITHMETIC, binds=8, algebra="squared",
    source=lambda types, params, numbers: (
        "{0}**2" if types[0].ndim and types[0].dtype.kind == "f" else "np.square({0})"
    ),
)  # fmt: skip
unary(
    np.absolute, lambda y, x: np.sign(x), latex=r"\left|{0}\right|", cost=ARITHMETIC,
    convention="the derivative of |x| at 0 is 0, which is the middle of its subgradients",
)  # fmt: skip
unary(
    np.fabs, lambda y, x: np.sign(x), latex=r"\left|{0}\right|", cost=ARITHMETIC,
    convention="the derivative of |x| at 0 is 0, which is the middle of its subgradients",
)  # fmt: skip
unary(np.sign, 0, latex=r"\operatorname{{sign}} {0}", cost=ARITHMETIC, convention=FLAT)
unary(np.degrees, 180.0 / np.pi, latex=r"\frac{{180}}{{\pi}}\,{0}", cost=ARITHMETIC, binds=6)
unary(np.rad2deg, 180.0 / np.pi, latex=r"\frac{{180}}{{\pi}}\,{0}", cost=ARITHMETIC, binds=6)
unary(np.radians, np.pi / 180.0, latex=r"\frac{{\pi}}{{180}}\,{0}", cost=ARITHMETIC, binds=6)
unary(np.deg2rad, np.pi / 180.0, latex=r"\frac{{\pi}}{{180}}\,{0}", cost=ARITHMETIC, binds=6)

IDENTITIES.append((lambda a: (1 - a) * (1 + a), lambda a: 1 - np.square(a)))

# --- powers and roots -----------------------------------------------------------------------------------------------


def _power_in_base(y: Any, a: Any, b: Any) -> Any:
    if is_number(b):
        if b == 0:
            return np.False_
        if b == 1:
            return 1.0
        if b == 2:
            return 2 * a
        if b == 0.5:
            return 0.5 / y
        return b * np.power(a, b - 1)
    # Where the exponent is 0 the power is constant, also at a = 0, where 0 * 0**-1 is NaN.
    return np.where(b == 0, 0, b * np.power(a, np.where(b == 0, 1, b - 1)))


def _power_in_exponent(y: Any, a: Any, b: Any) -> Any:
    if is_number(a) and a != 0:
        return y * (math.log(a) if a > 0 else math.nan)
    logarithm = -INF if is_number(a) else np.log(a)
    return np.where((a == 0) & (b > 0), 0, y * logarithm)


def _power_source(types: Any, params: Any, numbers: Any) -> str:
    # The operator has short cuts for some exponents that round otherwise than the function.
    cut = not types[0].ndim or not is_number(numbers[1]) or numbers[1] in (-1, 0, 0.5, 1, 2)
    return "np.power({0}, {1})" if cut else "{0}**{1}"


binary(
    np.power, _power_in_base, _power_in_exponent,
    latex="{{{0}}}^{{{1}}}", cost=CALL, domain=(POSITIVE, (-4.0, 4.0)), binds=8, neutral=(None, 1.0), algebra="power",
    source=_power_source,
    singular=lambda a, b: not (is_number(b) and b >= 1),
    convention=(
        "x**0 has derivative 0 in x everywhere, x = 0 included; 0**b has derivative 0 in b for b > 0, else -inf; "
        "the derivative in the exponent of a negative base is NaN"
    ),
)  # fmt: skip
unary(
    np.sqrt, lambda y, x: 0.5 / y,
    latex=r"\sqrt{{{0}}}", cost=ARITHMETIC, domain=POSITIVE, singular=True,
    convention=(
        "the derivative at 0 is inf; so the gradient of sqrt(x**2) at 0, inf times 0, is NaN: it can not be told from "
        "sqrt(x)**2 there, whose derivative is 1. Use abs, hypot or numpy.linalg.norm, whose derivative at 0 is 0"
    ),
)  # fmt: skip
unary(
    np.cbrt, lambda y, x: 1 / (3 * (y * y)), latex=r"\sqrt[3]{{{0}}}", cost=CALL, singular=True,
    convention="the derivative at 0 is inf",
)  # fmt: skip
binary(
    np.hypot,
    lambda y, a, b: np.where(y == 0, 0, a / y),
    lambda y, a, b: np.where(y == 0, 0, b / y),
    latex=r"\sqrt{{{0}^2 + {1}^2}}", cost=CALL, singular=True,
    convention="both derivatives at (0, 0) are 0, which is a subgradient",
)  # fmt: skip

# --- exponential and logarithm --------------------------------------------------------------------------------------

IDENTITIES.append((lambda a: np.hypot(a, 1.0), lambda a: np.sqrt(1 + np.square(a))))
IDENTITIES.append((lambda a, b: np.square(np.hypot(a, b)), lambda a, b: np.square(a) + np.square(b)))


def _logistic(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1, small)[()] / (1 + small)


logistic: Any = register(
    Elementwise(
        name="logistic", value=_logistic, nin=1,
        # logistic(-x) is 1 - logistic(x) without the cancellation.
        partials=(lambda y, x: y * apply(logistic, (-x,)),),
        native="logistic", latex=r"\sigma({0})", cost=Cost(3, 1), domain=(REALS,), dtype=dtype_by_trial(_logistic),
    )
)  # fmt: skip
IDENTITIES.append((lambda a: apply(logistic, (-a,)), lambda a: 1 - apply(logistic, (a,))))


def _log_of_sum(scale: float) -> tuple[Any, Any]:
    def weight(y: Any, mine: Any, other: Any) -> Any:
        distance = mine - other
        return np.where(y == -INF, 0, apply(logistic, (distance if scale == 1 else distance * scale,)))

    return lambda y, a, b: weight(y, a, b), lambda y, a, b: weight(y, b, a)


unary(np.exp, lambda y, x: y, latex=r"e^{{{0}}}", cost=CALL, binds=8)
unary(np.exp2, lambda y, x: y * math.log(2), latex=r"2^{{{0}}}", cost=CALL, binds=8)
unary(np.expm1, lambda y, x: np.exp(x), latex=r"e^{{{0}}} - 1", cost=CALL, binds=4)
unary(
    np.log, lambda y, x: 1 / x, latex=r"\log {0}", cost=CALL, domain=POSITIVE, singular=True,
    convention="the derivative at 0 is inf; x * log(x) at 0 is NaN as IEEE 754 has it: use scipy.special.xlogy(x, x)",
)  # fmt: skip
unary(np.log2, lambda y, x: 1 / (x * math.log(2)), latex=r"\log_2 {0}", cost=CALL, domain=POSITIVE, singular=True)
unary(
    np.log10, lambda y, x: 1 / (x * math.log(10)), latex=r"\log_{{10}} {0}", cost=CALL, domain=POSITIVE, singular=True
)
unary(np.log1p, lambda y, x: 1 / (1 + x), latex=r"\log(1 + {0})", cost=CALL, domain=(-1.0, INF), singular=True)
binary(
    np.logaddexp, *_log_of_sum(1.0), latex=r"\log(e^{{{0}}} + e^{{{1}}})", cost=Cost(3, 2),
    convention="an argument that is -inf has derivative 0, also where both are",
)  # fmt: skip
binary(
    np.logaddexp2, *_log_of_sum(math.log(2)), latex=r"\log_2(2^{{{0}}} + 2^{{{1}}})", cost=Cost(3, 2),
    convention="an argument that is -inf has derivative 0, also where both are",
)  # fmt: skip

# --- trigonometric and hyperbolic -----------------------------------------------------------------------------------

unary(np.sin, lambda y, x: np.cos(x), latex=r"\sin {0}", cost=CALL)
unary(np.cos, lambda y, x: -np.sin(x), latex=r"\cos {0}", cost=CALL)
unary(np.tan, lambda y, x: 1 + y * y, latex=r"\tan {0}", cost=CALL)
# (1 - x)(1 + x) keeps the digits that 1 - x**2 loses near 1.
unary(
    np.arcsin, lambda y, x: 1 / np.sqrt((1 - x) * (1 + x)), latex=r"\arcsin {0}", cost=CALL, domain=UNIT, singular=True,
    convention="the derivative at -1 and 1 is inf",
)  # fmt: skip
unary(
    np.arccos, lambda y, x: -1 / np.sqrt((1 - x) * (1 + x)),
    latex=r"\arccos {0}", cost=CALL, domain=UNIT, singular=True,
    convention="the derivative at -1 and 1 is -inf",
)  # fmt: skip
unary(np.arctan, lambda y, x: 1 / (1 + x * x), latex=r"\arctan {0}", cost=CALL)


def _over_square_of_hypot(numerator: Any, a: Any, b: Any) -> Any:
    # Divided twice, so that nothing overflows whose quotient does not.
    distance = np.hypot(a, b)
    return numerator / distance / distance


binary(
    np.arctan2,
    lambda y, a, b: _over_square_of_hypot(b, a, b),
    lambda y, a, b: -_over_square_of_hypot(a, a, b),
    latex=r"\operatorname{{atan2}}({0}, {1})", cost=CALL, singular=True,
    convention="at (0, 0), where the angle jumps, both derivatives are NaN",
)  # fmt: skip
unary(np.sinh, lambda y, x: np.cosh(x), latex=r"\sinh {0}", cost=CALL)
unary(np.cosh, lambda y, x: np.sinh(x), latex=r"\cosh {0}", cost=CALL)
# 1 - tanh(x)**2 is 0 in floating point from x = 20 on; the truth is 1.7e-17.
unary(np.tanh, lambda y, x: np.square(1 / np.cosh(x)), latex=r"\tanh {0}", cost=CALL)
IDENTITIES.append((lambda a: np.square(1 / np.cosh(a)), lambda a: 1 - np.square(np.tanh(a))))
unary(np.arcsinh, lambda y, x: 1 / np.hypot(x, 1.0), latex=r"\operatorname{{arsinh}} {0}", cost=CALL)
unary(
    np.arccosh, lambda y, x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    latex=r"\operatorname{{arcosh}} {0}", cost=CALL, domain=(1.0, INF), singular=True,
    convention="the derivative at 1 is inf",
)  # fmt: skip
unary(
    np.arctanh, lambda y, x: 1 / ((1 - x) * (1 + x)),
    latex=r"\operatorname{{artanh}} {0}", cost=CALL, domain=UNIT, singular=True,
    convention="the derivative at -1 and 1 is inf",
)  # fmt: skip

# --- sinc and its derivatives ---------------------------------------------------------------------------------------


def _sinc_derivative(x: Any, n: Any) -> Any:
    """Derivative number n of sin(pi x) / (pi x), with no cancellation at 0."""
    kind = np.result_type(x, 0.0) if is_number(x) else np.result_type(np.asarray(x).dtype, np.float16)
    x, n = np.broadcast_arrays(np.asarray(x, np.float64), n)
    made = np.empty(x.shape)
    for order in np.unique(n).tolist():
        here = n == order
        made[here] = np.pi**order * _spherical(np.pi * x[here], int(order))
    return made.astype(kind)[()]


def _spherical(z: Any, n: int) -> Any:
    # With F_0 = sin(z)/z, differentiating z F_0 = sin(z) gives z F_n + n F_(n-1) = sin(z + n pi/2): good for |z| > n.
    # Nearer to 0 the power series is: F_n = sum of (-1)^k z^(2k-n) / ((2k+1) (2k-n)!).
    far = np.abs(z) > max(1.5, n)
    apart = np.where(far, z, 1.0)
    turned = (np.sin(apart), np.cos(apart), -np.sin(apart), -np.cos(apart))
    by_recurrence = turned[0] / apart
    for order in range(1, n + 1):
        by_recurrence = (turned[order % 4] - order * by_recurrence) / apart
    near = np.where(far, 0.0, z)
    by_series = np.zeros_like(near)
    for k in range((n + 1) // 2, (n + 1) // 2 + 20 + 2 * n):
        by_series += (-1.0) ** k * near ** (2 * k - n) / ((2 * k + 1) * math.factorial(2 * k - n))
    return np.where(far, by_recurrence, by_series)


_sinc_derivative_rule: Any = register(
    Elementwise(
        name="sinc_derivative", value=_sinc_derivative, nin=2,
        partials=(
            lambda y, x, n: apply(_sinc_derivative_rule, (x, n + 1)),
            Undefined("it is the number of times that sinc was differentiated"),
        ),
        native="sinc_derivative", latex=r"\operatorname{{sinc}}^{{({1})}}({0})", cost=Cost(40, 2),
        domain=(REALS, (0, 4)), dtype=lambda kinds: dtype_by_trial(_sinc_derivative)((kinds[0], int)),
    )
)  # fmt: skip
_sinc = register(
    Elementwise(
        name="sinc", value=np.sinc, nin=1, partials=(lambda y, x: apply(_sinc_derivative_rule, (x, 1)),),
        native="sinc", latex=r"\operatorname{{sinc}}({0})", cost=Cost(3, 1), domain=(REALS,),
        dtype=dtype_by_trial(np.sinc), convention="the first derivative at 0 is 0, the second is -pi**2 / 3",
    )
)  # fmt: skip


def _i0_partial(y: Any, x: Any) -> Any:
    from chainrule.rules import special

    return apply(special.i1, (x,))


_i0 = register(
    Elementwise(
        name="numpy_i0", value=np.i0, nin=1, partials=(_i0_partial,), native="i0", latex="I_0({0})", cost=Cost(60, 2),
        domain=(REALS,), dtype=dtype_by_trial(np.i0),
    )
)  # fmt: skip


@implements(np.sinc)
def _(x: Any) -> Any:
    return apply(_sinc, (array_of(x),))


@implements(np.i0)
def _(x: Any) -> Any:
    return apply(_i0, (array_of(x),))


# --- steps: the derivative is zero ----------------------------------------------------------------------------------

for _ufunc, _latex in (
    (np.floor, r"\lfloor {0} \rfloor"), (np.ceil, r"\lceil {0} \rceil"), (np.trunc, r"\operatorname{{trunc}} {0}"),
    (np.rint, r"\operatorname{{rint}} {0}"), (np.spacing, r"\operatorname{{ulp}} {0}"),
):  # fmt: skip
    unary(_ufunc, 0, latex=_latex, cost=ARITHMETIC, convention=FLAT)
for _ufunc in (np.isnan, np.isfinite, np.isinf, np.signbit):
    unary(_ufunc, 0, latex=r"\operatorname{{" + _ufunc.__name__ + "}} {0}", cost=ARITHMETIC, convention=FLAT)
for _ufunc, _latex, _source in (
    (np.equal, "=", "=="), (np.not_equal, r"\ne", "!="), (np.less, "<", "<"), (np.less_equal, r"\le", "<="),
    (np.greater, ">", ">"), (np.greater_equal, r"\ge", ">="),
):  # fmt: skip
    binary(
        _ufunc, 0, 0,
        latex="{0} " + _latex + " {1}", cost=ARITHMETIC, binds=3, convention=FLAT,
        algebra="differs" if _ufunc is np.not_equal else "", source="{0} " + _source + " {1}",
    )  # fmt: skip
for _ufunc, _latex in ((np.logical_and, r"\land"), (np.logical_or, r"\lor"), (np.logical_xor, r"\oplus")):
    binary(_ufunc, 0, 0, latex="{0} " + _latex + " {1}", cost=ARITHMETIC, binds=2, convention=FLAT)
unary(np.logical_not, 0, latex=r"\lnot {0}", cost=ARITHMETIC, convention=FLAT)
for _ufunc, _latex in (
    (np.bitwise_and, r"{0} \mathbin{{\&}} {1}"), (np.bitwise_or, r"{0} \mid {1}"), (np.bitwise_xor, r"{0} \oplus {1}"),
    (np.gcd, r"\gcd({0}, {1})"), (np.lcm, r"\operatorname{{lcm}}({0}, {1})"),
):  # fmt: skip
    binary(_ufunc, 0, 0, latex=_latex, cost=ARITHMETIC, binds=2, domain=(INTEGERS, INTEGERS), convention=FLAT)
for _ufunc, _latex in ((np.left_shift, r"{0} \ll {1}"), (np.right_shift, r"{0} \gg {1}")):
    binary(_ufunc, 0, 0, latex=_latex, cost=ARITHMETIC, binds=2, domain=(INTEGERS, NATURALS), convention=FLAT)
unary(np.invert, 0, latex=r"\lnot {0}", cost=ARITHMETIC, domain=INTEGERS, convention=FLAT)
unary(np.bitwise_count, 0, latex=r"\operatorname{{popcount}} {0}", cost=ARITHMETIC, domain=INTEGERS, convention=FLAT)
binary(
    np.floor_divide, 0, 0,
    latex=r"\left\lfloor \frac{{{0}}}{{{1}}} \right\rfloor", cost=ARITHMETIC, domain=(REALS, POSITIVE), convention=FLAT,
    source="{0} // {1}",
)  # fmt: skip


def _angle_value(x: Any) -> Any:
    return np.angle(x)


_angle = register(
    Elementwise(
        name="angle", value=_angle_value, nin=1, partials=(0,), native="angle", latex=r"\arg {0}", cost=ARITHMETIC,
        domain=(REALS,), dtype=dtype_by_trial(_angle_value), convention=FLAT, source="np.angle({0})",
    )
)  # fmt: skip

# --- remainders, signs and parts of numbers -------------------------------------------------------------------------

binary(
    np.remainder, 1, lambda y, a, b: -np.floor_divide(a, b),
    latex=r"{0} \bmod {1}", cost=Cost(3), source="{0} % {1}", domain=(REALS, POSITIVE), binds=6, singular=True,
    convention="at the jumps the derivative is that of the piece which the value belongs to",
)  # fmt: skip
binary(
    np.fmod, 1, lambda y, a, b: -np.rint((a - y) / b),
    latex=r"\operatorname{{fmod}}({0}, {1})", cost=Cost(3), domain=(REALS, POSITIVE), singular=True,
    convention="at the jumps the derivative is that of the piece which the value belongs to",
)  # fmt: skip


def _copysign_partial(y: Any, a: Any, b: Any) -> Any:
    return np.sign(a) * (math.copysign(1.0, b) if is_number(b) else np.copysign(1.0, b))


binary(
    np.copysign, _copysign_partial, 0, latex=r"\operatorname{{copysign}}({0}, {1})", cost=ARITHMETIC,
    convention="the derivative in the first argument at 0 is 0, as that of |x|",
)  # fmt: skip
binary(
    np.nextafter, 1, 0, latex=r"\operatorname{{nextafter}}({0}, {1})", cost=ARITHMETIC,
    convention="the first argument moved by one rounding unit: its derivative is 1",
)  # fmt: skip
binary(
    np.ldexp,
    lambda y, x, i: np.ldexp(y.dtype.type(1), i), Undefined("the exponent of ldexp is an integer"),
    latex=r"{0}\,2^{{{1}}}", cost=ARITHMETIC, domain=(REALS, INTEGERS), binds=6,
)  # fmt: skip


def _part(name: str, value: Callable[..., Any], partial: Any, latex: str, native: str, source: str) -> Any:
    return register(
        Elementwise(
            name=name, value=value, nin=1, partials=(partial,), native=native, latex=latex, cost=ARITHMETIC,
            domain=(REALS,), dtype=dtype_by_trial(value), source=source,
        )
    )  # fmt: skip


_fraction = _part(
    "fractional_part", lambda x: np.modf(x)[0], 1, r"\operatorname{{frac}} {0}", "fractional_part", "np.modf({0})[0]"
)
_exponent = _part(
    "binary_exponent", lambda x: np.frexp(x)[1], 0, r"\operatorname{{exponent}} {0}", "binary_exponent",
    "np.frexp({0})[1]",
)  # fmt: skip

# --- selection ------------------------------------------------------------------------------------------------------


def _share(y: Any, mine: Any, other: Any) -> Any:
    number = y.dtype.type
    return np.where(mine == y, np.where(mine == other, number(0.5), number(1)), number(0))


for _ufunc, _latex in (
    (np.maximum, r"\max({0}, {1})"), (np.minimum, r"\min({0}, {1})"),
    (np.fmax, r"\operatorname{{fmax}}({0}, {1})"), (np.fmin, r"\operatorname{{fmin}}({0}, {1})"),
):  # fmt: skip
    binary(
        _ufunc, lambda y, a, b: _share(y, a, b), lambda y, a, b: _share(y, b, a), latex=_latex, cost=ARITHMETIC,
        selects=True, shields=_ufunc in (np.fmax, np.fmin),
        convention="where the arguments are equal each has derivative 1/2",
    )  # fmt: skip
binary(
    np.heaviside, 0, lambda y, x, h: x == 0, latex=r"H({0}; {1})", cost=ARITHMETIC, selects=True,
    convention="the derivative in the first argument is 0, at the jump too",
)  # fmt: skip


def _weak(kind: Any) -> Any:
    """A weak Python scalar for ``float`` and ``int``, as numpy.result_type takes it."""
    return kind(0) if isinstance(kind, type) else kind


def _truth(c: Any) -> Any:
    return c if getattr(c, "dtype", None) == np.bool_ or isinstance(c, bool) else c != 0


_where = register(
    Elementwise(
        name="where", value=np.where, nin=3, chooses=True, shields=True,
        partials=(0, lambda y, c, a, b: _truth(c), lambda y, c, a, b: np.logical_not(c)),
        native="select", latex=r"\begin{{cases}} {1} & {0} \\ {2} & \text{{otherwise}} \end{{cases}}", cost=ARITHMETIC,
        domain=(REALS, REALS, REALS), dtype=lambda kinds: np.result_type(*[_weak(kind) for kind in kinds[1:]]),
        selects=True, convention="nothing of the branch not taken reaches the gradient, NaN and infinities included",
    ),
)  # fmt: skip


def _clip_value(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, low, high)


_clip = register(
    Elementwise(
        name="clip", value=_clip_value, nin=3,
        partials=(
            lambda y, x, low, high: (x >= low) & (x <= high),
            lambda y, x, low, high: (x < low) & (low <= high),
            lambda y, x, low, high: (x > high) | (low > high),
        ),
        native="clip", latex=r"\operatorname{{clip}}({0}, {1}, {2})", cost=Cost(2), domain=(REALS, REALS, REALS),
        dtype=dtype_by_trial(_clip_value), selects=True, source="np.clip({0}, {1}, {2})",
        convention="at a bound the derivative in x is 1 (the one from inside) and that in the bound is 0",
    )
)  # fmt: skip


@implements(np.where)
def _(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return FUNCTIONS[np.nonzero](condition)
    if x is None or y is None:
        msg = "either both or neither of x and y should be given"
        raise ValueError(msg)
    return apply(_where, [array_of(one) if isinstance(one, list | tuple) else one for one in (condition, x, y)])


# --- another dtype --------------------------------------------------------------------------------------------------


def _cast_rule(dtype: np.dtype[Any]) -> Any:
    floats = dtype.kind == "f"
    return register(
        Elementwise(
            name=f"as_{dtype.name}", value=lambda x: np.asarray(x).astype(dtype)[()], nin=1,
            partials=(1 if floats else 0,), native="cast", latex="{0}" if floats else r"\operatorname{{int}} {0}",
            cost=ARITHMETIC, domain=((-100.0, 100.0),), dtype=lambda kinds: dtype, algebra="itself" if floats else "",
            source=lambda types, params, numbers: (
                f"{{0}}.astype(np.{dtype.name})" if numbers[0] is None else f"np.{dtype.name}({{0}})"
            ),
            convention="" if floats else FLAT,
        )
    )  # fmt: skip


_CASTS = {name: _cast_rule(np.dtype(name)) for name in dict.fromkeys(np.dtype(code).name for code in "?bBhHiIqQefdg")}


def cast_rule(dtype: Any) -> Any:
    """The rule that converts to a dtype; raise NoRule where there is none."""
    rule = _CASTS.get(np.dtype(dtype).name)
    if rule is None:
        raise NoRule(
            f"a value that is being differentiated is converted to {np.dtype(dtype)}",
            cure="compute with real numbers (float64 or float32); complex numbers have no rules in this version",
        )
    return rule


def _astype(x: Any, dtype: Any, casting: Any = "unsafe") -> Any:
    dtype = np.dtype(dtype)
    if not is_recorded(x):
        return np.asarray(x).astype(dtype, casting=casting)
    rule = cast_rule(dtype)
    if not np.can_cast(x.dtype, dtype, casting):
        msg = f"Cannot cast array data from {x.dtype!r} to {dtype!r} according to the rule {casting!r}"
        raise TypeError(msg)
    return apply(rule, (x,))


FUNCTIONS["astype"] = _astype


if hasattr(np, "astype"):

    @implements(np.astype)
    def _(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
        return _astype(x, dtype)


# --- the keywords of ufuncs -----------------------------------------------------------------------------------------


def _in_loop(rule: Any, inputs: Sequence[Any], dtype: Any, signature: Any, casting: Any) -> list[Any]:
    """The inputs in the dtypes of the loop that ``dtype=`` or ``signature=`` picks."""
    count = len(inputs)
    if signature is None:
        wanted: tuple[Any, ...] = (*(None,) * count, np.dtype(dtype))
    elif isinstance(signature, str):
        letters = signature.replace("->", "")
        wanted = (*(None,) * count, np.dtype(letters)) if len(letters) == 1 else tuple(np.dtype(one) for one in letters)
    elif isinstance(signature, tuple):
        wanted = tuple(None if one is None else np.dtype(one) for one in signature)
    else:
        wanted = (*(None,) * count, np.dtype(signature))
    if isinstance(rule.value, np.ufunc):
        given = [type(one) if type(one) in {int, float} else array_of(one).dtype for one in inputs]
        loop = rule.value.resolve_dtypes((*given, None), signature=wanted, casting=casting)
    else:
        loop = (wanted[-1],) * count
    made = []
    for one, kind in zip(inputs, loop, strict=False):
        if is_recorded(one):
            made.append(one if one.dtype == kind else _astype(one, kind, casting))
        else:
            made.append(np.asarray(one).astype(kind)[()])
    return made


def _ufunc_keywords(
    rule: Any,
    inputs: Sequence[Any],
    *,
    out: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: Any = "same_kind",
    order: Any = "K",
    subok: Any = True,
    signature: Any = None,
    sig: Any = None,
) -> Any:
    if isinstance(out, tuple):
        (out,) = out
    signature = sig if signature is None else signature
    inputs = [array_of(one) if isinstance(one, list | tuple) else one for one in inputs]
    if dtype is not None or signature is not None:
        inputs = _in_loop(rule, inputs, dtype, signature, casting)
    made = apply(rule, inputs)
    if where is not True:
        if out is None:
            cure = "give it an out=, or use numpy.where: elements not selected would be whatever the memory held"
            raise refuse(f"numpy.{rule.name}", "where= and no out=", cure)
        where = array_of(where)
    if out is None:
        return made
    if not np.can_cast(np.result_type(made), out.dtype, casting):
        msg = (
            f"Cannot cast ufunc '{rule.name}' output from {made.dtype!r} to {out.dtype!r} with casting rule '{casting}'"
        )
        raise TypeError(msg)
    if made.dtype != out.dtype:
        made = _astype(made, out.dtype)
    if where is not True:
        made = np.where(where, made, out)
    return FUNCTIONS["store"](out, made)


FUNCTIONS["ufunc keywords"] = _ufunc_keywords


def _call(rule: Any, inputs: Sequence[Any], keywords: dict[str, Any]) -> Any:
    return _ufunc_keywords(rule, inputs, **keywords)


def in_parts(ufunc: Any, *parts: Callable[..., Any]) -> None:
    """Say of a ufunc with several results what each of them is."""

    def code(*inputs: Any, out: Any = None, **keywords: Any) -> tuple[Any, ...]:
        outs = (None,) * len(parts) if out is None else out
        inputs = tuple(map(array_of, inputs))
        return tuple(part(inputs, {"out": one, **keywords}) for part, one in zip(parts, outs, strict=True))

    implements(ufunc)(code)


def _by(ufunc: Any) -> Callable[..., Any]:
    return lambda inputs, keywords: _call(UFUNCS[ufunc], inputs, keywords)


def _mantissa(inputs: Any, keywords: dict[str, Any]) -> Any:
    (x,) = inputs
    return _call(UFUNCS[np.ldexp], (x, -apply(_exponent, (x,))), keywords)


in_parts(np.modf, lambda inputs, keywords: _call(_fraction, inputs, keywords), _by(np.trunc))
in_parts(np.frexp, _mantissa, lambda inputs, keywords: _call(_exponent, inputs, keywords))
in_parts(np.divmod, _by(np.floor_divide), _by(np.remainder))


@implements(np.float_power)
def _(*inputs: Any, **keywords: Any) -> Any:
    # The same power, in float64 at least.
    kinds = [type(one)(1) if type(one) in (int, float) else array_of(one).dtype for one in inputs]
    wide = np.result_type(*kinds, np.float64)
    return _call(
        UFUNCS[np.power], [_astype(array_of(one), wide) if not is_number(one) else one for one in inputs], keywords
    )
