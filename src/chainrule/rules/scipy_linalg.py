"""Rules of ``scipy.linalg``; imported only when a program needs one, since it imports SciPy.

``overwrite_a`` and its kin are permissions, which are not made use of.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from scipy import linalg

from chainrule.errors import NoRule
from chainrule.rule import Cost, Opaque, apply, implements, register
from chainrule.rules.arguments import array_of
from chainrule.rules.factorisations import cholesky, eigh, eigvalsh, svdvals
from chainrule.rules.gather import blank, getitem, setitem
from chainrule.rules.linalg import inexact, solve, solve_system, solve_triangular, square, symmetric_tangent, transposed

__all__: list[str] = []


def _refuse(function: str, **given: Any) -> None:
    """Raise NoRule for the first of these arguments that is not what it is by default, None or False."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise NoRule(f"scipy.linalg.{function} has no rule for the argument {name}", cure="leave it out")


# --- systems --------------------------------------------------------------------------------------------------------


def _by_cholesky(factor: Any, b: Any, lower: bool) -> Any:
    """The solution of ``L Lᵀ x = b``, or of ``Uᵀ U x = b``, from the factor."""
    left, right = (factor, transposed(factor)) if lower else (transposed(factor), factor)
    half = solve_system(left, b, solve_triangular, (True, False))
    return solve_system(right, half, solve_triangular, (False, False))


def _near_diagonal(a: Any, width: int) -> Any:
    """The matrix without what is further than ``width`` from its diagonal."""
    places = np.arange(a.shape[-1])
    return a * (np.abs(places[:, np.newaxis] - places) <= width).astype(a.dtype)


@implements(linalg.solve)
def solve_linear(
    a: Any, b: Any, lower: Any = False, overwrite_a: Any = False, overwrite_b: Any = False, check_finite: Any = True,
    assume_a: Any = None, transposed: Any = False,
) -> Any:  # fmt: skip
    a, b = inexact(array_of(a), array_of(b))
    square(a)
    lower = bool(lower)
    if assume_a in {"pos", "positive definite"}:
        return _by_cholesky(apply(cholesky, (a,), (lower,)), b, lower)
    if assume_a in {"upper triangular", "lower triangular"}:
        return triangular(a, b, trans=int(bool(transposed)), lower=assume_a.startswith("lower"))
    if assume_a in {"sym", "symmetric", "her", "hermitian"}:
        a = symmetric_tangent(a, lower)
    elif assume_a in {"diagonal", "tridiagonal"}:
        a = _near_diagonal(a, 0 if assume_a == "diagonal" else 1)
    elif assume_a not in {None, "gen", "general", "banded"}:
        msg = f"{assume_a} is not a recognized matrix structure"
        raise ValueError(msg)
    if transposed:
        a = np.swapaxes(a, -1, -2)
    return solve_system(a, b, solve)


@implements(linalg.solve_triangular)
def triangular(
    a: Any, b: Any, trans: Any = 0, lower: Any = False, unit_diagonal: Any = False, overwrite_b: Any = False,
    check_finite: Any = True,
) -> Any:  # fmt: skip
    a, b = inexact(array_of(a), array_of(b))
    square(a)
    lower = bool(lower)
    if trans in {1, 2, "T", "C"}:
        a, lower = transposed(a), not lower
    elif trans not in {0, "N"}:
        msg = f"trans must be 0, 1, 2, 'N', 'T' or 'C' (got {trans!r})"
        raise ValueError(msg)
    return solve_system(a, b, solve_triangular, (lower, bool(unit_diagonal)))


@functools.cache
def _keeps_the_other_triangle() -> bool:
    """Whether this SciPy's ``cho_factor`` leaves in the other triangle what was there, or zeros."""
    return bool(linalg.cho_factor(np.array([[4.0, 1.0], [1.0, 4.0]]))[0][1, 0])


@implements(linalg.cho_factor)
def cho_factor(a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True) -> Any:
    (a,) = inexact(array_of(a))
    square(a)
    lower = bool(lower)
    if not _keeps_the_other_triangle():
        return apply(cholesky, (a,), (lower,)), lower
    n = a.shape[-1]
    other = np.tri(n, k=-1, dtype=a.dtype)
    return apply(cholesky, (a,), (lower,)) + a * (other.T if lower else other), lower


@implements(linalg.cho_solve)
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: Any = False, check_finite: Any = True) -> Any:
    c, lower = c_and_lower
    c, b = inexact(array_of(c), array_of(b))
    square(c)
    return _by_cholesky(c, b, bool(lower))


