"""Rules of ``numpy.linalg``: solving, inverses and determinants. Leading axes are a batch.

Formulas: M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation (2008).
What NumPy reads only one triangle of (``cholesky``, ``eigh``) has a derivative in that triangle only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from chainrule.rule import Cost, Opaque, apply, implements, register
from chainrule.rules.arguments import array_of
from chainrule.rules.index import contract
from chainrule.rules.products import multiply_matrices
from chainrule.rules.reductions import in_batch

__all__ = [
    "inexact", "inv", "rows_by_rows", "same_batch", "solve", "solve_system", "solve_triangular", "square",
    "symmetric_tangent", "times", "transposed", "triangle_adjoint",
]  # fmt: skip


# --- arguments ------------------------------------------------------------------------------------------------------


def transposed(x: Any) -> Any:
    """The last two axes exchanged."""
    return np.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def inexact(*arrays: Any) -> list[Any]:
    """The arrays in the one floating dtype that LAPACK would be called with."""
    dtype = np.dtype(np.float32) if all(one.dtype == np.float32 for one in arrays) else np.dtype(np.float64)
    for one in arrays:
        if one.dtype.kind == "f" and one.dtype.itemsize not in {4, 8}:
            msg = f"array type {one.dtype.name} is unsupported in linalg"
            raise TypeError(msg)
    return [one if one.dtype == dtype else one.astype(dtype) for one in arrays]


def square(*arrays: Any) -> None:
    """Raise LinAlgError, as NumPy does, unless the last two axes of each are square."""
    for one in arrays:
        if one.ndim < 2:
            msg = f"{one.ndim}-dimensional array given. Array must be at least two-dimensional"
            raise LinAlgError(msg)
        if one.shape[-1] != one.shape[-2]:
            msg = "Last 2 dimensions of the array must be square"
            raise LinAlgError(msg)


def same_batch(a: Any, b: Any, a_core: int, b_core: int) -> tuple[Any, Any]:
    """Both arrays with the same leading axes."""
    mine, other = a.shape[: a.ndim - a_core], b.shape[: b.ndim - b_core]
    if mine != other:
        batch = np.broadcast_shapes(mine, other)
        a = a if mine == batch else np.broadcast_to(a, (*batch, *a.shape[a.ndim - a_core :]))
        b = b if other == batch else np.broadcast_to(b, (*batch, *b.shape[b.ndim - b_core :]))
    return a, b


def _like(types: Any, params: Any) -> Any:
    return types[0].shape, types[0].dtype


def triangle_adjoint(symmetric: Any, lower: bool) -> Any:
    """The adjoint of a matrix of which one triangle stands for both, from that of the whole symmetric matrix."""
    n = symmetric.shape[-1]
    below = np.tri(n, k=-1)
    return symmetric * (np.eye(n) + 2 * (below if lower else below.T)).astype(symmetric.dtype)


def symmetric_tangent(t: Any, lower: bool) -> Any:
    """The symmetric matrix of which one triangle is given."""
    n = t.shape[-1]
    below = np.tri(n, k=-1)
    strict = t * (below if lower else below.T).astype(t.dtype)
    return strict + transposed(strict) + t * np.eye(n, dtype=t.dtype)


# --- solve ----------------------------------------------------------------------------------------------------------


def _solve_value(a: Any, b: Any) -> Any:
    if b.ndim == a.ndim - 1 and b.ndim > 1:
        return np.linalg.solve(a, b[..., np.newaxis])[..., 0]
    return np.linalg.solve(a, b)


def _solve_forward(tangents: Any, x: Any, arguments: Any, params: Any) -> Any:
    (a, _), (t_a, t_b) = arguments, tangents
    if t_a is not None:
        change = times(t_a, x)
        t_b = -change if t_b is None else t_b - change
    return apply(solve, (a, t_b))


def times(a: Any, x: Any) -> Any:
    """A stack of matrices times a stack of matrices, or of vectors."""
    if x.ndim == a.ndim - 1 and x.ndim > 1:
        return np.reshape(multiply_matrices(a, np.reshape(x, (*x.shape, 1))), (*x.shape[:-1], a.shape[-2]))
    return multiply_matrices(a, x)


def _columns(x: Any) -> Any:
    return np.reshape(x, (*x.shape, 1))


def rows_by_rows(g: Any, x: Any, ndim: int) -> Any:
    """``g xᵀ`` for a stack of matrices, or of vectors, beside a stack of matrices with ``ndim`` axes."""
    if x.ndim == ndim - 1:
        return (
            contract(("a", "b"), "ab", (g, x)) if x.ndim == 1 else _columns(g) * np.reshape(x, (*x.shape[:-1], 1, -1))
        )
    return multiply_matrices(g, transposed(x))


def _solve_pullback(g: Any, x: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    a, _ = arguments
    by_b = apply(solve, (transposed(a), g))
    return -rows_by_rows(by_b, x, a.ndim) if wanted[0] else None, by_b


def _system_batch(rule: Any) -> Any:
    """``batch`` of a rule of a matrix and right-hand sides."""

    def batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
        a, b = arguments
        if batched[0] or a.ndim != 2:
            return apply(rule(), in_batch(batched, size, arguments), params)
        # One matrix for all: more columns on the right-hand side.
        if b.ndim == 2:
            return transposed(apply(rule(), (a, transposed(b)), params))
        n, k = b.shape[1:]
        wide = np.reshape(np.transpose(b, (1, 0, 2)), (n, size * k))
        return np.transpose(np.reshape(apply(rule(), (a, wide), params), (a.shape[-1], size, k)), (1, 0, 2))

    return batch


def _solve_infer(types: Any, params: Any) -> Any:
    a, b = types
    rows = b.shape[-1] if b.ndim == a.ndim - 1 else b.shape[-2]
    if rows != a.shape[-1]:
        sizes = f"(size {rows} is different from {a.shape[-1]})"
        msg = f"solve: Input operand 1 has a mismatch in its core dimension 0 {sizes}"
        raise ValueError(msg)
    return b.shape, np.result_type(a.dtype, b.dtype)


def _solve_cost(types: Any, params: Any, outs: Any) -> Cost:
    n = types[0].shape[-1]
    return Cost(types[0].size * n * 2 / 3 + 2 * n * outs[0].size)


solve: Any = register(
    Opaque(
        name="solve",
        source=lambda types, params, numbers: (
            "" if types[1].ndim == types[0].ndim - 1 > 1 else "np.linalg.solve({0}, {1})"
        ),
        native="solve",
        value=_solve_value,
        infer=_solve_infer,
        forward=_solve_forward,
        pullback=_solve_pullback,
        batch=_system_batch(lambda: solve),
        latex=r"{0}^{{-1}}\,{1}",
        binds=6,
        cost=_solve_cost,
        raises=True,
        convention="a singular matrix raises numpy.linalg.LinAlgError, as in NumPy",
        points=(
            (("3,3 regular", "3"), ()), (("3,3 regular", "3,2"), ()),
            (("2,3,3 regular", "2,3"), ()), (("2,3,3 regular", "2,3,2"), ()),
        ),
    )
)  # fmt: skip


def solve_system(a: Any, b: Any, rule: Any = solve, params: tuple[Any, ...] = ()) -> Any:
    """Apply a rule of a matrix and right-hand sides, NumPy's way: only a ``b`` of one axis is a vector."""
    if b.ndim == 1:
        if a.ndim > 2:
            b = np.broadcast_to(b, (*a.shape[:-2], *b.shape))
        return apply(rule, (a, b), params)
    a, b = same_batch(a, b, 2, 2)
    return apply(rule, (a, b), params)


