"""Products of arrays, as sums of products: ``matmul``, ``dot``, ``einsum``, ``tensordot``, ``kron``, ``convolve``..."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from chainrule.errors import NoRule
from chainrule.rule import Cost, Opaque, apply, implements, register
from chainrule.rules.arguments import array_of, cast, stored
from chainrule.rules.index import contract, matmul
from chainrule.rules.reductions import in_batch

__all__ = ["multiply_matrices"]


# --- matmul ---------------------------------------------------------------------------------------------------------


def _stretched(x: Any, batch: tuple[int, ...], core: int) -> Any:
    """The array with leading axes that either have the extents of ``batch`` or are absent, as ``matmul`` takes them."""
    if x.ndim <= core:
        return x
    mine = x.shape[:-core]
    full = batch[len(batch) - len(mine) :]
    if mine == full:
        return x
    first = next((place for place, extent in enumerate(mine) if extent != 1), len(mine))
    if mine[first:] == full[first:]:
        # Leading extents of 1 are the same as none; the other factor has them all.
        return np.reshape(x, x.shape[first:])
    return np.broadcast_to(x, (*full, *x.shape[-core:]))


def multiply_matrices(a: Any, b: Any) -> Any:
    """``a @ b`` with NumPy's broadcasting."""
    if a.ndim > 2 and b.ndim > 2 and a.shape[:-2] != b.shape[:-2]:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = _stretched(a, batch, 2), _stretched(b, batch, 2)
        if max(a.ndim, b.ndim) - 2 < len(batch):
            # Both had leading extents of 1.
            a = np.reshape(a, (*(1,) * (len(batch) + 2 - a.ndim), *a.shape))
    return apply(matmul, (a, b))


def _only(name: str, keywords: dict[str, Any], known: tuple[str, ...]) -> None:
    for one in keywords:
        if one not in known:
            raise NoRule(
                f"numpy.{name} has no rule for the argument {one}",
                cure="leave it out, or move the axes and cast by hand",
            )


def _single(out: Any) -> Any:
    """NumPy hands over the ``out`` of a ufunc as a tuple."""
    return out[0] if isinstance(out, tuple) else out


def _operands(a: Any, b: Any, dtype: Any) -> tuple[Any, Any]:
    return cast(array_of(a), dtype), cast(array_of(b), dtype)


@implements(np.matmul)
def matrix_product(a: Any, b: Any, out: Any = None, *, dtype: Any = None, **keywords: Any) -> Any:
    _only("matmul", keywords, ("casting", "order", "subok"))
    return stored(multiply_matrices(*_operands(a, b, dtype)), _single(out))


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return multiply_matrices(array_of(x1), array_of(x2))


def _core_axes(name: str, a: Any, b: Any, cores: tuple[int, int], keywords: dict[str, Any]) -> None:
    _only(name, keywords, ("casting", "order", "subok"))
    for place, (one, core) in enumerate(zip((a, b), cores, strict=True)):
        if one.ndim < core:
            msg = f"{name}: Input operand {place} does not have enough dimensions (has {one.ndim}, requires {core})"
            raise ValueError(msg)


def _vecdot(a: Any, b: Any) -> Any:
    if a.shape[-1] != b.shape[-1]:
        msg = (
            "vecdot: Input operand 1 has a mismatch in its core dimension 0, "
            f"with gufunc signature (n),(n)->() (size {b.shape[-1]} is different from {a.shape[-1]})"
        )
        raise ValueError(msg)
    return apply(matmul, (a, b)) if a.ndim == b.ndim == 1 else np.sum(a * b, axis=-1)


@implements(np.vecdot)
def vecdot(a: Any, b: Any, out: Any = None, *, axis: Any = -1, dtype: Any = None, **keywords: Any) -> Any:
    a, b = _operands(a, b, dtype)
    _core_axes("vecdot", a, b, (1, 1), keywords)
    return stored(_vecdot(_last(a, axis), _last(b, axis)), _single(out))


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
    return vecdot(x1, x2, axis=axis)


