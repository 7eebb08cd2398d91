"""Arrays as expressions of an index: in memory, scalars, pointwise of others, views, pieces; evaluated at any index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from chainrule.native.forms import FORMS, Scribe
from chainrule.native.loops import Affine, Buffer, Value

__all__ = [
    "Memory",
    "NeedsMemory",
    "Node",
    "Number",
    "Part",
    "Pieces",
    "Pointwise",
    "Reader",
    "Scalars",
    "Taken",
    "View",
    "c_strides",
    "children",
    "delinear",
    "position",
    "region_of",
]

Index = tuple[Affine, ...]
START = Affine(0)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous array."""
    strides = [1] * len(shape)
    for place in range(len(shape) - 2, -1, -1):
        strides[place] = strides[place + 1] * shape[place + 1]
    return tuple(strides)


class NeedsMemory(Exception):
    """An array can not be evaluated at the index that is wanted of it unless it is in memory."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node


class Node:
    """An array. ``reach`` has a bit for each value an element of it takes; ``calls`` of the maths library are in it.

    ``memory`` is where it is kept once it was decided that it is; ``task`` fills it, if one does.
    """

    __slots__ = ("calls", "kind", "memory", "reach", "shape", "size", "task")

    _bits = 0

    def __init__(self, shape: tuple[int, ...], kind: str, reach: int = 0, calls: int = 0) -> None:
        self.shape = shape
        self.kind = kind
        size = 1
        for extent in shape:
            size *= extent
        self.size = size
        self.reach = reach
        self.calls = calls
        self.memory: Memory | None = None
        self.task: Any = None

    @staticmethod
    def bits(count: int) -> int:
        """As many new bits."""
        first = Node._bits
        Node._bits = (first + count) % 1_000_000
        return ((1 << count) - 1) << (first % 4096)

    @property
    def work(self) -> int:
        """About how many values an element takes."""
        return self.reach.bit_count()


class Number(Node):
    """A literal."""

    __slots__ = ("value",)

    def __init__(self, value: Any, kind: str) -> None:
        super().__init__((), kind)
        self.value = value


class Scalars(Node):
    """A small array of which every element is a value of its own."""

    __slots__ = ("values",)

    def __init__(self, values: Any, kind: str, task: Any = None) -> None:
        super().__init__(values.shape, kind)
        self.values = values
        self.task = task


class Memory(Node):
    """A strided array in a buffer. ``task`` is what fills it, or None where it is there before the first of them."""

    __slots__ = ("buffer", "place", "strides")

    def __init__(
        self, shape: tuple[int, ...], buffer: Buffer, task: Any = None, place: Affine = START,
        strides: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(shape, buffer.kind)
        self.buffer = buffer
        self.task = task
        self.place = place
        self.strides = c_strides(shape) if strides is None else strides

    @property
    def contiguous(self) -> bool:
        return self.size <= 1 or all(
            have == want or extent == 1
            for have, want, extent in zip(self.strides, c_strides(self.shape), self.shape, strict=True)
        )


class Pointwise(Node):
    """A form of other arrays, element by element, broadcast."""

    __slots__ = ("args", "form", "kinds")

    def __init__(
        self, form: str, kind: str, shape: tuple[int, ...], args: tuple[Node, ...], kinds: tuple[str, ...], calls: int
    ) -> None:
        reach = Node.bits(1)
        for one in args:
            if one.memory is None:
                reach |= one.reach
                calls += one.calls
        super().__init__(shape, kind, reach, calls)
        self.form = form
        self.args = args
        self.kinds = kinds


class View(Node):
    """Elements of another array: element ``index`` is at position ``offset + strides . index`` of its C order."""

    __slots__ = ("offset", "source", "strides")

    def __init__(self, shape: tuple[int, ...], source: Node, offset: int, strides: tuple[int, ...]) -> None:
        kept = source.memory is not None
        super().__init__(shape, source.kind, Node.bits(1 if kept else max(source.work, 1)), 0 if kept else source.calls)
        self.source = source
        self.offset = offset
        self.strides = strides


class Region(NamedTuple):
    """A box of an array: along axis d from ``lows[d]`` to ``highs[d]``; its own axis k goes along ``axes[k]``."""

    lows: tuple[int, ...]
    highs: tuple[int, ...]
    axes: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]


class Part(NamedTuple):
    """What is put into a region: ``node``, broadcast; ``adds``: added to what is there.

    ``box`` is None where the region is no box, or moves with a loop.
    """

    node: Node
    adds: bool
    shape: tuple[int, ...]
    place: Affine
    strides: tuple[int, ...]
    box: Region | None


class Pieces(Node):
    """Another array (or None) with one part put into it; a chain of them makes any number."""

    __slots__ = ("base", "depth", "part")

    depth: int

    def __init__(self, shape: tuple[int, ...], kind: str, base: Node | None, part: Part) -> None:
        reach, calls = Node.bits(1), 0
        if part.node.memory is None:
            reach, calls = reach | part.node.reach, part.node.calls
        depth: int = 1
        if base is not None and base.memory is None:
            reach |= base.reach
            calls += base.calls
            if isinstance(base, Pieces):
                depth += base.depth
        super().__init__(shape, kind, reach, calls)
        self.base = base
        self.part = part
        self.depth = depth


class Taken(Node):
    """Elements at positions that are values: ``source`` (in memory) at ``index`` arrays."""

    __slots__ = ("indices", "source", "spot", "wide")

    def __init__(
        self,
        shape: tuple[int, ...],
        source: Memory,
        indices: tuple[tuple[Node, int, int], ...],
        spot: int,
        wide: tuple[int, ...],
    ) -> None:
        reach, calls = Node.bits(2), 0
        for one, _, _ in indices:
            if one.memory is None:
                reach |= one.reach
                calls += one.calls
        super().__init__(shape, source.kind, reach, calls)
        self.source = source
        self.indices = indices
        self.spot = spot
        self.wide = wide


def children(node: Node) -> Iterator[tuple[Node, bool]]:
    """What an array is computed of; whether each is read at the same index only."""
    if isinstance(node, Pointwise):
        for one in node.args:
            yield one, one.shape == node.shape
    elif isinstance(node, View):
        yield node.source, False
    elif isinstance(node, Pieces):
        if node.base is not None:
            yield node.base, True
        yield node.part.node, False
    elif isinstance(node, Taken):
        yield node.source, False
        for one, _, _ in node.indices:
            yield one, False


# --- positions --------------------------------------------------------------------------------------------------------


def delinear(place: Affine, shape: tuple[int, ...]) -> Index | None:
    """The index of a C-ordered position; None where it is not affine."""
    made: list[Affine] = []
    for extent in reversed(shape[1:]):
        split = _split(place, extent)
        if split is None:
            return None
        place, rest = split
        made.append(rest)
    if shape:
        made.append(place)
        low, high = place.span()
        if low < 0 or high >= shape[0]:
            return None
    return tuple(reversed(made))


def _split(place: Affine, extent: int) -> tuple[Affine, Affine] | None:
    """Quotient and remainder by ``extent``."""
    for centred in (True, False):
        terms, factors = [], []
        for axis, factor in place.terms:
            rest = factor % extent
            if centred and rest > extent // 2:
                rest -= extent
            if rest:
                terms.append((axis, rest))
            if factor != rest:
                factors.append((axis, (factor - rest) // extent))
        remainder = Affine(place.const % extent, tuple(terms))
        low, _ = remainder.span()
        if low < 0:
            remainder = Affine(remainder.const + -(low // extent) * extent, remainder.terms)
        low, high = remainder.span()
        if high - low >= extent:
            continue
        if high >= extent:
            remainder = Affine(remainder.const - extent, remainder.terms)
            low, high = remainder.span()
        if low >= 0 and high < extent:
            return Affine((place.const - remainder.const) // extent, tuple(factors)), remainder
    return None


def region_of(whole: tuple[int, ...], shape: tuple[int, ...], offset: int, strides: tuple[int, ...]) -> Region | None:
    """The box that a view of a C-ordered array is; None where it is none."""
    steps = c_strides(whole)
    lows: list[int] = []
    rest = offset
    for step in steps:
        lows.append(rest // step if step else 0)
        rest -= lows[-1] * step if step else 0
    highs = [low + 1 for low in lows]
    axes: list[tuple[int, int]] = []
    for extent, stride in zip(shape, strides, strict=True):
        if extent == 1:
            axes.append((-1, 0))
            continue
        found = [
            (place, stride // step)
            for place, step in enumerate(steps)
            if abs(stride) == step and whole[place] > 1 and highs[place] == lows[place] + 1
        ]
        if not found:
            return None
        place, sign = found[0]
        axes.append((place, sign))
        if sign > 0:
            highs[place] = lows[place] + extent
        else:
            highs[place], lows[place] = lows[place] + 1, lows[place] - extent + 1
        if lows[place] < 0 or highs[place] > whole[place]:
            return None
    return Region(tuple(lows), tuple(highs), tuple(axes), shape, offset, strides)


def aligned(shape: tuple[int, ...], index: Index, wanted: tuple[int, ...]) -> Index:
    """The index into an array that is broadcast to ``shape``."""
    if shape == wanted:
        return index
    extra = len(shape) - len(wanted)
    if extra < 0:
        # NumPy's assignment ignores leading extents of 1 that are too many.
        return (START,) * -extra + aligned(shape, index, wanted[-extra:])
    return tuple([START if wanted[place] == 1 else index[extra + place] for place in range(len(wanted))])


def inside(box: Region, index: Index) -> bool | None:
    """Whether the index is in the box: always, never, or (None) now and then."""
    sure = True
    for one, low, high in zip(index, box.lows, box.highs, strict=True):
        if not one.terms:
            if not low <= one.const < high:
                return False
            continue
        least, most = one.span()
        if most < low or least >= high:
            return False
        if least < low or most >= high:
            sure = False
    return True if sure else None


# --- evaluation -------------------------------------------------------------------------------------------------------


class Reader:
    """Evaluates arrays for one nest. ``ready(memory)`` says whether an array's memory is filled when the nest runs."""

    def __init__(self, scribe: Scribe, ready: Callable[[Memory], bool]) -> None:
        self.scribe = scribe
        self.ready = ready
        self.memo: dict[Any, Value] = {}

    def at(self, node: Node, index: Index) -> Value:
        """The value of the array at an index."""
        if isinstance(node, Number):
            return self.scribe.constant(node.value, node.kind)
        if isinstance(node, Scalars) and not any(one.terms for one in index):
            held: Value = node.values[tuple([one.const for one in index])]
            return held
        key = (id(node), index)
        found = self.memo.get(key)
        if found is None:
            if node.memory is not None and self.ready(node.memory):
                found = self.at(node.memory, index)
            else:
                found = _RULES[type(node)](self, node, index)
            self.memo[key] = found
        return found

    def partly(self, node: Pieces, index: Index) -> None:
        """The index is in the part of an array now and then."""
        raise NeedsMemory(node)


