"""Gradients, Hessians and directional derivatives of plain NumPy code against PyTorch's, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.interop.functions import COUNTS, DATA, EXAMPLES, INTO, LABELS, PICKED, WINDOWS

import chainrule as cr

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

TWINS: dict[str, Callable[..., Any]] = {}
X = torch.tensor(DATA)


def twin(function):
    TWINS[function.__name__] = function
    return function


def arange(n):
    return torch.arange(float(n), dtype=torch.float64)


@twin
def mlp_cross_entropy(W1, b1, W2, b2):
    logits = torch.tanh(X @ W1 + b1) @ W2 + b2
    return torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS))


@twin
def layer_norm(x, gain, bias):
    return torch.sin(torch.nn.functional.layer_norm(x, (5,), gain, bias, eps=1e-5)).sum()


@twin
def attention(q, k, v):
    return ((torch.softmax(q @ k.T / 3**0.5, dim=-1) @ v) ** 2).sum()


@twin
def logsumexp(x):
    return (torch.logsumexp(x, dim=1) ** 2).sum()


@twin
def convolution_by_indexing(x, kernel):
    return (torch.tanh(x[torch.tensor(WINDOWS)] @ kernel) ** 2).sum()


@twin
def convolution_by_slices(image, kernel):
    out = torch.nn.functional.conv2d(image[None, None], kernel[None, None])
    return (torch.relu(out) ** 2).sum()


@twin
def cumprod_with_a_zero(x):
    return (torch.cumprod(x, 0) * (arange(5) + 1)).sum()


@twin
def prod_with_a_zero(x):
    return torch.prod(x) + torch.prod(x[1:]) ** 2


@twin
def prod_with_two_zeros(x):
    return torch.prod(x) + (x**2).sum()


@twin
def norms(x):
    return torch.linalg.norm(x) + (torch.linalg.vector_norm(x, dim=1) ** 3).sum()


@twin
def solve(A, b):
    return (torch.linalg.solve(A, b) ** 2).sum()


@twin
def slogdet(A):
    sign, logarithm = torch.linalg.slogdet(A)
    return sign * logarithm**2


@twin
def determinant_and_inverse(A):
    return torch.linalg.det(A) * torch.trace(torch.linalg.inv(A))


@twin
def cholesky(X):
    root = torch.linalg.cholesky(X.T @ X + 0.5 * torch.eye(3, dtype=X.dtype))
    return torch.log(torch.diag(root)).sum() + (root**3).sum()


@twin
def gaussian_process(log_length, log_noise):
    x, y = X[:, :1], X[:, 1]
    eye = torch.eye(6, dtype=X.dtype)
    K = torch.exp(-0.5 * (x - x.T) ** 2 / torch.exp(2 * log_length)) + torch.exp(log_noise) * eye
    alpha = torch.linalg.solve(K, y)
    return 0.5 * y @ alpha + torch.log(torch.diagonal(torch.linalg.cholesky(K))).sum()


@twin
def eigenvalues(A):
    return (torch.log(torch.linalg.eigvalsh((A + A.T) / 2)) ** 2).sum()


@twin
def sort(x):
    return (torch.sort(x).values ** 2 * arange(7)).sum()


@twin
def argsort_and_take(x):
    return (torch.take_along_dim(x, torch.argsort(x, dim=1), dim=1)[:, ::2] ** 3).sum()


@twin
def maxima(x):
    return (x.amax(dim=1) ** 2).sum() - x.amin() * x.amax()


@twin
def median(x):
    return torch.median(x) ** 3


@twin
def where_with_a_root(x):
    return torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), -(x**2)).sum()


@twin
def gather_duplicates(x):
    return (torch.sin(x[torch.tensor(PICKED)]) * arange(6)).sum()


@twin
def scatter_duplicates(x, start):
    return (start.index_add(0, torch.tensor(INTO), x**2) ** 3).sum()


@twin
def einsum(a, b, c):
    return torch.einsum("ij,jk,ki->", a, b, c) + (torch.einsum("ij,jk->ik", a, b) ** 2).sum()


@twin
def rnn(W, U, h):
    for step in range(6):
        h = torch.tanh(W @ h + U @ X[step, :2])
    return (h**2).sum()


@twin
def heat_equation(u):
    for _ in range(5):
        inside = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        u = torch.cat([u[:1] * 0.5, inside, u[-1:] ** 2 * 0.1])
    return (u**2).sum()


@twin
def gelu(x):
    return (x * 0.5 * (1 + torch.erf(x / 2**0.5)) ** 2).sum()


@twin
def sigmoids(x):
    return (torch.sigmoid(x) * torch.logaddexp(torch.zeros_like(x), x)).sum()


@twin
def gamma_poisson(a, r):
    counts = torch.tensor(COUNTS)
    return (torch.lgamma(counts + r) - torch.lgamma(r) + r * torch.log(a) - (counts + r) * torch.log(a + r)).sum()


@twin
def huber(x):
    return torch.nn.functional.huber_loss(x, torch.zeros_like(x), delta=0.5, reduction="sum")


@twin
def relu_and_clip(x):
    return (torch.relu(x) ** 2 + torch.clamp(x, -0.45, 0.65) ** 3).sum()


@twin
def cumsum_and_diff(x):
    return (torch.cumsum(x, 0) ** 3).sum() + (torch.diff(x, n=2) ** 2).sum()


@twin
def kron_and_outer(a, b):
    return (torch.kron(a, torch.outer(b, b)) ** 2).sum()


@twin
def shapes(x):
    wide = torch.cat([x, 2 * x.flip(0)], dim=1)
    stacked = torch.stack([torch.roll(wide, 1, dims=1), wide])
    padded = torch.nn.functional.pad(stacked, (0, 0, 1, 0))
    return (padded.swapaxes(0, 2).reshape(-1) ** 2 * arange(36)).sum() + (torch.tril(x @ x.T) ** 3).sum()


@twin
def polar(x, y):
    return (torch.hypot(x, y) ** 3 * torch.atan2(y, x)).sum()


@twin
def powers(x):
    return (x**2 + x**3 + torch.abs(x) ** 2.5 + 2.0**x + x**2.0 * x**0).sum()


@twin
def broadcasting(a, b, c, d):
    return (torch.sin(a * b + c) / (d + b**2) - d * c).sum()


@twin
def deviations(x):
    return x.std(dim=0, correction=1).sum() + torch.var(x, correction=0) ** 2


@twin
def entropy(p):
    q = p / p.sum()
    return -torch.xlogy(q, q).sum() + (torch.log1p(p) * torch.expm1(p)).sum()


@twin
def while_loop(x):
    step, y = 0, x
    while (y.detach() ** 2).sum() > 1e-2:
        y = y * 0.8 + 0.01 * torch.sin(y)
        step += 1
    return y.sum() * step


#: PyTorch's trigamma is good to nine digits (trigamma(1.7) = 0.79323283016...; it gives 0.79323283050...).
TOLERANCE = {"gamma_poisson": 1e-9}


def close(ours, theirs, tolerance=1e-11):
    """Agreement to a few roundings of the largest entry: both sides are exact up to the order of their sums."""
    theirs = theirs.detach().numpy()
    assert np.shape(ours) == theirs.shape
    assert np.asarray(ours).dtype == np.float64
    assert np.max(np.abs(ours - theirs), initial=0.0) <= tolerance * max(1.0, np.max(np.abs(theirs), initial=0.0))


def tensors(point):
    return [torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in point]


def numbers(name):
    return tuple(range(len(EXAMPLES[name].point)))


def test_every_function_has_its_twin():
    assert set(TWINS) == set(EXAMPLES)
    assert len(TWINS) >= 25


@pytest.mark.parametrize("name", EXAMPLES)
def test_value_and_gradient(name):
    point = EXAMPLES[name].point
    value, gradient = cr.value_and_grad(EXAMPLES[name].function, numbers(name))(*point)
    given = tensors(point)
    theirs = TWINS[name](*given)
    assert abs(float(value) - float(theirs.detach())) <= 1e-12 * max(1.0, abs(float(value)))
    for ours, other in zip(gradient, torch.autograd.grad(theirs, given), strict=True):
        close(ours, other)


@pytest.mark.parametrize("name", EXAMPLES)
def test_directional_derivative(name):
    rng = np.random.default_rng(7)
    point = EXAMPLES[name].point
    direction = tuple(rng.normal(size=np.shape(one)) for one in point)
    _, ours = cr.jvp(EXAMPLES[name].function, point, direction)
    given = tensors(point)
    gradient = torch.autograd.grad(TWINS[name](*given), given)
    theirs = sum((one * torch.tensor(v)).sum() for one, v in zip(gradient, direction, strict=True))
    close(ours, theirs)


@pytest.mark.parametrize("name", [name for name, one in EXAMPLES.items() if one.hessian])
def test_hessian(name):
    point = EXAMPLES[name].point
    ours = cr.hessian(EXAMPLES[name].function, numbers(name))(*point)
    theirs = torch.autograd.functional.hessian(TWINS[name], tuple(tensors(point)))
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            close(a, b, TOLERANCE.get(name, 1e-11))


@pytest.mark.parametrize("name", ["mlp_cross_entropy", "rnn", "attention"])
def test_hessian_times_vector(name):
    rng = np.random.default_rng(8)
    point = EXAMPLES[name].point
    direction = tuple(rng.normal(size=np.shape(one)) for one in point)
    ours = cr.hvp(EXAMPLES[name].function, point, direction)
    _, theirs = torch.autograd.functional.hvp(
        TWINS[name], tuple(tensors(point)), tuple(torch.tensor(one) for one in direction)
    )
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other)


def test_jacobian():
    x = np.array([0.3, -0.4, 1.2])
    ours = cr.jacobian(lambda x: np.outer(np.sin(x), np.cumsum(x)))(x)
    theirs = torch.autograd.functional.jacobian(
        lambda x: torch.outer(torch.sin(x), torch.cumsum(x, 0)), torch.tensor(x)
    )
    close(ours, theirs)


def test_float32_stays_float32():
    x = np.array([0.3, -0.4, 1.2], dtype=np.float32)
    ours = cr.grad(lambda x: np.sum(np.tanh(x) * x))(x)
    given = torch.tensor(x, requires_grad=True)
    (theirs,) = torch.autograd.grad((torch.tanh(given) * given).sum(), given)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


# --- where the frameworks differ: points where the function has no derivative ---------------------------------------


def of_torch(function, x):
    given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    (theirs,) = torch.autograd.grad(function(given), given)
    return theirs.numpy()


def test_a_tie_of_max_is_shared_as_torch_shares_it_in_amax_and_not_as_in_max_over_a_dimension():
    x = np.array([1.0, 3.0, 3.0])
    ours = cr.grad(np.max)(x)
    np.testing.assert_array_equal(ours, [0.0, 0.5, 0.5])
    np.testing.assert_array_equal(of_torch(torch.amax, x), ours)
    np.testing.assert_array_equal(sorted(of_torch(lambda x: torch.max(x, 0).values, x)), [0.0, 0.0, 1.0])


def test_relu_at_zero_is_a_half_where_torch_says_zero():
    assert cr.grad(lambda x: np.maximum(x, 0.0))(0.0) == 0.5
    assert of_torch(torch.relu, 0.0) == 0.0
    assert of_torch(lambda x: torch.maximum(x, torch.zeros_like(x)), 0.0) == 0.5


def test_clip_at_its_bounds_has_the_slope_from_inside_in_both():
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    ours = cr.grad(lambda x: np.sum(np.clip(x, 0.0, 1.0)))(x)
    np.testing.assert_array_equal(ours, of_torch(lambda x: torch.clamp(x, 0.0, 1.0).sum(), x))


def test_norm_and_absolute_value_at_zero_are_zero_in_both():
    assert cr.grad(np.abs)(0.0) == of_torch(torch.abs, 0.0) == 0.0
    ours = cr.grad(np.linalg.norm)(np.zeros(2))
    np.testing.assert_array_equal(ours, [0.0, 0.0])
    np.testing.assert_array_equal(of_torch(torch.linalg.norm, np.zeros(2)), ours)


def test_a_root_behind_where_makes_torch_nan_and_not_us():
    x = np.array([-1.0, 0.0, 4.0])
    ours = cr.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))(x)
    np.testing.assert_array_equal(ours, [0.0, 0.0, 0.25])
    theirs = of_torch(lambda x: torch.where(x > 0, torch.sqrt(x), 0.0).sum(), x)
    assert np.isnan(theirs[:2]).all()


def test_slope_of_the_root_at_zero_is_infinite_in_both():
    assert cr.grad(np.sqrt)(0.0) == of_torch(torch.sqrt, 0.0) == np.inf
