"""The loop program that a Program is lowered to: buffers, scalar values, loops, calls of libraries and of Python.

``Code.body`` is a list of items. A ``Value`` computes one scalar (one lane of a vector in a vector loop); ``Store`` and
``Update`` have an effect; ``Loop`` holds items; ``LibraryCall``, ``Callback`` and ``Guard`` stand where they happen.
A value may be used by every later item of its own list and by the items of the loops in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = [
    "KINDS",
    "Accumulator",
    "Affine",
    "Axis",
    "Begin",
    "Buffer",
    "Callback",
    "Carry",
    "Code",
    "Copy",
    "End",
    "Guard",
    "Item",
    "LibraryCall",
    "Loop",
    "Store",
    "Update",
    "Value",
    "constant_affine",
    "items_within",
    "kind_of",
]

#: The dtypes that scalars may have: NumPy's codes.
KINDS = frozenset({"f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"})

_numbers = itertools.count()


@dataclass(eq=False, slots=True)
class Buffer:
    """A block of memory that holds a C-contiguous array.

    ``role`` is ``"input"``, ``"capture"``, ``"output"`` (``place`` is the position among them), ``"arena"`` (``place``
    is the offset in bytes) or ``"constant"`` (``data`` holds the array).
    """

    kind: str
    size: int
    role: str
    place: int = -1
    data: Any = None
    shape: tuple[int, ...] = ()
    #: Another buffer whose memory this one uses: written in place.
    instead: Buffer | None = None

    @property
    def bytes(self) -> int:
        return self.size * int(self.kind[1:])

    def __repr__(self) -> str:
        return f"{self.role}{self.place}:{self.kind}[{self.size}]"


class Axis:
    """The counter of a loop, from 0 to ``extent - 1``."""

    __slots__ = ("bit", "extent", "number")

    def __init__(self, extent: int) -> None:
        self.extent = extent
        self.number = next(_numbers)
        self.bit = 1 << self.number

    def __repr__(self) -> str:
        return f"i{self.number}<{self.extent}"


class Affine(NamedTuple):
    """``const + sum of factor * axis``: an index, or a position in a buffer."""

    const: int
    terms: tuple[tuple[Axis, int], ...] = ()

    def plus(self, other: Affine) -> Affine:
        if not other.terms:
            return Affine(self.const + other.const, self.terms)
        if not self.terms:
            return Affine(self.const + other.const, other.terms)
        factors = dict(self.terms)
        for axis, factor in other.terms:
            factors[axis] = factors.get(axis, 0) + factor
        return Affine(self.const + other.const, _ordered(factors))

    def times(self, factor: int) -> Affine:
        if factor == 0:
            return Affine(0)
        return Affine(self.const * factor, tuple([(axis, one * factor) for axis, one in self.terms]))

    def span(self) -> tuple[int, int]:
        """The least and the greatest value."""
        low = high = self.const
        for axis, factor in self.terms:
            if factor > 0:
                high += factor * (axis.extent - 1)
            else:
                low += factor * (axis.extent - 1)
        return low, high

    def factor(self, axis: Axis) -> int:
        for one, factor in self.terms:
            if one is axis:
                return factor
        return 0

    @property
    def bits(self) -> int:
        bits = 0
        for axis, _ in self.terms:
            bits |= axis.bit
        return bits


def _ordered(factors: dict[Axis, int]) -> tuple[tuple[Axis, int], ...]:
    return tuple(sorted(((axis, one) for axis, one in factors.items() if one), key=lambda pair: pair[0].number))


def constant_affine(const: int) -> Affine:
    """The index that is always ``const``."""
    return Affine(const)


@dataclass(eq=False, slots=True)
class Value:
    """One scalar: ``op`` of ``args``.

    ``"constant"`` (attr: the number), ``"axis"`` (attr: an Affine, as an i8), ``"load"`` (attr: (buffer, Affine); an
    argument is an i8 that is added to the position), ``"result"`` (of an Accumulator or of a Carry), ``"call"`` (attr:
    the function of the maths library), and the names in ``emit.OPERATIONS``.
    """

    op: str
    args: tuple[Value, ...]
    kind: str
    attr: Any = None
    #: The axes that it depends on, one bit each.
    bits: int = 0


@dataclass(eq=False, slots=True)
class Store:
    """Write ``value`` to ``buffer[place + at]``; ``combine`` is the operation by which it joins what is there."""

    buffer: Buffer
    place: Affine
    value: Value
    at: Value | None = None
    combine: str = ""
    #: Write only where this is true.
    when: Value | None = None


@dataclass(eq=False, slots=True)
class Accumulator:
    """What a reduction is computed in: ``op`` is ``add``, ``multiply``, ``maximum``, ``minimum``, ``and`` or ``or``."""

    op: str
    kind: str
    result: Value


@dataclass(eq=False, slots=True)
class Begin:
    """Set an accumulator to its neutral value."""

    into: Accumulator


@dataclass(eq=False, slots=True)
class Update:
    """Put a value into an accumulator."""

    into: Accumulator
    value: Value


@dataclass(eq=False, slots=True)
class End:
    """Combine the lanes of an accumulator into its result."""

    into: Accumulator


@dataclass(eq=False, slots=True)
class Carry:
    """A scalar that goes from one iteration of a loop to the next."""

    first: Value
    here: Value
    after: Value | None
    result: Value


@dataclass(eq=False, slots=True)
class Loop:
    """``body`` once for each position of ``axis``, in order.

    ``vector``: iterations are independent but for accumulators and may be done in vectors, ``unroll`` of them at a
    time. ``chunk``: the iterations may be shared out to threads in pieces of that many; its accumulators are then
    combined in the order of the pieces.
    """

    axis: Axis
    body: list[Item]
    vector: bool = False
    unroll: int = 1
    chunk: int = 0
    carries: list[Carry] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Copy:
    """Copy ``size`` elements of one buffer to another."""

    source: Buffer
    source_place: Affine
    target: Buffer
    target_place: Affine
    size: int


@dataclass(eq=False, slots=True)
class LibraryCall:
    """A function of BLAS or LAPACK.

    ``args`` are ``(buffer, Affine)`` pairs for arrays, and numbers and one-letter strings, which are passed by
    reference as Fortran has it. ``info``: the last argument is the status, and anything but 0 leaves the program.
    """

    function: str
    args: tuple[Any, ...]
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    info: bool = False
    flops: float = 0.0


@dataclass(eq=False, slots=True)
class Callback:
    """A step that Python computes: ``call`` is given the arrays at ``reads`` and fills those at ``writes``."""

    number: int
    step: Any
    reads: tuple[tuple[Buffer, Affine], ...]
    writes: tuple[tuple[Buffer, Affine], ...]


@dataclass(eq=False, slots=True)
class Guard:
    """Leave with ``status`` unless the value is true."""

    value: Value
    status: int


Item: TypeAlias = Value | Store | Begin | Update | End | Loop | Copy | LibraryCall | Callback | Guard


@dataclass(eq=False, slots=True)
class Code:
    """A whole lowered program."""

    name: str
    body: list[Item]
    buffers: list[Buffer]
    arena_bytes: int
    callbacks: list[Callback]
    outputs: Sequence[Buffer]


def items_within(items: Sequence[Item]) -> Iterator[Item]:
    """Every item, those in loops too."""
    for item in items:
        yield item
        if isinstance(item, Loop):
            yield from items_within(item.body)


def kind_of(dtype: np.dtype[Any]) -> str | None:
    """The kind of a NumPy dtype, or None where scalars may not have it."""
    kind = f"{dtype.kind}{dtype.itemsize}"
    return kind if kind in KINDS else None
