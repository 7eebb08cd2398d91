"""Elementwise rules in mpmath, the points at which they are compared, and the rules without such a twin, with why."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp

__all__ = ["AMPLIFIED", "CONSTANT_BY_PIECES", "EDGES", "TWINS", "WITHOUT_TWIN", "edges"]


def _sinc(x: Any) -> Any:
    return mp.sin(mp.pi * x) / (mp.pi * x) if x else mp.mpf(1)


def _sinc_derivative(x: Any, n: Any) -> Any:
    z = mp.pi * x
    n = int(n)
    if abs(z) < 30:
        start = (n + 1) // 2
        terms = [
            (-1) ** k * z ** (2 * k - n) / ((2 * k + 1) * mp.factorial(2 * k - n)) for k in range(start, start + 150)
        ]
        return mp.pi**n * mp.fsum(terms)
    made = mp.sin(z) / z
    for order in range(1, n + 1):
        made = (mp.sin(z + order * mp.pi / 2) - order * made) / z
    return mp.pi**n * made


def _boxcox(x: Any, power: Any) -> Any:
    return (x**power - 1) / power if power else mp.log(x)


def _inv_boxcox(z: Any, power: Any) -> Any:
    return (1 + power * z) ** (1 / power) if power else mp.exp(z)


def _erfcx(x: Any) -> Any:
    return mp.exp(x * x) * mp.erfc(x) if x < 1000 else mp.hyperu(0.5, 0.5, x * x) / mp.sqrt(mp.pi)


def _ndtr(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _erfinv(x: Any) -> Any:
    guess = mp.erfinv(x) if abs(x) < mp.mpf("0.9") else None
    if guess is not None:
        return guess
    # mpmath's own start is poor near 1: solve log(erfc(y)) = log(1 - x) by Newton's method.
    rest = 1 - abs(x)
    y = mp.sqrt(-mp.log(rest * mp.sqrt(mp.pi)))
    for _ in range(60):
        tail = mp.erfc(y)
        step = (mp.log(tail) - mp.log(rest)) * tail / (-2 / mp.sqrt(mp.pi) * mp.exp(-y * y))
        y -= step
        if abs(step) < mp.eps * y * 16:
            break
    return mp.sign(x) * y


def _huber(delta: Any, r: Any) -> Any:
    return r * r / 2 if abs(r) <= delta else delta * (abs(r) - delta / 2)


def _kl(x: Any, y: Any) -> Any:
    return x * mp.log(x / y) - x + y


def _floored(a: Any, b: Any) -> Any:
    return a - b * mp.floor(a / b)


def _truncated(a: Any, b: Any) -> Any:
    return a - b * (mp.floor(a / b) if a * b > 0 else mp.ceil(a / b))


def _dawson(x: Any) -> Any:
    return x * mp.hyp1f1(1, 1.5, -x * x)


#: Rule -> the same function in mpmath, of the same arguments.
TWINS: dict[str, Any] = {
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "reciprocal": lambda x: 1 / x,
    "square": lambda x: x * x,
    "absolute": abs,
    "fabs": abs,
    "power": lambda a, b: a**b,
    "sqrt": mp.sqrt,
    "root": mp.sqrt,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "hypot": lambda a, b: mp.sqrt(a * a + b * b),
    "logistic": lambda x: 1 / (1 + mp.exp(-x)),
    "exp": mp.exp,
    "exp2": lambda x: mp.mpf(2) ** x,
    "expm1": mp.expm1,
    "log": mp.log,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "log10": mp.log10,
    "log1p": lambda x: mp.log(1 + x),
    "logaddexp": lambda a, b: mp.log(mp.exp(a) + mp.exp(b)),
    "logaddexp2": lambda a, b: mp.log(mp.mpf(2) ** a + mp.mpf(2) ** b) / mp.log(2),
    "sin": mp.sin,
    "cos": mp.cos,
    "tan": mp.tan,
    "arcsin": mp.asin,
    "arccos": mp.acos,
    "arctan": mp.atan,
    "arctan2": mp.atan2,
    "sinh": mp.sinh,
    "cosh": mp.cosh,
    "tanh": mp.tanh,
    "arcsinh": mp.asinh,
    "arccosh": mp.acosh,
    "arctanh": mp.atanh,
    "sinc": _sinc,
    "sinc_derivative": _sinc_derivative,
    "numpy_i0": lambda x: mp.besseli(0, x),
    "remainder": _floored,
    "fmod": _truncated,
    "copysign": lambda a, b: abs(a) * (1 if b >= 0 else -1),
    "ldexp": lambda x, i: x * mp.mpf(2) ** int(i),
    "maximum": max,
    "minimum": min,
    "fmax": max,
    "fmin": min,
    "clip": lambda x, low, high: min(max(x, low), high),
    "heaviside": lambda x, h: mp.mpf(1 if x > 0 else 0) if x else h,
    "where": lambda c, a, b: a if c else b,
    # scipy.special
    "erf": mp.erf,
    "erfc": mp.erfc,
    "erfi": mp.erfi,
    "erfcx": _erfcx,
    "erfinv": _erfinv,
    "erfcinv": lambda x: _erfinv(1 - x),
    "dawsn": _dawson,
    "ndtr": _ndtr,
    "log_ndtr": lambda x: mp.log(_ndtr(x)) if x < 0 else mp.log1p(-_ndtr(-x)),
    "ndtri": lambda p: mp.sqrt(2) * _erfinv(2 * p - 1),
    "expit": lambda x: 1 / (1 + mp.exp(-x)),
    "logit": lambda x: mp.log(x / (1 - x)),
    "log_expit": lambda x: -mp.log1p(mp.exp(-x)),
    "xlogy": lambda a, b: a * mp.log(b),
    "xlog1py": lambda a, b: a * mp.log(1 + b),
    "entr": lambda x: -x * mp.log(x),
    "rel_entr": lambda a, b: a * mp.log(a / b),
    "kl_div": _kl,
    "gamma": mp.gamma,
    "gammaln": mp.loggamma,
    "loggamma": mp.loggamma,
    "rgamma": mp.rgamma,
    "polygamma": lambda n, x: mp.polygamma(int(n), x),
    "psi": mp.digamma,
    "gammainc": lambda a, x: mp.gammainc(a, 0, x, regularized=True),
    "gammaincc": lambda a, x: mp.gammainc(a, x, regularized=True),
    "beta": mp.beta,
    "betaln": lambda a, b: mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b),
    "betainc": lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True),
    "binom": lambda n, k: mp.gamma(n + 1) / mp.gamma(k + 1) / mp.gamma(n - k + 1),
    "poch": lambda z, m: mp.gamma(z + m) / mp.gamma(z),
    "j0": lambda x: mp.besselj(0, x),
    "j1": lambda x: mp.besselj(1, x),
    "y0": lambda x: mp.bessely(0, x),
    "y1": lambda x: mp.bessely(1, x),
    "i0": lambda x: mp.besseli(0, x),
    "i1": lambda x: mp.besseli(1, x),
    "k0": lambda x: mp.besselk(0, x),
    "k1": lambda x: mp.besselk(1, x),
    "i0e": lambda x: mp.exp(-abs(x)) * mp.besseli(0, x),
    "i1e": lambda x: mp.exp(-abs(x)) * mp.besseli(1, x),
    "k0e": lambda x: mp.exp(x) * mp.besselk(0, x),
    "k1e": lambda x: mp.exp(x) * mp.besselk(1, x),
    "jv": mp.besselj,
    "yv": mp.bessely,
    "yn": lambda n, x: mp.bessely(int(n), x),
    "iv": mp.besseli,
    "kv": mp.besselk,
    "kn": lambda n, x: mp.besselk(int(n), x),
    "ive": lambda v, x: mp.exp(-abs(x)) * mp.besseli(v, x),
    "kve": lambda v, x: mp.exp(x) * mp.besselk(v, x),
    "exp1": mp.e1,
    "expi": mp.ei,
    "sine_integral": mp.si,
    "cosine_integral": mp.ci,
    "hyp1f1": mp.hyp1f1,
    "hyperu": mp.hyperu,
    "exprel": lambda x: mp.expm1(x) / x if x else mp.mpf(1),
    "boxcox": _boxcox,
    "boxcox1p": lambda x, power: _boxcox(1 + x, power),
    "inv_boxcox": _inv_boxcox,
    "inv_boxcox1p": lambda z, power: _inv_boxcox(z, power) - 1,
    "huber": _huber,
    "pseudo_huber": lambda delta, r: r * r / (mp.sqrt(1 + (r / delta) ** 2) + 1),
    "exp10": lambda x: mp.mpf(10) ** x,
    "cosm1": lambda x: mp.cos(x) - 1,
    "sindg": lambda x: mp.sin(mp.radians(x)),
    "cosdg": lambda x: mp.cos(mp.radians(x)),
    "tandg": lambda x: mp.tan(mp.radians(x)),
}

#: Rules whose partials vary and that have no twin, each with its reason.
WITHOUT_TWIN: dict[str, str] = {}

#: Twins that are constant between their jumps.
CONSTANT_BY_PIECES = {"heaviside", "where"}


def _exponent_of_gamma(a: float, x: float) -> float:
    # exp((a - 1) log x - x - log Gamma(a)): what is rounded is the exponent's terms.
    return 1 + abs((a - 1) * math.log(x)) + x + abs(math.lgamma(a))


def _exponent_of_beta(a: float, b: float, x: float) -> float:
    return 1 + abs((a - 1) * math.log(x)) + abs((b - 1) * math.log1p(-x)) + abs(math.lgamma(a)) + abs(math.lgamma(b))


def _scaled_bessel(*arguments: float) -> float:
    # The scaled function decays like a power: its derivative is the difference of two numbers 2x larger.
    return 1 + 2 * abs(arguments[-1])


def _difference_of_digammas(far: float, near: float) -> float:
    # psi(far) - psi(near) is about (far - near) / far: the two are far / |far - near| times larger.
    digamma = max(abs(float(mp.digamma(far))), abs(float(mp.digamma(near))))
    return 1 + 2 * digamma / abs(float(mp.digamma(far) - mp.digamma(near)))


#: Rule -> how many times larger than a rounding the error of a partial may be, and why.
AMPLIFIED: dict[str, Any] = {
    "gammainc": _exponent_of_gamma,
    "gammaincc": _exponent_of_gamma,
    "betainc": _exponent_of_beta,
    "beta": lambda a, b: max(_difference_of_digammas(a + b, a), _difference_of_digammas(a + b, b)),
    "betaln": lambda a, b: max(_difference_of_digammas(a + b, a), _difference_of_digammas(a + b, b)),
    "binom": lambda n, k: max(_difference_of_digammas(n + 1, n - k + 1), _difference_of_digammas(n - k + 1, k + 1)),
    "poch": lambda z, m: _difference_of_digammas(z + m, z),
    **dict.fromkeys(("i0e", "i1e", "ive", "k0e", "k1e", "kve"), _scaled_bessel),
    # 2 x erfcx(x) and 2 / sqrt(pi) nearly cancel up to x = 8, where another form takes over.
    "erfcx": lambda x: 1 + 2 * x * x if 0 < x < 8 else 1,
    # SciPy's hyperu itself has no more digits at moderate arguments; it is recorded by the rule of erfcx at large ones.
    "hyperu": lambda a, b, x: 1e7,
    # b - 1 is rounded, and multiplied by log a.
    "power": lambda a, b: 1 + abs(math.log(a)),
    # exp(y^2) of the rounded result y, whose square is about the logarithm of the distance to the end.
    "erfinv": lambda x: 1 - 2 * math.log1p(-abs(x)),
    "erfcinv": lambda x: 1 - 2 * math.log(min(x, 2 - x)),
    "ndtri": lambda x: 1 - 2 * math.log(min(x, 1 - x)),
}

_REAL = (-700.0, -36.5, -3.0, -0.7, -1e-3, -1e-9, 1e-300, 1e-8, 0.3, 1.9, 20.5, 45.0, 710.5, 1e5, 1e160)
_POSITIVE = (1e-300, 1e-12, 1e-3, 0.4, 1.0000001, 2.7, 30.5, 1e5, 1e160)
_MODERATE = (-30.0, -4.5, -0.7, -1e-6, 1e-6, 0.3, 1.9, 8.5, 40.0)
_MODERATE_POSITIVE = (1e-6, 0.05, 0.4, 1.3, 4.5, 8.1, 40.0)

#: Rule -> its points, where they are not those of its domain: the costly ones in mpmath, and the special places.
EDGES: dict[str, Any] = {}


def edges(rule: Any) -> list[tuple[Any, ...]]:
    """For each argument the numbers that it takes."""
    if rule.name in EDGES:
        return list(EDGES[rule.name])
    found = []
    for place, (low, high) in enumerate(rule.domain):
        if isinstance(low, int) and isinstance(high, int):
            numbers: tuple[Any, ...] = tuple(sorted({low, 0, 1, 2, high} & set(range(low, high + 1))))
        elif math.isinf(low) and math.isinf(high):
            numbers = _REAL
        elif math.isinf(high):
            numbers = tuple(low + one for one in _POSITIVE if low + one > low)
        else:
            width = high - low
            numbers = tuple(low + width * one for one in (1e-12, 1e-4, 0.2, 0.47, 0.81, 1 - 1e-4, 1 - 1e-12))
        # Every other argument a little aside, so that no two are equal.
        if place:
            origin = low if math.isfinite(low) else 0.0
            numbers = tuple(
                origin + (one - origin) * (1 + 0.07 * place) if isinstance(one, float) and math.isinf(high) else one
                for one in numbers
            )
        if len(rule.domain) > 2:
            numbers = numbers[::3]
        elif len(rule.domain) > 1:
            numbers = numbers[::2]
        found.append(numbers)
    return found


def _special(*names: str, over: tuple[Any, ...]) -> None:
    for name in names:
        EDGES[name] = over


_special("numpy_i0", "i0", "i1", "i0e", "i1e", "erfi", "j0", "j1", over=(_MODERATE,))
_special("y0", "y1", "k0", "k1", "k0e", "k1e", "exp1", "expi", "cosine_integral", "psi", over=(_MODERATE_POSITIVE,))
_special("dawsn", over=((-30.0, -4.5, -0.7, 1e-6, 0.3, 1.9, 8.5, 40.0, 1e5, 1e12, 1e100, 1e160),))
_special("sine_integral", over=(_MODERATE,))
_special("erfcx", over=((-20.0, -3.0, -0.2, 1e-6, 0.5, 1.9, 7.9, 8.1, 40.0, 1e4, 9e7, 2e8, 1e150),))
_special("ndtr", "log_ndtr", "erf", "erfc", over=((-30.0, -8.0, -3.0, -0.7, -1e-9, 0.3, 1.9, 5.0, 25.0),))
_special("jv", "yv", "iv", "kv", "ive", "kve", over=((0.5, 1.0, 2.75, 6.0), _MODERATE_POSITIVE))
_special("yn", "kn", over=((0, 1, 4), _MODERATE_POSITIVE))
_special("gamma", "rgamma", over=((1e-6, 0.05, 0.9, 1.4, 3.3, 20.5, 100.5, 165.5),))
_special("gammaln", "loggamma", over=((1e-6, 0.05, 0.9, 1.4, 3.3, 20.5, 1e4),))
_special("polygamma", over=((0, 1, 3), _MODERATE_POSITIVE))
_special("gammainc", "gammaincc", over=((0.3, 1.0, 5.5, 40.0), _MODERATE_POSITIVE))
_special("beta", "betaln", over=((0.1, 1.5, 12.0), (0.2, 1.7, 9.0)))
_special("betainc", over=((0.3, 1.0, 5.5), (0.6, 4.0), (1e-6, 0.2, 0.7, 0.999)))
_special("binom", over=((7.0, 12.3, 20.0), (0.2, 1.5, 5.7)))
_special("poch", over=((0.3, 2.5, 12.0), (0.2, 1.5, 5.7)))
_special("hyp1f1", over=((0.5, 2.0, 4.5), (0.75, 3.0), (-20.0, -1.5, 1e-3, 0.7, 15.0)))
_special("hyperu", over=((0.5, 1.0, 2.5), (0.5, 1.5), (0.3, 2.0, 30.0, 100.0)))
_special("tandg", over=((-80.0, -20.0, 1e-6, 45.5, 79.0),))
_special("sindg", "cosdg", over=((-500.0, -20.0, 1e-6, 45.5, 79.0, 260.0),))
_special("sinc_derivative", over=((-30.2, -1.6, -1e-4, 1e-9, 0.3, 0.5, 1.1, 7.7), (0, 1, 2, 3)))
_special("sinc", over=((-30.2, -1.6, -1e-4, 1e-9, 0.3, 0.5, 1.1, 7.7, 1e3),))
_special("remainder", "fmod", over=((-70.3, -2.2, 0.4, 3.3, 10003.0), (0.7, 1.9, 12.5)))
_special("pseudo_huber", over=((1e-100, 1e-3, 0.7, 30.0, 1e100), (-1e100, -3.0, 1e-6, 1.5, 1e5)))
_special("clip", over=((-2.0, 0.3, 5.0), (-1.0, 1.0, 7.0), (-1.5, 0.5, 6.0)))
_special("heaviside", over=((-2.0, 1.0), (0.5, 0.0)))
_special("where", over=((0.0, 1.0), (0.5, -2.0), (3.0, 4.0)))
_special("erfinv", over=((-0.999999, -0.5, 1e-9, 0.3, 0.95, 1 - 1e-12),))
_special("erfcinv", over=((1e-100, 1e-9, 0.3, 0.95, 1.2, 1.9),))
_special("ndtri", over=((1e-100, 1e-9, 0.3, 0.55, 0.9, 0.9999),))
_special("inv_boxcox", "inv_boxcox1p", over=((0.01, 0.6, 2.9), (1e-9, 1e-3, 0.4, 1.0, 2.5)))
_special("boxcox", over=((1e-3, 0.4, 1.0000001, 30.0), (-3.0, -1e-9, 1e-3, 0.4, 1.0, 2.5)))
_special("boxcox1p", over=((-0.9, 1e-9, 0.4, 30.0), (-3.0, -1e-9, 1e-3, 0.4, 1.0, 2.5)))
_special("exprel", over=((-300.0, -1.0, 1e-9, 0.4, 30.0, 300.0),))
_special("power", over=((1e-100, 0.4, 1.0000001, 2.7, 1e50), (-4.0, -0.5, 1e-9, 0.5, 1.0, 2.5, 4.0)))