@implements(np.linalg.solve)
def solve_linear(a: Any, b: Any) -> Any:
    a, b = array_of(a), array_of(b)
    square(a)
    return solve_system(*inexact(a, b))


# --- triangular systems ---------------------------------------------------------------------------------------------


def _triangular_value(a: Any, b: Any, lower: bool, unit: bool) -> Any:
    if a.shape[-1] <= _SMALL:
        return _small_triangular(a, b, lower, unit)
    from scipy.linalg import solve_triangular as of_scipy

    if a.ndim == 2:
        return of_scipy(a, b, lower=lower, unit_diagonal=unit, check_finite=False)
    if 0 in b.shape:
        return np.zeros(b.shape, dtype=np.result_type(a, b))
    return np.stack([_triangular_value(one, other, lower, unit) for one, other in zip(a, b, strict=True)])


#: Up to this size, elimination costs less than a call of SciPy, and takes a whole stack at once.
_SMALL = 32


def _small_triangular(a: Any, b: Any, lower: bool, unit: bool) -> Any:
    # Elimination finds nothing to eliminate in an upper triangle, chooses no pivot, and is back substitution. A lower
    # triangle read backwards is an upper one.
    place = b.ndim - a.ndim
    backwards = (..., slice(None, None, -1), slice(None)) if place == 0 else (..., slice(None, None, -1))
    if lower:
        a, b = a[..., ::-1, ::-1], b[backwards]
    a = np.triu(a, 1) + np.eye(a.shape[-1], dtype=a.dtype) if unit else np.triu(a)
    x = _solve_value(a, b)
    return x[backwards] if lower else x


