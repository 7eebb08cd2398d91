"""scipy.linalg: every argument against SciPy's value, derivatives against the witness."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg
from tests.rules.directional import agrees, gradient, program

from chainrule.errors import NoRule
from chainrule.rule import FUNCTIONS, load_module

load_module("scipy.linalg")


def normal(*shape):
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


def regular(n):
    return normal(n, n) + 3 * np.eye(n)


def positive(n):
    return normal(n, n) @ normal(n, n).T + 5 * np.eye(n)


def holds(function, *arrays, **options):
    """SciPy's functions do not dispatch: what the tracer's twin calls is compared with SciPy itself."""
    agrees(
        lambda *inputs: FUNCTIONS[function](*inputs, **options), *arrays, exact=False,
        reference=lambda *inputs: function(*inputs, **options),
    )  # fmt: skip


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("assume_a", [None, "gen", "sym", "her", "pos", "lower triangular", "upper triangular"])
def test_solve(assume_a, transposed) -> None:
    a = positive(3) if assume_a in {"pos", "sym", "her"} else regular(3)
    for lower in (False, True):
        for b in (normal(3), normal(3, 2)):
            holds(linalg.solve, a, b, assume_a=assume_a, transposed=transposed, lower=lower)
    holds(linalg.solve, a.astype(np.float32), normal(3).astype(np.float32), assume_a=assume_a)


@pytest.mark.parametrize("width", [0, 1])
def test_solve_near_the_diagonal(width) -> None:
    name = ("diagonal", "tridiagonal")[width]
    a = np.triu(np.tril(regular(4), width), -width)
    agrees(
        lambda a, b: FUNCTIONS[linalg.solve](a, b, assume_a=name), a, normal(4), exact=False,
        reference=lambda a, b: np.linalg.solve(np.triu(np.tril(a, width), -width), b),
    )  # fmt: skip
    np.testing.assert_allclose(FUNCTIONS[linalg.solve](a, np.ones(4), assume_a=name), linalg.solve(a, np.ones(4)))


def test_unknown_structures() -> None:
    with pytest.raises(ValueError, match="structure"):
        program(lambda a: FUNCTIONS[linalg.solve](a, np.ones(3), assume_a="odd"), regular(3))


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1, "T", "N"])
def test_solve_triangular(trans, lower, unit) -> None:
    for b in (normal(3), normal(3, 2)):
        holds(linalg.solve_triangular, regular(3), b, trans=trans, lower=lower, unit_diagonal=unit)


@pytest.mark.parametrize("lower", [False, True])
def test_cholesky(lower) -> None:
    holds(linalg.cholesky, positive(3), lower=lower)
    for b in (normal(3), normal(3, 2)):
        agrees(
            lambda a, b: FUNCTIONS[linalg.cho_solve](FUNCTIONS[linalg.cho_factor](a, lower), b), positive(3), b,
            exact=False, reference=lambda a, b: linalg.cho_solve(linalg.cho_factor(a, lower), b),
        )  # fmt: skip
    agrees(
        lambda a: FUNCTIONS[linalg.cho_factor](a, lower)[0], positive(3), exact=False,
        reference=lambda a: linalg.cho_factor(a, lower)[0],
    )  # fmt: skip


def test_what_numpy_has_too() -> None:
    holds(linalg.inv, regular(3))
    holds(linalg.det, regular(3))
    holds(linalg.norm, normal(3))
    holds(linalg.norm, normal(3, 2), ord=1, axis=0, keepdims=True)
    holds(linalg.svdvals, normal(3, 2))
    holds(linalg.svd, normal(3, 2), full_matrices=False)
    holds(linalg.svd, normal(3, 2), compute_uv=False)
    holds(linalg.pinv, normal(3, 2))


@pytest.mark.parametrize("lower", [False, True])
def test_eigenvalues(lower) -> None:
    # The routine that SciPy calls flips the signs of vectors as it pleases, so they are squared.
    def squared(eigh):
        def code(a):
            w, v = eigh(a, lower=lower)
            return w, v * v

        return code

    agrees(squared(FUNCTIONS[linalg.eigh]), positive(3), exact=False, reference=squared(linalg.eigh))
    a = positive(3)
    for ours, theirs in zip(FUNCTIONS[linalg.eigh](a, lower=lower), linalg.eigh(a, lower=lower), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    holds(linalg.eigvalsh, positive(3), lower=lower)
    holds(linalg.eigvalsh, positive(4), subset_by_index=[1, 2])
    holds(linalg.eigh, positive(4), eigvals_only=True)
    with pytest.raises(NoRule, match="argument b"):
        program(lambda a: FUNCTIONS[linalg.eigh](a, positive(3)), positive(3))


def test_exponential() -> None:
    holds(linalg.expm, normal(3, 3))
    holds(linalg.expm, normal(2, 2, 2))
    holds(linalg.expm, np.zeros((2, 2)))


def test_patterns() -> None:
    holds(linalg.block_diag, normal(2, 3), normal(2), np.array(1.5))
    holds(linalg.toeplitz, normal(4))
    holds(linalg.toeplitz, normal(4), normal(3))
    holds(linalg.hankel, normal(4))
    holds(linalg.hankel, normal(4), normal(3))
    holds(linalg.circulant, normal(4))
    holds(linalg.khatri_rao, normal(3, 2), normal(4, 2))


def test_gradients_keep_float32() -> None:
    a = positive(3).astype(np.float32)
    assert gradient(lambda a: np.sum(FUNCTIONS[linalg.cholesky](a)), a)[0].dtype == np.float32
