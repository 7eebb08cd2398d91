"""Arrays of a C function: where their elements are, by indices, and which memory they are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.derive.c_expression import Term, atom, filled, number

__all__ = [
    "ZERO", "Affine", "Buffer", "Constant", "Counter", "Lazy", "Local", "Memory", "Node", "allotted", "c_strides",
    "fake", "offset_of", "symbol", "token",
]  # fmt: skip


# --- places -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Affine:
    """A whole number plus multiples of variables of the C function."""

    start: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def plus(self, other: Affine) -> Affine:
        """The sum."""
        terms = dict(self.terms)
        for name, factor in other.terms:
            terms[name] = terms.get(name, 0) + factor
        return Affine(self.start + other.start, tuple((name, factor) for name, factor in terms.items() if factor))

    def times(self, factor: int) -> Affine:
        """The multiple."""
        if not factor:
            return ZERO
        return Affine(self.start * factor, tuple((name, one * factor) for name, one in self.terms))

    def __str__(self) -> str:
        text = ""
        for name, factor in sorted(self.terms, key=lambda term: -abs(term[1])):
            one = name if abs(factor) == 1 else f"{abs(factor)} * {name}"
            text += (f" {'-' if factor < 0 else '+'} {one}") if text else f"-{one}" if factor < 0 else one
        if not text:
            return str(self.start)
        return f"{text} {'-' if self.start < 0 else '+'} {abs(self.start)}" if self.start else text


ZERO = Affine()


def symbol(name: str) -> Affine:
    """A variable of the C function, as a place."""
    return Affine(0, ((name, 1),))


def c_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of an array without gaps in C order."""
    return tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))


def fake(shape: Sequence[int], strides: Sequence[int]) -> Any:
    """An array of bytes with these strides and no memory of its own, to ask NumPy what a view of it is."""
    return np.lib.stride_tricks.as_strided(np.empty(1, np.int8), tuple(shape), tuple(strides))


def offset_of(view: Any, whole: Any) -> int:
    """How many elements the first element of a view is away from that of the whole."""
    return int(view.__array_interface__["data"][0] - whole.__array_interface__["data"][0])


# --- memory -----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Buffer:
    """A block of memory: an argument, a constant, or room for a result."""

    number: int
    dtype: Any
    shape: tuple[int, ...]
    name: str
    role: str = "arena"
    #: Of a constant its elements.
    data: Any = None
    #: Its place in the workspace in bytes; None for an array of its own.
    place: int | None = None

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


def token(buffer: Buffer) -> str:
    """What stands for the name of a buffer until all are named."""
    return f"\x01{buffer.number}\x02"


@dataclass(eq=False)
class Node:
    """An array that is known element by element."""

    shape: tuple[int, ...]
    dtype: Any

    @property
    def reads(self) -> frozenset[Any]:
        """The buffers and local variables that an element is computed from."""
        return frozenset()

    def at(self, index: Sequence[Affine]) -> Term:
        """The element at an index."""
        raise NotImplementedError

    def under(self, index: Sequence[Affine]) -> Term:
        """The element that is broadcast to this place of a larger array."""
        ahead = [ZERO] * max(0, len(self.shape) - len(index))
        mine = [*ahead, *index][len(index) + len(ahead) - len(self.shape) :]
        return self.at([ZERO if extent == 1 else one for one, extent in zip(mine, self.shape, strict=True)])


