"""Functions that C99's <math.h> lacks: NumPy's own, and those of scipy.special that fit on a page."""

from __future__ import annotations

import re

__all__ = ["FUNCTIONS", "needed"]

#: The source of each, by its name; it may call others of them.
FUNCTIONS: dict[str, str] = {}


def _add(text: str) -> None:
    for block in re.split(r"\n(?=static )", text.strip()):
        name = re.search(r"(\w+)\(", block)
        assert name is not None
        FUNCTIONS[name[1]] = block.strip()


def needed(names: set[str]) -> list[str]:
    """The sources of these functions and of all that they call, each after what it calls."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        text = FUNCTIONS[name]
        for called in sorted(set(re.findall(r"\b(\w+)\(", text)) & set(FUNCTIONS) - {name}):
            visit(called)
        order.append(name)

    for name in sorted(names):
        visit(name)
    return [FUNCTIONS[name] for name in order]


# --- NumPy's ----------------------------------------------------------------------------------------------------------

_add("""
static double maximum(double a, double b)  /* NaN if either is */
{
    return isnan(a) || a >= b ? a : b;
}
static double minimum(double a, double b)
{
    return isnan(a) || a <= b ? a : b;
}
static double square(double x)
{
    return x * x;
}
static double reciprocal(double x)
{
    return 1 / x;
}
static double sign(double x)
{
    return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x;
}
static double degrees(double x)
{
    return x * 57.29577951308232;
}
static double rad2deg(double x)
{
    return x * 57.29577951308232;
}
static double radians(double x)
{
    return x * 0.017453292519943295;
}
static double deg2rad(double x)
{
    return x * 0.017453292519943295;
}
static double remainder_floored(double a, double b)
{
    double r = fmod(a, b);
    if (b == 0) return NAN;
    if (r == 0) return copysign(0.0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}
static double floor_divide(double a, double b)
{
    double r, q, whole;
    if (b == 0) return a / b;
    r = fmod(a, b);
    q = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;
    if (q == 0) return copysign(0.0, a / b);
    whole = floor(q);
    return q - whole > 0.5 ? whole + 1 : whole;
}
static double heaviside(double x, double h)
{
    return isnan(x) ? x : x == 0 ? h : x < 0 ? 0 : 1;
}
static double logaddexp(double a, double b)
{
    if (a == b) return a + 0.6931471805599453;
    return isnan(a - b) ? a - b : fmax(a, b) + log1p(exp(-fabs(a - b)));
}
static double logaddexp2(double a, double b)
{
    if (a == b) return a + 1;
    return isnan(a - b) ? a - b : fmax(a, b) + 1.4426950408889634 * log1p(exp2(-fabs(a - b)));
}
static double logistic(double x)
{
    double small = exp(-fabs(x));
    return (x >= 0 ? 1 : small) / (1 + small);
}
static double angle(double x)
{
    return isnan(x) ? x : signbit(x) ? 3.141592653589793 : 0;
}
static double spacing(double x)
{
    double away = copysign(INFINITY, x);
    return isfinite(x) ? nextafter(x, away) - x : NAN;
}
static double fractional_part(double x)
{
    double whole;
    return modf(x, &whole);
}
static int binary_exponent(double x)
{
    int exponent = 0;
    frexp(x, &exponent);
    return isfinite(x) ? exponent : 0;
}
static double sinc(double x)
{
    double y = 3.141592653589793 * x;
    return x == 0 ? 1 : sin(y) / y;
}
static double sinc_derivative(double x, int64_t n)  /* of order n, of sin(pi x) / (pi x) */
{
    double z = 3.141592653589793 * x, scale = pow(3.141592653589793, (double)n), sum = 0;
    if (fabs(z) > (n > 1 ? (double)n : 1.5)) {
        double turned[4] = {sin(z), cos(z), -sin(z), -cos(z)};
        sum = turned[0] / z;
        for (int64_t k = 1; k <= n; k++) sum = (turned[k % 4] - (double)k * sum) / z;
        return scale * sum;
    }
    for (int64_t k = (n + 1) / 2; k < (n + 1) / 2 + 20 + 2 * n; k++) {
        double term = (k % 2 ? -1.0 : 1.0) / (double)(2 * k + 1);
        for (int64_t j = 1; j <= 2 * k - n; j++) term *= z / (double)j;
        sum += term;
    }
    return scale * sum;
}
static double ldexp_by(double x, int64_t n)
{
    return ldexp(x, n > 10000 ? 10000 : n < -10000 ? -10000 : (int)n);
}
""")

_add("""
static int64_t int_absolute(int64_t a)
{
    return a < 0 ? -a : a;
}
static int64_t int_sign(int64_t a)
{
    return (a > 0) - (a < 0);
}
static int64_t int_square(int64_t a)
{
    return a * a;
}
static int64_t int_maximum(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static int64_t int_minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static uint64_t int_maximum_u(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
static uint64_t int_minimum_u(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static int64_t int_floor_divide(int64_t a, int64_t b)
{
    int64_t q;
    if (b == 0) return 0;
    if (b == -1) return a == INT64_MIN ? a : -a;
    q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
static int64_t int_remainder(int64_t a, int64_t b)
{
    int64_t r;
    if (b == 0 || b == -1) return 0;
    r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static int64_t int_fmod(int64_t a, int64_t b)
{
    return b == 0 || b == -1 ? 0 : a % b;
}
static uint64_t int_floor_divide_u(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : a / b;
}
static uint64_t int_remainder_u(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : a % b;
}
static uint64_t int_fmod_u(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : a % b;
}
static int64_t int_power(int64_t a, int64_t b)
{
    int64_t result = 1;
    for (; b > 0; b >>= 1, a *= a)
        if (b & 1) result *= a;
    return result;
}
static int64_t int_left_shift(int64_t a, int64_t b)
{
    return b < 0 || b > 63 ? 0 : (int64_t)((uint64_t)a << b);
}
static int64_t int_right_shift(int64_t a, int64_t b)
{
    return b < 0 || b > 63 ? (a < 0 ? -1 : 0) : a >> b;
}
static int64_t int_gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a < 0 ? -a : a;
}
static int64_t int_lcm(int64_t a, int64_t b)
{
    int64_t made = a == 0 || b == 0 ? 0 : a / int_gcd(a, b) * b;
    return made < 0 ? -made : made;
}
static int64_t int_bitwise_count(int64_t a)
{
    uint64_t bits = a < 0 ? (uint64_t)0 - (uint64_t)a : (uint64_t)a;
    int64_t count = 0;
    for (; bits; bits &= bits - 1) count++;
    return count;
}
static int64_t int_reciprocal(int64_t a)
{
    return a == 1 || a == -1 ? a : 0;
}
""")

# --- scipy.special: elementary ----------------------------------------------------------------------------------------

_add("""
static double expit(double x)
{
    double small = exp(-fabs(x));
    return (x >= 0 ? 1 : small) / (1 + small);
}
static double log_expit(double x)
{
    return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
}
static double logit(double x)
{
    double s = 2 * (x - 0.5);
    return x < 0.3 || x > 0.65 ? log(x / (1 - x)) : log1p(s) - log1p(-s);
}
static double xlogy(double a, double b)
{
    return a == 0 && !isnan(b) ? 0 : a * log(b);
}
static double xlog1py(double a, double b)
{
    return a == 0 && !isnan(b) ? 0 : a * log1p(b);
}
static double entr(double x)
{
    return isnan(x) ? x : x > 0 ? -x * log(x) : x == 0 ? 0 : -INFINITY;
}
static double rel_entr(double a, double b)
{
    double ratio = a / b;
    if (isnan(a) || isnan(b)) return NAN;
    if (a == 0 && b >= 0) return 0;
    if (!(a > 0 && b > 0)) return INFINITY;
    if (0.5 < ratio && ratio < 2) return a * log1p((a - b) / b);
    if (ratio > DBL_MIN && ratio < INFINITY) return a * log(ratio);
    return a * (log(a) - log(b));
}
static double kl_div(double a, double b)
{
    if (isnan(a) || isnan(b)) return NAN;
    if (a > 0 && b > 0) return rel_entr(a, b) - a + b;
    return a == 0 && b >= 0 ? b : INFINITY;
}
static double exprel(double x)
{
    return fabs(x) < 1e-16 ? 1 : x > 717 ? INFINITY : expm1(x) / x;
}
static double boxcox(double x, double power)
{
    return fabs(power) < 1e-19 ? log(x) : expm1(power * log(x)) / power;
}
static double boxcox1p(double x, double power)
{
    double y = log1p(x);
    return fabs(power) < 1e-19 || (fabs(y) < 1e-289 && fabs(power) < 1e273) ? y : expm1(power * y) / power;
}
static double inv_boxcox(double x, double power)
{
    return power == 0 ? exp(x) : exp(log1p(power * x) / power);
}
static double inv_boxcox1p(double x, double power)
{
    return power == 0 ? expm1(x) : fabs(power * x) < 1e-154 ? x : expm1(log1p(power * x) / power);
}
static double huber(double delta, double r)
{
    return delta < 0 ? INFINITY : fabs(r) <= delta ? 0.5 * r * r : delta * (fabs(r) - 0.5 * delta);
}
static double pseudo_huber(double delta, double r)
{
    double u = r / delta;
    if (delta < 0) return INFINITY;
    return delta == 0 || r == 0 ? 0 : delta * delta * (u * u / (sqrt(1 + u * u) + 1));
}
static double cosm1(double x)
{
    double s = sin(0.5 * x);
    return -2 * s * s;
}
static double sindg(double x)
{
    double r = fmod(x, 360);
    if (fmod(r, 180) == 0) return 0;
    return sin(fmod(r, 360) * 0.017453292519943295);
}
static double cosdg(double x)
{
    double r = fabs(fmod(x, 360));
    return r == 90 || r == 270 ? 0 : cos(r * 0.017453292519943295);
}
static double tandg(double x)
{
    double r = fmod(x, 180);
    return r == 0 ? 0 : fabs(r) == 90 ? INFINITY : tan(r * 0.017453292519943295);
}
static double ndtr(double x)
{
    return 0.5 * erfc(-0.7071067811865476 * x);
}
static double loggamma(double x)
{
    return x < 0 ? NAN : lgamma(x);
}
static double rgamma(double x)
{
    return x <= 0 && x == floor(x) ? 0 : 1 / tgamma(x);
}
static double digamma(double x)  /* recurrence up to 10, then the asymptotic series; reflected below 0 */
{
    double shift = 0, r, t;
    if (x == 0) return copysign(INFINITY, -x);
    if (x < 0) {
        if (x == floor(x)) return NAN;
        t = x - floor(x);
        return digamma(1 - x) - 3.141592653589793 / tan(3.141592653589793 * t);
    }
    while (x < 10) {
        shift -= 1 / x;
        x += 1;
    }
    if (isinf(x)) return x;
    r = 1 / (x * x);
    t = r * (1.0 / 12 - r * (1.0 / 120 - r * (1.0 / 252 - r * (1.0 / 240 - r * (1.0 / 132 - r * (691.0 / 32760
        - r / 12))))));
    return shift + log(x) - 0.5 / x - t;
}
""")