# --- what NumPy has too ---------------------------------------------------------------------------------------------


@implements(linalg.cholesky)
def cholesky_factor(a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True) -> Any:
    (a,) = inexact(array_of(a))
    square(a)
    return apply(cholesky, (a,), (bool(lower),))


@implements(linalg.inv)
def inverse(
    a: Any, overwrite_a: Any = False, check_finite: Any = True, *, assume_a: Any = None, lower: Any = False
) -> Any:
    if assume_a not in {None, "gen", "general"}:
        raise NoRule(
            f"scipy.linalg.inv has no rule for assume_a={assume_a!r}", cure="leave it out, or use scipy.linalg.solve"
        )
    return np.linalg.inv(array_of(a))


@implements(linalg.det)
def determinant(a: Any, overwrite_a: Any = False, check_finite: Any = True) -> Any:
    return np.linalg.det(array_of(a))


@implements(linalg.norm)
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: Any = False, check_finite: Any = True) -> Any:  # noqa: A002 - SciPy's name
    return np.linalg.norm(array_of(a), ord, axis, keepdims)


@implements(linalg.svdvals)
def singular_values(a: Any, overwrite_a: Any = False, check_finite: Any = True) -> Any:
    return apply(svdvals, inexact(array_of(a)))


@implements(linalg.svd)
def singular_value_decomposition(
    a: Any, full_matrices: Any = True, compute_uv: Any = True, overwrite_a: Any = False, check_finite: Any = True,
    lapack_driver: Any = "gesdd",
) -> Any:  # fmt: skip
    if lapack_driver != "gesdd":
        _refuse("svd", lapack_driver=lapack_driver)
    made = np.linalg.svd(array_of(a), full_matrices, compute_uv)
    return tuple(made) if compute_uv else made


@implements(linalg.pinv)
def pseudo_inverse(
    a: Any, *, atol: Any = None, rtol: Any = None, return_rank: Any = False, check_finite: Any = True
) -> Any:
    _refuse("pinv", atol=atol, return_rank=return_rank)
    a = array_of(a)
    if rtol is None:
        rtol = max(a.shape[-2:]) * float(np.finfo(inexact(a)[0].dtype).eps)
    return np.linalg.pinv(a, rcond=rtol)


# --- eigenvalues ----------------------------------------------------------------------------------------------------


def _in_batches(a: Any, lower: bool) -> tuple[Any, Any]:
    if a.ndim == 2:
        w, v = linalg.eigh(a, lower=lower, check_finite=False)
        return w, v
    if a.size == 0:
        return np.zeros(a.shape[:-1], dtype=a.dtype), np.zeros_like(a)
    parts = [_in_batches(one, lower) for one in a]
    return np.stack([w for w, _ in parts]), np.stack([v for _, v in parts])


# SciPy calls another routine of LAPACK than NumPy, and its vectors may have the other sign: at a point beside this one,
# too, so that differences of them mean nothing; the derivatives are eigh's, and tested there.
eigh_by_scipy: Any = register(
    dataclasses.replace(
        eigh,
        name="scipy_eigh",
        value=_in_batches,
        source="",
        points=((("1,1 spd",), (True,)), (("2,1,1 spd",), (False,))),
        batch=lambda batched, size, arguments, params: apply(eigh_by_scipy, arguments, params),
    )
)


@implements(linalg.eigh)
def eigen_decomposition(
    a: Any, b: Any = None, *, lower: Any = True, eigvals_only: Any = False, overwrite_a: Any = False,
    overwrite_b: Any = False, type: Any = 1, check_finite: Any = True, subset_by_index: Any = None,  # noqa: A002 - SciPy's name
    subset_by_value: Any = None, driver: Any = None,
) -> Any:  # fmt: skip
    _refuse("eigh", b=b, subset_by_value=subset_by_value, driver=driver)
    (a,) = inexact(array_of(a))
    square(a)
    lower = bool(lower)
    part: Any = slice(None)
    if subset_by_index is not None:
        first, last = (int(one) for one in subset_by_index)
        if not 0 <= first <= last < a.shape[-1]:
            msg = (
                "Requested eigenvalue indices are not valid. Valid range is "
                f"[0, {a.shape[-1] - 1}] and start <= end, but start={first}, end={last} is given"
            )
            raise ValueError(msg)
        if not eigvals_only:
            _refuse("eigh", subset_by_index=subset_by_index)
        part = slice(first, last + 1)
    if eigvals_only:
        return apply(eigvalsh, (a,), (lower,))[..., part]
    return apply(eigh_by_scipy, (a,), (lower,))


