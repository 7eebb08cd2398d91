"""Rules of the kind Index: sums of products given by letters (sum, transpose, broadcast, matmul).

``contract`` is the engine of the kind: it writes any sum of products with the plainest rules, so that the derivative
of a matrix product is again matrix products and transposes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_letters
from typing import Any

import numpy as np

from chainrule.rule import RULES, Cost, Index, View, apply, register

__all__ = ["axis_source", "contract"]


def axis_source(ndim: int, axes: tuple[int, ...]) -> str:
    """The keyword by which a reduction over these axes is written: none for all of them."""
    if len(axes) == ndim:
        return ""
    return f", axis={axes[0] if len(axes) == 1 else axes}"


def _letters(ndim: int) -> str:
    return ascii_letters[:ndim]


# --- sum, transpose, broadcast --------------------------------------------------------------------------------------


sum_: Any = register(
    Index(
        name="sum",
        value=lambda x, axes: np.add.reduce(x, axis=axes),
        source=lambda types, params, numbers: "np.sum({0}" + axis_source(types[0].ndim, params[0]) + ")",
        params=("axes",),
        letters=lambda types, params: (
            (_letters(types[0].ndim),),
            "".join(one for place, one in enumerate(_letters(types[0].ndim)) if place not in params[0]),
        ),
        infer=lambda types, params: (
            tuple(extent for place, extent in enumerate(types[0].shape) if place not in params[0]),
            np.add.reduce(np.empty(0, types[0].dtype)).dtype,
        ),
        contract=lambda *args: contract(*args),
        batch=lambda batched, size, arguments, params: apply(sum_, arguments, (tuple(axis + 1 for axis in params[0]),)),
        latex=r"\sum_{{{axes}}} {0}",
        binds=6,
        cost=lambda types, params, outs: Cost(types[0].size),
        points=((("4",), ((0,),)), (("3,4",), ((1,),)), (("2,3,4",), ((0, 2),)), (("0,3",), ((0,),))),
    )
)

transpose: Any = register(
    Index(
        name="transpose",
        view=View(
            write_back=lambda whole, part, params: apply(transpose, (part,), (_inverse(params[0]),)),
            kind=lambda whole, part, params, layout: "view",
            apply=lambda strides, index, params: np.transpose(strides, params[0]),
            reorders=True,
        ),
        value=lambda x, axes: np.transpose(x, axes),
        source=lambda types, params, numbers: (
            "{0}.T" if params[0] == tuple(reversed(range(types[0].ndim))) else "np.transpose({0}, {axes})"
        ),
        params=("axes",),
        letters=lambda types, params: (
            (_letters(types[0].ndim),),
            "".join(_letters(types[0].ndim)[axis] for axis in params[0]),
        ),
        infer=lambda types, params: (tuple(types[0].shape[axis] for axis in params[0]), types[0].dtype),
        contract=lambda *args: contract(*args),
        batch=lambda batched, size, arguments, params: apply(
            transpose, arguments, ((0, *(axis + 1 for axis in params[0])),)
        ),
        latex=r"{0}^{{\mathsf T}}",
        binds=8,
        cost=lambda types, params, outs: Cost(0),
        aliases=True,
        points=((("3,4",), ((1, 0),)), (("2,3,4",), ((2, 0, 1),))),
    )
)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _broadcast_letters(types: Any, params: Any) -> Any:
    # An extent of 1 that is stretched is another letter than the stretched one, and is summed over (one term).
    (shape,) = params
    out = _letters(len(shape))
    extra = len(shape) - types[0].ndim
    spare = iter(ascii_letters[len(shape) :])
    inside = "".join(
        out[extra + place] if extent == shape[extra + place] else next(spare)
        for place, extent in enumerate(types[0].shape)
    )
    return (inside,), out


def _broadcast_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    (x,), (shape,) = arguments, params
    inner = np.shape(x)[1:]
    x = np.reshape(x, (size, *(1,) * (len(shape) - len(inner)), *inner))
    return apply(broadcast_to, (x,), ((size, *shape),))


def _broadcast_source(types: Any, params: Any, numbers: Any) -> str:
    (number,), (shape,), dtype = numbers, params, types[0].dtype
    if number is None:
        return "np.broadcast_to({0}, {shape})"
    extents = shape[0] if len(shape) == 1 else shape
    wide = "" if dtype == np.float64 else f", dtype=np.{dtype.name}"
    if number == 1 or (number == 0 and not np.signbit(number)):
        return f"np.{'ones' if number else 'zeros'}({extents}{wide})"
    return f"np.full({extents}, {{0}}{wide})"


broadcast_to: Any = register(
    Index(
        name="broadcast_to",
        view=View(
            write_back=None,
            kind=lambda whole, part, params, layout: "view",
            apply=lambda strides, index, params: np.broadcast_to(strides, params[0]),
            reorders=True,
        ),
        value=lambda x, shape: np.broadcast_to(x, shape),
        source=_broadcast_source,
        params=("shape",),
        letters=_broadcast_letters,
        infer=lambda types, params: (_checked_broadcast(types[0].shape, params[0]), types[0].dtype),
        contract=lambda *args: contract(*args),
        batch=_broadcast_batch,
        latex=r"{0}\,\mathbf 1_{{{shape}}}",
        binds=6,
        words="spreading",
        cost=lambda types, params, outs: Cost(0),
        aliases=True,
        points=((("",), ((3,),)), (("3,1",), ((2, 3, 4),)), (("4",), ((0, 4),))),
    )
)


def _checked_broadcast(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    if np.broadcast_shapes(shape, wanted) != wanted:
        msg = f"cannot broadcast an array of shape {shape} to {wanted}"
        raise ValueError(msg)
    return wanted


# --- matrix products ------------------------------------------------------------------------------------------------


def _matmul_letters(types: Any, params: Any) -> Any:
    a, b = types[0].ndim, types[1].ndim
    batch = ascii_letters[3 : 3 + max(a, b, 2) - 2]
    left = batch[len(batch) - max(a - 2, 0) :] + "ac"[2 - min(a, 2) :]
    right = batch[len(batch) - max(b - 2, 0) :] + "cb"[: min(b, 2)]
    return (left, right), batch + "a" * (a >= 2) + "b" * (b >= 2)


def _matmul_infer(types: Any, params: Any) -> Any:
    a, b = types[0], types[1]
    for place, one in enumerate((a, b)):
        if one.ndim == 0:
            needed = f"(has 0, gufunc core with signature {_CORE} requires 1)"
            msg = f"matmul: Input operand {place} does not have enough dimensions {needed}"
            raise ValueError(msg)
    inner = b.shape[-2] if b.ndim >= 2 else b.shape[0]
    if a.shape[-1] != inner:
        msg = (
            "matmul: Input operand 1 has a mismatch in its core dimension 0, "
            f"with gufunc signature {_CORE} (size {inner} is different from {a.shape[-1]})"
        )
        raise ValueError(msg)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*batch, *a.shape[-2:-1], *(b.shape[-1:] if b.ndim >= 2 else ()))
    return shape, np.result_type(a.dtype, b.dtype)


_CORE = "(n?,k),(k,m?)->(n?,m?)"


def _matmul_contract(
    inputs: Sequence[str], output: str, arguments: Sequence[Any], extents: dict[str, int] | None = None
) -> Any:
    # A tangent in the place of an argument is the same product; only an adjoint is another one.
    if len(inputs) == 2:
        words, out = _matmul_letters([_Typed(np.shape(one)) for one in arguments], ())
        if (tuple(inputs), output) == (words, out):
            return apply(matmul, arguments)
    return contract(inputs, output, arguments, extents)


def _matmul_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    letter = ascii_letters[-1]
    types = [_Typed(np.shape(one)[yes:]) for one, yes in zip(arguments, batched, strict=True)]
    words, out = _matmul_letters(types, params)
    marked = [letter * yes + word for word, yes in zip(words, batched, strict=True)]
    return contract(marked, letter + out, arguments, {letter: size})


class _Typed:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)


def _contraction_cost(types: Any, letters: Any) -> Cost:
    extents: dict[str, int] = {}
    for one, word in zip(types, letters[0], strict=True):
        extents.update(zip(word, one.shape, strict=True))
    return Cost(2 * math.prod(extents.values()))


matmul: Any = register(
    Index(
        name="matmul",
        value=np.matmul,
        source="{0} @ {1}",
        letters=_matmul_letters,
        infer=_matmul_infer,
        contract=_matmul_contract,
        batch=_matmul_batch,
        latex=r"{0}\,{1}",
        binds=6,
        words="matrix product",
        cost=lambda types, params, outs: _contraction_cost(types, _matmul_letters(types, params)),
        points=(
            (("3", "3"), ()), (("2,3", "3"), ()), (("3", "3,2"), ()), (("2,3", "3,4"), ()),
            (("5,2,3", "5,3,4"), ()), (("5,2,3", "3,4"), ()), (("2,3", "5,3,4"), ()), (("3", "5,3,4"), ()),
            (("6,5,2,3", "5,3,4"), ()), (("5,2,3", "3"), ()), (("2,0", "0,3"), ()),
        ),
    )
)  # fmt: skip


# --- the engine -----------------------------------------------------------------------------------------------------


def contract(
    inputs: Sequence[str], output: str, arguments: Sequence[Any], extents: dict[str, int] | None = None
) -> Any:
    """The sum of products ``inputs -> output``; ``extents`` are those of letters that only the output has.

    ``contract(("ik", "kj"), "ij", (a, b))`` is ``a @ b``. A letter that occurs twice in one word means the diagonal,
    in the output too (zeros beside it). More than two factors are multiplied two at a time, in the cheapest order.
    """
    known = dict(extents or {})
    words, values = [], []
    for word, value in zip(inputs, arguments, strict=True):
        known.update(zip(word, np.shape(value), strict=True))
        if len(set(word)) != len(word):
            word, value = _diagonal(word, value)
        words.append(word)
        values.append(value)
    distinct = "".join(dict.fromkeys(output))
    if len(words) > 2:
        words, values = _by_pairs(words, distinct, values, known)
    word, made = _one_or_two(words, distinct, values, known)
    made = _arrange(word, distinct, made, known)
    return made if distinct == output else _on_diagonal(distinct, output, made, known)


def _by_pairs(words: list[str], output: str, values: list[Any], extents: dict[str, int]) -> tuple[list[str], list[Any]]:
    """Factors multiplied two at a time until two are left."""
    shapes = tuple(tuple(max(extents[letter], 1) for letter in word) for word in words)
    for places in _path(f"{','.join(words)}->{''.join(one for one in output if one in ''.join(words))}", shapes):
        chosen = [(words[place], values[place]) for place in sorted(places)]
        for place in sorted(places, reverse=True):
            del words[place], values[place]
        while len(chosen) > 1 and len(words) + len(chosen) > 2:
            (a_word, a), (b_word, b), *rest = chosen
            needed = set(output).union(*words, *[one for one, _ in rest])
            kept = "".join(dict.fromkeys(letter for letter in a_word + b_word if letter in needed))
            word, made = _one_or_two([a_word, b_word], kept, [a, b], extents)
            chosen = [(word, made), *rest]
        words.extend(word for word, _ in chosen)
        values.extend(value for _, value in chosen)
    return words, values


@lru_cache(maxsize=1024)
def _path(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    # The optimal order is searched among all of them, which is quick for a handful of factors only.
    search = "optimal" if len(shapes) <= 5 else "greedy"
    operands = [np.broadcast_to(np.float64(0), shape) for shape in shapes]
    return tuple(np.einsum_path(subscripts, *operands, optimize=search)[0][1:])


def _one_or_two(words: Sequence[str], output: str, values: Sequence[Any], extents: dict[str, int]) -> tuple[str, Any]:
    """The sum of products with the letters of the output that the words have, in an order of its own."""
    words, values = list(words), list(values)
    for place, (word, value) in enumerate(zip(words, values, strict=True)):
        others = set(output).union(*[one for rank, one in enumerate(words) if rank != place])
        alone = tuple(axis for axis, letter in enumerate(word) if letter not in others)
        if alone:
            values[place] = _sum_over(value, alone)
            words[place] = "".join(letter for letter in word if letter in others)
    if len(words) == 1:
        return words[0], values[0]
    return _product(words[0], words[1], output, values[0], values[1], extents)


def _sum_over(value: Any, axes: tuple[int, ...]) -> Any:
    shape = np.shape(value)
    if all(shape[axis] == 1 for axis in axes):
        return np.reshape(value, tuple(extent for axis, extent in enumerate(shape) if axis not in axes))
    return apply(sum_, (value,), (axes,))


def _permuted(word: str, wanted: str, value: Any) -> Any:
    """The axes in another order."""
    if word == wanted:
        return value
    return apply(transpose, (value,), (tuple(word.index(letter) for letter in wanted),))


def _diagonal(word: str, value: Any) -> tuple[str, Any]:
    """The array without its repeated letters."""
    for letter in dict.fromkeys(word):
        places = [place for place, one in enumerate(word) if one == letter]
        if len(places) > 1:
            # Axes of one letter go first, where one index array for each picks the diagonal.
            rest = [place for place in range(len(word)) if place not in places]
            if [*places, *rest] != list(range(len(word))):
                value = apply(transpose, (value,), ((*places, *rest),))
            index = np.arange(np.shape(value)[0])
            value = apply(RULES["getitem"], (value, *[index] * len(places)), (("?",) * len(places),))
            word = letter + "".join(word[place] for place in rest)
    return word, value


def _on_diagonal(word: str, output: str, value: Any, extents: dict[str, int]) -> Any:
    """Zeros, with the value where axes of one letter have the same index: the transpose of ``_diagonal``."""
    from chainrule.rules.gather import blank, index_add

    for letter in word:
        count = output.count(letter)
        if count > 1:
            value = _permuted(word, letter + word.replace(letter, ""), value)
            word = letter + word.replace(letter, "")
            shape = (extents[letter],) * (count - 1) + np.shape(value)
            index = np.arange(extents[letter])
            value = apply(index_add, (blank(value, shape, value.dtype), value, *[index] * count), (("?",) * count,))
            word = letter * (count - 1) + word
    # The axes of one letter are alike, so they are handed out in turn.
    taken: dict[str, int] = {}
    axes = []
    for letter in output:
        axes.append(word.index(letter, taken.get(letter, -1) + 1))
        taken[letter] = axes[-1]
    return value if axes == list(range(len(axes))) else apply(transpose, (value,), (tuple(axes),))


def _arrange(word: str, output: str, value: Any, extents: dict[str, int]) -> Any:
    """Axes in the output's order; letters that are missing are broadcast."""
    present = "".join(letter for letter in output if letter in word)
    value = _permuted(word, present, value)
    if present == output:
        return value
    value = _spread(present, output, value)
    shape = tuple(extents[letter] for letter in output)
    if all(extents[letter] == 1 for letter in output if letter not in present):
        return value if np.shape(value) == shape else np.reshape(value, shape)
    return apply(broadcast_to, (value,), (shape,))