def _last(x: Any, axis: Any) -> Any:
    place = normalize_axis_index(axis, x.ndim)
    return x if place == x.ndim - 1 else np.moveaxis(x, place, -1)


def _matvec(a: Any, b: Any, out: Any = None, *, dtype: Any = None, **keywords: Any) -> Any:
    a, b = _operands(a, b, dtype)
    _core_axes("matvec", a, b, (2, 1), keywords)
    if b.ndim == 1:
        return stored(apply(matmul, (a, b)), _single(out))
    made = multiply_matrices(a, np.reshape(b, (*b.shape, 1)))
    return stored(np.reshape(made, made.shape[:-1]), _single(out))


def _vecmat(a: Any, b: Any, out: Any = None, *, dtype: Any = None, **keywords: Any) -> Any:
    a, b = _operands(a, b, dtype)
    _core_axes("vecmat", a, b, (1, 2), keywords)
    if a.ndim == 1:
        return stored(apply(matmul, (a, b)), _single(out))
    made = multiply_matrices(np.reshape(a, (*a.shape[:-1], 1, a.shape[-1])), b)
    return stored(np.reshape(made, (*made.shape[:-2], made.shape[-1])), _single(out))


# NumPy 2.2 and later.
if hasattr(np, "matvec"):
    implements(np.matvec)(_matvec)
    implements(np.vecmat)(_vecmat)


# --- dot and its kin ------------------------------------------------------------------------------------------------


def _refuse(name: str, a: Any, b: Any, left: int, right: int) -> None:
    if a.shape[left] != b.shape[right]:
        sizes = f"{a.shape[left]} (dim {left % a.ndim}) != {b.shape[right]} (dim {right % b.ndim})"
        msg = f"shapes {_shown(a.shape)} and {_shown(b.shape)} not aligned: {sizes}"
        raise ValueError(msg)


