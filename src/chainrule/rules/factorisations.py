"""Rules of matrix factorisations: ``cholesky``, ``eigh``, ``svd``, ``qr``, ``pinv``. Leading axes are a batch.

Where two eigenvalues (or singular values) coincide their vectors have no derivative, and it comes out infinite or NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from chainrule.errors import NoRule, NotDifferentiable
from chainrule.rule import Cost, Opaque, apply, implements, register
from chainrule.rules.arguments import array_of
from chainrule.rules.linalg import (
    inexact,
    solve_triangular,
    square,
    symmetric_tangent,
    times,
    transposed,
    triangle_adjoint,
)
from chainrule.rules.reductions import is_given

__all__ = ["cholesky", "eigh", "eigvalsh", "pinv", "qr", "svd", "svdvals"]


# NumPy gives its results by name.
_EighResult: Any = type(np.linalg.eigh(np.eye(1)))
_SVDResult: Any = type(np.linalg.svd(np.eye(1)))
_QRResult: Any = type(np.linalg.qr(np.eye(1)))


def _unbatched(rule: Any) -> Any:
    """``batch`` of a rule of one argument that takes leading axes."""
    return lambda batched, size, arguments, params: apply(rule(), arguments, params)


def _cubic(factor: float) -> Any:
    """Cost of an algorithm that does ``factor n`` operations per element of its argument."""
    return lambda types, params, outs: Cost(factor * types[0].size * min(types[0].shape[-2:]))


def _columns(s: Any) -> Any:
    """Numbers that scale the columns of matrices."""
    return s if s.ndim == 1 else np.reshape(s, (*s.shape[:-1], 1, s.shape[-1]))


def _rows(s: Any) -> Any:
    """Numbers that scale the rows of matrices."""
    return np.reshape(s, (*s.shape, 1))


def _diagonal(x: Any) -> Any:
    return np.diagonal(x, axis1=-2, axis2=-1)


def _eye(n: int, like: Any) -> Any:
    return np.eye(n, dtype=like.dtype)


def _per_gap(numerator: Any, gap: Any) -> Any:
    """``numerator / gap`` off the diagonal, and 0 on it.

    0 / 0 off the diagonal is 0, for results that do not depend on the vectors; the square root there says that its
    own derivative does not exist.
    """
    n = gap.shape[-1]
    gap = gap + _eye(n, gap)
    idle = (gap == 0) & (numerator == 0)
    return np.where(idle, np.sqrt(np.abs(numerator)), numerator / gap) * (1 - _eye(n, gap))


# --- cholesky -------------------------------------------------------------------------------------------------------


def _half_lower(x: Any) -> Any:
    """The lower triangle, with half of the diagonal."""
    n = x.shape[-1]
    return x * (np.tri(n, k=-1) + 0.5 * np.eye(n)).astype(x.dtype)


def _right_solved(factor: Any, b: Any, transpose: bool) -> Any:
    """``b L⁻¹``, or ``b L⁻ᵀ``, for a lower triangular L."""
    if transpose:
        return transposed(apply(solve_triangular, (factor, transposed(b)), (True, False)))
    return transposed(apply(solve_triangular, (transposed(factor), transposed(b)), (False, False)))


def _cholesky_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    # dL = L Φ(L⁻¹ dA L⁻ᵀ), where Φ takes the lower triangle and half of the diagonal.
    (lower,) = params
    factor = y if lower else transposed(y)
    inner = apply(solve_triangular, (factor, symmetric_tangent(tangents[0], lower)), (True, False))
    made = times(factor, _half_lower(_right_solved(factor, inner, True)))
    return made if lower else transposed(made)


def _cholesky_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (lower,) = params
    factor, g = (y, g) if lower else (transposed(y), transposed(g))
    middle = _half_lower(times(transposed(factor), g))
    symmetric = 0.5 * (middle + transposed(middle))
    outer = apply(solve_triangular, (transposed(factor), symmetric), (False, False))
    return (triangle_adjoint(_right_solved(factor, outer, False), lower),)


cholesky: Any = register(
    Opaque(
        name="cholesky",
        raises=True,
        value=lambda a, lower: np.linalg.cholesky(a) if lower else _upper_cholesky(a),
        source=lambda types, params, numbers: (
            "np.linalg.cholesky({0})"
            if params[0]
            else "np.swapaxes(np.linalg.cholesky(np.swapaxes({0}, -1, -2)), -1, -2)"
        ),
        native="cholesky",
        params=("lower",),
        infer=lambda types, params: (types[0].shape, types[0].dtype),
        forward=_cholesky_forward,
        pullback=_cholesky_pullback,
        batch=_unbatched(lambda: cholesky),
        latex=r"\operatorname{{chol}} {0}",
        cost=_cubic(1 / 3),
        convention="only the triangle that NumPy reads has a derivative; what is not positive raises LinAlgError",
        points=((("4,4 spd",), (True,)), (("2,3,3 spd",), (False,))),
    )
)


def _upper_cholesky(a: Any) -> Any:
    # NumPy reads the lower triangle; the transposed matrix has the upper one there.
    return np.swapaxes(np.linalg.cholesky(np.swapaxes(a, -1, -2)), -1, -2)


@implements(np.linalg.cholesky)
def cholesky_factor(a: Any, /, *, upper: Any = False) -> Any:
    a = array_of(a)
    square(a)
    return apply(cholesky, inexact(a), (not upper,))


# --- eigh -----------------------------------------------------------------------------------------------------------


def _letter(lower: bool) -> Any:
    return "L" if lower else "U"


def _gaps(w: Any) -> Any:
    """``w_j - w_i``."""
    return _columns(w) - _rows(w)


def _eigh_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    w, v = y
    inner = times(transposed(v), times(symmetric_tangent(tangents[0], params[0]), v))
    return _diagonal(inner), times(v, _per_gap(inner, _gaps(w)))


def _eigh_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (by_w, by_v), (w, v) = g, y
    inner = times(transposed(v), by_v)
    middle = _per_gap(0.5 * (inner - transposed(inner)), _gaps(w))
    middle = middle + _columns(by_w) * _eye(w.shape[-1], w)
    return (triangle_adjoint(times(v, times(middle, transposed(v))), params[0]),)


eigh: Any = register(
    Opaque(
        name="eigh",
        value=lambda a, lower: tuple(np.linalg.eigh(a, _letter(lower))),
        source=lambda types, params, numbers: "np.linalg.eigh({0}" + ("" if params[0] else ', "U"') + ")",
        native="eigh",
        params=("lower",),
        outputs=2,
        infer=lambda types, params: [(types[0].shape[:-1], types[0].dtype), (types[0].shape, types[0].dtype)],
        forward=_eigh_forward,
        pullback=_eigh_pullback,
        batch=_unbatched(lambda: eigh),
        latex=r"\operatorname{{eigh}} {0}",
        cost=_cubic(9),
        convention=(
            "only the triangle that NumPy reads has a derivative; of equal eigenvalues the vectors have none, "
            "and it is infinite or NaN, while sums over the equal eigenvalues keep theirs"
        ),
        points=((("3,3 spd",), (True,)), (("2,3,3 spd",), (False,))),
    )
)


def _eigvalsh_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    _, v = apply(eigh, arguments, params)
    return (triangle_adjoint(times(v * _columns(g), transposed(v)), params[0]),)


def _eigvalsh_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    _, v = apply(eigh, arguments, params)
    return np.sum(v * times(symmetric_tangent(tangents[0], params[0]), v), axis=v.ndim - 2)


eigvalsh: Any = register(
    Opaque(
        name="eigvalsh",
        value=lambda a, lower: np.linalg.eigvalsh(a, _letter(lower)),
        source=lambda types, params, numbers: "np.linalg.eigvalsh({0}" + ("" if params[0] else ', "U"') + ")",
        native="eigvalsh",
        params=("lower",),
        infer=lambda types, params: (types[0].shape[:-1], types[0].dtype),
        forward=_eigvalsh_forward,
        pullback=_eigvalsh_pullback,
        batch=_unbatched(lambda: eigvalsh),
        latex=r"\lambda({0})",
        cost=_cubic(4 / 3),
        convention="only the triangle that NumPy reads has a derivative; equal values have theirs along their vectors",
        points=((("3,3 spd",), (True,)), (("2,3,3 spd",), (False,))),
    )
)


def _is_lower(uplo: Any) -> bool:
    if str(uplo).upper() not in {"L", "U"}:
        msg = "UPLO argument must be 'L' or 'U'"
        raise ValueError(msg)
    return str(uplo).upper() == "L"


@implements(np.linalg.eigh)
def eigen_decomposition(a: Any, UPLO: Any = "L") -> Any:
    lower = _is_lower(UPLO)
    a = array_of(a)
    square(a)
    return _EighResult(*apply(eigh, inexact(a), (lower,)))


@implements(np.linalg.eigvalsh)
def eigenvalues(a: Any, UPLO: Any = "L") -> Any:
    lower = _is_lower(UPLO)
    a = array_of(a)
    square(a)
    return apply(eigvalsh, inexact(a), (lower,))


def _complex(function: Any, instead: str) -> None:
    @implements(function)
    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise NotDifferentiable(
            f"numpy.linalg.{function.__name__} has complex results, and chainrule differentiates real numbers only",
            cure=f"a symmetric matrix has real ones: numpy.linalg.{instead}",
        )


_complex(np.linalg.eig, "eigh")
_complex(np.linalg.eigvals, "eigvalsh")


# --- svd ------------------------------------------------------------------------------------------------------------


def _svd_gaps(s: Any) -> Any:
    """``(s_j - s_i) (s_j + s_i)``."""
    return (_columns(s) - _rows(s)) * (_columns(s) + _rows(s))


def _beside(basis: Any, x: Any) -> Any:
    """The part of the columns of ``x`` outside the span of an orthonormal basis."""
    return x - times(basis, times(transposed(basis), x))


def _svd_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    (t,), (u, s, vh) = tangents, y
    v = transposed(vh)
    inner = times(transposed(u), times(t, v))
    to_left = inner * _columns(s)
    to_right = inner * _rows(s)
    t_u = times(u, _per_gap(to_left + transposed(to_left), _svd_gaps(s)))
    t_v = times(v, _per_gap(to_right + transposed(to_right), _svd_gaps(s)))
    m, n = arguments[0].shape[-2:]
    if m > n:
        t_u = t_u + _beside(u, times(t, v)) / _columns(s)
    if n > m:
        t_v = t_v + _beside(v, times(transposed(t), u)) / _columns(s)
    return t_u, _diagonal(inner), transposed(t_v)


def _svd_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (by_u, by_s, by_vh), (u, s, vh) = g, y
    v, by_v = transposed(vh), transposed(by_vh)
    left, right = times(transposed(u), by_u), times(vh, by_v)
    by_left = _per_gap(left - transposed(left), _svd_gaps(s))
    by_right = _per_gap(right - transposed(right), _svd_gaps(s))
    middle = by_left * _columns(s) + by_right * _rows(s) + _columns(by_s) * _eye(s.shape[-1], s)
    made = times(times(u, middle), vh)
    m, n = arguments[0].shape[-2:]
    if m > n:
        made = made + times(_beside(u, by_u) / _columns(s), vh)
    if n > m:
        made = made + times(u, transposed(_beside(v, by_v) / _columns(s)))
    return (made,)


def _svd_infer(types: Any, params: Any) -> Any:
    *batch, m, n = types[0].shape
    k, dtype = min(m, n), types[0].dtype
    return [((*batch, m, k), dtype), ((*batch, k), dtype), ((*batch, k, n), dtype)]


svd: Any = register(
    Opaque(
        name="svd",
        value=lambda a: tuple(np.linalg.svd(a, full_matrices=False)),
        source="np.linalg.svd({0}, full_matrices=False)",
        native="svd",
        outputs=3,
        infer=_svd_infer,
        forward=_svd_forward,
        pullback=_svd_pullback,
        batch=_unbatched(lambda: svd),
        latex=r"\operatorname{{svd}} {0}",
        cost=_cubic(20),
        convention=(
            "of equal singular values, and of the value 0, the vectors have no derivative, and it is infinite or NaN"
        ),
        points=((("3,3 regular",), ()), (("4,2",), ()), (("2,2,4",), ())),
    )
)


def _svdvals_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    u, _, vh = apply(svd, arguments)
    return (times(u * _columns(g), vh),)


def _svdvals_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    u, _, vh = apply(svd, arguments)
    return np.sum(u * times(tangents[0], transposed(vh)), axis=u.ndim - 2)


svdvals: Any = register(
    Opaque(
        name="svdvals",
        value=lambda a: np.linalg.svd(a, compute_uv=False),
        source="np.linalg.svd({0}, compute_uv=False)",
        native="svdvals",
        infer=lambda types, params: ((*types[0].shape[:-2], min(types[0].shape[-2:])), types[0].dtype),
        forward=_svdvals_forward,
        pullback=_svdvals_pullback,
        batch=_unbatched(lambda: svdvals),
        latex=r"\sigma({0})",
        cost=_cubic(4),
        convention="equal singular values have the derivatives along their vectors; at 0 it is a one-sided one",
        points=((("3,3 regular",), ()), (("4,2",), ()), (("2,2,4",), ())),
    )
)


def at_least_matrix(a: Any) -> Any:
    """Raise LinAlgError, as NumPy does, for what is not a matrix or a stack of them."""
    if a.ndim < 2:
        msg = f"{a.ndim}-dimensional array given. Array must be at least two-dimensional"
        raise LinAlgError(msg)
    return a


@implements(np.linalg.svd)
def singular_value_decomposition(
    a: Any, full_matrices: Any = True, compute_uv: Any = True, hermitian: Any = False
) -> Any:
    a = at_least_matrix(array_of(a))
    if hermitian:
        raise NoRule(
            "numpy.linalg.svd has no rule for the argument hermitian", cure="leave it out, or use numpy.linalg.eigh"
        )
    if not compute_uv:
        return apply(svdvals, inexact(a))
    if full_matrices and a.shape[-1] != a.shape[-2]:
        raise NotDifferentiable(
            "numpy.linalg.svd(full_matrices=True) of a matrix that is not square has vectors without a derivative: "
            "any basis of the rest of the space would do",
            cure="pass full_matrices=False",
        )
    return _SVDResult(*apply(svd, inexact(a)))


@implements(np.linalg.svdvals)
def singular_values(x: Any, /) -> Any:
    return apply(svdvals, inexact(at_least_matrix(array_of(x))))


# --- qr -------------------------------------------------------------------------------------------------------------


def _symmetric_from_lower(x: Any) -> Any:
    """The symmetric matrix with this lower triangle."""
    n = x.shape[-1]
    strict = x * np.tri(n, k=-1, dtype=x.dtype)
    return strict + transposed(strict) + x * _eye(n, x)


def _qr_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    (t,), (q, r) = tangents, y
    ratio = transposed(apply(solve_triangular, (transposed(r), transposed(t)), (True, False)))
    inner = times(transposed(q), ratio)
    lower = inner * np.tri(inner.shape[-1], k=-1, dtype=inner.dtype)
    turn = lower - transposed(lower)
    t_q = times(q, turn - inner) + ratio
    return t_q, times(inner - turn, r)


def _qr_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (by_q, by_r), (q, r) = g, y
    middle = times(r, transposed(by_r)) - times(transposed(by_q), q)
    right = by_q + times(q, _symmetric_from_lower(middle))
    return (transposed(apply(solve_triangular, (r, transposed(right)), (False, False))),)


qr: Any = register(
    Opaque(
        name="qr",
        value=lambda a: tuple(np.linalg.qr(a)),
        source="np.linalg.qr({0})",
        native="qr",
        outputs=2,
        infer=lambda types, params: [
            (types[0].shape, types[0].dtype),
            ((*types[0].shape[:-2], types[0].shape[-1], types[0].shape[-1]), types[0].dtype),
        ],
        forward=_qr_forward,
        pullback=_qr_pullback,
        batch=_unbatched(lambda: qr),
        latex=r"\operatorname{{qr}} {0}",
        cost=_cubic(4),
        convention="for matrices of full column rank; any other raises LinAlgError when differentiated",
        points=((("3,3 regular",), ()), (("4,2",), ()), (("2,4,2",), ())),
    )
)


@implements(np.linalg.qr)
def qr_decomposition(a: Any, mode: Any = "reduced") -> Any:
    (a,) = inexact(at_least_matrix(array_of(a)))
    m, n = a.shape[-2:]
    if mode not in {"reduced", "r", "complete"}:
        if mode == "raw":
            raise NoRule("numpy.linalg.qr has no rule for mode='raw'", cure="use mode='reduced'")
        msg = f"Unrecognized mode '{mode}'"
        raise ValueError(msg)
    if mode == "complete" and m > n:
        raise NotDifferentiable(
            "numpy.linalg.qr(mode='complete') of a tall matrix has columns without a derivative: "
            "any basis of the rest of the space would do",
            cure="use mode='reduced'",
        )
    if m >= n:
        q, r = apply(qr, (a,))
    else:
        # The first m columns decide q; the others are only turned by it.
        q, first = apply(qr, (a[..., :m],))
        r = np.concatenate([first, times(transposed(q), a[..., m:])], axis=-1)
    return r if mode == "r" else _QRResult(q, r)


# --- pinv -----------------------------------------------------------------------------------------------------------


def _pinv_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    # Golub and Pereyra (1973), for a rank that does not change.
    (t,), (a,) = tangents, arguments
    turned = transposed(t)
    made = -times(y, times(t, y))
    left, right = times(times(y, transposed(y)), turned), times(turned, times(transposed(y), y))
    return made + left - times(times(left, a), y) + right - times(y, times(a, right))


def _pinv_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (a,) = arguments
    p, h = transposed(y), transposed(g)
    rest_left = h - times(a, times(y, h))
    rest_right = h - times(times(h, y), a)
    first = -times(p, times(g, p))
    return (first + times(rest_left, times(y, p)) + times(times(p, y), rest_right),)


pinv: Any = register(
    Opaque(
        name="pinv",
        value=lambda a, rcond: np.linalg.pinv(a, rcond),
        source="np.linalg.pinv({0}, {rcond})",
        native="pinv",
        params=("rcond",),
        infer=lambda types, params: (
            (*types[0].shape[:-2], types[0].shape[-1], types[0].shape[-2]), types[0].dtype,
        ),
        forward=_pinv_forward,
        pullback=_pinv_pullback,
        batch=_unbatched(lambda: pinv),
        latex=r"{0}^{{+}}",
        binds=8,
        cost=_cubic(24),
        convention="the derivative among matrices of the same rank",
        points=((("3,3 regular",), (1e-15,)), (("4,2",), (1e-15,)), (("2,2,4",), (1e-15,))),
    )
)  # fmt: skip


@implements(np.linalg.pinv)
def pseudo_inverse(a: Any, rcond: Any = None, hermitian: Any = False, *, rtol: Any = None) -> Any:
    (a,) = inexact(at_least_matrix(array_of(a)))
    if hermitian:
        raise NoRule("numpy.linalg.pinv has no rule for the argument hermitian", cure="leave it out")
    if rcond is None:
        rcond = float(rtol) if is_given(rtol) else 1e-15
        if rtol is None:
            rcond = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps)
    if np.ndim(rcond):
        raise NoRule("numpy.linalg.pinv has no rule for an array as rcond", cure="call it once for each matrix")
    if a.size == 0:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), dtype=a.dtype)
    return apply(pinv, (a,), (float(rcond),))


@implements(np.linalg.lstsq)
def least_squares(a: Any, b: Any, rcond: Any = None) -> Any:
    raise NoRule(
        "numpy.linalg.lstsq has no rule: the shape of its residuals depends on the rank of the matrix",
        cure="numpy.linalg.pinv(a) @ b is the same solution; with full column rank so is solve(a.T @ a, a.T @ b)",
    )


# --- from singular values -------------------------------------------------------------------------------------------


@implements(np.linalg.cond)
def condition_number(x: Any, p: Any = None) -> Any:
    (x,) = inexact(at_least_matrix(array_of(x)))
    if p is None or p in {2, -2}:
        s = apply(svdvals, (x,))
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    square(x)
    return np.linalg.norm(x, p, axis=(-2, -1)) * np.linalg.norm(np.linalg.inv(x), p, axis=(-2, -1))