def _spread(word: str, output: str, value: Any) -> Any:
    """Axes in the output's order, of extent 1 where a letter is missing; leading ones are left to broadcasting."""
    present = "".join(letter for letter in output if letter in word)
    value = _permuted(word, present, value)
    first = next((place for place, letter in enumerate(output) if letter in word), len(output))
    kept = output[first:]
    if present != kept:
        sizes = dict(zip(present, np.shape(value), strict=True))
        value = np.reshape(value, tuple(sizes.get(letter, 1) for letter in kept))
    return value


def _product(a_word: str, b_word: str, output: str, a: Any, b: Any, extents: dict[str, int]) -> tuple[str, Any]:
    """The product of two arrays, and the letters of its axes: written as a person would, with the fewest reshapes."""
    shared = [letter for letter in a_word if letter in b_word]
    summed = "".join(letter for letter in shared if letter not in output)
    batch = "".join(letter for letter in output if letter in shared)
    free_a = "".join(letter for letter in output if letter in a_word and letter not in b_word)
    free_b = "".join(letter for letter in output if letter in b_word and letter not in a_word)
    if not summed:
        # No sum: an outer or elementwise product, by broadcasting.
        word = "".join(letter for letter in output if letter in a_word or letter in b_word)
        return word, _spread(a_word, word, a) * _spread(b_word, word, b)
    if not free_a and not free_b:
        if not batch and len(summed) == 1:
            return "", apply(matmul, (a, b))
        word = batch + summed
        if a_word == b_word:
            word = a_word
        made = _permuted(a_word, word, a) * _permuted(b_word, word, b)
        left = "".join(letter for letter in word if letter not in summed)
        return left, _sum_over(made, tuple(axis for axis, letter in enumerate(word) if letter in summed))
    if not free_a or (free_b and output.index(free_b[0]) < output.index(free_a[0])):
        # The factor whose letters come first in the output is the left one; a vector stands to the right of a matrix.
        a_word, b_word, a, b, free_a, free_b = b_word, a_word, b, a, free_b, free_a
    if not batch and len(summed) == 1:
        made = _plain_product(a_word, b_word, output, a, b, (summed, free_a, free_b))
        if made is not None:
            return made
    return _grouped_product(a_word, b_word, a, b, (batch, summed, free_a, free_b), extents)