def _memory(self: Reader, node: Memory, index: Index) -> Value:
    place = node.place
    for one, stride in zip(index, node.strides, strict=True):
        if stride:
            place = place.plus(one.times(stride))
    return self.scribe.value("load", node.kind, attr=(node.buffer, place), bits=place.bits)


def _scalars(self: Reader, node: Scalars, index: Index) -> Value:
    raise NeedsMemory(node)


def _pointwise(self: Reader, node: Pointwise, index: Index) -> Value:
    values = []
    for arg, kind in zip(node.args, node.kinds, strict=True):
        values.append(self.scribe.cast(self.at(arg, aligned(node.shape, index, arg.shape)), kind))
    return FORMS[node.form](self.scribe, node.kind, *values)


def through(node: View, index: Index) -> Index:
    """The index into the source of a view."""
    place = Affine(node.offset)
    for one, stride in zip(index, node.strides, strict=True):
        if stride:
            place = place.plus(one.times(stride))
    inner = delinear(place, node.source.shape)
    if inner is None:
        raise NeedsMemory(node.source)
    return inner


def _view(self: Reader, node: View, index: Index) -> Value:
    memory = node.source.memory
    if memory is not None and self.ready(memory):
        place = memory.place.plus(Affine(node.offset))
        for one, stride in zip(index, node.strides, strict=True):
            place = place.plus(one.times(stride))
        return self.scribe.value("load", node.kind, attr=(memory.buffer, place), bits=place.bits)
    return self.at(node.source, through(node, index))


