"""Gradients with one planted mistake each, and right gradients of functions that are hard to difference."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

RNG = np.random.default_rng(20)
X = RNG.standard_normal(12)
P = np.abs(X) + 0.5
A = RNG.standard_normal((6, 12))
S = RNG.standard_normal((4, 4))
SPD = S @ S.T + 4 * np.eye(4)
B = RNG.standard_normal((5, 3))
LABELS = np.array([0, 2, 1, 2, 0])
LONG = RNG.standard_normal(3000)


# ruff: noqa: PLW0108 - a lambda is a gradient as a user writes it
class Case(NamedTuple):
    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]


BUGS: list[Case] = []
HARD: list[Case] = []


def bug(name: str, f: Callable[..., Any], *args: Any, **options: Any) -> None:
    BUGS.append(Case(name, f, args, options))


def hard(name: str, f: Callable[..., Any], *args: Any, **options: Any) -> None:
    HARD.append(Case(name, f, args, options))


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def cross_entropy(z: Any) -> Any:
    return -np.mean(np.log(softmax(z)[np.arange(len(z)), LABELS]))


def cross_entropy_grad(z: Any) -> Any:
    g = softmax(z)
    g[np.arange(len(z)), LABELS] -= 1
    return g / len(z)


def layer_norm(x: Any, eps: float = 1e-5) -> Any:
    m = x.mean(-1, keepdims=True)
    return (x - m) / np.sqrt(((x - m) ** 2).mean(-1, keepdims=True) + eps)


def layer_norm_vjp(x: Any, v: Any, eps: float = 1e-5, drop: str = "") -> Any:
    s = np.sqrt(x.var(-1, keepdims=True) + eps)
    h = (x - x.mean(-1, keepdims=True)) / s
    first = 0 if drop == "mean" else v.mean(-1, keepdims=True)
    second = 0 if drop == "var" else h * (v * h).mean(-1, keepdims=True)
    return (v - first - second) / s


K = np.array([0.5, -1.0, 2.0])


def conv(x: Any) -> Any:
    return np.convolve(x, K, "valid")


def conv_vjp(x: Any, v: Any) -> Any:
    return np.correlate(v, K, "full")


def gelu(x: Any) -> Any:
    return np.sum(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def gelu_grad(x: Any, c: float = 0.044715) -> Any:
    u = np.sqrt(2 / np.pi) * (x + c * x**3)
    t = np.tanh(u)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * c * x**2)


def at(index: int, factor: float, g: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wrong(x: Any) -> Any:
        out = np.array(g(x))
        out.flat[index] *= factor
        return out

    return wrong


square = lambda x: np.sum(x**2)  # noqa: E731
cube_grad = lambda x: 3 * x**2  # noqa: E731

# --- constants and signs
bug("factor 2 missing", square, X, grad=lambda x: x)
bug("factor 2 too much", lambda x: np.sum(np.sin(x)), X, grad=lambda x: 2 * np.cos(x))
bug("sign", lambda x: np.sum(np.cos(x)), X, grad=np.sin)
bug("mean as sum", lambda x: np.mean(x**2), X, grad=lambda x: 2 * x)
bug("sum as mean", square, X, grad=lambda x: 2 * x / x.size)
bug("one per cent", lambda x: np.sum(np.exp(x)), X, grad=lambda x: 1.01 * np.exp(x))
bug("relative 1e-4", lambda x: np.sum(np.exp(x)), X, grad=lambda x: (1 + 1e-4) * np.exp(x))
bug("relative 3e-5", lambda x: np.sum(x**3), X, grad=lambda x: (1 + 3e-5) * 3 * x**2)
bug("constant added", square, X, grad=lambda x: 2 * x + 0.1)
bug("sqrt(d) missing", lambda x: np.sum(x**2) / np.sqrt(12), X, grad=lambda x: 2 * x)
# --- wrong formula
bug("tanh without square", lambda x: np.sum(np.tanh(x)), X, grad=lambda x: 1 - np.tanh(x))
bug("sigmoid", lambda x: np.sum(1 / (1 + np.exp(-x))), X, grad=lambda x: 1 / (1 + np.exp(-x)))
bug("log as 1/x^2", lambda x: np.sum(np.log(x)), P, grad=lambda x: 1 / x**2)
bug("power rule", lambda x: np.sum(x**3), X, grad=lambda x: 3 * x)
bug("product rule, a term missing", lambda x: np.sum(x * np.exp(x)), X, grad=np.exp)
bug("quotient rule", lambda x: np.sum(x / (1 + x**2)), X, grad=lambda x: 1 / (1 + x**2))
bug("chain rule, inner missing", lambda x: np.sum(np.sin(3 * x)), X, grad=lambda x: np.cos(3 * x))
bug("gelu with a truncated constant", gelu, X, grad=functools.partial(gelu_grad, c=0.0447))
bug("gelu without its second term", gelu, X, grad=lambda x: 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * x)))
bug("norm squared for norm", np.linalg.norm, X, grad=lambda x: 2 * x)
bug("logsumexp without normalisation", lambda x: np.log(np.sum(np.exp(x))), X, grad=np.exp)
bug("variance with n - 1", lambda x: np.var(x), X, grad=lambda x: 2 * (x - x.mean()) / (x.size - 1))
bug("variance through the mean", lambda x: np.var(x), X, grad=lambda x: 2 * x / x.size)
# --- places
bug("transposed matrix", lambda M: np.sum((M @ S) ** 2), S, grad=lambda M: (2 * (M @ S) @ S.T).T)
bug("S for its transpose", lambda M: np.sum((M @ S) ** 2), S, grad=lambda M: 2 * (M @ S) @ S)
bug("shifted by one", lambda x: np.sum(np.sin(x)), X, grad=lambda x: np.roll(np.cos(x), 1))
bug("reversed", lambda x: np.sum(x**3), X, grad=lambda x: (3 * x**2)[::-1])
bug("two entries exchanged", lambda x: np.sum(x**3), X, grad=lambda x: (3 * x**2)[[1, 0, *range(2, 12)]])
bug("convolution, kernel not flipped", conv, X, vjp=lambda x, v: np.correlate(v, K[::-1], "full"))
bug("one of 12 wrong by 1e-3", lambda x: np.sum(x**3), X, grad=at(5, 1.001, cube_grad))
bug("one of 3000 wrong by 1e-3", lambda x: np.sum(x**3), LONG, grad=at(1234, 1.001, cube_grad))
bug("one of 3000 wrong by 1e-4", lambda x: np.sum(np.sin(x)), LONG, grad=at(17, 1.0001, np.cos))
bug("the last entry forgotten", lambda x: np.sum(x**3), LONG, grad=at(2999, 0.0, cube_grad))
bug(
    "boundary of a difference",
    lambda x: np.sum(np.diff(x) ** 2),
    X,
    grad=lambda x: np.concatenate([[0], 2 * np.diff(x)]),
)
bug("cumsum not reversed", np.cumsum, X, vjp=lambda x, v: np.cumsum(v))
bug("max goes to the wrong place", np.max, X, grad=lambda x: (np.arange(12) == np.argmin(x)) * 1.0)
bug("sort not undone", lambda x: np.sort(x) @ np.arange(12.0), X, grad=lambda x: np.arange(12.0)[np.argsort(x)])
# --- missing paths
bug("detached", lambda x: np.sum(np.exp(x) * x), X, grad=lambda x: np.zeros(12))
bug("one argument detached", lambda a, b: np.sum(a * b), X, P, argnums=(0, 1), grad=lambda a, b: (b, 0 * a))
bug("broadcast sum missing", lambda b: np.sum(np.tanh(B + b) ** 2), np.ones(3),
    grad=lambda b: (2 * np.tanh(B + b) * (1 - np.tanh(B + b) ** 2))[0])  # fmt: skip
bug("wrong shape", lambda b: np.sum((B + b) ** 2), np.ones(3), grad=lambda b: 2 * (B + b))
bug("layer norm without the mean's path", layer_norm, B, vjp=functools.partial(layer_norm_vjp, drop="mean"))
bug("layer norm without the variance's path", layer_norm, B, vjp=functools.partial(layer_norm_vjp, drop="var"))
bug("layer norm with another eps", layer_norm, 0.05 * B, vjp=functools.partial(layer_norm_vjp, eps=1e-4))
bug("cross entropy without the mean", cross_entropy, B, grad=lambda z: 5 * cross_entropy_grad(z))
bug("cross entropy without the label", cross_entropy, B, grad=lambda z: softmax(z) / 5)
bug("softmax diagonal only", softmax, B, vjp=lambda z, v: v * softmax(z) * (1 - softmax(z)))
bug(
    "solve without transpose",
    lambda b: np.linalg.solve(S + 5 * np.eye(4), b),
    S[0],
    vjp=lambda b, v: np.linalg.solve(S + 5 * np.eye(4), v),
)
bug("inverse, sign", np.linalg.inv, SPD, vjp=lambda M, v: np.linalg.inv(M).T @ v @ np.linalg.inv(M).T)
bug("logdet without transpose", lambda M: np.linalg.slogdet(M)[1], S + 5 * np.eye(4), grad=np.linalg.inv)
bug("straight-through where it is not", lambda x: np.sum(np.clip(x, -0.5, 0.5)), X, grad=lambda x: np.ones(12))
# --- regions
bug("negative inputs", lambda x: np.sum(np.abs(x) ** 3), X, grad=lambda x: 3 * x**2)
bug("leaky slope", lambda x: np.sum(np.where(x > 0, x, 0.1 * x)), X, grad=lambda x: np.where(x > 0, 1, 0.01))
bug("only large inputs", lambda x: np.sum(x**2), 2 * X, grad=lambda x: np.where(np.abs(x) > 2, 2.2 * x, 2 * x))
bug("relu at minus", lambda x: np.sum(np.maximum(x, 0)), X, grad=lambda x: np.ones(12))
bug(
    "outside the interval of a kink",
    lambda x: np.sum(np.abs(x)),
    np.array([0.0, 1.0, -1.0]),
    grad=lambda x: np.where(x == 0, 1.5, np.sign(x)),
)
bug("wrong beside a kink", lambda x: np.sum(np.abs(x) * 5) + x[1] ** 2, np.array([0.0, 1.0, -1.0]),
    grad=lambda x: 5 * np.sign(x) + np.array([0, 1.5 * x[1], 0]))  # fmt: skip
bug("wrong away from the point only", lambda x: np.sum(x**2), np.abs(X), grad=lambda x: 2 * np.abs(x))
bug("zero where it is not", lambda x: np.sum(np.exp(x)), np.zeros(5), grad=lambda x: 0 * x)
# --- state and structure


class Stale:
    """The forward pass leaves its input on the object, and the pullback reads it there."""

    def __call__(self, x: Any) -> Any:
        self.x = x
        return np.sin(x), lambda v: v * np.cos(self.x)


class Accumulating:
    def __init__(self) -> None:
        self.g = np.zeros(12)

    def __call__(self, x: Any) -> Any:
        self.g += 2 * x
        return self.g.copy()


class OwnBuffer:
    def __init__(self) -> None:
        self.g = np.zeros(12)

    def __call__(self, x: Any, v: Any) -> Any:
        self.g[:] = np.cos(x) * v
        return self.g


def overwriting(x: Any) -> Any:
    x *= 2
    return x


bug("stale state", np.sin, X, value_and_pullback=Stale())
bug("accumulating buffer", square, X, grad=Accumulating())
bug("view of its own buffer", np.sin, X, vjp=OwnBuffer())
bug("overwrites its input", square, X, grad=overwriting)
bug("cotangent ignored", np.sin, X, vjp=lambda x, v: np.cos(x))
bug("cotangent squared", np.sin, X, vjp=lambda x, v: v * np.abs(v) * np.cos(x))
bug("absolute cotangent", np.sin, X, vjp=lambda x, v: np.abs(v) * np.cos(x))
bug("not zero for zero", np.sin, X, vjp=lambda x, v: v * np.cos(x) + 1e-3)
bug("nan from where", lambda x: np.sum(np.where(x > 0, np.sqrt(np.abs(x)), 0.0)), X,
    grad=lambda x: np.where(x > 0, 0.5 / np.sqrt(np.where(x > 0, x, np.nan)), np.nan))  # fmt: skip
bug("nan at zero", lambda x: np.sum(x**2), np.array([0.0, 1.0]), grad=lambda x: 2 * x * x / x)
bug("wrong container", lambda p: np.sum(p["a"] ** 2), {"a": X}, grad=lambda p: [2 * p["a"]])
bug("integers", square, np.array([0.3, 1.2, 2.7]), grad=lambda x: (2 * x).astype(int))
bug("float16 inside", lambda x: np.sum(np.exp(x)), X, grad=lambda x: np.exp(x.astype(np.float16)).astype(float))
bug("float32 inside", lambda x: np.sum(np.exp(x)), X, grad=lambda x: np.exp(x.astype(np.float32)).astype(float))
bug("another function's value", np.sin, X, value_and_pullback=lambda x: (np.cos(x), lambda v: v * np.cos(x)))
bug("random gradient", square, X, grad=lambda x: 2 * x + 1e-3 * np.random.default_rng().standard_normal(12))
bug("jvp wrong by 1e-3", np.sin, X, jvp=lambda x, t: 1.001 * np.cos(x) * t)
bug(
    "jvp and vjp differ by 1e-9", np.sin, X, vjp=lambda x, v: np.cos(x) * v, jvp=lambda x, t: (1 + 1e-9) * np.cos(x) * t
)
bug("tiny function, twice the gradient", lambda x: 1e-12 * np.sum(x**2), X, grad=lambda x: 4e-12 * x)
bug("huge function, twice the gradient", lambda x: 1e12 * np.sum(x**2), X, grad=lambda x: 4e12 * x)
bug(
    "one array of very small influence",
    lambda p: np.sum(p[0] ** 2) + 1e-7 * np.sum(p[1] ** 3),
    (X, P),
    grad=lambda p: (2 * p[0], 6e-7 * p[1] ** 2),
)
bug("float32, one per cent", lambda x: np.sum(np.sin(x)), X.astype(np.float32), grad=lambda x: 1.01 * np.cos(x))
bug(
    "float32, 1e-4",
    lambda x: np.sum(np.sin(x)),
    X.astype(np.float32),
    grad=lambda x: (np.cos(x) * 1.0001).astype(np.float32),
)
bug("second order, half", lambda x: np.sum(x**4), X, order=2, grad=lambda x: 4 * x**3, vjp=lambda x, v: 6 * x**2 * v)
bug("Hessian not symmetric", lambda x: x[0] * x[1], np.array([1.0, 2.0]), order=2,
    grad=lambda x: np.array([x[1], x[0]]), vjp=lambda x, v: np.array([v[0], v[0]]))  # fmt: skip


def pooled(x: Any) -> Any:
    return np.sum(np.max(x.reshape(-1, 2), axis=1))


def pooled_grad(x: Any, share: bool = True) -> Any:
    pairs = x.reshape(-1, 2)
    top = 1.0 * (pairs == pairs.max(axis=1, keepdims=True))
    return (top / top.sum(axis=1, keepdims=True) if share else top).ravel()


def logistic(x: Any, steps: int) -> Any:
    for _ in range(steps):
        x = 3.9 * x * (1 - x)
    return np.sum(x)


def logistic_grad(x: Any, steps: int) -> Any:
    g = np.ones_like(x)
    for _ in range(steps):
        g, x = g * 3.9 * (1 - 2 * x), 3.9 * x * (1 - x)
    return g


class ReluNet:
    """Two layers whose many kinks lie close to every point."""

    def __init__(self, number: int, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng(number)
        self.x = rng.standard_normal((20, number)).astype(dtype)
        self.w = (rng.standard_normal((30, 20)).astype(dtype) / 4, rng.standard_normal((30, 30)).astype(dtype) / 5)

    def __call__(self, w: Any) -> Any:
        return np.mean(np.sum(np.maximum(w[1] @ np.maximum(w[0] @ self.x, 0), 0) ** 2, axis=0))

    def grad(self, w: Any, factor: float = 1.0) -> Any:
        a = w[0] @ self.x
        h = np.maximum(a, 0)
        g = 2 * np.maximum(w[1] @ h, 0) / self.x.dtype.type(self.x.shape[1])
        return (w[1].T @ g * (a > 0)) @ self.x.T * self.x.dtype.type(factor), g @ h.T


TIES = np.repeat(np.random.default_rng(8).standard_normal(50), 2)
SPARSE = np.where(np.arange(300) % 2 == 0, 0.0, np.random.default_rng(9).standard_normal(300))
CHAOS = np.array([0.3, 0.41, 0.77])
bug("each of two ties takes all", pooled, TIES, grad=lambda x: pooled_grad(x, share=False))
bug("relu net, one per cent", ReluNet(200), ReluNet(200).w, grad=lambda w: ReluNet(200).grad(w, 1.01))
bug("relu net, float32", ReluNet(200, np.float32), ReluNet(200, np.float32).w,
    grad=lambda w: ReluNet(200, np.float32).grad(w, 1.01))  # fmt: skip
bug("mild chaos", lambda x: logistic(x, 25), CHAOS, grad=lambda x: 1.1 * logistic_grad(x, 25))
bug("l1 with many zeros, smooth part", lambda x: np.sum(np.abs(x) + x**2), SPARSE, grad=lambda x: np.sign(x) + 2.02 * x)
bug("l1 with many zeros, at the kinks", lambda x: np.sum(np.abs(x) + x**2), SPARSE,
    grad=lambda x: np.where(x == 0, 1.2, np.sign(x)) + 2 * x)  # fmt: skip
bug("noisy, factor 2", lambda x: np.sum(x**2) + 1e-8 * np.sin(1e15 * np.sum(x)), X, grad=lambda x: 4 * x)
bug("a millionth of the rest", lambda x: np.sum(x[:500] ** 2) + 1e-6 * np.sum(x[500:1000] ** 2), LONG[:1000],
    grad=lambda x: np.where(np.arange(1000) == 800, 0.5, 1) * np.where(np.arange(1000) < 500, 2, 2e-6) * x)  # fmt: skip
bug("claimed zero and is not", lambda x: np.sum(x[:900] ** 2) + 1e-5 * x[950], LONG[:1000],
    grad=lambda x: np.where(np.arange(1000) < 900, 2 * x, 0))  # fmt: skip
bug("float16 input", square, X.astype(np.float16), grad=lambda x: 3 * x)
bug("straight-through estimator", lambda x: np.sum(np.round(x)), X, grad=np.ones_like)

# --- right, but hard to difference
hard("exp at 20", lambda x: np.sum(np.exp(x)), np.full(4, 20.0), grad=np.exp)
hard("abs at 1e-7", lambda x: np.sum(np.abs(x)), np.array([1e-7, -1e-7, 2e-7]), grad=np.sign)
hard("abs at 1e-7 beside 1", lambda x: np.sum(np.abs(x)), np.array([1e-7, -1.0, 2.0]), grad=np.sign)
hard("relu at zero", lambda x: np.sum(np.maximum(x, 0)), np.array([0.0, 1.0, -1.0, 0.0]), grad=lambda x: (x > 0) * 1.0)
hard(
    "relu at zero, half", lambda x: np.sum(np.maximum(x, 0)), np.array([0.0, 1.0]), grad=lambda x: np.heaviside(x, 0.5)
)
hard("ties of max", np.max, np.array([1.0, 1.0, 0.0]), grad=lambda x: (x == x.max()) / np.sum(x == x.max()))
hard("norm at zero", np.linalg.norm, np.zeros(3), grad=lambda x: x / max(np.linalg.norm(x), 1e-300))
hard("relu net", lambda w: np.sum(np.maximum(A @ w, 0) ** 2), X, grad=lambda w: A.T @ (2 * np.maximum(A @ w, 0)))
hard("many relus", lambda w: np.sum(np.maximum(LONG * w[0] + w[1], 0)), np.array([0.7, 0.2]),
     grad=lambda w: np.array([LONG @ (LONG * w[0] + w[1] > 0), 1.0 * np.sum(LONG * w[0] + w[1] > 0)]))  # fmt: skip
hard("sum of 3000 at scale 1e-12", lambda x: 1e-12 * np.sum(x**2), LONG, grad=lambda x: 2e-12 * x)
hard("scale 1e12", lambda x: 1e12 * np.sum(np.sin(x)), X, grad=lambda x: 1e12 * np.cos(x))
hard("x of size 1e-9", lambda x: np.sum(np.sin(1e9 * x)), 1e-9 * X, grad=lambda x: 1e9 * np.cos(1e9 * x))
hard("x of size 1e9", lambda x: np.sum(np.sin(1e-9 * x)), 1e9 * X, grad=lambda x: 1e-9 * np.cos(1e-9 * x))
hard("mixed sizes of x", lambda x: np.sum(np.log(x)), 10.0 ** np.arange(-8, 9, 2), grad=lambda x: 1 / x)
hard("large constant", lambda x: 1e6 + np.sum(np.sin(x)), X, grad=np.cos)
hard(
    "cancellation",
    lambda x: np.sum((1 - np.cos(x)) / x),
    np.array([1e-3, 2e-3]),
    grad=lambda x: (x * np.sin(x) - 2 * np.sin(x / 2) ** 2) / x**2,
)
hard("float32 inside f", lambda x: float(np.sum(np.sin(x.astype(np.float32)))), X, grad=np.cos, rtol=1e-3)
hard("steep", lambda x: np.sum(np.tanh(200 * x)), 0.01 * X, grad=lambda x: 200 / np.cosh(200 * x) ** 2)
hard("oscillating", lambda x: np.sum(np.sin(1e4 * x)), X, grad=lambda x: 1e4 * np.cos(1e4 * x))
hard("flat", lambda x: np.sum(np.where(x > 5, x, 0.0)), X, grad=lambda x: (x > 5) * 1.0)
hard("constant", lambda x: 3.0, X, grad=np.zeros_like)
hard("linear", lambda x: A @ x, X, vjp=lambda x, v: A.T @ v)
hard("zero gradient at a minimum", lambda x: np.sum(x**2), np.zeros(5), grad=lambda x: 2 * x)
hard("saddle", lambda x: x[0] * x[1], np.zeros(2), grad=lambda x: x[::-1].copy())
hard("quartic minimum", lambda x: np.sum((x - 1) ** 4), np.ones(4), grad=lambda x: 4 * (x - 1) ** 3)
hard("log barrier near the edge", lambda x: -np.sum(np.log(x)), np.array([1e-6, 1.0]), grad=lambda x: -1 / x)
hard("sqrt near zero", lambda x: np.sum(np.sqrt(x)), np.array([1e-8, 1.0]), grad=lambda x: 0.5 / np.sqrt(x))
hard(
    "x**1.5 at zero",
    lambda x: np.sum(np.abs(x) ** 1.5),
    np.array([0.0, 1.0]),
    grad=lambda x: 1.5 * np.abs(x) ** 0.5 * np.sign(x),
)
hard(
    "C1 junction", lambda x: np.sum(np.where(x > 0, x**2, -(x**2))), np.array([0.0, 0.5]), grad=lambda x: 2 * np.abs(x)
)
hard(
    "huber at the junction",
    lambda x: np.sum(np.where(np.abs(x) < 1, 0.5 * x**2, np.abs(x) - 0.5)),
    np.array([1.0, 0.2]),
    grad=lambda x: np.clip(x, -1, 1),
)
hard("cross entropy", cross_entropy, B, grad=cross_entropy_grad)
hard("cross entropy, saturated", cross_entropy, 30 * B, grad=cross_entropy_grad)
hard("layer norm", layer_norm, B, vjp=layer_norm_vjp)
hard("layer norm of nearly equal entries", layer_norm, 1 + 1e-4 * B, vjp=layer_norm_vjp)
hard("convolution", conv, X, vjp=conv_vjp)
hard("gelu", gelu, X, grad=gelu_grad)
hard("solve", lambda b: np.linalg.solve(SPD, b), S[0], vjp=lambda b, v: np.linalg.solve(SPD.T, v))
hard("inverse", np.linalg.inv, SPD, vjp=lambda M, v: -np.linalg.inv(M).T @ v @ np.linalg.inv(M).T)
hard("logdet", lambda M: np.linalg.slogdet(M)[1], SPD, grad=lambda M: np.linalg.inv(M).T)
hard("float32", lambda x: np.sum(np.sin(x) * x), X.astype(np.float32), grad=lambda x: np.sin(x) + x * np.cos(x))
hard("float32 exp at 20", lambda x: np.sum(np.exp(x)), np.full(4, 20.0, dtype=np.float32), grad=np.exp)
hard(
    "float32 softmax",
    lambda z: np.log(softmax(z))[0, 0],
    B.astype(np.float32),
    grad=lambda z: np.where(np.arange(5)[:, None] == 0, np.eye(3, dtype=np.float32)[:1] - softmax(z), 0),
)
hard(
    "integral of a step",
    lambda x: np.sum(np.maximum(x[:, None] - np.linspace(-3, 3, 50), 0)),
    X,
    grad=lambda x: np.sum(x[:, None] > np.linspace(-3, 3, 50), axis=1) * 1.0,
)
hard(
    "Newton inside",
    lambda a: np.sum(functools.reduce(lambda y, _: 0.5 * (y + a / y), range(8), np.ones_like(a))),
    P,
    grad=lambda a: 0.5 / np.sqrt(a),
)
hard("iteration stopped early", lambda a: float(np.sum(np.round(np.sqrt(a), 7))), P, grad=lambda a: 0.5 / np.sqrt(a))
hard(
    "containers",
    lambda p: np.sum(p["a"] ** 2) * p["b"][0],
    {"a": X, "b": (2.0, 3.0)},
    grad=lambda p: {"a": 2 * p["a"] * p["b"][0], "b": (float(np.sum(p["a"] ** 2)), 0.0)},
)
hard("None for zero", lambda a, b: np.sum(a**2), X, P, argnums=(0, 1), grad=lambda a, b: (2 * a, None))
hard("forward mode", lambda x: np.sin(A @ x), X, jvp=lambda x, t: np.cos(A @ x) * (A @ t))
hard("both modes", np.sin, X, vjp=lambda x, v: np.cos(x) * v, jvp=lambda x, t: np.cos(x) * t)
hard("second order", lambda x: np.sum(x**4), X, order=2, grad=lambda x: 4 * x**3, vjp=lambda x, v: 12 * x**2 * v)
hard("writes to its input", lambda x: float(np.sum(np.multiply(x, 2, out=x))), X, grad=lambda x: np.full(12, 2.0))
hard("jump elsewhere", lambda x: np.sum(x**2 + np.floor(x)), X, grad=lambda x: 2 * x)
hard("structure at 1e-9", lambda x: np.sum(x**2) + 1e-9 * np.sin(1e9 * np.sum(x)), X, grad=lambda x: 2 * x, rtol=1e-4)
hard("noise of 1e-9", lambda x: np.sum(x**2) + 1e-9 * np.sin(1e15 * np.sum(x)), X, grad=lambda x: 2 * x, rtol=1e-4)
hard("random", lambda x: np.sum(x**2) + 1e-3 * np.random.default_rng().standard_normal(), X, grad=lambda x: 2 * x)
hard("jump at x", lambda x: np.sum(np.floor(x) + x), np.array([1.0, 0.5]), grad=lambda x: np.ones(2))
hard("infinite slope", lambda x: np.sum(np.sqrt(x)), np.array([0.0, 1.0]), grad=lambda x: 0.5 / np.sqrt(x))
hard("ties of a pool, shared", pooled, TIES, grad=pooled_grad)
hard("ties of a pool, to the first", pooled, TIES,
     grad=lambda x: (1.0 * (np.arange(2) == x.reshape(-1, 2).argmax(axis=1)[:, None])).ravel())  # fmt: skip
hard("relu net of 200", ReluNet(200), ReluNet(200).w, grad=ReluNet(200).grad)
hard("relu net of 600", ReluNet(600), ReluNet(600).w, grad=ReluNet(600).grad)
hard(
    "relu net of 200, float32", ReluNet(200, np.float32), ReluNet(200, np.float32).w, grad=ReluNet(200, np.float32).grad
)
hard("mildly chaotic", lambda x: logistic(x, 25), CHAOS, grad=lambda x: logistic_grad(x, 25))
hard("chaotic", lambda x: logistic(x, 60), CHAOS, grad=lambda x: logistic_grad(x, 60))
hard("l1 with many zeros", lambda x: np.sum(np.abs(x) + x**2), SPARSE, grad=lambda x: np.sign(x) + 2 * x)
hard("float16 input, right", square, X.astype(np.float16), grad=lambda x: 2 * x)
hard("singular values", lambda M: np.sum(np.linalg.svd(M, compute_uv=False)), B,
     grad=lambda M: np.linalg.svd(M, full_matrices=False)[0] @ np.linalg.svd(M, full_matrices=False)[2])  # fmt: skip
hard(
    "edge of a domain",
    lambda x: np.sum(np.sqrt(1 - x**2)),
    np.array([0.999999, 0.1]),
    grad=lambda x: -x / np.sqrt(1 - x**2),
)
hard("raises outside its domain", lambda x: sum(math.log(v) for v in x), np.array([1e-3, 2.0]), grad=lambda x: 1 / x)
hard("close to a pole", lambda x: np.sum(np.tan(x)), np.array([1.5706, 0.3]), grad=lambda x: 1 / np.cos(x) ** 2)
hard(
    "softplus, saturated",
    lambda x: np.sum(np.logaddexp(0, x)),
    np.array([-40.0, 40.0, 0.0, 700.0]),
    grad=lambda x: 1 / (1 + np.exp(-x)),
)
hard("steps, zero gradient", lambda x: np.sum(np.floor(3 * x)), X, grad=np.zeros_like)
hard("mask of -inf", lambda z: softmax(z) @ np.arange(4.0), np.array([1.0, 2.0, -np.inf, 0.5]),
     grad=lambda z: softmax(z) * (np.arange(4.0) - softmax(z) @ np.arange(4.0)))  # fmt: skip
hard("median", np.median, X[:11], grad=lambda x: 1.0 * (np.argsort(np.argsort(x)) == 5))
hard("rounded to three digits", lambda x: float(np.round(np.sum(x**2), 3)), X, grad=lambda x: 2 * x)
hard(
    "kinks everywhere",
    lambda x: np.sum(np.abs(np.sin(1e5 * x))),
    X,
    grad=lambda x: 1e5 * np.cos(1e5 * x) * np.sign(np.sin(1e5 * x)),
)
hard(
    "zero weights of a relu",
    lambda w: np.sum(np.maximum(np.outer(w, X), 0)),
    np.zeros(5),
    grad=lambda w: np.sum(X * (np.outer(w, X) > 0), axis=1),
)