@implements(linalg.eigvalsh)
def eigenvalues(a: Any, b: Any = None, **keywords: Any) -> Any:
    return eigen_decomposition(a, b, eigvals_only=True, **keywords)


# --- functions of a matrix ------------------------------------------------------------------------------------------


def _expm_change(a: Any, t: Any) -> Any:
    # The exponential of ((A, T), (0, A)) has the derivative of exp A along T in its corner (Van Loan, 1978).
    n = a.shape[-1]
    rows = np.concatenate([a, t], axis=-1)
    below = np.concatenate([blank(a, a.shape, a.dtype), a], axis=-1)
    return apply(expm, (np.concatenate([rows, below], axis=-2),))[..., :n, n:]


expm: Any = register(
    Opaque(
        name="expm",
        native="expm",
        value=linalg.expm,
        infer=lambda types, params: (types[0].shape, types[0].dtype),
        forward=lambda tangents, y, arguments, params: _expm_change(arguments[0], tangents[0]),
        pullback=lambda g, y, arguments, params, wanted: (_expm_change(transposed(arguments[0]), g),),
        batch=lambda batched, size, arguments, params: apply(expm, arguments),
        latex=r"e^{{{0}}}",
        binds=8,
        # Some ten products of matrices and a solve (Al-Mohy and Higham, 2009).
        cost=lambda types, params, outs: Cost(20 * types[0].size * types[0].shape[-1]),
        points=((("3,3",), ()), (("2,2,2",), ())),
    )
)


@implements(linalg.expm)
def matrix_exponential(A: Any) -> Any:
    (a,) = inexact(array_of(A))
    square(a)
    return apply(expm, (a,))


# --- matrices of a pattern ------------------------------------------------------------------------------------------


@implements(linalg.block_diag)
def block_diag(*arrs: Any) -> Any:
    blocks = [np.atleast_2d(array_of(one)) for one in arrs]
    for one in blocks:
        if one.ndim > 2:
            raise NoRule("scipy.linalg.block_diag has no rule for stacks of matrices", cure="make them one by one")
    rows, columns = sum(one.shape[0] for one in blocks), sum(one.shape[1] for one in blocks)
    recorded = next(one for one in blocks if hasattr(one, "_chainrule_record"))
    whole = blank(recorded, (rows, columns), np.result_type(*[one.dtype for one in blocks]))
    row = column = 0
    for one in blocks:
        key = (f"{row}:{row + one.shape[0]}", f"{column}:{column + one.shape[1]}")
        whole = apply(setitem, (whole, one), (key,))
        row, column = row + one.shape[0], column + one.shape[1]
    return whole


def _vector(function: str, x: Any) -> Any:
    x = array_of(x)
    if x.ndim > 1:
        raise NoRule(
            f"scipy.linalg.{function} has no rule for arrays of several axes", cure="call it once for each row"
        )
    return np.reshape(x, (1,)) if x.ndim == 0 else x


def _picked(x: Any, index: Any) -> Any:
    return apply(getitem, (x, index), (("?",),))


@implements(linalg.toeplitz)
def toeplitz(c: Any, r: Any = None) -> Any:
    c = _vector("toeplitz", c)
    r = c if r is None else _vector("toeplitz", r)
    n, m = c.shape[0], r.shape[0]
    both = np.concatenate([np.flip(c), r[1:]])
    return _picked(both, n - 1 - np.arange(n)[:, np.newaxis] + np.arange(m))


@implements(linalg.hankel)
def hankel(c: Any, r: Any = None) -> Any:
    c = _vector("hankel", c)
    n = c.shape[0]
    r = np.zeros(n, dtype=c.dtype) if r is None else _vector("hankel", r)
    both = np.concatenate([c, r[1:]])
    return _picked(both, np.arange(n)[:, np.newaxis] + np.arange(r.shape[0]))


@implements(linalg.circulant)
def circulant(c: Any) -> Any:
    c = _vector("circulant", c)
    places = np.arange(c.shape[0])
    return _picked(c, (places[:, np.newaxis] - places) % max(c.shape[0], 1))


@implements(linalg.khatri_rao)
def khatri_rao(a: Any, b: Any) -> Any:
    a, b = array_of(a), array_of(b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        msg = "The number of columns for both arrays should be equal."
        raise ValueError(msg)
    made = np.reshape(a, (a.shape[0], 1, a.shape[1])) * b
    return np.reshape(made, (a.shape[0] * b.shape[0], a.shape[1]))
