"""A second catalogue, from simulation, statistics, signals and linear algebra: planted mistakes and right gradients."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from scipy import integrate, special
from tests.check.catalogue import Case

R = np.random.default_rng(77)
V = R.standard_normal(10)
Q = np.abs(R.standard_normal(10)) + 0.3
M = R.standard_normal((5, 5))
T = M @ M.T + 3 * np.eye(5)
D = R.standard_normal((7, 4))
W = R.standard_normal((8, 10)) / 3
DATA = R.standard_normal(40)
MANY = R.standard_normal(100_000)

BUGS: list[Case] = []
HARD: list[Case] = []


# ruff: noqa: PLW0108, PLC3002, E731, E501 - a lambda is a gradient as a user writes it
def bug(name: str, f: Any, *args: Any, **options: Any) -> None:
    BUGS.append(Case(name, f, args, options))


def hard(name: str, f: Any, *args: Any, **options: Any) -> None:
    HARD.append(Case(name, f, args, options))


# --- time stepping
def march(x: Any, steps: int = 12, dt: float = 0.1) -> Any:
    for _ in range(steps):
        x = x + dt * np.sin(np.roll(x, 1)) * x
    return np.sum(x**2)


def march_grad(x: Any, steps: int = 12, dt: float = 0.1, last: int | None = None, roll: int = -1) -> Any:
    kept = [x]
    for _ in range(steps):
        x = x + dt * np.sin(np.roll(x, 1)) * x
        kept.append(x)
    g = 2 * x
    for k in range(steps - 1, -1 if last is None else steps - 1 - last, -1):
        y = kept[k]
        r = np.roll(y, 1)
        g = g + dt * np.sin(r) * g + np.roll(dt * np.cos(r) * y * g, roll)
    return g


bug("adjoint truncated to five steps", march, V, grad=lambda x: march_grad(x, last=5))
bug("adjoint rolled the wrong way", march, V, grad=lambda x: march_grad(x, roll=1))
bug("adjoint of half the time step", march, V, grad=lambda x: march_grad(x, dt=0.0999))
hard("adjoint of a time march", march, V, grad=march_grad)


def implicit(u: Any) -> Any:
    a = np.eye(5) + 0.3 * M
    for _ in range(4):
        u = np.linalg.solve(a, u + 0.1 * u**2)
    return u


def implicit_vjp(u: Any, v: Any, transposed: bool = True) -> Any:
    a = np.eye(5) + 0.3 * M
    kept = []
    for _ in range(4):
        kept.append(u)
        u = np.linalg.solve(a, u + 0.1 * u**2)
    for y in reversed(kept):
        v = np.linalg.solve(a.T if transposed else a, v) * (1 + 0.2 * y)
    return v


bug("implicit steps, not transposed", implicit, V[:5], vjp=lambda u, v: implicit_vjp(u, v, transposed=False))
hard("implicit steps", implicit, V[:5], vjp=implicit_vjp)

# --- signals
bug("power spectrum without conjugate", lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2 * np.arange(10.0)), V,
    grad=lambda x: 2 * 10 * np.fft.ifft(np.arange(10.0) * np.conj(np.fft.fft(x))).real)  # fmt: skip
hard("power spectrum", lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2 * np.arange(10.0)), V,
     grad=lambda x: 2 * 10 * np.fft.ifft(np.arange(10.0) * np.fft.fft(x)).real)  # fmt: skip


def rfft_energy_grad(x: Any, weight: float) -> Any:
    spectrum = np.fft.rfft(x)
    w = np.full(6, weight)
    w[[0, -1]] = 2
    return np.fft.irfft(w * spectrum, 10) * 10 / 2 * 2 / 2


bug("half spectrum counted once", lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2), V,
    grad=lambda x: rfft_energy_grad(x, 1.9))  # fmt: skip
bug("cumsum not reversed", lambda x: np.sum(np.cumsum(x) ** 2), V, grad=lambda x: np.cumsum(2 * np.cumsum(x)))
hard("cumsum", lambda x: np.sum(np.cumsum(x) ** 2), V, grad=lambda x: np.cumsum(2 * np.cumsum(x)[::-1])[::-1])
ZEROS = np.array([1.0, 2.0, 0.0, 3.0, -1.0])
bug("cumprod by division", lambda x: np.prod(x), ZEROS, grad=lambda x: np.nan_to_num(np.prod(x) / x))
hard("product with a zero", lambda x: np.prod(x), ZEROS,
     grad=lambda x: np.array([np.prod(np.delete(x, i)) for i in range(5)]))  # fmt: skip

# --- likelihoods
bug("gaussian, log sigma", lambda p: np.sum(0.5 * ((DATA - p["m"]) / np.exp(p["s"])) ** 2 + p["s"]),
    {"m": 0.3, "s": -0.2},
    grad=lambda p: {"m": np.sum(p["m"] - DATA) / np.exp(2 * p["s"]),
                    "s": np.sum(1 - 0.5 * ((DATA - p["m"]) / np.exp(p["s"])) ** 2)})  # fmt: skip
hard("gaussian, tiny sigma", lambda p: np.sum(0.5 * ((DATA - p["m"]) / np.exp(p["s"])) ** 2 + p["s"]),
     {"m": 0.3, "s": -9.0},
     grad=lambda p: {"m": np.sum(p["m"] - DATA) / np.exp(2 * p["s"]),
                     "s": np.sum(1 - ((DATA - p["m"]) / np.exp(p["s"])) ** 2)})  # fmt: skip


def student(p: Any) -> Any:
    n = p[0]
    body = special.gammaln((n + 1) / 2) - special.gammaln(n / 2) - 0.5 * np.log(n * np.pi)
    return np.sum(body - (n + 1) / 2 * np.log1p((DATA - p[1]) ** 2 / n))


def student_grad(p: Any, forgotten: float = 1.0) -> Any:
    n, z = p[0], DATA - p[1]
    first = 0.5 * special.digamma((n + 1) / 2) - 0.5 * special.digamma(n / 2) - 0.5 * forgotten / n
    first = first - 0.5 * np.log1p(z * z / n) + (n + 1) / 2 * (z * z / n**2) / (1 + z * z / n)
    return np.array([np.sum(first), np.sum((n + 1) * z / (n + z * z))])


bug("student t, a term forgotten", student, np.array([4.0, 0.1]), grad=lambda p: student_grad(p, 0.0))
hard("student t", student, np.array([4.0, 0.1]), grad=student_grad)
hard("gamma function near zero", lambda x: np.sum(special.gammaln(x)), np.array([1e-5, 1.0, 1e5]), grad=special.digamma)
bug("digamma of the wrong argument", lambda x: np.sum(special.gammaln(x)), Q, grad=lambda x: special.digamma(x + 1e-3))
bug("constants cut off", lambda x: np.sum(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)), V,
    grad=lambda x: -x * np.exp(-(x**2) / 2) / np.sqrt(2 * 3.14159))  # fmt: skip

# --- linear algebra
bug("logdet of a factor, diagonal doubled", lambda a: 2 * np.sum(np.log(np.diag(np.linalg.cholesky(a @ a.T)))), T,
    grad=lambda a: 2 * np.linalg.inv(a).T + np.diag(np.diag(np.linalg.inv(a))))  # fmt: skip
hard("logdet of a factor", lambda a: 2 * np.sum(np.log(np.diag(np.linalg.cholesky(a @ a.T)))), T,
     grad=lambda a: 2 * np.linalg.inv(a).T)  # fmt: skip


def spectral(a: Any) -> Any:
    return np.sum(np.exp(np.linalg.eigvalsh((a + a.T) / 2) / 4))


def spectral_grad(a: Any) -> Any:
    w, u = np.linalg.eigh((a + a.T) / 2)
    return (u * np.exp(w / 4) / 4) @ u.T


bug("eigenvalues, lower triangle only", spectral, T, grad=lambda a: np.tril(spectral_grad(a)))
hard("eigenvalues", spectral, T, grad=spectral_grad)
hard("eigenvalues that coincide", spectral, np.eye(4), grad=spectral_grad)
hard("eigenvalues that nearly coincide", spectral, np.eye(4) + 1e-9 * M[:4, :4], grad=spectral_grad)
HILBERT = 1 / (np.arange(6)[:, None] + np.arange(6) + 1.0)
hard("determinant of a Hilbert matrix", np.linalg.det, HILBERT,
     grad=lambda a: np.linalg.det(a) * np.linalg.inv(a).T)  # fmt: skip
hard("solve, condition 1e7", lambda b: np.sum(np.linalg.solve(HILBERT, b) ** 2), np.ones(6),
     grad=lambda b: 2 * np.linalg.solve(HILBERT.T, np.linalg.solve(HILBERT, b)))  # fmt: skip
bug("determinant transposed", np.linalg.det, M, grad=lambda a: np.linalg.det(a) * np.linalg.inv(a))
bug("trace of a product", lambda x: np.trace(M @ x @ T), M, grad=lambda x: T @ M)
bug("triangular, upper part not cleared", lambda a: np.sum(np.linalg.solve(np.tril(a) + 4 * np.eye(5), V[:5]) ** 2), M,
    grad=lambda a: (lambda lo: -np.outer(np.linalg.solve(lo.T, 2 * np.linalg.solve(lo, V[:5])),
                                         np.linalg.solve(lo, V[:5])))(np.tril(a) + 4 * np.eye(5)))  # fmt: skip


# --- particles
def pairs(r: Any) -> Any:
    d2 = np.sum((r[:, None] - r[None]) ** 2, -1)[np.triu_indices(len(r), 1)]
    return np.sum(1 / d2**6 - 1 / d2**3)


def pairs_grad(r: Any, both: bool = True) -> Any:
    diff = r[:, None] - r[None]
    d2 = np.sum(diff**2, -1) + np.eye(len(r))
    w = (-6 / d2**7 + 3 / d2**4) * (1 - np.eye(len(r)))
    if not both:
        w = np.triu(w)
    return 2 * np.sum(w[:, :, None] * diff, 1)


ATOMS = np.array([[0, 0, 0], [1.1, 0, 0], [0, 1.2, 0.1], [1.0, 1.1, 1.0]], dtype=float)
bug("pairs counted from one side", pairs, ATOMS, grad=lambda r: pairs_grad(r, both=False))
hard("pairs", pairs, ATOMS, grad=pairs_grad)
hard("pairs in close contact", pairs, ATOMS * 0.05, grad=pairs_grad)

# --- index work
WHERE = np.array([0, 3, 3, 1, 0, 3, 2, 9, 9, 9])


def lookup_grad(x: Any, add: bool = True) -> Any:
    g = np.zeros(10)
    v = 2 * x[WHERE] * np.arange(10)
    if add:
        np.add.at(g, WHERE, v)
    else:
        g[WHERE] += v
    return g


lookup = lambda x: np.sum(x[WHERE] ** 2 * np.arange(10))
bug("repeated index overwritten", lookup, V, grad=lambda x: lookup_grad(x, add=False))
hard("repeated index", lookup, V, grad=lookup_grad)
bug(
    "sort, permutation not inverted",
    lambda x: np.sort(x) @ np.arange(10.0),
    V,
    grad=lambda x: np.arange(10.0)[np.argsort(x)],
)
hard("sort", lambda x: np.sort(x) @ np.arange(10.0), V, grad=lambda x: 1.0 * np.argsort(np.argsort(x)))
bug(
    "roll back the same way",
    lambda x: np.sum(np.roll(x, 3) * np.arange(10.0)),
    V,
    grad=lambda x: np.roll(np.arange(10.0), 3),
)
bug("gradients of two arguments swapped", lambda a, b: np.sum(a * b * b), V, Q, argnums=(0, 1),
    grad=lambda a, b: (2 * a * b, b * b))  # fmt: skip
bug("second argument negated", lambda a, b: np.sum(a / b), V, Q, argnums=(0, 1), grad=lambda a, b: (1 / b, a / b**2))
bug("second output dropped", lambda x: (np.sin(x), np.sum(x**2)), V, vjp=lambda x, v: v[0] * np.cos(x))
bug("outer sum over the wrong axis", lambda a: np.sum((a[:, None] * V[None, :7]) ** 2 * D[:, :1]), V[:7],
    grad=lambda a: np.sum(2 * a[:, None] * V[None, :7] ** 2 * D[:, :1], axis=0))  # fmt: skip
bug("one of a hundred thousand", lambda x: float(np.sum(np.cos(x))), MANY,
    grad=lambda x: -np.sin(x) * (1 + 1e-3 * (np.arange(x.size) == 61234)), probes=False)  # fmt: skip
hard("a hundred thousand", lambda x: float(np.sum(np.cos(x))), MANY, grad=lambda x: -np.sin(x), probes=False)


# --- layers
def attention(p: Any) -> Any:
    q, k, v = p
    s = q @ k.T / 2
    e = np.exp(s - s.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)) @ v


def attention_vjp(p: Any, g: Any, scale: float = 0.5, centred: bool = True) -> Any:
    q, k, v = p
    s = q @ k.T / 2
    e = np.exp(s - s.max(-1, keepdims=True))
    a = e / e.sum(-1, keepdims=True)
    da = g @ v.T
    ds = a * (da - (a * da).sum(-1, keepdims=True) * centred)
    return ds @ k * scale, ds.T @ q * scale, a.T @ g


QKV = (D, D[::-1].copy(), np.sin(D))
bug("attention without its scale", attention, QKV, vjp=lambda p, g: attention_vjp(p, g, 1.0))
bug("attention, softmax not centred", attention, QKV, vjp=lambda p, g: attention_vjp(p, g, centred=False))
hard("attention", attention, QKV, vjp=attention_vjp)
bug("weight decay forgotten", lambda w: np.sum(np.tanh(W @ w)) + 5e-5 * np.sum(w**2), V,
    grad=lambda w: W.T @ (1 - np.tanh(W @ w) ** 2))  # fmt: skip
bug("gradient clipped by norm", lambda x: 50 * np.sum(np.sin(x)), V,
    grad=lambda x: (lambda g: g * min(1, 10 / np.linalg.norm(g)))(50 * np.cos(x)))  # fmt: skip
bug("gradient clipped by value", lambda x: np.sum(np.exp(x)), np.array([0.1, 2.0, -1.0, 0.3]),
    grad=lambda x: np.minimum(np.exp(x), 5.0))  # fmt: skip
bug(
    "upper bound of a clip forgotten",
    lambda x: np.sum(np.clip(x, 0, 1) ** 2),
    V,
    grad=lambda x: 2 * np.clip(x, 0, None) * 1.0,
)
bug(
    "slope of the negative side",
    lambda x: np.sum(np.where(x > 0, x, 0.01 * x)),
    V,
    grad=lambda x: np.where(x > 0, 1, 0.02),
)
bug("softplus cut off early", lambda x: np.sum(np.logaddexp(0, x)), np.array([-1.0, 0.5, 5.2, 2.0]),
    grad=lambda x: np.where(x > 5, 1.0, 1 / (1 + np.exp(-x))))  # fmt: skip
bug("forward difference as a gradient", lambda x: np.sum(np.exp(np.sin(x))), V,
    grad=lambda x: (np.exp(np.sin(x + 1e-3)) - np.exp(np.sin(x))) / 1e-3)  # fmt: skip
bug("smoothed norm", np.linalg.norm, V, grad=lambda x: x / np.sqrt(x @ x + 1e-3))
bug("half precision inside", lambda x: np.sum(np.sin(x)), V, grad=lambda x: np.cos(x.astype(np.float16)).astype(float))
bug("overflow in a sigmoid", lambda x: np.sum(1 / (1 + np.exp(-x))), np.array([1.0, -800.0]),
    grad=lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2)  # fmt: skip
bug(
    "mask drawn anew", lambda x: np.sum(x * x), V, grad=lambda x: 2 * x * np.random.default_rng().integers(0, 2, 10) * 2
)
bug("integers in the gradient", lambda x: np.sum(x**3), V, grad=lambda x: (3 * x**2).astype(int))
bug("complex modulus, real part only", lambda x: np.sum(np.abs(x[:5] + 1j * x[5:]) ** 3), V,
    grad=lambda x: 3 * np.concatenate([np.abs(x[:5] + 1j * x[5:]) * x[:5], np.zeros(5)]))  # fmt: skip
bug("hessian product, diagonal only", lambda x: np.sum(x) ** 3, V, order=2,
    grad=lambda x: np.full(10, 3 * np.sum(x) ** 2), vjp=lambda x, v: 6 * np.sum(x) * v)  # fmt: skip
bug("forward mode, one argument forgotten", lambda p: p[0] * np.sin(p[1]), (V, Q), jvp=lambda p, t: t[0] * np.sin(p[1]))
bug(
    "wrong at large values only",
    lambda x: np.sum(np.log1p(x)),
    np.array([0.1, 0.5, 1e4]),
    grad=lambda x: 1 / (1 + x) * (1 + 1e-8 * x),
)
bug("errors that cancel in the sum", lambda x: np.sum(x**2), V, grad=lambda x: 2 * x + 0.3 * np.tile([1.0, -1.0], 5))
bug("straight-through, fine grid", lambda x: np.sum(np.round(x * 50) / 50), V, grad=np.ones_like)
bug("straight-through sign", lambda x: np.sum(np.sign(x) * Q), V, grad=lambda x: Q * (np.abs(x) <= 1.5))
bug("straight-through, doubled", lambda x: np.sum(np.round(x * 50) / 50), V, grad=lambda x: np.full(10, 2.0))
bug("rounded output, doubled gradient", lambda x: float(np.round(np.sum(x**3), 2)), V, grad=lambda x: 6 * x**2)
bug(
    "rounded output, one entry wrong",
    lambda x: float(np.round(np.sum(x**3), 4)),
    V,
    grad=lambda x: 3 * x**2 * (1 + (np.arange(10) == 4)),
)
bug("every second call", lambda x: np.sum(x**2), V,
    grad=lambda x, calls=[0]: (calls.__setitem__(0, calls[0] + 1), 2 * x * (1 + calls[0] % 2))[1])  # fmt: skip
bug("factor in the small array only", lambda p: np.sum(np.sin(p["a"])) + 1e-7 * np.sum(p["b"] ** 2), {"a": MANY[:400], "b": V},
    grad=lambda p: {"a": np.cos(p["a"]), "b": 4e-7 * p["b"]})  # fmt: skip
bug("interpolation, neighbouring interval", lambda x: np.sum(np.interp(x, np.arange(6.0), DATA[:6])), np.array([0.3, 2.6, 4.2]),
    grad=lambda x: np.diff(DATA[:6])[np.minimum(np.ceil(x).astype(int), 4)])  # fmt: skip
bug(
    "kink given the wrong side",
    lambda x: np.sum(np.maximum(x, 2 * x)),
    np.array([0.0, 1.0, -1.0]),
    grad=lambda x: np.where(x == 0, 2.5, np.where(x > 0, 2.0, 1.0)),
)
bug("float32 input, five per mille", lambda x: np.sum(np.exp(np.sin(x))), V.astype(np.float32),
    grad=lambda x: np.float32(1.005) * np.cos(x) * np.exp(np.sin(x)))  # fmt: skip
bug("float32 throughout, tenth", lambda x: np.sum(np.exp(np.sin(np.float32(x)))), V.astype(np.float32),
    grad=lambda x: np.float32(1.1) * np.cos(x) * np.exp(np.sin(x)))  # fmt: skip
bug("fixed point, derivative of one step", lambda a: functools.reduce(lambda y, _: np.cos(a * y), range(200), 0.5 + 0 * a).sum(), Q / 3,
    grad=lambda a: (lambda y: -y * np.sin(a * y))(functools.reduce(lambda y, _: np.cos(a * y), range(200), 0.5 + 0 * a)))  # fmt: skip

# --- right, but hard
fixed = lambda a: functools.reduce(lambda y, _: np.cos(a * y), range(400), 0.5 + 0 * a)
hard("fixed point", lambda a: fixed(a).sum(), Q / 3,
     grad=lambda a: (lambda y: -y * np.sin(a * y) / (1 + a * np.sin(a * y)))(fixed(a)))  # fmt: skip


def loose(a: Any, tolerance: float) -> Any:
    y, old = 0.5, 9.0
    while abs(y - old) > tolerance:
        y, old = math.cos(a * y), y
    return y


def loose_grad(a: Any) -> Any:
    y = loose(a, 1e-15)
    return -y * math.sin(a * y) / (1 + a * math.sin(a * y))


hard("fixed point, stopped at 1e-6", lambda a: loose(a, 1e-6), 0.8, grad=loose_grad)
hard("fixed point, stopped at 1e-3", lambda a: loose(a, 1e-3), 0.8, grad=loose_grad)


def bisect(a: Any, tolerance: float) -> Any:
    low, high = 0.0, 4.0
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (middle, high) if middle**3 + middle < a else (low, middle)
    return (low + high) / 2


def bisect_grad(a: Any) -> Any:
    return 1 / (3 * bisect(a, 1e-15) ** 2 + 1)


hard("bisection to 1e-13", lambda a: bisect(a, 1e-13), 2.3, grad=bisect_grad)
hard("bisection to 1e-4", lambda a: bisect(a, 1e-4), 2.3, grad=bisect_grad)
hard("bisection to 1e-2", lambda a: bisect(a, 1e-2), 2.3, grad=bisect_grad)
hard("quadrature", lambda a: integrate.quad(lambda t: math.exp(-a * t * t), 0, 2)[0], 0.7,
     grad=lambda a: -integrate.quad(lambda t: t * t * math.exp(-a * t * t), 0, 2)[0])  # fmt: skip
hard("adaptive integrator, loose",
     lambda a: float(integrate.solve_ivp(lambda t, y: -a * y + np.sin(t), (0, 3), [1.0], rtol=1e-3).y[0, -1]), 0.7,
     grad=lambda a: float(integrate.solve_ivp(lambda t, y: [-a * y[0] + np.sin(t), -a * y[1] - y[0]], (0, 3),
                                              [1.0, 0.0], rtol=1e-11, atol=1e-12).y[1, -1]), rtol=1e-3)  # fmt: skip
hard("printed with six digits", lambda x: float(f"{np.sum(x**2):.6g}"), V, grad=lambda x: 2 * x)
hard("two digits", lambda x: np.round(np.sum(x**3), 2), V, grad=lambda x: 3 * x**2)
hard("one digit", lambda x: np.round(np.sum(x**3), 1), V, grad=lambda x: 3 * x**2)
hard("half precision output", lambda x: float(np.float16(np.sum(np.sin(x)))), V, grad=np.cos)
hard("single precision output", lambda x: float(np.float32(np.sum(np.sin(x)))), V, grad=np.cos)
hard("single precision inside", lambda x: float(np.sum(np.sin(np.float32(x)) ** 2)), V, grad=lambda x: np.sin(2 * x))
hard("counts", lambda x: float(np.sum(x > DATA)), 0.3, grad=lambda x: 0.0)
hard("rosenbrock at its minimum", lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), np.ones(8),
     grad=lambda x: np.concatenate([-400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1]), [0]])
     + np.concatenate([[0], 200 * (x[1:] - x[:-1] ** 2)]))  # fmt: skip
hard(
    "rastrigin",
    lambda x: np.sum(x**2 - 10 * np.cos(2 * np.pi * x)),
    3 * V,
    grad=lambda x: 2 * x + 20 * np.pi * np.sin(2 * np.pi * x),
)
hard(
    "a cone at its tip",
    lambda x: -20 * np.exp(-0.2 * np.sqrt(np.mean(x**2))),
    np.zeros(6),
    grad=lambda x: (lambda s: 4 * np.exp(-0.2 * s) * x / 6 / max(s, 1e-300))(np.sqrt(np.mean(x**2))),
)
hard("quantile", lambda x: np.quantile(x, 0.3), V,
     grad=lambda x: np.array([0, 0, 0.3, 0.7, 0, 0, 0, 0, 0, 0])[np.argsort(np.argsort(x))])  # fmt: skip
hard(
    "clip at its bound",
    lambda x: np.sum(np.clip(x, 0, 1)),
    np.array([0.0, 1.0, 0.5, 2.0]),
    grad=lambda x: 1.0 * ((x > 0) & (x < 1)),
)
hard("total variation with flat parts", lambda x: np.sum(np.abs(np.diff(x))), np.array([1.0, 1.0, 1.0, 2.0, 2.0, 0.5]),
     grad=lambda x: np.concatenate([[0], np.sign(np.diff(x))]) - np.concatenate([np.sign(np.diff(x)), [0]]))  # fmt: skip
hard("nearly tied maximum", np.max, np.array([1.0, 1.0 + 1e-9, 0.2]), grad=lambda x: 1.0 * (x == x.max()))
hard("hard assignment", lambda c: np.sum(np.min((DATA[:, None] - c) ** 2, axis=1)), np.array([-1.0, 0.1, 1.2]),
     grad=lambda c: np.array([np.sum(2 * (v - DATA[np.argmin((DATA[:, None] - c) ** 2, axis=1) == k]))
                              for k, v in enumerate(c)]))  # fmt: skip
hard(
    "hinge at its margin",
    lambda w: np.sum(np.maximum(0, 1 - w)),
    np.array([1.0, 0.3, 2.0]),
    grad=lambda w: -1.0 * (w < 1),
)
hard(
    "x log x near zero",
    lambda x: np.sum(special.xlogy(x, x)),
    np.array([1e-300, 1e-12, 0.5]),
    grad=lambda x: np.log(x) + 1,
)
hard("sin of 1/x", lambda x: np.sum(np.sin(1 / x)), np.array([0.01, 0.3]), grad=lambda x: -np.cos(1 / x) / x**2)
hard(
    "all derivatives vanish",
    lambda x: np.sum(np.exp(-1 / x**2)),
    np.array([0.05, 0.4]),
    grad=lambda x: 2 / x**3 * np.exp(-1 / x**2),
)
hard("sinc at zero", lambda x: np.sum(np.sinc(x)), np.array([0.0, 0.3]),
     grad=lambda x: np.where(x == 0, 0.0, (np.cos(np.pi * x) - np.sinc(x)) / np.where(x == 0, 1, x)))  # fmt: skip
hard(
    "arccos next to one",
    lambda x: np.sum(np.arccos(x)),
    np.array([1 - 1e-9, 0.2]),
    grad=lambda x: -1 / np.sqrt((1 - x) * (1 + x)),
)
hard(
    "angle beside its cut",
    lambda x: np.arctan2(x[1], x[0]),
    np.array([-1.0, 1e-6]),
    grad=lambda x: np.array([-x[1], x[0]]) / (x @ x),
)
hard(
    "angle on its cut",
    lambda x: np.arctan2(x[1], x[0]),
    np.array([-1.0, 0.0]),
    grad=lambda x: np.array([-x[1], x[0]]) / (x @ x),
)
hard(
    "rounded absolute value",
    lambda x: np.sum(np.sqrt(x**2 + 1e-12)),
    np.array([0.0, 1e-6, 1.0]),
    grad=lambda x: x / np.sqrt(x**2 + 1e-12),
)
hard(
    "switch of width 1e-6",
    lambda x: np.sum(np.tanh(1e6 * x)),
    np.array([0.0, 1e-6, 1.0]),
    grad=lambda x: 1e6 / np.cosh(np.minimum(1e6 * x, 300)) ** 2,
)
hard("size 1e-300", lambda x: 1e-300 * np.sum(np.sin(x)), V, grad=lambda x: 1e-300 * np.cos(x))
hard("size 1e300", lambda x: 1e300 * np.mean(np.sin(x)), V, grad=lambda x: 1e299 * np.cos(x))
hard("squares overflow nearby", lambda x: np.sum(np.sqrt(x**2)), np.array([1e154, 3e153]), grad=np.sign)
hard("x of size 1e-200", lambda x: np.sum(np.sin(x * 1e200)), 1e-200 * V, grad=lambda x: 1e200 * np.cos(1e200 * x))
hard(
    "twenty decades of slopes",
    lambda x: np.sum(10.0 ** np.linspace(-10, 10, 10) * np.sin(x)),
    V,
    grad=lambda x: 10.0 ** np.linspace(-10, 10, 10) * np.cos(x),
)
hard("a large offset in float32", lambda x: np.float32(1e4) + np.sum(np.sin(x)), V.astype(np.float32), grad=np.cos)
hard(
    "float32 throughout",
    lambda x: np.sum(np.exp(np.sin(np.float32(x)))),
    V.astype(np.float32),
    grad=lambda x: np.cos(x) * np.exp(np.sin(x)),
)
hard("float16 softmax", lambda x: np.log(np.exp(x - x.max())[0] / np.exp(x - x.max()).sum()), V.astype(np.float16),
     grad=lambda x: (np.arange(10) == 0) - np.exp(x - x.max()) / np.exp(x - x.max()).sum())  # fmt: skip
hard("common random numbers", lambda p: np.mean(np.exp(p[0] * np.random.default_rng(1).standard_normal(500) + p[1])), np.array([0.4, 0.1]),
     grad=lambda p: (lambda z: np.array([np.mean(z * np.exp(p[0] * z + p[1])), np.mean(np.exp(p[0] * z + p[1]))]))(
         np.random.default_rng(1).standard_normal(500)))  # fmt: skip
hard(
    "fresh random numbers",
    lambda p: np.mean(np.exp(p * np.random.default_rng().standard_normal(500))),
    0.4,
    grad=lambda p: p * np.exp(p * p / 2),
)
hard("global random state", lambda x: np.sum(x**2 * (np.random.random(10) < 0.5) * 2), V, freeze_rng=True,  # noqa: NPY002
     grad=lambda x: 4 * x * (np.random.random(10) < 0.5))  # noqa: NPY002 # fmt: skip
hard(
    "memoised",
    functools.partial(lambda cache, x: cache.setdefault(x.tobytes(), float(np.sum(np.exp(x)))), {}),
    V,
    grad=np.exp,
)
hard("noise of 1e-6", lambda x: np.sum(x**2) + 1e-6 * np.sin(1e13 * np.sum(x)), V, grad=lambda x: 2 * x)
hard("weierstrass", lambda x: sum(0.5**k * np.cos(3.0**k * x) for k in range(12)), 0.37,
     grad=lambda x: -sum(1.5**k * np.sin(3.0**k * x) for k in range(12)))  # fmt: skip
hard("many powers", lambda x: np.sum(x**40), np.array([0.9, 1.1, 1.3]), grad=lambda x: 40 * x**39)
hard("float32 gradient of a float32 network", lambda w: np.sum(np.tanh(np.float32(W) @ w) ** 2), V.astype(np.float32),
     grad=lambda w: np.float32(W).T @ (2 * np.tanh(np.float32(W) @ w) * (1 - np.tanh(np.float32(W) @ w) ** 2)))  # fmt: skip
hard(
    "bounded domain, at its edge",
    lambda x: np.sum(np.arcsin(x)),
    np.array([0.999, -0.5]),
    grad=lambda x: 1 / np.sqrt(1 - x * x),
    bounds=(-1.0, 1.0),
)
hard("l1 of two hundred zeros", lambda x: np.sum(np.abs(x)), np.zeros(200), grad=np.sign)
hard("relus of a sparse vector", lambda x: np.sum(2 * np.maximum(x, 0) + x**2), np.where(np.arange(500) % 3 == 0, 0.0, MANY[:500]),
     grad=lambda x: 2.0 * (x > 0) + 2 * x)  # fmt: skip
hard("total variation of pairs", lambda x: np.sum(np.abs(np.diff(x))), np.repeat(MANY[:300], 2),
     grad=lambda x: np.concatenate([[0], np.sign(np.diff(x))]) - np.concatenate([np.sign(np.diff(x)), [0]]))  # fmt: skip
