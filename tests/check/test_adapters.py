"""Functions of HIPS autograd, objectives in SciPy's form and linear operators before the judge."""

from __future__ import annotations

from types import SimpleNamespace

import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse
from autograd.extend import defvjp, primitive
from scipy import fft, optimize
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from chainrule.check import check
from chainrule.errors import ArgumentError

RNG = np.random.default_rng(7)
X = RNG.standard_normal((3, 4))
A = RNG.standard_normal((5, 8))


def softplus(factor):
    @primitive
    def f(x):
        return np.logaddexp(x, 0.0)

    defvjp(f, lambda _y, x: lambda g: factor * g / (1 + np.exp(-x)))
    return f


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (0.5, "FAIL"), (1.001, "FAIL")])
def test_a_primitive_of_autograd(factor, verdict):
    report = check(softplus(factor), X, backend="autograd")
    assert report.verdict == verdict, str(report)
    assert "backend='autograd'" in report.reproduce


def test_containers_and_several_arguments_of_autograd():
    def f(p, x, power):
        t = anp.tanh(anp.dot(p["w"], x) + p["b"]) ** power
        return {"all": t, "sum": anp.sum(t), "shape": 3.0}

    params = {"w": RNG.standard_normal((2, 3)), "b": 0.25}
    report = check(f, params, X, 2, argnums=(0, 1), backend="autograd")
    assert report.verdict == "PASS", str(report)

    def detached(p, x, power):
        return f({"w": p["w"], "b": getattr(p["b"], "_value", p["b"])}, x, power)

    report = check(detached, params, X, 2, backend="autograd")
    assert report.verdict == "FAIL", str(report)
    assert report.worst[0]["name"] == "p['b']"


def test_autograd_with_no_path_and_of_second_order():
    def leaves(x):
        return float(anp.sum(getattr(x, "_value", x) ** 2))

    report = check(leaves, X, backend="autograd")
    assert report.verdict == "FAIL"
    assert report.sentence.startswith("there is no path from the input to the output")
    assert check(lambda x: anp.sum(x**4) + anp.prod(x), X[0], backend="autograd", order=2).verdict == "PASS"


def test_unknown_backends_and_two_claims():
    with pytest.raises(ArgumentError, match="backend='tensorflow'"):
        check(np.sum, X, backend="tensorflow")
    with pytest.raises(ArgumentError, match="more than one claim"):
        check(np.sum, X, backend="autograd", grad=np.ones_like)
    with pytest.raises(ArgumentError, match="argnums=4"):
        check(anp.sum, X, backend="autograd", argnums=4)


def rosenbrock(x, factor=1.0):
    return optimize.rosen(x), factor * optimize.rosen_der(x)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_objectives_with_their_gradient(factor, verdict):
    x = np.array([-1.2, 1.0, 0.7, 2.0])
    report = check(rosenbrock, x, factor, jac=True)
    assert report.verdict == verdict, str(report)
    assert "jac=True" in report.reproduce
    assert check(optimize.rosen, x, jac=lambda x: factor * optimize.rosen_der(x)).verdict == verdict
    second = check(optimize.rosen, x, jac=optimize.rosen_der, vjp=optimize.rosen_hess_prod, order=2)
    assert second.verdict == "PASS", str(second)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array, aslinearoperator, np.ndarray.tolist])
@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_residuals_with_their_jacobian(form, factor):
    def residuals(x):
        return np.sin(A @ x), form(factor * np.cos(A @ x)[:, None] * A)

    report = check(residuals, RNG.standard_normal(8), jac=True)
    assert report.verdict == ("PASS" if factor == 1 else "FAIL"), str(report)


def test_wrong_forms_of_jac():
    x = np.ones(8)
    with pytest.raises(ArgumentError, match="f returned a float"):
        check(lambda x: float(np.sum(x)), x, jac=True)
    with pytest.raises(ArgumentError, match="jac=3"):
        check(np.sum, x, jac=3)
    with pytest.raises(ArgumentError, match="first argument"):
        check(np.dot, x, x, jac=np.dot, argnums=1)
    report = check(lambda x: A @ x, x, jac=lambda x: A.T)
    assert report.verdict == "FAIL"
    assert "the Jacobian has shape (8, 5)" in report.sentence


