"""Functions that are hard to write out as source, each with a point: names, containers, branches, dtypes."""

# ruff: noqa: PLC2401 - hostile names are what is tested

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logsumexp

X = np.array([0.7, 1.3, 0.4])
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
TABLE = np.linspace(0.1, 2.0, 60).reshape(20, 3)
WEIGHTS = np.array([0.5, 1.5, 2.5])
EMPTY = np.zeros((0, 3))


def example(*point: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS[function.__name__] = (function, point)
        return function

    return keep


@dataclass
class Layer:
    weight: Any
    bias: Any


class Pair(NamedTuple):
    left: Any
    right: Any


@example(X, 0.5)
def greek(α, ﬁ):
    Δ = α - ﬁ
    größe = Δ * Δ
    λ_ = np.sum(größe)
    return λ_ * ﬁ


@example(X, 2.0, 3.0)
def keywords(np_, exp, int_):
    double = np.sin(np_) * exp
    restrict = double * int_
    ef = restrict + 1.0
    i = np.cos(ef)
    workspace = i * i
    return np.sum(workspace)


@example({"class": X, "a b": np.array(2.0), 3: (X, [X])})
def strange_keys(p):
    return np.sum(p["class"] * p[3][0]) * p["a b"] + p[3][1][0][1]


@example([Layer(np.ones((3, 2)), np.zeros(2)), Layer(np.ones((2, 1)), np.zeros(1))])
def layers(parameters):
    h = X
    for layer in parameters:
        h = np.tanh(h @ layer.weight + layer.bias)
    return np.sum(h)


@example(Pair(X, 2.0))
def named_tuple(pair):
    return np.sum(pair.left) * pair.right


@example(np.array([0.5, 1.0, 1.5]))
def captured(w):
    z = TABLE @ w
    p = expit(z)
    return np.sum(p * np.log(p)) + w @ WEIGHTS


@example(X)
def branches(x):
    total = 0.0
    for value in x:
        if value > 1:
            total = total + value**3
        elif int(value * 10) == 4:
            total = total - value
        else:
            total = total + np.sqrt(value)
    return total


@example(X.astype(np.float32), np.float32(0.1))
def single(x, s):
    return np.sum(np.exp(x * s) * np.float32(0.3)) / 3


@example(X.astype(np.float32), X)
def mixed(x, y):
    return np.sum(x * y) + np.sum(x)


@example(X)
def integers(x):
    index = np.argsort(x)
    place = np.arange(3)
    return np.sum(x[index] * place) + x[np.argmax(x)] * np.sum(place**2)


@example(X)
def masks(x):
    inside = (x > 0.5) & ~(x > 1.0)
    return np.sum(np.where(inside, x**2, np.abs(x))) + np.sum(x[x > 0.5]) + np.sum(x * inside)


@example(np.zeros((0, 3)), X)
def empty(a, x):
    return np.sum(a @ x) + np.sum(x) + np.sum(EMPTY * x)


@example(np.array(2.0), X[:1])
def zero_d(s, x):
    return s * x[0] + np.sum(x) ** s


@example(X)
def constant_gradient(x):
    return np.sum(x)


@example(X, X + 1.0)
def shared_result(x, y):
    return x @ y


@example(X)
def overwriting(x):
    y = x * 2.0
    y[1:] += y[:-1]
    y[0] = y[2]
    z = y[::-1]
    y[1] = z[0] * z[1]
    w = np.zeros((3, 3))
    w[np.arange(3), np.arange(3)] = y
    w[[0, 0], [1, 1]] = y[:2]
    w += 1.0
    return np.sum(w * w) + np.sum(z)


@example(np.abs(np.sin(np.arange(24.0))).reshape(2, 3, 4))
def views(a):
    b = a.transpose(2, 0, 1)[::-1]
    c = b.reshape(4, 6)[:, 1::2]
    d = np.concatenate([c, 2.0 * c[:1]], axis=0)
    e = np.stack([d, d * d], axis=1)
    return np.sum(e[..., None] * np.array([1.0, 2.0])) + np.sum(np.swapaxes(a, 0, 2)[1, 2])


@example(np.arange(12.0).reshape(3, 4) * 0.1, X)
def broadcasts(a, x):
    centred = a - a.mean(axis=0)
    scaled = centred / (1.0 + a.std(axis=1, keepdims=True))
    soft = scaled - logsumexp(scaled, axis=1, keepdims=True)
    return np.sum(np.exp(soft) * x[:, None]) + np.max(a @ a.T) - np.min(x)


@example(np.arange(24.0).reshape(2, 3, 4) * 0.1, np.arange(20.0).reshape(4, 5) * 0.1)
def products(a, b):
    c = np.einsum("ijk,kl->ijl", a, b)
    d = np.tensordot(a, c, axes=([0, 1], [0, 1]))
    return np.sum(d * d) + np.einsum("ijk,ijk->", a, a) + np.sum(np.outer(b[0], b[1]))


@example(X, np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]))
def algebra(x, a):
    solution = np.linalg.solve(a, x)
    factor = np.linalg.cholesky(a)
    _, logdet = np.linalg.slogdet(a)
    inverse = np.linalg.inv(a)
    values = np.linalg.eigvalsh(a)
    return solution @ x + np.sum(factor**2) + logdet + np.trace(inverse) + np.linalg.det(a) + np.sum(values**2)


@example(X)
def scans(x):
    level = np.cumsum(x)
    growth = np.cumprod(1.0 + x)
    return np.sum(level * growth[::-1]) + np.prod(x) + np.sum(np.sort(x) * np.arange(3.0))


@example(np.array([1.5, -0.5, 0.25]))
def kinks(x):
    return np.sum(np.maximum(x, 0) + np.abs(x) + np.clip(x, -0.2, 1.0) + np.sign(x) * x + x % 0.7)


@example(0.3)
def number_to_array(t):
    return np.array([np.cos(t), np.sin(t)]) * t


@example(X)
def several_results(x):
    return {"sum": np.sum(x), "parts": (x[0], [x[1:]]), "same": x}
