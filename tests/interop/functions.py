"""The functions that are compared with other frameworks: each once in plain NumPy, with the point where it is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.special


class Example(NamedTuple):
    """A scalar function of arrays and a point; ``hessian`` says whether second derivatives are compared too."""

    function: Callable[..., Any]
    point: tuple[Any, ...]
    hessian: bool = True


EXAMPLES: dict[str, Example] = {}

RNG = np.random.default_rng(20240607)
DATA = RNG.normal(size=(6, 3))
LABELS = np.array([0, 2, 1, 1, 0, 2])
WINDOWS = np.arange(5)[:, None] + np.arange(3)[None, :]
PICKED = np.array([0, 3, 3, 1, 0, 3])
INTO = np.array([1, 0, 1, 2, 1, 2])
COUNTS = np.array([0.0, 2.0, 1.0, 5.0])


def example(*point: Any, hessian: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        EXAMPLES[function.__name__] = Example(function, point, hessian)
        return function

    return keep


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def spread_out(*shape: int) -> Any:
    """Distinct entries, so that sorting and maxima have no ties."""
    size = int(np.prod(shape))
    return (RNG.permutation(size) * 0.37 - 0.2 * size + 0.1).reshape(shape)


def positive_definite(n: int) -> Any:
    root = normal(n, n)
    return root @ root.T + n * np.eye(n)


@example(normal(3, 4), normal(4), normal(4, 3), normal(3))
def mlp_cross_entropy(W1, b1, W2, b2):
    hidden = np.tanh(DATA @ W1 + b1)
    logits = hidden @ W2 + b2
    shifted = logits - logits.max(axis=1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logp[np.arange(len(LABELS)), LABELS].mean()


@example(normal(4, 5), normal(5), normal(5))
def layer_norm(x, gain, bias):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    y = (x - mean) / np.sqrt(variance + 1e-5) * gain + bias
    return np.sum(np.sin(y))


@example(normal(4, 3), normal(5, 3), normal(5, 2))
def attention(q, k, v):
    scores = q @ k.T / np.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.sum((weights @ v) ** 2)


@example(normal(3, 4) * 30.0)
def logsumexp(x):
    top = np.max(x, axis=1)
    return np.sum((top + np.log(np.sum(np.exp(x - top[:, None]), axis=1))) ** 2)


@example(normal(7), normal(3))
def convolution_by_indexing(x, kernel):
    return np.sum(np.tanh(x[WINDOWS] @ kernel) ** 2)


@example(normal(5, 6), normal(2, 3))
def convolution_by_slices(image, kernel):
    out = np.zeros((4, 4))
    for i in range(2):
        for j in range(3):
            out += kernel[i, j] * image[i : i + 4, j : j + 4]
    return np.sum(np.maximum(out, 0.0) ** 2)


@example(np.array([1.5, -0.7, 0.0, 2.0, 0.3]))
def cumprod_with_a_zero(x):
    return np.sum(np.cumprod(x) * np.arange(1.0, 6.0))


@example(np.array([1.5, -0.7, 0.0, 2.0]))
def prod_with_a_zero(x):
    return np.prod(x) + np.prod(x[1:]) ** 2


@example(np.array([1.5, 0.0, 0.0, 2.0]))
def prod_with_two_zeros(x):
    return np.prod(x) + np.sum(x**2)


@example(normal(3, 4))
def norms(x):
    return np.linalg.norm(x) + np.sum(np.linalg.norm(x, axis=1) ** 3)


@example(positive_definite(3), normal(3))
def solve(A, b):
    return np.sum(np.linalg.solve(A, b) ** 2)


@example(normal(3, 3) + 2 * np.eye(3))
def slogdet(A):
    sign, logarithm = np.linalg.slogdet(A)
    return sign * logarithm**2


@example(normal(3, 3) + 2 * np.eye(3))
def determinant_and_inverse(A):
    return np.linalg.det(A) * np.trace(np.linalg.inv(A))


@example(normal(4, 3))
def cholesky(X):
    root = np.linalg.cholesky(X.T @ X + 0.5 * np.eye(3))
    return np.sum(np.log(np.diag(root))) + np.sum(root**3)


@example(np.array([0.3]), np.array([-0.2]))
def gaussian_process(log_length, log_noise):
    x = DATA[:, :1]
    y = DATA[:, 1]
    K = np.exp(-0.5 * (x - x.T) ** 2 / np.exp(2 * log_length)) + np.exp(log_noise) * np.eye(6)
    root = np.linalg.cholesky(K)
    alpha = np.linalg.solve(K, y)
    return 0.5 * y @ alpha + np.sum(np.log(np.diagonal(root)))


@example(positive_definite(3))
def eigenvalues(A):
    return np.sum(np.log(np.linalg.eigvalsh((A + A.T) / 2)) ** 2)


@example(spread_out(7))
def sort(x):
    return np.sum(np.sort(x) ** 2 * np.arange(7.0))


@example(spread_out(3, 5))
def argsort_and_take(x):
    order = np.argsort(x, axis=1)
    return np.sum(np.take_along_axis(x, order, axis=1)[:, ::2] ** 3)


@example(spread_out(3, 5))
def maxima(x):
    return np.sum(x.max(axis=1) ** 2) - np.min(x) * np.max(x)


@example(spread_out(5))
def median(x):
    return np.median(x) ** 3


@example(np.array([-1.0, 0.0, 2.0, 3.5]))
def where_with_a_root(x):
    return np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), -(x**2)))


@example(normal(4))
def gather_duplicates(x):
    return np.sum(np.sin(x[PICKED]) * np.arange(6.0))


@example(normal(6), normal(3))
def scatter_duplicates(x, start):
    total = start.copy()
    np.add.at(total, INTO, x**2)
    return np.sum(total**3)


@example(normal(2, 3), normal(3, 4), normal(4, 2))
def einsum(a, b, c):
    return np.einsum("ij,jk,ki->", a, b, c) + np.sum(np.einsum("ij,jk->ik", a, b) ** 2)


@example(normal(3, 3) * 0.5, normal(3, 2), normal(3))
def rnn(W, U, h):
    for step in range(6):
        h = np.tanh(W @ h + U @ DATA[step, :2])
    return np.sum(h**2)


@example(normal(6))
def heat_equation(u):
    for _ in range(5):
        new = np.zeros(6)
        new[1:-1] = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        new[0], new[-1] = u[0] * 0.5, u[-1] ** 2 * 0.1
        u = new
    return np.sum(u**2)


@example(normal(5))
def gelu(x):
    return np.sum(x * 0.5 * (1.0 + scipy.special.erf(x / np.sqrt(2.0))) ** 2)


@example(normal(5))
def sigmoids(x):
    return np.sum(scipy.special.expit(x) * np.logaddexp(0.0, x))


@example(np.array([0.7, 1.9, 0.4, 3.2]), np.array(1.7))
def gamma_poisson(a, r):
    return np.sum(
        scipy.special.gammaln(COUNTS + r) - scipy.special.gammaln(r) + r * np.log(a) - (COUNTS + r) * np.log(a + r)
    )


@example(spread_out(6) * 0.4)
def huber(x):
    size = np.abs(x)
    return np.sum(np.where(size < 0.5, 0.5 * x**2, 0.5 * (size - 0.25)))


@example(spread_out(6))
def relu_and_clip(x):
    return np.sum(np.maximum(x, 0.0) ** 2 + np.clip(x, -0.45, 0.65) ** 3)


@example(normal(5))
def cumsum_and_diff(x):
    return np.sum(np.cumsum(x) ** 3) + np.sum(np.diff(x, n=2) ** 2)


@example(normal(2, 2), normal(3))
def kron_and_outer(a, b):
    return np.sum(np.kron(a, np.outer(b, b)) ** 2)


@example(normal(2, 3))
def shapes(x):
    wide = np.concatenate([x, 2 * x[::-1]], axis=1)
    stacked = np.stack([np.roll(wide, 1, axis=1), wide])
    padded = np.pad(stacked, ((0, 0), (1, 0), (0, 0)))
    return np.sum(np.swapaxes(padded, 0, 2).reshape(-1) ** 2 * np.arange(36.0)) + np.sum(np.tril(x @ x.T) ** 3)


@example(np.array([0.4, -1.2, 2.0]), np.array([1.1, 0.3, -0.6]))
def polar(x, y):
    return np.sum(np.hypot(x, y) ** 3 * np.arctan2(y, x))


@example(np.array([-1.5, 0.3, 2.0]))
def powers(x):
    return np.sum(x**2 + x**3 + np.abs(x) ** 2.5 + 2.0**x + x**2.0 * x**0)


@example(normal(4, 3), normal(3), normal(4, 1), np.array(0.7))
def broadcasting(a, b, c, d):
    return np.sum(np.sin(a * b + c) / (d + b**2) - d * c)


@example(normal(5, 3))
def deviations(x):
    return np.sum(x.std(axis=0, ddof=1)) + np.var(x) ** 2


@example(np.array([0.2, 0.5, 0.3]))
def entropy(p):
    q = p / p.sum()
    return -np.sum(scipy.special.xlogy(q, q)) + np.sum(np.log1p(p) * np.expm1(p))


@example(normal(3), hessian=False)
def while_loop(x):
    step, y = 0, x
    while np.sum(y**2) > 1e-2:
        y = y * 0.8 + 0.01 * np.sin(y)
        step += 1
    return np.sum(y) * step