def _triangular_mask(a: Any, lower: bool, unit: bool) -> Any:
    n = a.shape[-1]
    mask = np.tri(n, k=-1 if unit else 0, dtype=a.dtype)
    return mask if lower else mask.T


def _triangular_forward(tangents: Any, x: Any, arguments: Any, params: Any) -> Any:
    (a, _), (t_a, t_b), (lower, unit) = arguments, tangents, params
    if t_a is not None:
        change = times(t_a * _triangular_mask(a, lower, unit), x)
        t_b = -change if t_b is None else t_b - change
    return apply(solve_triangular, (a, t_b), params)


def _triangular_pullback(g: Any, x: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (a, _), (lower, unit) = arguments, params
    by_b = apply(solve_triangular, (transposed(a), g), (not lower, unit))
    if not wanted[0]:
        return None, by_b
    return -rows_by_rows(by_b, x, a.ndim) * _triangular_mask(a, lower, unit), by_b


solve_triangular: Any = register(
    Opaque(
        name="solve_triangular",
        native="solve_triangular",
        value=_triangular_value,
        params=("lower", "unit"),
        infer=_solve_infer,
        forward=_triangular_forward,
        pullback=_triangular_pullback,
        batch=_system_batch(lambda: solve_triangular),
        latex=r"{0}^{{-1}}\,{1}",
        binds=6,
        cost=lambda types, params, outs: Cost(types[0].shape[-1] * outs[0].size),
        raises=True,
        convention="a singular matrix raises numpy.linalg.LinAlgError, as in SciPy",
        points=(
            (("3,3 lower", "3"), (True, False)),
            (("3,3 lower", "3,2"), (True, True)),
            (("2,3,3 lower", "2,3,2"), (True, False)),
        ),
    )
)


# --- inverse and determinants ---------------------------------------------------------------------------------------


def _inv_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    return -multiply_matrices(multiply_matrices(y, tangents[0]), y)


def _inv_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    turned = transposed(y)
    return (-multiply_matrices(multiply_matrices(turned, g), turned),)


inv: Any = register(
    Opaque(
        name="inv",
        native="inv",
        value=np.linalg.inv,
        infer=_like,
        forward=_inv_forward,
        pullback=_inv_pullback,
        batch=lambda batched, size, arguments, params: apply(inv, arguments),
        latex=r"{0}^{{-1}}",
        binds=8,
        cost=lambda types, params, outs: Cost(2 * types[0].size * types[0].shape[-1]),
        raises=True,
        convention="a singular matrix raises numpy.linalg.LinAlgError, as in NumPy",
        points=((("3,3 regular",), ()), (("2,3,3 regular",), ())),
    )
)


@implements(np.linalg.inv)
def inverse(a: Any) -> Any:
    a = array_of(a)
    square(a)
    return apply(inv, inexact(a))


def _scalars(g: Any, ndim: int) -> Any:
    """One number per matrix, ready to scale the matrices."""
    return g if ndim == 2 else np.reshape(g, (*g.shape, 1, 1))


det: Any = register(
    Opaque(
        name="det",
        native="det",
        value=np.linalg.det,
        infer=lambda types, params: (types[0].shape[:-2], types[0].dtype),
        forward=lambda tangents, y, arguments, params: np.sum(
            apply(cofactor, arguments) * tangents[0], axis=(arguments[0].ndim - 2, arguments[0].ndim - 1)
        ),
        pullback=lambda g, y, arguments, params, wanted: (_scalars(g, arguments[0].ndim) * apply(cofactor, arguments),),
        batch=lambda batched, size, arguments, params: apply(det, arguments),
        latex=r"\det {0}",
        cost=lambda types, params, outs: Cost(types[0].size * types[0].shape[-1] * 2 / 3),
        convention="exact for singular matrices too: the derivative is the matrix of cofactors, which needs no inverse",
        points=((("3,3",), ()), (("2,3,3",), ()), (("1,1",), ())),
    )
)


def _other_products(s: Any) -> Any:
    """For each pair (i, j) the product of all s but those two; on the diagonal, of all but that one."""
    n = s.shape[-1]
    left_out = np.eye(n, dtype=bool)[:, np.newaxis, :] | np.eye(n, dtype=bool)[np.newaxis, :, :]
    return np.prod(np.where(left_out, s.dtype.type(1), s[..., np.newaxis, np.newaxis, :]), axis=-1)


def _cofactor_value(a: Any) -> Any:
    # A well-conditioned matrix has cofactors det(A) A^-T; the others are had from A = U S Vᵀ, at 20 times the cost.
    if a.size == 0 or a.shape[-1] == 1:
        return np.ones_like(a)
    try:
        inverse = np.linalg.inv(a)
        condition = np.max(np.linalg.norm(a, 1, (-2, -1)) * np.linalg.norm(inverse, 1, (-2, -1)))
        if condition < 1e3:
            return np.linalg.det(a)[..., np.newaxis, np.newaxis] * np.swapaxes(inverse, -1, -2)
    except LinAlgError:
        pass
    u, s, vh = np.linalg.svd(a)
    n = s.shape[-1]
    others = np.stack([np.prod(np.delete(s, place, axis=-1), axis=-1) for place in range(n)], axis=-1)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vh))
    return ((u * (sign[..., np.newaxis] * others)[..., np.newaxis, :]) @ vh).astype(a.dtype)