def _plain_product(
    a_word: str, b_word: str, output: str, a: Any, b: Any, groups: tuple[str, str, str]
) -> tuple[str, Any] | None:
    """One ``matmul`` of arrays that are at most transposed, or None."""
    summed, free_a, free_b = groups
    wanted = "".join(letter for letter in output if letter in free_a + free_b)
    if len(free_b) > 1:
        return None
    if wanted == free_a + free_b:
        # A matrix, or a stack of them, times a matrix or a vector.
        return wanted, apply(matmul, (_permuted(a_word, free_a + summed, a), _permuted(b_word, summed + free_b, b)))
    if wanted == free_a[:-1] + free_b + free_a[-1]:
        # A matrix times a stack of matrices.
        stack = _permuted(a_word, free_a[:-1] + summed + free_a[-1], a)
        return wanted, apply(matmul, (_permuted(b_word, free_b + summed, b), stack))
    return None


def _grouped_product(
    a_word: str, b_word: str, a: Any, b: Any, groups: tuple[str, str, str, str], extents: dict[str, int]
) -> tuple[str, Any]:
    """A ``matmul`` in which each group of letters is one axis."""
    batch, summed, free_a, free_b = groups

    def grouped(word: str, value: Any, rows: str, columns: str) -> Any:
        value = _permuted(word, batch + rows + columns, value)
        shape = tuple(extents[letter] for letter in batch) + tuple(
            math.prod(extents[letter] for letter in group) for group in (rows, columns)
        )
        return value if np.shape(value) == shape else np.reshape(value, shape)

    made = apply(matmul, (grouped(a_word, a, free_a, summed), grouped(b_word, b, summed, free_b)))
    word = batch + free_a + free_b
    shape = tuple(extents[letter] for letter in word)
    return word, made if np.shape(made) == shape else np.reshape(made, shape)