def _shown(shape: tuple[int, ...]) -> str:
    return str(shape).replace(" ", "")


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    a, b = array_of(a), array_of(b)
    if a.ndim == 0 or b.ndim == 0:
        return stored(a * b, out)
    _refuse("dot", a, b, -1, -2 if b.ndim > 1 else 0)
    if a.ndim <= 2 and b.ndim <= 2:
        return stored(apply(matmul, (a, b)), out)
    left = ascii_letters[1 : a.ndim] + "a"
    right = ascii_letters[a.ndim : a.ndim + b.ndim - 1]
    inner = right[:-1] + "a" + right[-1:] if b.ndim > 1 else "a"
    return stored(contract((left, inner), left[:-1] + right, (a, b)), out)


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    a, b = array_of(a), array_of(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    _refuse("inner", a, b, -1, -1)
    left, right = ascii_letters[1 : a.ndim], ascii_letters[a.ndim : a.ndim + b.ndim - 1]
    return contract((left + "a", right + "a"), left + right, (a, b))


def _flat(x: Any) -> Any:
    return x if x.ndim == 1 else np.reshape(x, (x.size,))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    a, b = _flat(array_of(a)), _flat(array_of(b))
    if a.size != b.size:
        msg = "vectors have different lengths"
        raise ValueError(msg)
    return apply(matmul, (a, b))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    return stored(contract(("a", "b"), "ab", (_flat(array_of(a)), _flat(array_of(b)))), out)


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    x1, x2 = array_of(x1), array_of(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        msg = f"Input arrays must be one-dimensional, but they are x1.ndim={x1.ndim} and x2.ndim={x2.ndim}."
        raise ValueError(msg)
    return outer(x1, x2)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = array_of(a), array_of(b)
    try:
        first, second = axes
    except TypeError:
        first, second = tuple(range(-axes, 0)), tuple(range(axes))
    first = [first] if np.ndim(first) == 0 else list(first)
    second = [second] if np.ndim(second) == 0 else list(second)
    if len(first) != len(second):
        msg = "shape-mismatch for sum"
        raise ValueError(msg)
    left, right = list(ascii_letters[: a.ndim]), list(ascii_letters[a.ndim : a.ndim + b.ndim])
    one_axes, other_axes = normalize_axis_tuple(first, a.ndim), normalize_axis_tuple(second, b.ndim)
    for one, other in zip(one_axes, other_axes, strict=True):
        if a.shape[one] != b.shape[other]:
            msg = "shape-mismatch for sum"
            raise ValueError(msg)
        right[other] = left[one]
    output = [letter for letter in left + right if (letter in left) != (letter in right)]
    return contract(("".join(left), "".join(right)), "".join(output), (a, b))


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return tensordot(x1, x2, axes)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    a, b = array_of(a), array_of(b)
    ndim = max(a.ndim, b.ndim)
    rows, columns = (1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - b.ndim) + b.shape
    left = np.reshape(a, tuple(extent for one in rows for extent in (one, 1)))
    right = np.reshape(b, tuple(extent for one in columns for extent in (1, one)))
    return np.reshape(left * right, tuple(one * other for one, other in zip(rows, columns, strict=True)))


@implements(np.trace)
def trace(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None) -> Any:
    diagonal = np.diagonal(array_of(a), offset=offset, axis1=axis1, axis2=axis2)
    return stored(np.sum(diagonal, axis=-1, dtype=dtype), out)


# --- einsum ---------------------------------------------------------------------------------------------------------


@implements(np.einsum)
def einsum(*operands: Any, out: Any = None, dtype: Any = None, optimize: Any = False, **keywords: Any) -> Any:
    # `optimize` is the order in which NumPy multiplies; here that is always the cheapest.
    _only("einsum", keywords, ("order", "casting"))
    subscripts, arrays = _subscripts(operands)
    values = [cast(array_of(one), dtype) for one in arrays]
    words, output, extents = _words(subscripts, tuple(one.shape for one in values))
    kept, factors = [], []
    for word, value in zip(words, values, strict=True):
        # An extent of 1 that meets a larger one is broadcast: its axis adds nothing to the product.
        wide = [place for place, letter in enumerate(word) if value.shape[place] == extents[letter]]
        kept.append("".join(word[place] for place in wide))
        factors.append(
            value if len(wide) == len(word) else np.reshape(value, tuple(value.shape[place] for place in wide))
        )
    made = contract(kept, output, factors, dict(extents))
    kind = np.result_type(*[one.dtype for one in values])
    return stored(made if made.dtype == kind else made.astype(kind), out)


def _subscripts(operands: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """The subscripts as a string, and the arrays, of either form of a call of ``einsum``."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])
    arrays = list(operands[: len(operands) // 2 * 2 : 2])
    lists = list(operands[1 : len(operands) // 2 * 2 : 2])
    # Letters sort like the numbers they stand for, as an implied output needs.
    numbers = sorted({one for word in lists for one in word if one is not Ellipsis})
    letter = dict(zip(numbers, sorted(ascii_letters), strict=False))
    words = ["".join("..." if one is Ellipsis else letter[one] for one in word) for word in lists]
    subscripts = ",".join(words)
    if len(operands) % 2:
        subscripts += "->" + "".join("..." if one is Ellipsis else letter[one] for one in operands[-1])
    return subscripts, arrays


@lru_cache(maxsize=1024)
def _words(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[str, ...], str, dict[str, int]]:
    """Letters of each factor and of the output, without ellipses; raises ValueError as NumPy does."""
    # NumPy judges the subscripts on a small problem of the same kind: equal extents stay equal, unequal ones unequal.
    small = {
        extent: rank + 2 for rank, extent in enumerate(sorted({one for shape in shapes for one in shape} - {0, 1}))
    }
    np.einsum(subscripts, *[np.zeros(tuple(small.get(extent, extent) for extent in shape)) for shape in shapes])
    left, arrow, output = subscripts.partition("->")
    words = left.split(",")
    if not arrow:
        plain = left.replace(",", "").replace("...", "")
        implied = "".join(sorted(letter for letter in set(plain) if plain.count(letter) == 1))
        output = ("..." if "..." in left else "") + implied
    free = [letter for letter in ascii_letters if letter not in subscripts]
    hidden = [
        len(shape) - len(word.replace("...", "")) if "..." in word else 0
        for word, shape in zip(words, shapes, strict=True)
    ]
    ellipsis = "".join(free[: max(hidden, default=0)])
    words = [word.replace("...", ellipsis[len(ellipsis) - count :]) for word, count in zip(words, hidden, strict=True)]
    extents: dict[str, int] = {}
    for word, shape in zip(words, shapes, strict=True):
        for letter, extent in zip(word, shape, strict=True):
            if extents.get(letter, 1) == 1:
                extents[letter] = extent
    return tuple(words), output.replace("...", ellipsis), extents


# --- chains and powers of matrices ----------------------------------------------------------------------------------


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    factors = [array_of(one) for one in arrays]
    if len(factors) < 2:
        msg = "Expecting at least two arrays."
        raise ValueError(msg)
    for place, one in enumerate(factors):
        if one.ndim != 2 and not (one.ndim == 1 and place in {0, len(factors) - 1}):
            msg = f"{one.ndim}-dimensional array given. Array must be two-dimensional"
            raise np.linalg.LinAlgError(msg)
    # Extents along the chain: factor k is a matrix of extents[k] by extents[k + 1].
    first = factors[0].shape if factors[0].ndim == 2 else (1, *factors[0].shape)
    extents = [*first[:1], *[one.shape[0] for one in factors[1:]], factors[-1].shape[1] if factors[-1].ndim == 2 else 1]
    order = _chain_order(tuple(extents))

    def chain(low: int, high: int) -> Any:
        if low == high:
            return factors[low]
        split = order[low, high]
        return dot(chain(low, split), chain(split + 1, high))

    return stored(chain(0, len(factors) - 1), out)


@lru_cache(maxsize=256)
def _chain_order(extents: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Where to split each part of a chain of matrix products (Cormen et al., Introduction to Algorithms, 15.2)."""
    count = len(extents) - 1
    work = {(place, place): 0 for place in range(count)}
    order: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for low in range(count - length):
            high = low + length
            costs = [
                work[low, split] + work[split + 1, high] + extents[low] * extents[split + 1] * extents[high + 1]
                for split in range(low, high)
            ]
            work[low, high] = min(costs)
            order[low, high] = low + costs.index(work[low, high])
    return order


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    a = array_of(a)
    if a.ndim < 2:
        msg = f"{a.ndim}-dimensional array given. Array must be at least two-dimensional"
        raise np.linalg.LinAlgError(msg)
    if a.shape[-1] != a.shape[-2]:
        msg = "Last 2 dimensions of the array must be square"
        raise np.linalg.LinAlgError(msg)
    n = operator.index(n)
    if n == 0:
        return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape).copy()
    if n < 0:
        a, n = np.linalg.inv(a), -n
    if n <= 3:
        squared = a if n == 1 else multiply_matrices(a, a)
        return multiply_matrices(squared, a) if n == 3 else squared
    power = result = None
    while n > 0:
        power = a if power is None else multiply_matrices(power, power)
        n, bit = divmod(n, 2)
        if bit:
            result = power if result is None else multiply_matrices(result, power)
    return result


# --- convolution ----------------------------------------------------------------------------------------------------


def _convolve_value(a: Any, v: Any, mode: Any) -> Any:
    if a.ndim == 1:
        return np.convolve(a, v, mode)
    made = [_convolve_value(one, other, mode) for one, other in zip(a, v, strict=True)]
    if made:
        return np.stack(made)
    shape = (*a.shape[:-1], _convolved(a.shape[-1], v.shape[-1], mode))
    return np.zeros(shape, dtype=np.result_type(a, v))


def _convolved(a: int, v: int, mode: str) -> int:
    return a + v - 1 if mode == "full" else a - v + 1


def _reversed(x: Any) -> Any:
    return x[..., ::-1]


def _convolve_forward(tangents: Any, y: Any, arguments: Any, params: Any) -> Any:
    (a, v), (t_a, t_v) = arguments, tangents
    terms = []
    if t_a is not None:
        terms.append(apply(convolution, (t_a, v), params))
    if t_v is not None:
        terms.append(apply(convolution, (a, t_v), params))
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def _convolve_pullback(g: Any, y: Any, arguments: Any, params: Any, wanted: Any) -> Any:
    (a, v), (mode,) = arguments, params
    if mode == "full":
        by_a = apply(convolution, (g, _reversed(v)), ("valid",)) if wanted[0] else None
        by_v = apply(convolution, (g, _reversed(a)), ("valid",)) if wanted[1] else None
    else:
        by_a = apply(convolution, (g, _reversed(v)), ("full",)) if wanted[0] else None
        by_v = _reversed(apply(convolution, (a, _reversed(g)), ("valid",))) if wanted[1] else None
    return by_a, by_v


convolution: Any = register(
    Opaque(
        name="convolve",
        source=lambda types, params, numbers: "np.convolve({0}, {1}, {mode})" if types[0].ndim == 1 else "",
        native="convolve",
        value=_convolve_value,
        params=("mode",),
        infer=lambda types, params: (
            (*types[0].shape[:-1], _convolved(types[0].shape[-1], types[1].shape[-1], params[0])),
            np.result_type(types[0].dtype, types[1].dtype),
        ),
        forward=_convolve_forward,
        pullback=_convolve_pullback,
        batch=lambda batched, size, arguments, params: apply(convolution, in_batch(batched, size, arguments), params),
        latex=r"{0} * {1}",
        binds=6,
        cost=lambda types, params, outs: Cost(2 * outs[0].size * min(types[0].shape[-1], types[1].shape[-1])),
        points=(
            (("5", "3"), ("full",)),
            (("3", "5"), ("full",)),
            (("5", "3"), ("valid",)),
            (("2,5", "2,3"), ("valid",)),
        ),
    )
)


def _convolved_as(a: Any, v: Any, mode: Any) -> Any:
    """The convolution of ``a`` with ``v``, the longer of the two."""
    n, m = a.shape[0], v.shape[0]
    if mode == "same":
        # The middle max(n, m) entries of the full one, as NumPy counts the middle.
        full = apply(convolution, (a, v), ("full",))
        start = (m - 1) // 2
        return full[start : start + n]
    return apply(convolution, (a, v), (mode,))


_MODES = ("valid", "same", "full")


def _vectors(a: Any, v: Any, mode: Any) -> tuple[Any, Any, Any]:
    a, v = array_of(a), array_of(v)
    a, v = (np.reshape(one, (1,)) if one.ndim == 0 else one for one in (a, v))
    if a.ndim > 1 or v.ndim > 1:
        msg = "object too deep for desired array"
        raise ValueError(msg)
    if isinstance(mode, int):
        mode = _MODES[mode]
    if mode not in _MODES:
        msg = f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})"
        raise ValueError(msg)
    if a.size == 0 or v.size == 0:
        msg = f"{'a' if a.size == 0 else 'v'} cannot be empty"
        raise ValueError(msg)
    return a, v, mode


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    a, v, mode = _vectors(a, v, mode)
    if v.size > a.size:
        a, v = v, a
    return _convolved_as(a, v, mode)


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    a, v, mode = _vectors(a, v, mode)
    if v.size > a.size:
        return _reversed(_convolved_as(v, _reversed(a), mode))
    return _convolved_as(a, _reversed(v), mode)
