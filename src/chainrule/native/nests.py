"""Loop nests: the arrays and reductions that are computed in one pass over one domain, and the loops made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chainrule.native.forms import Scribe
from chainrule.native.loops import Accumulator, Affine, Axis, Begin, End, Item, Loop, Store, Update, Value
from chainrule.native.nodes import Memory, Node, at, c_strides

__all__ = ["Nest", "Root", "loops_of"]


@dataclass(eq=False, slots=True)
class Root:
    """One result of a nest: ``node`` stored in ``target``, or reduced with ``op`` along ``axes`` into it."""

    node: Node
    target: Memory
    op: str = ""
    axes: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Nest:
    """Everything that is computed in one pass over ``domain``."""

    domain: tuple[int, ...]
    roots: list[Root] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Reduction:
    """A reduction of ``value``, of which the loops at ``level`` and outside of it are not part."""

    value: Value
    root: Root
    place: Affine
    reduced: tuple[int, ...]


def loops_of(nest: Nest) -> list[Item]:
    """The loops of a nest."""
    if 0 in nest.domain:
        return _of_nothing(nest)
    scribe = Scribe()
    memo: dict[Any, Value] = {}
    axes = [Axis(extent) for extent in nest.domain if extent != 1]
    numbered = iter(axes)
    index = tuple([Affine(0) if extent == 1 else Affine(0, ((next(numbered), 1),)) for extent in nest.domain])
    stores: list[Store] = []
    reductions: list[_Reduction] = []
    items: list[Item] = []
    for root in nest.roots:
        value = at(root.node, index, scribe, memo)
        target = root.target
        if not root.op:
            stores.append(Store(target.buffer, _place(target, index), value))
            # Later roots of this nest take it from the register.
            memo[id(target), index] = value
            continue
        kept = tuple([one for place, one in enumerate(index) if place not in root.axes])
        place = _place(target, kept)
        reduced = tuple(
            [axes.index(one.terms[0][0]) for spot, one in enumerate(index) if spot in root.axes and one.terms]
        )
        reductions.append(_Reduction(value, root, place, reduced))
        if any(rank < level for rank in reduced for level in range(len(axes)) if level not in reduced):
            items += _filled(target, root.op)
    _collapse(axes, scribe.values, stores, reductions)
    return items + _nested(axes, scribe.values, stores, reductions)


def _place(target: Memory, index: tuple[Affine, ...]) -> Affine:
    place = target.place
    for one, stride in zip(index, target.strides, strict=True):
        place = place.plus(one.times(stride))
    return place


def _of_nothing(nest: Nest) -> list[Item]:
    """A domain without elements: sums of nothing are what they are."""
    items: list[Item] = []
    for root in nest.roots:
        if root.op and root.target.size:
            items += _filled(root.target, root.op, -0.0 if root.op == "add" else None)
    return items


def _filled(target: Memory, op: str, number: Any = None) -> list[Item]:
    from chainrule.native.emit import neutral

    value = neutral(op, target.kind)
    if number is not None and target.kind[0] == "f":
        value = 0.0
    axes = [Axis(target.size)] if target.size > 1 else []
    place = Affine(0, ((axes[0], 1),)) if axes else Affine(0)
    store = Store(target.buffer, target.place.plus(place), Value("constant", (), target.kind, value))
    return [Loop(axes[0], [store], vector=True)] if axes else [store]


# --- fewer loops ----------------------------------------------------------------------------------------------------


def _collapse(axes: list[Axis], values: list[Value], stores: list[Store], reductions: list[_Reduction]) -> None:
    """Make one loop of two where everything goes through memory as if it were one."""
    place = len(axes) - 2
    while place >= 0:
        outer, inner = axes[place], axes[place + 1]
        if _alike(place, outer, inner, values, stores, reductions):
            joined = Axis(outer.extent * inner.extent)
            axes[place : place + 2] = [joined]

            def changed(one: Affine, outer: Axis = outer, inner: Axis = inner, joined: Axis = joined) -> Affine:
                terms = [(joined if axis is inner else axis, factor) for axis, factor in one.terms if axis is not outer]
                return Affine(one.const, tuple(sorted(terms, key=lambda pair: pair[0].number)))

            for value in values:
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
            for store in stores:
                store.place = changed(store.place)
            for one in reductions:
                one.place = changed(one.place)
                one.reduced = tuple([rank - (rank > place) for rank in one.reduced if rank != place + 1])
        place -= 1


def _alike(
    place: int, outer: Axis, inner: Axis, values: list[Value], stores: list[Store], reductions: list[_Reduction]
) -> bool:
    def together(one: Affine) -> bool:
        return one.factor(outer) == one.factor(inner) * inner.extent

    return (
        all(
            together(value.attr[1] if value.op == "load" else value.attr)
            for value in values
            if value.op in {"load", "axis"}
        )
        and all(together(store.place) for store in stores)
        and all(together(one.place) and (place in one.reduced) == (place + 1 in one.reduced) for one in reductions)
    )


# --- the loops ------------------------------------------------------------------------------------------------------


def _nested(axes: list[Axis], values: list[Value], stores: list[Store], reductions: list[_Reduction]) -> list[Item]:
    depth = len(axes)
    bodies: list[list[Item]] = [[] for _ in range(depth + 1)]
    ends: list[list[Item]] = [[] for _ in range(depth + 1)]

    def level(bits: int) -> int:
        return max([place + 1 for place, axis in enumerate(axes) if bits & axis.bit], default=0)

    for value in values:
        bodies[level(value.bits)].append(value)
    for store in stores:
        bodies[depth].append(store)
    for one in reductions:
        target, op = one.root.target, one.root.op
        start = depth
        while start and start - 1 in one.reduced:
            start -= 1
        outside = any(rank < start for rank in one.reduced)
        if start == depth:
            bodies[depth].append(Store(target.buffer, one.place, one.value, combine=op if outside else ""))
            continue
        into = Accumulator(op, target.kind, Value("result", (), target.kind))
        bodies[start].append(Begin(into))
        bodies[depth].append(Update(into, one.value))
        ends[start].append(End(into))
        ends[start].append(Store(target.buffer, one.place, into.result, combine=op if outside else ""))
    made = bodies[depth]
    for place in reversed(range(depth)):
        inner = place == depth - 1
        loop = Loop(axes[place], made, vector=inner, unroll=_unroll(made) if inner else 1)
        made = [*bodies[place], loop, *ends[place]]
    return made


def _unroll(body: list[Item]) -> int:
    """How many vectors at a time: a short sum waits for its additions otherwise."""
    if any(isinstance(item, Update) for item in body):
        return 4 if len(body) <= 8 else 2 if len(body) <= 24 else 1
    return 1


__all__ += ["c_strides"]
