"""Loop nests: the arrays and reductions that are computed in one pass over one domain, and the loops made of them.

A domain in which an array has pieces is cut into boxes, in each of which every array is one expression.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chainrule.native.forms import Scribe
from chainrule.native.loops import KINDS, Accumulator, Affine, Axis, Begin, End, Item, Loop, Store, Update, Value
from chainrule.native.nodes import Memory, NeedsMemory, Node, Reader, position
from chainrule.native.operations import neutral

__all__ = ["Nest", "Root", "canonical", "loops_of"]

#: About how many elements are a piece of a loop that threads share, and how many pieces there are at most.
PIECE = 32_768
MOST_PIECES = 64
#: Into how many boxes a domain may be cut.
MOST_BOXES = 81


@dataclass(eq=False, slots=True)
class Root:
    """One result of a nest: ``node`` stored in ``target``, or reduced with ``op`` along ``axes``.

    A reduction to a single number is left in ``result``. ``combine``: the store joins what is there.
    """

    node: Node
    shape: tuple[int, ...]
    target: Memory | None = None
    op: str = ""
    axes: tuple[int, ...] = ()
    result: Value | None = None
    combine: str = ""
    #: Index arrays with their strides and extents, the axis at which their axes stand, and their shape.
    scatter: tuple[tuple[tuple[Node, int, int], ...], int, tuple[int, ...]] | None = None


@dataclass(eq=False, slots=True)
class Nest:
    """Everything that is computed in one pass over ``domain``. ``closed``: nothing more may join it."""

    domain: tuple[int, ...]
    roots: list[Root] = field(default_factory=list)
    closed: bool = False
    #: The values that its arrays take, a bit each.
    reach: int = 0


def canonical(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without extents of 1."""
    return tuple([extent for extent in shape if extent != 1])


class _Cut(Exception):
    """The domain has to be cut at these places of these axes."""

    def __init__(self, places: list[tuple[Axis, int]], node: Node) -> None:
        super().__init__(places)
        self.places = places
        self.node = node


@dataclass(eq=False, slots=True)
class _Reduction:
    """A reduction of ``value``, of which the loops at ``level`` and outside of it are not part."""

    value: Value
    root: Root
    place: Affine | None
    reduced: tuple[int, ...]
    result: Value


class _BoxReader(Reader):
    """Evaluates arrays in one box of a domain."""

    def partly(self, node: Any, index: tuple[Affine, ...]) -> None:
        places: list[tuple[Axis, int]] = []
        for one, low, high in zip(index, node.part.box.lows, node.part.box.highs, strict=True):
            least, most = one.span()
            if least >= low and most < high:
                continue
            if len(one.terms) != 1 or abs(one.terms[0][1]) != 1:
                raise NeedsMemory(node)
            ((axis, factor),) = one.terms
            for edge in (low, high):
                place = edge - one.const if factor == 1 else one.const - edge + 1
                if 0 < place < axis.extent:
                    places.append((axis, place))
        raise _Cut(places, node)


def loops_of(nest: Nest, ready: Callable[[Memory], bool]) -> list[Item]:
    """The loops of a nest; raises NeedsMemory where an array has to be in memory before it."""
    if 0 in nest.domain:
        return _of_nothing(nest)
    boxes: list[tuple[tuple[int, int], ...]] = [tuple([(0, extent) for extent in nest.domain])]
    made: dict[tuple[tuple[int, int], ...], _Box] = {}
    while boxes:
        ranges = boxes.pop()
        box = _Box(nest, ranges, ready)
        try:
            box.evaluate()
        except _Cut as cut:
            edges = [{0, axis.extent} for axis in box.axes]
            for axis, place in cut.places:
                edges[box.axes.index(axis)].add(place)
            wide = iter(edges)
            splits = []
            for low, high in ranges:
                marks = sorted(next(wide)) if high - low > 1 else [0, 1]
                splits.append([(low + a, low + b) for a, b in itertools.pairwise(marks)])
            if any(root.scatter is not None for root in nest.roots):
                # The last write wins, so the order is that of the whole.
                raise NeedsMemory(cut.node) from None
            if len(boxes) + len(made) + math.prod(map(len, splits)) > MOST_BOXES:
                raise NeedsMemory(cut.node) from None
            boxes += itertools.product(*splits)
        else:
            made[ranges] = box
    order = sorted(made)
    items: list[Item] = []
    for root in nest.roots:
        if root.op and root.target is not None and (len(order) > 1 or _is_summed_outside(root)):
            items += _filled(root.target, root.op)
    parts: dict[Root, list[Value]] = {}
    for ranges in order:
        items += made[ranges].loops(several=len(order) > 1)
        for one in made[ranges].reductions:
            if one.place is None:
                parts.setdefault(one.root, []).append(one.result)
    if len(order) > 1:
        for root, values in parts.items():
            items += _combined(root, values)
    return items