def test_linear_operators_that_are_right():
    for operator in (
        aslinearoperator(A),
        aslinearoperator(A.astype(np.float32)),
        aslinearoperator(scipy.sparse.random_array((300, 200), density=0.02, rng=RNG)),
        aslinearoperator(A + 1j * A[::-1]),
        aslinearoperator(A) @ aslinearoperator(A.T),
        LinearOperator(
            (4096, 4096), matvec=lambda x: fft.dct(x, norm="ortho"), rmatvec=lambda x: fft.idct(x, norm="ortho")
        ),
    ):
        report = check(operator)
        assert report.verdict == "PASS", str(report)
        assert report.resolution < (2e-3 if operator.dtype == np.float32 else 1e-10)


@pytest.mark.parametrize("error", [1.0, 1e-3, 1e-8])
def test_one_wrong_entry_of_an_adjoint_is_named(error):
    transposed = A.T.copy()
    transposed[6, 3] += error * A[3, 6]
    report = check(LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y: transposed @ y))
    assert report.verdict == ("FAIL" if error > 1e-5 else "WARN"), str(report)
    assert report.worst[0]["name"] == "A[3, 6]"
    assert report.worst[0]["relative"] == pytest.approx(error / (1 + error), rel=1e-4)
    assert "A[3, 6]" in str(report)


def test_the_resolution_of_an_operator_is_true():
    norm = np.linalg.norm(A)
    seen = 0
    for seed in range(60):
        i, j = RNG.integers(5), RNG.integers(8)
        size = check(aslinearoperator(A), seed=seed).resolution
        transposed = A.T.copy()
        transposed[j, i] += 2 * size * norm
        report = check(
            LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y, t=transposed: t @ y), seed=seed
        )
        seen += report.verdict != "PASS"
    assert seen == 60


@pytest.mark.parametrize(
    ("rmatvec", "word"),
    [
        (lambda y: -(A.T @ y), "the adjoint is -1 x the true one"),
        (lambda y: 2.5 * (A.T @ y), "the adjoint is 2.5 x the true one"),
        (lambda y: np.zeros(8), "the adjoint is zero"),
        (lambda y: (A.T @ y) + 1, "rmatvec of zero is not zero"),
        (lambda y: np.abs(A.T @ y), "rmatvec is not linear"),
        (lambda y: (A.T @ y) + 1e-3 * RNG.standard_normal(8), "it keeps state"),
        (lambda y: np.full(8, np.nan), "not finite"),
        (lambda y: (np.multiply(y, 2, out=y), A.T @ y)[1], "overwrites its input"),
        (lambda y: 1 / 0, "raises ZeroDivisionError"),
        (lambda y: y, "returned the shape (5,)"),
    ],
)
def test_wrong_adjoints(rmatvec, word):
    operator = SimpleNamespace(shape=A.shape, dtype=A.dtype, matvec=lambda x: A @ x, rmatvec=rmatvec)
    report = check(operator)
    assert report.verdict == "FAIL", str(report)
    assert word in str(report)


def test_a_missing_conjugation_and_a_missing_adjoint():
    C = A + 1j * RNG.standard_normal(A.shape)
    report = check(LinearOperator(C.shape, matvec=lambda x: C @ x, rmatvec=lambda y: C.T @ y, dtype=complex))
    assert report.verdict == "FAIL"
    assert "without the complex conjugate" in report.pattern
    assert report.json()
    report = check(LinearOperator(A.shape, matvec=lambda x: A @ x))
    assert report.verdict == "INCONCLUSIVE", str(report)
    assert "both directions" in report.sentence


def test_pairs_of_functions_on_arrays():
    def forward(image):
        return image[1:, :] - image[:-1, :]

    def adjoint(g):
        return np.pad(g, ((1, 0), (0, 0))) - np.pad(g, ((0, 1), (0, 0)))

    assert check((forward, adjoint), X).verdict == "PASS"
    report = check((forward, lambda g: np.roll(adjoint(g), 1, axis=1)), X)
    assert report.verdict == "FAIL"
    assert not report
    with pytest.raises(ArgumentError, match="does not say how large"):
        check((forward, adjoint))
    with pytest.raises(ArgumentError, match="the shape None"):
        check(SimpleNamespace(matvec=forward, rmatvec=adjoint))
    assert check((lambda x: x, lambda y: y), np.zeros(0)).verdict == "PASS"
