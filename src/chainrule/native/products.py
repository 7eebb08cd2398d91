"""Sums of products of two arrays: in registers or loops where they are small, else by BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.native.loops import Affine, LibraryCall
from chainrule.native.nodes import Memory, Node, Number
from chainrule.native.schedule import Direct, Schedule

__all__ = ["Product"]

#: Sums of at most so many terms are written out.
FEW = 4
#: Products of at most so many multiplications are loops.
LITTLE = 2048


class Product:
    """The part of the lowering that multiplies."""

    plan: Schedule

    def product(self, nodes: list[Node], words: Any, output: str, kind: str, shape: tuple[int, ...]) -> Node | None:
        """``words[0],words[1]->output`` of two arrays."""
        lower: Any = self
        extents: dict[str, int] = {}
        for one, word in zip(nodes, words, strict=True):
            for letter, extent in zip(word, one.shape, strict=True):
                if extents.setdefault(letter, extent) != extent:
                    return None
        summed = "".join(letter for letter in extents if letter not in output)
        terms = work = 1
        for letter in summed:
            terms *= extents[letter]
        for extent in extents.values():
            work *= extent
        if work == 0 or any(letter not in words[0] or letter not in words[1] for letter in summed):
            return self.by_loops(lower, nodes, words, output, summed, extents, kind)
        if terms <= FEW and len(summed) == 1:
            return self.by_terms(lower, nodes, words, output, summed, extents, kind)
        if kind in {"f8", "f4"} and work > LITTLE and len(summed) == 1:
            made = self.by_blas(nodes, words, output, summed, extents, shape)
            if made is not None:
                return made
        return self.by_loops(lower, nodes, words, output, summed, extents, kind)

    def spread(self, lower: Any, node: Node, word: str, wanted: str) -> Node:
        """The array with its axes in another order, and axes of extent 1 for the letters that it has not."""
        if isinstance(node, Number):
            return node
        sizes = dict(zip(word, node.shape, strict=True))
        shape = tuple([sizes.get(letter, 1) for letter in wanted])
        made = lower.viewed(node, shape, lambda layout: _spread_layout(layout, word, wanted))
        assert made is not None, (word, wanted)
        result: Node = made
        return result

    def by_loops(
        self, lower: Any, nodes: list[Node], words: Any, output: str, summed: str, extents: dict[str, int], kind: str
    ) -> Node:
        """The products, summed."""
        wanted = output + summed
        a, b = (self.spread(lower, one, word, wanted) for one, word in zip(nodes, words, strict=True))
        shape = tuple([extents[letter] for letter in wanted])
        made = lower.pointwise("multiply", kind, (a, b), (kind, kind), shape)
        result: Node = lower.reduced(made, "add", tuple(range(len(output), len(wanted))))
        return result

    def by_terms(
        self, lower: Any, nodes: list[Node], words: Any, output: str, summed: str, extents: dict[str, int], kind: str
    ) -> Node:
        """The products of each place of the summed axis, added up in order."""
        total: Node | None = None
        a, b = (self.spread(lower, one, word, summed + output) for one, word in zip(nodes, words, strict=True))
        shape = tuple([extents[letter] for letter in output])
        for place in range(extents[summed]):
            x, y = (lower.viewed(one, one.shape[1:], lambda layout, place=place: layout[place, ...]) for one in (a, b))
            term = lower.pointwise("multiply", kind, (x, y), (kind, kind), shape)
            total = term if total is None else lower.pointwise("add", kind, (total, term), (kind, kind), shape)
        assert total is not None
        return total

    def by_blas(
        self, nodes: list[Node], words: Any, output: str, summed: str, extents: dict[str, int], shape: tuple[int, ...]
    ) -> Node | None:
        """One call of BLAS, or one for each place of the batch, if these are few."""
        if max(extents.values()) >= 2**31 or nodes[0].size >= 2**31 or nodes[1].size >= 2**31:
            # BLAS counts in 32 bits.
            return None
        batch = "".join(letter for letter in output if letter in words[0] and letter in words[1])
        free = ["".join(letter for letter in output if letter in word and letter not in batch) for word in words]
        if len(free[0]) > 1 or len(free[1]) > 1:
            return None
        count = 1
        for letter in batch:
            count *= extents[letter]
        if count > 16:
            return None
        held = [self.plan.realised(one) for one in nodes]
        strides = [dict(zip(word, one.strides, strict=True)) for one, word in zip(held, words, strict=True)]
        for place, word in enumerate(words):
            if not _blas_takes(strides[place], free[place], summed, extents):
                held[place] = self.plan.realised(held[place], contiguous=True)
                strides[place] = dict(zip(word, held[place].strides, strict=True))
                if not _blas_takes(strides[place], free[place], summed, extents):
                    return None
        target = Memory(shape, self.plan.buffer(shape, nodes[0].kind))
        landing = dict(zip(output, target.strides, strict=True))
        calls: list[Any] = []
        for place in range(count):
            rest, offsets = place, [held[0].place, held[1].place, Affine(0)]
            for letter in reversed(batch):
                rest, here = divmod(rest, extents[letter])
                for rank, of in enumerate((*strides, landing)):
                    offsets[rank] = offsets[rank].plus(Affine(here * of[letter]))
            call = _call(held, strides, free, summed, extents, target, landing, offsets)
            if call is None:
                return None
            calls.append(call)
        target.task = self.plan.add(Direct(calls))
        return target


def _spread_layout(layout: Any, word: str, wanted: str) -> Any:
    moved = np.transpose(layout, [word.index(one) for one in wanted if one in word])
    return moved[(*(slice(None) if one in word else None for one in wanted), ...)]


def _blas_takes(strides: dict[str, int], free: str, summed: str, extents: dict[str, int]) -> bool:
    """Whether BLAS can read a matrix or a vector with these strides."""
    group = [(strides[letter], extents[letter]) for letter in (free, summed) if letter and extents[letter] > 1]
    if any(stride <= 0 for stride, _ in group):
        return False
    if len(group) < 2:
        return True
    (first, rows), (second, columns) = group
    return (second == 1 and first >= columns) or (first == 1 and second >= rows)


def _leading(first: int, second: int, rows: int, columns: int) -> tuple[bool, int]:
    """Whether a (rows, columns) matrix is transposed for Fortran, and its leading dimension."""
    if second == 1 or columns == 1:
        return True, max(first if rows > 1 else columns, 1)
    return False, max(second if columns > 1 else rows, 1)


def _call(
    held: list[Memory], strides: list[dict[str, int]], free: list[str], summed: str, extents: dict[str, int],
    target: Memory, landing: dict[str, int], offsets: list[Affine],
) -> LibraryCall | None:  # fmt: skip
    letter = "d" if target.kind == "f8" else "s"
    one, zero = (1.0, 0.0) if letter == "d" else (np.float32(1), np.float32(0))
    a, b = held
    rows, columns = free
    k = extents[summed]
    reads, writes = (a.buffer, b.buffer), (target.buffer,)
    if not rows and not columns:
        return None
    if not rows or not columns:
        # A matrix times a vector.
        matrix, vector, name = (0, 1, rows) if rows else (1, 0, columns)
        first, second = strides[matrix][name], strides[matrix][summed]
        m = extents[name]
        transposed, leading = _leading(first, second, m, k)
        step = strides[vector][summed] if k > 1 else 1
        return LibraryCall(
            f"chainrule_{letter}gemv",
            ("T" if transposed else "N", k if transposed else m, m if transposed else k, one,
             (held[matrix].buffer, offsets[matrix]), leading, (held[vector].buffer, offsets[vector]), step, zero,
             (target.buffer, offsets[2]), landing[name] if m > 1 else 1),
            reads, writes, flops=2.0 * m * k,
        )  # fmt: skip
    m, n = extents[rows], extents[columns]
    if n > 1 and landing[columns] != 1:
        # Fortran's order: the transposed product.
        a, b = b, a
        rows, columns, m, n = columns, rows, n, m
        strides = [strides[1], strides[0]]
        offsets = [offsets[1], offsets[0], offsets[2]]
    # The result in C order is the transposed one in Fortran's: C^T = B^T A^T.
    t_a, lead_a = _leading(strides[0][rows], strides[0][summed], m, k)
    t_b, lead_b = _leading(strides[1][summed], strides[1][columns], k, n)
    lead_c = max(landing[rows] if m > 1 else n, n, 1)
    return LibraryCall(
        f"chainrule_{letter}gemm",
        ("N" if t_b else "T", "N" if t_a else "T", n, m, k, one, (b.buffer, offsets[1]), lead_b,
         (a.buffer, offsets[0]), lead_a, zero, (target.buffer, offsets[2]), lead_c),
        reads, writes, flops=2.0 * m * n * k,
    )  # fmt: skip
