"""Gradients, Hessians and directional derivatives of plain NumPy code against JAX's, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.interop.functions import COUNTS, DATA, EXAMPLES, INTO, LABELS, PICKED, WINDOWS

import chainrule as cr

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
special = pytest.importorskip("jax.scipy.special")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

TWINS: dict[str, Callable[..., Any]] = {}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def twin(function):
    TWINS[function.__name__] = function
    return function


@twin
def mlp_cross_entropy(W1, b1, W2, b2):
    hidden = jnp.tanh(DATA @ W1 + b1)
    logits = hidden @ W2 + b2
    shifted = logits - logits.max(axis=1, keepdims=True)
    logp = shifted - jnp.log(jnp.exp(shifted).sum(axis=1, keepdims=True))
    return -logp[jnp.arange(len(LABELS)), LABELS].mean()


@twin
def layer_norm(x, gain, bias):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    y = (x - mean) / jnp.sqrt(variance + 1e-5) * gain + bias
    return jnp.sum(jnp.sin(y))


@twin
def attention(q, k, v):
    scores = q @ k.T / jnp.sqrt(q.shape[1])
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return jnp.sum((weights @ v) ** 2)


@twin
def logsumexp(x):
    top = jnp.max(x, axis=1)
    return jnp.sum((top + jnp.log(jnp.sum(jnp.exp(x - top[:, None]), axis=1))) ** 2)


@twin
def convolution_by_indexing(x, kernel):
    return jnp.sum(jnp.tanh(x[WINDOWS] @ kernel) ** 2)


@twin
def convolution_by_slices(image, kernel):
    out = jnp.zeros((4, 4))
    for i in range(2):
        for j in range(3):
            out = out + kernel[i, j] * image[i : i + 4, j : j + 4]
    return jnp.sum(jnp.maximum(out, 0.0) ** 2)


@twin
def cumprod_with_a_zero(x):
    return jnp.sum(jnp.cumprod(x) * jnp.arange(1.0, 6.0))


@twin
def prod_with_a_zero(x):
    return jnp.prod(x) + jnp.prod(x[1:]) ** 2


@twin
def prod_with_two_zeros(x):
    return jnp.prod(x) + jnp.sum(x**2)


@twin
def norms(x):
    return jnp.linalg.norm(x) + jnp.sum(jnp.linalg.norm(x, axis=1) ** 3)


@twin
def solve(A, b):
    return jnp.sum(jnp.linalg.solve(A, b) ** 2)


@twin
def slogdet(A):
    sign, logarithm = jnp.linalg.slogdet(A)
    return sign * logarithm**2


@twin
def determinant_and_inverse(A):
    return jnp.linalg.det(A) * jnp.trace(jnp.linalg.inv(A))


@twin
def cholesky(X):
    root = jnp.linalg.cholesky(X.T @ X + 0.5 * jnp.eye(3))
    return jnp.sum(jnp.log(jnp.diag(root))) + jnp.sum(root**3)


@twin
def gaussian_process(log_length, log_noise):
    x = DATA[:, :1]
    y = DATA[:, 1]
    K = jnp.exp(-0.5 * (x - x.T) ** 2 / jnp.exp(2 * log_length)) + jnp.exp(log_noise) * jnp.eye(6)
    root = jnp.linalg.cholesky(K)
    alpha = jnp.linalg.solve(K, y)
    return 0.5 * y @ alpha + jnp.sum(jnp.log(jnp.diagonal(root)))


@twin
def eigenvalues(A):
    return jnp.sum(jnp.log(jnp.linalg.eigvalsh((A + A.T) / 2)) ** 2)


@twin
def sort(x):
    return jnp.sum(jnp.sort(x) ** 2 * jnp.arange(7.0))


@twin
def argsort_and_take(x):
    order = jnp.argsort(x, axis=1)
    return jnp.sum(jnp.take_along_axis(x, order, axis=1)[:, ::2] ** 3)


@twin
def maxima(x):
    return jnp.sum(x.max(axis=1) ** 2) - jnp.min(x) * jnp.max(x)


@twin
def median(x):
    return jnp.median(x) ** 3


@twin
def where_with_a_root(x):
    return jnp.sum(jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), -(x**2)))


@twin
def gather_duplicates(x):
    return jnp.sum(jnp.sin(x[PICKED]) * jnp.arange(6.0))


@twin
def scatter_duplicates(x, start):
    return jnp.sum(start.at[INTO].add(x**2) ** 3)


@twin
def einsum(a, b, c):
    return jnp.einsum("ij,jk,ki->", a, b, c) + jnp.sum(jnp.einsum("ij,jk->ik", a, b) ** 2)


@twin
def rnn(W, U, h):
    for step in range(6):
        h = jnp.tanh(W @ h + U @ DATA[step, :2])
    return jnp.sum(h**2)


@twin
def heat_equation(u):
    for _ in range(5):
        inside = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        u = jnp.zeros(6).at[1:-1].set(inside).at[0].set(u[0] * 0.5).at[-1].set(u[-1] ** 2 * 0.1)
    return jnp.sum(u**2)


@twin
def gelu(x):
    return jnp.sum(x * 0.5 * (1.0 + special.erf(x / jnp.sqrt(2.0))) ** 2)


@twin
def sigmoids(x):
    return jnp.sum(special.expit(x) * jnp.logaddexp(0.0, x))


@twin
def gamma_poisson(a, r):
    return jnp.sum(special.gammaln(COUNTS + r) - special.gammaln(r) + r * jnp.log(a) - (COUNTS + r) * jnp.log(a + r))


@twin
def huber(x):
    size = jnp.abs(x)
    return jnp.sum(jnp.where(size < 0.5, 0.5 * x**2, 0.5 * (size - 0.25)))


@twin
def relu_and_clip(x):
    return jnp.sum(jnp.maximum(x, 0.0) ** 2 + jnp.clip(x, -0.45, 0.65) ** 3)


@twin
def cumsum_and_diff(x):
    return jnp.sum(jnp.cumsum(x) ** 3) + jnp.sum(jnp.diff(x, n=2) ** 2)


@twin
def kron_and_outer(a, b):
    return jnp.sum(jnp.kron(a, jnp.outer(b, b)) ** 2)


@twin
def shapes(x):
    wide = jnp.concatenate([x, 2 * x[::-1]], axis=1)
    stacked = jnp.stack([jnp.roll(wide, 1, axis=1), wide])
    padded = jnp.pad(stacked, ((0, 0), (1, 0), (0, 0)))
    return jnp.sum(jnp.swapaxes(padded, 0, 2).reshape(-1) ** 2 * jnp.arange(36.0)) + jnp.sum(jnp.tril(x @ x.T) ** 3)


@twin
def polar(x, y):
    return jnp.sum(jnp.hypot(x, y) ** 3 * jnp.arctan2(y, x))


@twin
def powers(x):
    return jnp.sum(x**2 + x**3 + jnp.abs(x) ** 2.5 + 2.0**x + x**2.0 * x**0)


@twin
def broadcasting(a, b, c, d):
    return jnp.sum(jnp.sin(a * b + c) / (d + b**2) - d * c)


@twin
def deviations(x):
    return jnp.sum(x.std(axis=0, ddof=1)) + jnp.var(x) ** 2


@twin
def entropy(p):
    q = p / p.sum()
    return -jnp.sum(special.xlogy(q, q)) + jnp.sum(jnp.log1p(p) * jnp.expm1(p))


@twin
def while_loop(x):
    step, y = 0, x
    while jnp.sum(y**2) > 1e-2:
        y = y * 0.8 + 0.01 * jnp.sin(y)
        step += 1
    return jnp.sum(y) * step


def close(ours, theirs):
    """Agreement to a few roundings of the largest entry: both sides are exact up to the order of their sums."""
    theirs = np.asarray(theirs)
    assert theirs.dtype == np.float64
    assert np.shape(ours) == theirs.shape
    assert np.asarray(ours).dtype == np.float64
    assert np.max(np.abs(ours - theirs), initial=0.0) <= 1e-11 * max(1.0, np.max(np.abs(theirs), initial=0.0))


def arrays(name):
    return tuple(jnp.asarray(one) for one in EXAMPLES[name].point)


def numbers(name):
    return tuple(range(len(EXAMPLES[name].point)))


def compiled(name, function):
    """One compilation of the whole instead of one for every operation; a loop on values can not be compiled."""
    return function if name == "while_loop" else jax.jit(function)


def test_every_function_has_its_twin():
    assert set(TWINS) == set(EXAMPLES)
    assert len(TWINS) >= 25


@pytest.mark.parametrize("name", EXAMPLES)
def test_value_and_gradient(name):
    value, gradient = cr.value_and_grad(EXAMPLES[name].function, numbers(name))(*EXAMPLES[name].point)
    theirs, expected = compiled(name, jax.value_and_grad(TWINS[name], numbers(name)))(*arrays(name))
    assert abs(float(value) - float(theirs)) <= 1e-12 * max(1.0, abs(float(value)))
    for ours, other in zip(gradient, expected, strict=True):
        close(ours, other)


@pytest.mark.parametrize("name", EXAMPLES)
def test_directional_derivative(name):
    rng = np.random.default_rng(7)
    point = EXAMPLES[name].point
    direction = tuple(rng.normal(size=np.shape(one)) for one in point)
    _, ours = cr.jvp(EXAMPLES[name].function, point, direction)
    along = compiled(name, lambda point, direction: jax.jvp(TWINS[name], point, direction))
    _, theirs = along(arrays(name), tuple(map(jnp.asarray, direction)))
    close(ours, theirs)


@pytest.mark.parametrize("name", [name for name, one in EXAMPLES.items() if one.hessian])
def test_hessian(name):
    ours = cr.hessian(EXAMPLES[name].function, numbers(name))(*EXAMPLES[name].point)
    theirs = jax.jit(jax.hessian(TWINS[name], numbers(name)))(*arrays(name))
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            close(a, b)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian(mode):
    x = np.array([0.3, -0.4, 1.2])
    ours = cr.jacobian(lambda x: np.outer(np.sin(x), np.cumsum(x)), mode=mode)(x)
    close(ours, jax.jacobian(lambda x: jnp.outer(jnp.sin(x), jnp.cumsum(x)))(jnp.asarray(x)))


def test_vmap():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 5))
    ours = cr.vmap(lambda a, b: np.tanh(a @ b), in_axes=(0, 1), out_axes=0)(a, b[:, :4])
    theirs = jax.vmap(lambda a, b: jnp.tanh(a @ b), in_axes=(0, 1))(jnp.asarray(a), jnp.asarray(b[:, :4]))
    close(ours, theirs)


def test_pullback():
    rng = np.random.default_rng(10)
    x, v = rng.normal(size=(3, 4)), rng.normal(size=(3,))
    value, pullback = cr.vjp(lambda x: np.prod(np.sin(x), axis=1), x)
    theirs, pulled = jax.vjp(lambda x: jnp.prod(jnp.sin(x), axis=1), jnp.asarray(x))
    close(value, theirs)
    close(pullback(v)[0], pulled(jnp.asarray(v))[0])


def test_third_derivative_by_nesting():
    ours = cr.grad(cr.grad(cr.grad(lambda x: np.exp(np.sin(x)) * x**3)))(0.7)
    theirs = jax.grad(jax.grad(jax.grad(lambda x: jnp.exp(jnp.sin(x)) * x**3)))(0.7)
    close(ours, theirs)


# --- where the frameworks differ: points where the function has no derivative ---------------------------------------


def test_ties_of_max_and_maximum_are_shared_in_both():
    x = np.array([1.0, 3.0, 3.0])
    np.testing.assert_array_equal(cr.grad(np.max)(x), jax.grad(jnp.max)(jnp.asarray(x)))
    assert cr.grad(lambda x: np.maximum(x, 0.0))(0.0) == jax.grad(lambda x: jnp.maximum(x, 0.0))(0.0) == 0.5


def test_norm_at_zero_is_zero_where_jax_says_nan():
    np.testing.assert_array_equal(cr.grad(np.linalg.norm)(np.zeros(2)), [0.0, 0.0])
    assert np.isnan(jax.grad(jnp.linalg.norm)(jnp.zeros(2))).all()


def test_a_root_behind_where_makes_jax_nan_and_not_us():
    x = np.array([-1.0, 0.0, 4.0])
    ours = cr.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))(x)
    np.testing.assert_array_equal(ours, [0.0, 0.0, 0.25])
    theirs = jax.grad(lambda x: jnp.sum(jnp.where(x > 0, jnp.sqrt(x), 0.0)))(jnp.asarray(x))
    assert np.isnan(theirs[:2]).all()


def test_absolute_value_at_zero_is_zero_where_jax_says_one():
    assert cr.grad(np.abs)(0.0) == 0.0
    assert jax.grad(jnp.abs)(0.0) == 1.0