def _combined(root: Root, values: list[Value]) -> list[Item]:
    """The result of a reduction over several boxes: theirs, in order."""
    assert root.result is not None
    items: list[Item] = []
    total = values[0]
    for one in values[1:-1]:
        total = Value(root.op, (total, one), one.kind)
        items.append(total)
    root.result.op, root.result.args = root.op, (total, values[-1])
    return [*items, root.result]


def _is_summed_outside(root: Root) -> bool:
    """Whether an axis that is kept is inside of one that is reduced."""
    kept = [place for place, extent in enumerate(root.shape) if place not in root.axes and extent != 1]
    return any(root.shape[place] != 1 and any(one > place for one in kept) for place in root.axes)


def _of_nothing(nest: Nest) -> list[Item]:
    """A domain without elements: reductions of nothing are what they are."""
    items: list[Item] = []
    for root in nest.roots:
        if not root.op:
            continue
        nothing = neutral(root.op, root.node.kind)
        nothing = nothing or 0
        if root.result is not None:
            root.result.op, root.result.attr = "constant", nothing
        elif root.target is not None and root.target.size:
            items += _filled(root.target, root.op, nothing)
    return items


def _filled(target: Memory, op: str, nothing: Any = None) -> list[Item]:
    value = Value("constant", (), target.kind, neutral(op, target.kind) if nothing is None else nothing)
    if target.size == 1:
        return [Store(target.buffer, target.place, value)]
    axis = Axis(target.size)
    return [Loop(axis, [Store(target.buffer, target.place.plus(Affine(0, ((axis, 1),))), value)], vector=True)]


