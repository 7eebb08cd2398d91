"""numpy.linalg: values, batches, derivatives of first and second order, singular and degenerate matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.directional import agrees, gradient, hessian, program

from chainrule.errors import NoRule, NotDifferentiable
from chainrule.rule import apply
from chainrule.rules.linalg import cofactor, cofactor_change, solve_triangular
from chainrule.transforms.backprop import backprop
from chainrule.transforms.simplify import simplify


def normal(*shape):
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


def regular(*shape):
    return normal(*shape) + 3 * np.eye(shape[-2], shape[-1])


def positive(*shape):
    half = normal(*shape)
    return half @ np.swapaxes(half, -1, -2) + 5 * np.eye(shape[-1])


# --- systems --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 2)), ((2, 3, 3), (3,)), ((2, 3, 3), (3, 2)),
        ((3, 3), (2, 3, 2)), ((4, 1, 3, 3), (2, 3, 1)), ((1, 1), (1,)), ((3, 3), (3, 0)),
    ],
)  # fmt: skip
def test_solve(a, b) -> None:
    agrees(np.linalg.solve, regular(*a), normal(*b), exact=False)
    agrees(np.linalg.solve, regular(*a).astype(np.float32), normal(*b).astype(np.float32), exact=False)


def test_solve_with_plain_arguments() -> None:
    agrees(lambda b: np.linalg.solve([[2, 1], [1, 3]], b), normal(2), exact=False)
    agrees(lambda a: np.linalg.solve(a, [1, 2, 3]), regular(3, 3), exact=False)


def test_what_solve_refuses() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="square"):
        program(np.linalg.solve, normal(2, 3), normal(2))
    with pytest.raises(ValueError, match="mismatch"):
        program(np.linalg.solve, normal(3, 3), normal(2))
    singular = np.ones((2, 2))
    for f in (lambda a: np.linalg.solve(a, np.ones(2)), np.linalg.inv):
        with pytest.raises(np.linalg.LinAlgError, match="Singular"):
            program(f, singular).run([singular])


@pytest.mark.parametrize("params", [(True, False), (False, False), (True, True), (False, True)])
def test_solve_triangular(params) -> None:
    from scipy.linalg import solve_triangular as of_scipy

    def reference(a, b):
        if a.ndim == 2:
            return of_scipy(a, b, lower=params[0], unit_diagonal=params[1])
        return np.stack([reference(one, other) for one, other in zip(a, b, strict=True)])

    for a, b in (((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3)), ((2, 3, 3), (2, 3, 2)), ((2, 33, 33), (2, 33))):
        agrees(
            lambda x, y: apply(solve_triangular, (x, y), params),
            regular(*a),
            normal(*b),
            exact=False,
            reference=reference,
        )


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 1), (0, 3, 3)])
def test_inverse(shape) -> None:
    agrees(np.linalg.inv, regular(*shape), exact=False)
    agrees(np.linalg.inv, regular(*shape).astype(np.float32), exact=False)


def test_tensors() -> None:
    a = regular(6, 6).reshape(2, 3, 6)
    agrees(np.linalg.tensorsolve, a, normal(2, 3), exact=False)
    agrees(lambda a, b: np.linalg.tensorsolve(a.transpose(2, 0, 1), b, axes=(0,)), a, normal(2, 3), exact=False)
    agrees(lambda a: np.linalg.tensorinv(a, 1), regular(6, 6).reshape(6, 2, 3), exact=False)


# --- determinants ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 1), (2, 2), (0, 0), (4, 4)])
def test_determinants(shape) -> None:
    agrees(np.linalg.det, regular(*shape), exact=False)
    agrees(np.linalg.det, regular(*shape).astype(np.float32), exact=False)
    agrees(lambda a: tuple(np.linalg.slogdet(a)), regular(*shape), exact=False)
    agrees(lambda a: np.linalg.slogdet(-a).logabsdet, regular(*shape), exact=False)


def cofactors(a):
    n = len(a)
    minors = [[np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)]
    return np.array(minors) * (-1.0) ** np.add.outer(np.arange(n), np.arange(n))


@given(st.integers(0, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_determinant_of_a_matrix_of_any_rank(rank, n, seed) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, min(rank, n))) @ rng.normal(size=(min(rank, n), n))
    scale = max(1.0, np.abs(a).max()) ** (n - 1)
    np.testing.assert_allclose(gradient(np.linalg.det, a)[0], cofactors(a), atol=1e-12 * scale)
    # The second derivative: det is linear in each entry, so differences of the cofactors by 1 are exact.
    bends = [cofactors(a + e.reshape(n, n)).ravel() - cofactors(a).ravel() for e in np.eye(n * n)]
    np.testing.assert_allclose(hessian(np.linalg.det, a), bends, atol=1e-11 * scale)


def test_cofactors_to_the_third_order() -> None:
    agrees(lambda a: apply(cofactor, (a,)), regular(2, 3, 3), exact=False)
    agrees(lambda a, e: apply(cofactor_change, (a, e)), regular(4, 4), normal(4, 4), exact=False)


def test_logarithm_of_a_singular_determinant() -> None:
    singular = np.ones((2, 2))
    assert program(lambda a: np.linalg.slogdet(a)[1], singular).run([singular])[0] == -np.inf
    with pytest.raises(np.linalg.LinAlgError):
        gradient(lambda a: np.linalg.slogdet(a)[1], singular)


# --- factorisations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 1)])
def test_cholesky(shape, upper) -> None:
    agrees(lambda a: np.linalg.cholesky(a, upper=upper), positive(*shape), exact=False)
    agrees(lambda a: np.linalg.cholesky(a, upper=upper), positive(*shape).astype(np.float32), exact=False)
    with pytest.raises(np.linalg.LinAlgError):
        program(np.linalg.cholesky, -np.eye(2)).run([-np.eye(2)])


@pytest.mark.parametrize("uplo", ["L", "U"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 1)])
def test_eigenvalues(shape, uplo) -> None:
    a = positive(*shape)
    agrees(lambda a: np.linalg.eigvalsh(a, UPLO=uplo), a, exact=False)
    agrees(lambda a: tuple(np.linalg.eigh(a, UPLO=uplo)), a, exact=False)
    agrees(lambda a: np.linalg.eigh(a, UPLO=uplo).eigenvalues, a, exact=False)
    agrees(lambda a: np.linalg.eigh(a, UPLO=uplo).eigenvalues, a.astype(np.float32), exact=False)


def test_equal_eigenvalues() -> None:
    eye = 2 * np.eye(3)
    for values in (np.linalg.eigvalsh, lambda a: np.linalg.eigh(a)[0]):
        np.testing.assert_allclose(gradient(lambda a, v=values: np.sum(v(a) ** 2), eye)[0], 2 * eye, atol=1e-14)
    weights = normal(3, 3)
    vectors = gradient(lambda a: np.sum(weights * np.linalg.eigh(a)[1]), eye)[0]
    assert not np.isfinite(vectors[np.tril_indices(3, -1)]).any()


def test_the_triangle_that_is_not_read_has_no_derivative() -> None:
    a = positive(3, 3)
    for f in (np.linalg.cholesky, np.linalg.eigvalsh):
        assert (np.triu(gradient(lambda a, f=f: np.sum(f(a) ** 3), a)[0], 1) == 0).all()


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2), (2, 2, 3), (1, 1)])
def test_singular_values(shape) -> None:
    a = normal(*shape)
    agrees(np.linalg.svdvals, a, exact=False)
    agrees(lambda a: np.linalg.svd(a, compute_uv=False), a, exact=False)
    agrees(lambda a: tuple(np.linalg.svd(a, full_matrices=False)), a, exact=False)
    agrees(np.linalg.cond, a, exact=False)
    if shape[-1] == shape[-2]:
        agrees(lambda a: tuple(np.linalg.svd(a)), a, exact=False)
        agrees(lambda a: np.linalg.cond(a, 1), a, exact=False)
        agrees(lambda a: np.linalg.cond(a, "fro"), a, exact=False)
    else:
        with pytest.raises(NotDifferentiable, match="full_matrices"):
            program(np.linalg.svd, a)


@pytest.mark.parametrize("mode", ["reduced", "r"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 4, 3), (2, 2, 3)])
def test_qr(shape, mode) -> None:
    agrees(
        lambda a: np.linalg.qr(a, mode) if mode == "r" else tuple(np.linalg.qr(a, mode)), normal(*shape), exact=False
    )


def test_qr_complete() -> None:
    agrees(lambda a: tuple(np.linalg.qr(a, "complete")), normal(2, 4), exact=False)
    with pytest.raises(NotDifferentiable, match="complete"):
        program(lambda a: np.linalg.qr(a, "complete"), normal(4, 2))


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 4, 3), (2, 2, 3)])
def test_pseudo_inverse(shape) -> None:
    agrees(np.linalg.pinv, normal(*shape), exact=False)
    agrees(lambda a: np.linalg.pinv(a, rtol=1e-9), normal(*shape), exact=False)


def test_pseudo_inverse_of_a_matrix_of_lower_rank() -> None:
    agrees(lambda u, v: np.linalg.pinv(np.outer(u, v)), normal(4), normal(3), exact=False)


def test_what_is_complex_or_missing_says_so() -> None:
    for f in (np.linalg.eig, np.linalg.eigvals):
        with pytest.raises(NotDifferentiable, match="complex"):
            program(f, normal(3, 3))
    with pytest.raises(NoRule, match="pinv"):
        program(lambda a: np.linalg.lstsq(a, np.ones(4)), normal(4, 2))


# --- norms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, 2, 1, 0, np.inf, -np.inf, 3, 0.5, -1, 2.5])
def test_norms_of_vectors(order) -> None:
    agrees(lambda x: np.linalg.norm(x, order), normal(4), exact=False)
    agrees(lambda x: np.linalg.norm(x, order, axis=1, keepdims=True), normal(2, 3, 2), exact=False)
    agrees(lambda x: np.linalg.norm(x, order, axis=-1), normal(2, 3).astype(np.float32), exact=False)
    if order is not None:
        agrees(lambda x: np.linalg.vector_norm(x, ord=order), normal(2, 3), exact=False)
        agrees(lambda x: np.linalg.vector_norm(x, ord=order, axis=(0, 2), keepdims=True), normal(2, 3, 2), exact=False)


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_matrices(order) -> None:
    agrees(lambda x: np.linalg.norm(x, order), normal(3, 4), exact=False)
    agrees(lambda x: np.linalg.norm(x, order, axis=(2, 0)), normal(3, 2, 4), exact=False)
    agrees(lambda x: np.linalg.norm(x, order, axis=(0, 1), keepdims=True), normal(3, 2, 4), exact=False)
    if order is not None:
        agrees(lambda x: np.linalg.matrix_norm(x, ord=order), normal(2, 3, 4), exact=False)
        agrees(lambda x: np.linalg.matrix_norm(x, ord=order, keepdims=True), normal(2, 3, 4), exact=False)


def test_norm_of_everything() -> None:
    agrees(np.linalg.norm, normal(2, 3, 4), exact=False)
    agrees(lambda x: np.linalg.norm(x, None, None, True), normal(2, 3, 4), exact=False)
    agrees(np.linalg.norm, np.array(-2.0), exact=False)
    assert program(np.linalg.norm, np.zeros(0)).run([np.zeros(0)])[0] == 0


@pytest.mark.parametrize("order", [None, 2, 1, 3, 2.5])
def test_norm_at_zero(order) -> None:
    x = np.zeros(3)
    assert (gradient(lambda x: np.linalg.norm(x, order), x)[0] == 0).all()
    assert (gradient(lambda x: np.linalg.norm(x, order) ** 2, x)[0] == 0).all()


def test_second_derivative_of_a_norm_at_zero_does_not_exist() -> None:
    assert not np.isfinite(hessian(np.linalg.norm, np.zeros(3))).any()
    np.testing.assert_allclose(
        hessian(lambda x: np.linalg.norm(x) ** 2, np.array([1.0, -2.0])), 2 * np.eye(2), atol=1e-14
    )
    np.testing.assert_array_equal(hessian(lambda x: np.sum(x * x), np.zeros(2)), 2 * np.eye(2))


def test_what_norms_refuse() -> None:
    for order, x in (
        ("fro", normal(3)),
        (3, normal(2, 2)),
        ("nuc", normal(2)),
        (1, normal(2, 2, 2)),
        (2, normal(2, 2, 2)),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own error
            np.linalg.norm(x, order)  # type: ignore[arg-type]
        with pytest.raises(ValueError):  # noqa: PT011 - the same kind of error
            program(lambda x, order=order: np.linalg.norm(x, order), x)


@pytest.mark.parametrize(
    ("f", "limit"),
    [
        (lambda a: np.linalg.solve(a, np.ones(30)), 5), (np.linalg.inv, 5), (np.linalg.norm, 5),
        (lambda a: np.linalg.slogdet(a)[1], 5), (np.linalg.eigvalsh, 12),
    ],
)  # fmt: skip
def test_gradients_are_cheap(f, limit) -> None:
    held = program(f, positive(30, 30))
    assert simplify(backprop(held, seeded=True)).cost().operations < limit * held.cost().operations
