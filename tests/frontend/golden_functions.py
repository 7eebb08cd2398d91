"""The functions whose programs are committed as text, each with a point. Lines are part of the text: append only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, logsumexp

X = np.array([0.7, 1.3, 0.4])
M = np.array([[1.0, 0.5, 0.2], [0.3, 2.0, 0.1], [0.6, 0.4, 1.5]])
GOLDEN: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}


def golden(*point: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        GOLDEN[function.__name__] = (function, point)
        return function

    return keep


@golden(3.0)
def square(x):
    return x * x


@golden(X)
def sum_of_squares(x):
    return np.sum(x**2)


@golden(X)
def rosenbrock(x):
    a = x[1:] - x[:-1] ** 2
    b = 1 - x[:-1]
    return np.sum(100.0 * a**2 + b**2)


@golden(X, M)
def quadratic_form(x, a):
    product = a @ x
    return x @ product


@golden(M, X, X)
def layer(w, b, x):
    hidden = np.tanh(w @ x + b)
    return np.sum(hidden**2)


@golden({"w1": M, "b1": X, "w2": X})
def network(p):
    hidden = np.maximum(p["w1"] @ X + p["b1"], 0.0)
    return expit(p["w2"] @ hidden)


@golden(X)
def softmax_loss(x):
    shifted = x - np.max(x)
    return np.log(np.sum(np.exp(shifted))) - shifted[0]


@golden(X)
def special_loss(x):
    return logsumexp(x) - x[1]


@golden(X)
def written(x):
    y = np.zeros(3)
    y[0] = x[0] ** 2
    y[1:] = np.sin(x[1:])
    y[1:] += y[:-1]
    return np.sum(y)


@golden(X)
def through_a_view(x):
    table = np.zeros((2, 3))
    row = table[0]
    row[1] = x[0]
    table.T[2] = x[:2]
    return np.sum(table**2)


@golden(2.0, 0.5)
def scalars(a, b):
    c = math.exp(a) * math.sin(b)
    d = math.hypot(a, b)
    return c / d


@golden(X)
def loop(x):
    total = 0.0
    for i in range(3):
        total = total * x[i] + i
    return total


@golden(X)
def branch(x):
    if x[0] > 0.5:
        return x[0] * x[1]
    return x[2]


@golden(2.0)
def newton(a):
    root = 1.0
    while abs(root * root - a) > 1e-3:
        root = 0.5 * (root + a / root)
    return root


@golden(X)
def chosen(x):
    return np.sum(np.where(x > 0.5, np.sqrt(x), x**2))


@golden(X)
def clipped(x):
    return np.sum(np.clip(x, 0.5, 1.0) * np.abs(x))


@golden(X)
def gathered(x):
    index = np.array([2, 0, 0])
    return np.sum(x[index] ** 3)


@golden(X)
def stacked(x):
    y = np.concatenate([x, x[:1] * 2.0])
    z = np.stack([y, y**2])
    return np.sum(z[:, 1:])


@golden(X)
def from_elements(x):
    rotation = np.array([[np.cos(x[0]), -np.sin(x[0])], [np.sin(x[0]), np.cos(x[0])]])
    return np.sum(rotation @ x[1:])


@golden(X)
def statistics(x):
    centred = x - np.mean(x)
    return np.mean(centred**2) / np.std(x)


@golden(M)
def reductions(a):
    rows = np.sum(a, axis=1, keepdims=True)
    return np.max(a / rows) + np.prod(a, axis=0)[1]


@golden(X)
def running(x):
    return np.sum(np.cumsum(x) * np.cumprod(x))


@golden(X)
def sorted_weights(x):
    return np.sum(np.sort(x) * np.arange(3.0))


@golden(M)
def products(a):
    return np.einsum("ij,jk,ki->", a, a, a)


@golden(X)
def outer_product(x):
    pairs = x[:, None] - x[None, :]
    return np.sum(np.exp(-(pairs**2)))


@golden(M, X)
def linear_solve(a, b):
    solution = np.linalg.solve(a, b)
    return np.sum(solution)


@golden(M)
def log_determinant(a):
    return np.linalg.slogdet(a @ a.T)[1]


@golden(X)
def norms(x):
    return np.linalg.norm(x) * np.linalg.norm(x, 1)


@golden(X.astype(np.float32))
def single_precision(x):
    return np.mean(np.log(x) * np.float32(2.0))


@golden(X, 2)
def with_an_integer(x, n):
    y = x
    for _ in range(n):
        y = y * x
    return np.sum(y)


@golden((X, {"scale": 2.0}))
def containers(p):
    x, options = p
    return np.sum(x) * options["scale"]


@golden(X)
def constant(x):
    return 5.0