class _Box:
    """One box of a nest: its values, stores and reductions."""

    def __init__(self, nest: Nest, ranges: tuple[tuple[int, int], ...], ready: Callable[[Memory], bool]) -> None:
        self.nest = nest
        self.scribe = Scribe()
        self.reader = _BoxReader(self.scribe, ready)
        self.axes: list[Axis] = []
        self.stores: list[Store] = []
        self.reductions: list[_Reduction] = []
        self.places: list[Affine] = []
        #: For each axis of the domain the number of its loop, or -1 where it has only one place in this box.
        self.ranks: list[int] = []
        for low, high in ranges:
            if high - low == 1:
                self.ranks.append(-1)
                self.places.append(Affine(low))
            else:
                axis = Axis(high - low)
                self.ranks.append(len(self.axes))
                self.axes.append(axis)
                self.places.append(Affine(low, ((axis, 1),)))

    def evaluate(self) -> None:
        for root in self.nest.roots:
            places, ranks = iter(self.places), iter(self.ranks)
            index = tuple([Affine(0) if extent == 1 else next(places) for extent in root.shape])
            value = self.reader.at(root.node, index)
            target = root.target
            if not root.op:
                assert target is not None
                value = self.scribe.cast(value, target.kind)
                if root.scatter is not None:
                    held, spot, wide = root.scatter
                    here = index[spot : spot + len(wide)]
                    static = (*index[:spot], *index[spot + len(wide) :])
                    at = position(self.reader, held, wide, here)
                    self.stores.append(Store(target.buffer, _place(target, static), value, at, root.combine))
                    continue
                self.stores.append(Store(target.buffer, _place(target, index), value, combine=root.combine))
                if not root.combine:
                    # Later roots of this nest take it from the register.
                    self.reader.memo[id(target), index] = value
                    self.reader.memo[id(root.node), index] = value
                continue
            loops = [-1 if extent == 1 else next(ranks) for extent in root.shape]
            reduced = tuple(sorted(loops[place] for place in root.axes if loops[place] >= 0))
            place = None
            if target is not None:
                place = _place(target, tuple([one for rank, one in enumerate(index) if rank not in root.axes]))
            result = root.result if root.result is not None else Value("result", (), value.kind)
            self.reductions.append(_Reduction(value, root, place, reduced, result))

    def loops(self, several: bool) -> list[Item]:
        if several:
            for one in self.reductions:
                one.result = Value("result", (), one.value.kind)
        self._collapse()
        return self._nested(several)

    # -- fewer loops

    def _collapse(self) -> None:
        """Make one loop of two where everything goes through memory as if it were one."""
        place = len(self.axes) - 2
        while place >= 0:
            outer, inner = self.axes[place], self.axes[place + 1]
            if self._alike(place, outer, inner):
                self._join(place, outer, inner)
            place -= 1

    def _join(self, place: int, outer: Axis, inner: Axis) -> None:
        joined = Axis(outer.extent * inner.extent)
        self.axes[place : place + 2] = [joined]

        def changed(one: Affine) -> Affine:
            terms = [(joined if axis is inner else axis, factor) for axis, factor in one.terms if axis is not outer]
            return Affine(one.const, tuple(sorted(terms, key=lambda pair: pair[0].number)))

        for value in self.scribe.values:
            if value.op == "load":
                value.attr = (value.attr[0], changed(value.attr[1]))
                value.bits = value.attr[1].bits
            elif value.op == "axis":
                value.attr = changed(value.attr)
                value.bits = value.attr.bits
            else:
                value.bits = 0
            for arg in value.args:
                value.bits |= arg.bits
        for store in self.stores:
            store.place = changed(store.place)
        for one in self.reductions:
            one.place = one.place and changed(one.place)
            one.reduced = tuple([rank - (rank > place) for rank in one.reduced if rank != place + 1])

    def _alike(self, place: int, outer: Axis, inner: Axis) -> bool:
        def together(one: Affine) -> bool:
            return one.factor(outer) == one.factor(inner) * inner.extent

        return (
            all(
                together(value.attr[1] if value.op == "load" else value.attr)
                for value in self.scribe.values
                if value.op in {"load", "axis"}
            )
            and all(together(store.place) for store in self.stores)
            and all(
                (one.place is None or together(one.place)) and (place in one.reduced) == (place + 1 in one.reduced)
                for one in self.reductions
            )
        )

    # -- the loops

    def _nested(self, several: bool) -> list[Item]:
        axes = self.axes
        depth = len(axes)
        bodies: list[list[Item]] = [[] for _ in range(depth + 1)]
        ends: list[list[Item]] = [[] for _ in range(depth + 1)]

        def level(bits: int) -> int:
            return max([place + 1 for place, axis in enumerate(axes) if bits & axis.bit], default=0)

        for value in self.scribe.values:
            bodies[level(value.bits)].append(value)
        bodies[depth] += self.stores
        for one in self.reductions:
            target, op = one.root.target, one.root.op
            start = depth
            while start and start - 1 in one.reduced:
                start -= 1
            combine = op if several or any(rank < start for rank in one.reduced) else ""
            if start == depth:
                if one.place is None or target is None:
                    one.result.op, one.result.args = "same", (one.value,)
                    bodies[depth].append(one.result)
                else:
                    bodies[depth].append(Store(target.buffer, one.place, one.value, combine=combine))
                continue
            into = Accumulator(op, one.value.kind, one.result)
            bodies[start].append(Begin(into))
            bodies[depth].append(Update(into, one.value))
            ends[start].append(End(into))
            if one.place is not None and target is not None:
                ends[start].append(Store(target.buffer, one.place, into.result, combine=combine))
        made = bodies[depth]
        for place in reversed(range(depth)):
            inner = place == depth - 1
            vector = inner and _may_be_vector(made)
            loop = Loop(axes[place], made, vector=vector, unroll=_unroll(made, axes[place].extent) if vector else 1)
            if place == 0 and self._may_be_shared():
                loop.chunk = _chunk(axes, loop)
            made = [*bodies[place], loop, *ends[place]]
        return made

    def _may_be_shared(self) -> bool:
        """Whether iterations of the outermost loop write to places of their own."""
        outer = self.axes[0]
        if any(store.at is not None or not store.place.factor(outer) for store in self.stores):
            return False
        return all(one.place is None or one.place.factor(outer) for one in self.reductions)


def _chunk(axes: list[Axis], loop: Loop) -> int:
    """How many iterations of the outermost loop are a piece; 0 where the loop is too short to be shared.

    That depends on the loop alone, so the order of its sums does too.
    """
    total = math.prod(axis.extent for axis in axes)
    pieces = min(MOST_PIECES, total // PIECE)
    if pieces < 2:
        return 0
    step = 64 * loop.unroll if loop.vector else 1
    chunk = -(-loop.axis.extent // pieces // step) * step if loop.vector else -(-loop.axis.extent // pieces)
    return chunk if 0 < chunk < loop.axis.extent else 0


def _place(target: Memory, index: tuple[Affine, ...]) -> Affine:
    place = target.place
    for one, stride in zip(index, target.strides, strict=True):
        place = place.plus(one.times(stride))
    return place


def _may_be_vector(body: list[Item]) -> bool:
    for item in body:
        if isinstance(item, Store) and (item.at is not None or item.buffer.kind not in KINDS):
            return False
        if isinstance(item, Value) and item.kind not in KINDS:
            return False
    return True


def _unroll(body: list[Item], extent: int) -> int:
    """How many vectors at a time: a short sum waits for its additions otherwise."""
    if not any(isinstance(item, Update) for item in body) or extent < 32:
        return 1
    return 4 if len(body) <= 8 and extent >= 64 else 2 if len(body) <= 24 else 1