@dataclass(eq=False)
class Memory(Node):
    """A part of a buffer."""

    buffer: Buffer
    strides: tuple[int, ...]
    offset: Affine = ZERO

    @property
    def reads(self) -> frozenset[Any]:
        """See Node."""
        return frozenset({self.buffer})

    @property
    def is_plain(self) -> bool:
        """Whether its elements are a block in C order."""
        real = [(extent, step) for extent, step in zip(self.shape, self.strides, strict=True) if extent != 1]
        return [step for _, step in real] == list(c_strides([extent for extent, _ in real]))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its buffer, in C order."""
        return self.is_plain and self.offset == ZERO and math.prod(self.shape) == self.buffer.size

    def place(self, index: Sequence[Affine]) -> Affine:
        """Where in the buffer the element at an index is."""
        made = self.offset
        for one, step in zip(index, self.strides, strict=True):
            made = made.plus(one.times(step))
        return made

    def at(self, index: Sequence[Affine]) -> Term:
        """See Node."""
        return atom(f"{token(self.buffer)}[{self.place(index)}]")

    def pointer(self) -> str:
        """A pointer to its first element."""
        return token(self.buffer) if self.offset == ZERO else f"{token(self.buffer)} + {self.offset}"


@dataclass(eq=False)
class Local(Node):
    """A number in a local variable."""

    name: str

    @property
    def reads(self) -> frozenset[Any]:
        """See Node."""
        return frozenset({self.name})

    def at(self, index: Sequence[Affine]) -> Term:
        """See Node."""
        del index
        return atom(self.name)


@dataclass(eq=False)
class Constant(Node):
    """One number in every place."""

    value: Any

    def at(self, index: Sequence[Affine]) -> Term:
        """See Node."""
        del index
        return number(self.value, self.dtype)


@dataclass(eq=False)
class Counter(Node):
    """The number of an iteration."""

    name: str
    trips: int

    def at(self, index: Sequence[Affine]) -> Term:
        """See Node."""
        del index
        return filled("(int64_t){0}", [atom(self.name)])


@dataclass(eq=False)
class Lazy(Node):
    """An array that is computed where it is read."""

    element: Callable[[Sequence[Affine]], Term]
    read: frozenset[Any] = field(default_factory=frozenset)
    #: The number of the step that it is from.
    step: int = -1

    @property
    def reads(self) -> frozenset[Any]:
        """See Node."""
        return self.read

    def at(self, index: Sequence[Affine]) -> Term:
        """See Node."""
        return self.element(index)


# --- who gets which memory --------------------------------------------------------------------------------------------

#: Arrays of at most so many bytes are local variables, as long as there are not more than this many bytes in all.
_SMALL, _MOST = 1024, 8192
_ALIGNED = 16


def allotted(lines: Sequence[str], loops: Sequence[tuple[int, int]], buffers: Sequence[Buffer]) -> int:
    """Give each buffer that is no argument its memory; the size in bytes of the workspace.

    ``lines`` are those of the function, with tokens for buffers; ``loops`` are the (first, last) lines of loops that
    run several times. Buffers of one dtype share memory where their lives do not meet.
    """
    lives: dict[Buffer, list[int]] = {}
    by_token = {token(one): one for one in buffers if one.role == "arena"}
    for place, line in enumerate(lines):
        start = line.find("\x01")
        while start >= 0:
            end = line.index("\x02", start) + 1
            found = by_token.get(line[start:end])
            if found is not None:
                life = lives.setdefault(found, [place, place])
                life[1] = place
            start = line.find("\x01", end)
    for buffer, life in lives.items():
        # What is older than a loop lives until the end of the loop that reads it.
        for first, last in sorted(loops, key=lambda loop: loop[0] - loop[1]):
            if life[0] < first <= life[1] <= last:
                life[1] = last
        del buffer
    local = 0
    pools: dict[Any, list[tuple[int, int, int, int]]] = {}
    for buffer, (born, dead) in sorted(lives.items(), key=lambda pair: pair[1][0]):
        size = max(buffer.size, 1) * buffer.dtype.itemsize
        if size <= _SMALL and local + size <= _MOST:
            local += size
            continue
        size = -(-size // _ALIGNED) * _ALIGNED
        pool = pools.setdefault(buffer.dtype, [])
        busy = sorted((start, end) for start, end, first, last in pool if first <= dead and born <= last)
        place = 0
        for start, end in busy:
            if start - place >= size:
                break
            place = max(place, end)
        pool.append((place, place + size, born, dead))
        buffer.place = place
    base, starts = 0, {}
    for dtype, pool in pools.items():
        starts[dtype] = base
        base += max(end for _, end, _, _ in pool)
    for buffer in lives:
        if buffer.place is not None:
            buffer.place += starts[buffer.dtype]
    for buffer in by_token.values():
        if buffer not in lives:
            buffer.role = "unused"
    return base