def _cofactor_change_value(a: Any, e: Any) -> Any:
    if a.size == 0 or a.shape[-1] == 1:
        return np.zeros_like(e)
    u, s, vh = np.linalg.svd(a)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vh))[..., np.newaxis, np.newaxis]
    turned = np.swapaxes(u, -1, -2) @ e @ np.swapaxes(vh, -1, -2)
    n = s.shape[-1]
    products = _other_products(s) * (1 - np.eye(n, dtype=s.dtype))
    diagonal = np.einsum("...ij,...jj->...i", products, turned)
    change = -products * np.swapaxes(turned, -1, -2)
    change += diagonal[..., np.newaxis] * np.eye(n, dtype=s.dtype)
    return (sign * (u @ change @ vh)).astype(e.dtype)


def _cofactor_cost(types: Any, params: Any, outs: Any) -> Cost:
    return Cost(20 * types[0].size * types[0].shape[-1])


# The cofactors of A are the derivative of det; their own derivative along E is self-adjoint in E (it is the bilinear
# form of the second derivative), and exact for matrices of any rank.
cofactor: Any = register(
    Opaque(
        name="cofactor",
        native="cofactor",
        value=_cofactor_value,
        infer=_like,
        forward=lambda tangents, y, arguments, params: apply(cofactor_change, (arguments[0], tangents[0])),
        pullback=lambda g, y, arguments, params, wanted: (apply(cofactor_change, (arguments[0], g)),),
        batch=lambda batched, size, arguments, params: apply(cofactor, arguments),
        latex=r"\operatorname{{cof}} {0}",
        cost=_cofactor_cost,
        points=((("3,3",), ()), (("2,3,3",), ()), (("2,2",), ())),
    )
)


def _cofactor_second(a: Any, e: Any, f: Any) -> Any:
    """The third derivative of det at a regular A along E and F: d/dA of <F, cofactor_change(A, E)>."""
    y = transposed(apply(inv, (a,)))
    d = _scalars(apply(det, (a,)), a.ndim)
    axes = (a.ndim - 2, a.ndim - 1)

    def inner(one: Any, other: Any) -> Any:
        return np.sum(one * other, axis=axes, keepdims=True)

    def turned(one: Any) -> Any:
        return multiply_matrices(multiply_matrices(y, transposed(one)), y)

    by_e, by_f, both = inner(y, e), inner(y, f), inner(turned(e), f)
    mixed = multiply_matrices(multiply_matrices(turned(e), transposed(f)), y)
    mixed = mixed + multiply_matrices(multiply_matrices(turned(f), transposed(e)), y)
    return d * (y * (by_e * by_f - both) - turned(e) * by_f - turned(f) * by_e + mixed)


