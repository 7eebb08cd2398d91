"""Running sums and products and linear recurrences: the part of the lowering that goes along an axis in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.native.loops import Affine, Axis, Carry, Item, Loop, Value
from chainrule.native.nodes import Memory, Node, Number, Scalars
from chainrule.native.schedule import Direct, Schedule

__all__ = ["Scans"]

Follow = Callable[[Node, Affine, Affine], Node]


class Scans:
    """The part of the lowering that goes along an axis in order."""

    plan: Schedule
    pointwise: Callable[..., Node]
    cast: Callable[[Node, str], Node]

    def running(self, x: Node, op: str, kind: str, axis: int, reverse: bool, exclusive: bool = False) -> Node:
        """The sum or product of the entries up to each (``exclusive``: of those before it)."""
        held = self.plan.realised(self.cast(x, kind))
        one = Number(1 if kind[0] != "f" else 1.0, kind)

        def first(place: Affine) -> Node:
            if exclusive:
                return self.pointwise("positive", kind, (one,), None, (*x.shape[:axis], *x.shape[axis + 1 :]))
            return row(held, axis, place)

        def follow(before: Node, place: Affine, last: Affine) -> Node:
            return self.pointwise(op, kind, (before, row(held, axis, last if exclusive else place)))

        return self.scanned(x.shape, kind, axis, reverse, first, follow)

    def recurrence(self, a: Node, b: Node, kind: str, axis: int, reverse: bool) -> Node:
        """``s = b + a * (the s before it)``."""
        factors, terms = (self.plan.realised(self.cast(one, kind)) for one in (a, b))

        def follow(before: Node, place: Affine, last: Affine) -> Node:
            product = self.pointwise("multiply", kind, (row(factors, axis, place), before))
            return self.pointwise("add", kind, (row(terms, axis, place), product))

        return self.scanned(b.shape, kind, axis, reverse, lambda place: row(terms, axis, place), follow)

    def scanned(
        self, shape: tuple[int, ...], kind: str, axis: int, reverse: bool, first: Callable[[Affine], Node],
        follow: Follow,
    ) -> Node:  # fmt: skip
        """Each row along an axis computed from the one before it."""
        outer, extent = self.plan, shape[axis]
        made = Memory(shape, outer.buffer(shape, kind))
        if made.size == 0:
            return made
        start = Affine(extent - 1 if reverse else 0)
        begin = first(start)
        outer.keep_closed(begin, row(made, axis, start))
        if extent == 1:
            made.task = outer.tasks[-1]
            return made
        counter = Axis(extent - 1)
        place = Affine(extent - 2, ((counter, -1),)) if reverse else Affine(1, ((counter, 1),))
        last = place.plus(Affine(1 if reverse else -1))
        task, inner = Direct([]), Schedule(outer)
        carries: list[Carry] = []
        before: Node = row(made, axis, last)
        if len(shape) == 1:
            here: Any = np.empty((), object)
            here[()] = Value("result", (), kind, None, counter.bit)
            before = Scalars(here, kind)
            carries.append(Carry(self.number_of(begin), here[()], None, Value("result", (), kind)))
        self.plan = inner
        try:
            following = follow(before, place, last)
            inner.keep(following, row(made, axis, place))
            if carries:
                carries[0].after = self.number_of(following)
        finally:
            self.plan = outer

        def items() -> list[Item]:
            body = inner.items()
            outer.absorb(inner)
            return [Loop(counter, body, carries=carries)]

        task.late = items
        outer.add(task)
        made.task = task
        return made

    def number_of(self, node: Node) -> Value:
        """The value of an array of one element."""
        lower: Any = self
        (value,) = lower.small(node).values.ravel()
        made: Value = value
        return made


def row(memory: Memory, axis: int, place: Affine) -> Memory:
    """One row of an array along an axis."""
    at = memory.place.plus(place.times(memory.strides[axis]))
    shape = (*memory.shape[:axis], *memory.shape[axis + 1 :])
    return Memory(shape, memory.buffer, memory.task, at, (*memory.strides[:axis], *memory.strides[axis + 1 :]))