def _pieces(self: Reader, node: Pieces, index: Index) -> Value:
    part = node.part
    if part.box is None or node.depth > 12:
        raise NeedsMemory(node)
    here = inside(part.box, index)
    if here is None:
        self.partly(node, index)
    if here is False:
        assert node.base is not None
        return self.at(node.base, index)
    value = self.at(part.node, within(part, index))
    value = self.scribe.cast(value, node.kind)
    if not part.adds:
        return value
    assert node.base is not None
    before = self.at(node.base, index)
    if node.kind == "b1":
        return self.scribe.value("or", "b1", before, value)
    return self.scribe.value("add", node.kind, before, value)


def within(part: Part, index: Index) -> Index:
    """The index into what was put into a region."""
    box = part.box
    assert box is not None
    inner = []
    for place, sign in box.axes:
        if place < 0:
            inner.append(START)
        elif sign > 0:
            inner.append(index[place].plus(Affine(-box.lows[place])))
        else:
            inner.append(Affine(box.highs[place] - 1).plus(index[place].times(-1)))
    return aligned(box.shape, tuple(inner), part.node.shape)


def _taken(self: Reader, node: Taken, index: Index) -> Value:
    scribe, source, spot, wide = self.scribe, node.source, node.spot, node.wide
    place = source.place
    static = (*index[:spot], *index[spot + len(wide) :])
    for one, stride in zip(static, source.strides, strict=True):
        place = place.plus(one.times(stride))
    return scribe.value("load", node.kind, position(self, node.indices, wide, index[spot : spot + len(wide)]),
                        attr=(source.buffer, place), bits=place.bits)  # fmt: skip


def position(self: Reader, indices: tuple[tuple[Node, int, int], ...], wide: tuple[int, ...], index: Index) -> Value:
    """How far from its start index arrays point, in elements."""
    scribe = self.scribe
    total: Value | None = None
    for node, stride, extent in indices:
        one = scribe.cast(self.at(node, aligned(wide, index, node.shape)), "i8")
        below = scribe.value("less", "b1", one, scribe.constant(0, "i8"))
        again = scribe.value("add", "i8", one, scribe.constant(extent, "i8"))
        one = scribe.value("select", "i8", below, again, one)
        one = scribe.value("multiply", "i8", one, scribe.constant(stride, "i8"))
        total = one if total is None else scribe.value("add", "i8", total, one)
    assert total is not None
    return total


_RULES: dict[type, Callable[..., Value]] = {
    Memory: _memory, Scalars: _scalars, Pointwise: _pointwise, View: _view, Pieces: _pieces, Taken: _taken,
}  # fmt: skip


def number(value: Any) -> Any:
    """A literal's number as Python has it."""
    return value.item() if isinstance(value, np.generic) else value