def _cofactor_change_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    (a, e), (t_a, t_e) = arguments, tangents
    terms = []
    if t_e is not None:
        terms.append(apply(cofactor_change, (a, t_e)))
    if t_a is not None:
        terms.append(_cofactor_second(a, e, t_a))
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


cofactor_change: Any = register(
    Opaque(
        name="cofactor_change",
        native="cofactor_change",
        value=_cofactor_change_value,
        infer=_like,
        forward=_cofactor_change_forward,
        pullback=lambda g, y, arguments, params, wanted: (
            _cofactor_second(arguments[0], arguments[1], g) if wanted[0] else None,
            apply(cofactor_change, (arguments[0], g)) if wanted[1] else None,
        ),
        batch=lambda batched, size, arguments, params: apply(cofactor_change, in_batch(batched, size, arguments)),
        latex=r"\operatorname{{cof}}'({0})[{1}]",
        cost=_cofactor_cost,
        convention="the third derivative of det needs a regular matrix: a singular one raises LinAlgError",
        points=((("3,3 regular", "3,3"), ()), (("2,3,3 regular", "2,3,3"), ())),
    )
)


@implements(np.linalg.det)
def determinant(a: Any) -> Any:
    a = array_of(a)
    square(a)
    return apply(det, inexact(a))


def _slogdet_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    (a,) = arguments
    return None, np.sum(transposed(apply(inv, (a,))) * tangents[0], axis=(a.ndim - 2, a.ndim - 1))


slogdet: Any = register(
    Opaque(
        name="slogdet",
        value=lambda a: tuple(np.linalg.slogdet(a)),
        source="np.linalg.slogdet({0})",
        native="slogdet",
        outputs=2,
        infer=lambda types, params: [(types[0].shape[:-2], types[0].dtype)] * 2,
        forward=_slogdet_forward,
        pullback=lambda g, y, arguments, params, wanted: (
            _scalars(g[1], arguments[0].ndim) * transposed(apply(inv, arguments)),
        ),
        batch=lambda batched, size, arguments, params: apply(slogdet, arguments),
        latex=r"\log\lvert\det {0}\rvert",
        cost=lambda types, params, outs: Cost(types[0].size * types[0].shape[-1] * 2 / 3),
        convention="the sign is piecewise constant; asking for the derivative at a singular matrix raises LinAlgError",
        points=((("3,3 regular",), ()), (("2,3,3 regular",), ())),
    )
)


_SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


@implements(np.linalg.slogdet)
def sign_and_log(a: Any) -> Any:
    a = array_of(a)
    square(a)
    return _SlogdetResult(*apply(slogdet, inexact(a)))


# --- Kronecker-like systems -----------------------------------------------------------------------------------------


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = array_of(a), array_of(b)
    if axes is not None:
        order = list(range(a.ndim))
        for one in axes:
            order.remove(one)
            order.insert(a.ndim, one)
        a = np.transpose(a, tuple(order))
    shape = a.shape[b.ndim :] if a.ndim > b.ndim else ()
    count = math.prod(shape)
    if a.size != count**2:
        msg = "Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        raise LinAlgError(msg)
    return np.reshape(solve_linear(np.reshape(a, (count, count)), np.reshape(b, (b.size,))), shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: Any = 2) -> Any:
    a = array_of(a)
    if ind <= 0:
        msg = "Invalid ind argument."
        raise ValueError(msg)
    rows = math.prod(a.shape[ind:])
    return np.reshape(inverse(np.reshape(a, (-1, rows))), (*a.shape[ind:], *a.shape[:ind]))


# --- numpy.linalg's views of what lives elsewhere -------------------------------------------------------------------


@implements(np.linalg.trace)
def trace(x: Any, /, *, offset: Any = 0, dtype: Any = None) -> Any:
    return np.trace(x, offset=offset, axis1=-2, axis2=-1, dtype=dtype)
