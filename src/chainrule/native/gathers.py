"""Views, indexing, joining and writing: the part of the lowering that moves elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.native.forms import CALLS
from chainrule.native.layouts import Shaped, code_of, fake, offset_of, size_of
from chainrule.native.loops import KINDS, Affine, Guard, Value
from chainrule.native.nodes import (
    Memory,
    Node,
    Number,
    Part,
    Pieces,
    Pointwise,
    Scalars,
    Taken,
    View,
    c_strides,
    region_of,
)  # fmt: skip
from chainrule.native.schedule import Schedule, spread_to
from chainrule.program import Operand, Program, Step
from chainrule.rule import Gather

__all__ = ["SMALL", "Gathers"]

#: Arrays of at most so many elements are kept in registers, an element each.
SMALL = 16
#: How many values an element of an expression may take before it is given memory.
MOST_WORK = 160


class Gathers:
    """The part of the lowering that moves elements."""

    plan: Schedule
    given: Callable[[Operand, Program], Node]
    pointwise: Callable[..., Node]
    reduced: Callable[[Node, str, tuple[int, ...]], Node]
    small: Callable[[Node], Scalars]
    all_small: Callable[[Sequence[Node], tuple[int, ...]], list[Scalars] | None]
    #: Views of expressions by what they are: of one there is only one.
    views: dict[Any, Node]

    # -- views

    def view(self, step: Step, program: Program) -> Node | None:
        source = self.given(step.inputs[0], program)
        out = program.types[step.outputs[0]]
        source = self.cast(source, code_of(out.dtype))
        view = step.rule.view
        assert view is not None
        if source.kind not in KINDS and not isinstance(source, Memory):
            return None
        return self.viewed(source, out.shape, lambda layout: view.apply(layout, (), step.params))

    def cast(self, node: Node, kind: str) -> Node:
        if node.kind == kind or node.kind not in KINDS or kind not in KINDS:
            return node
        return self.pointwise("cast", kind, (node,))

    def viewed(self, source: Node, shape: tuple[int, ...] | None, apply: Any) -> Node | None:
        """What ``apply`` makes of the layout of an array; the shape is told where it is known."""
        if shape is None:
            shape = apply(fake(source.shape, None)).shape
        size = 1
        for extent in shape:
            size *= extent
        memory = source if isinstance(source, Memory) else source.memory
        if size == 0 or source.size == 0:
            # Nothing is ever read of it.
            return Memory(shape, self.plan.buffer(shape, source.kind)) if size == 0 else None
        if isinstance(source, Number):
            return (
                self.pointwise("positive", source.kind, (source,), None, shape)
                if source.kind != "b1"
                else self.pointwise("logical_not", "b1", (Number(not source.value, "b1"),), None, shape)
            )
        if isinstance(source, Scalars):
            made = apply(source.values)
            if made is None or made.shape != shape:
                return None
            if size <= SMALL:
                return Scalars(np.array(made, object).reshape(shape), source.kind, source.task)
            if source.size == 1:
                one = Scalars(source.values.reshape(()), source.kind, source.task)
                return Pointwise("same", source.kind, shape, (one,), (source.kind,), 0)
            memory = self.plan.realised(source)
        if memory is not None:
            layout = fake(memory.shape, None if memory.contiguous else memory.strides)
            made = apply(layout)
            if made is None and not memory.contiguous:
                layout = fake(memory.shape, None)
                made = apply(layout)
                memory = self.plan.realised(memory, contiguous=True)
            if made is None or made.shape != shape:
                return None
            place = memory.place.plus(Affine(offset_of(made, layout)))
            return Memory(shape, memory.buffer, memory.task, place, made.strides)
        layout = fake(source.shape, None)
        made = apply(layout)
        if made is None or made.shape != shape:
            return None
        return self.view_of(source, shape, offset_of(made, layout), made.strides)

    def view_of(self, source: Node, shape: tuple[int, ...], offset: int, strides: tuple[int, ...]) -> Node:
        """A view of an expression."""
        if shape == source.shape and offset == 0 and strides == c_strides(shape):
            return source
        key = (id(source), shape, offset, strides)
        found = self.views.get(key)
        if found is not None:
            return found
        made: Node
        flat = (
            offset == 0
            and source.size == size_of(shape)
            and all(
                one == want for one, want, extent in zip(strides, c_strides(shape), shape, strict=True) if extent > 1
            )
        )
        memory = source if isinstance(source, Memory) else source.memory
        if memory is not None and memory.contiguous:
            made = Memory(shape, memory.buffer, memory.task, memory.place.plus(Affine(offset)), strides)
        elif (
            flat
            and isinstance(source, Pointwise)
            and all(one.size == 1 or one.shape == source.shape for one in source.args)
        ):
            # A reshaped expression is the expression of what is reshaped.
            args = tuple([
                one if one.shape == () else self.reshaped(one, () if one.size == 1 else shape) for one in source.args
            ])  # fmt: skip
            made = Pointwise(source.form, source.kind, shape, args, source.kinds, CALLS.get(source.form, 0))
        else:
            made = View(shape, source, offset, strides)
            if isinstance(source, Memory):
                made.task = source.task
            if made.work > MOST_WORK:
                self.plan.realised(source)
                return self.view_of(source, shape, offset, strides)
        self.views[key] = made
        # The source is kept alive with its number.
        self.views[made] = source
        return made

    def reshaped(self, node: Node, shape: tuple[int, ...]) -> Node:
        """The same elements in another shape."""
        if node.shape == shape:
            return node
        if isinstance(node, Scalars):
            return Scalars(node.values.reshape(shape), node.kind, node.task)
        if isinstance(node, Number):
            return node
        return self.view_of(node, shape, 0, c_strides(shape))

    # -- gathers

    def gathered(self, step: Step, program: Program) -> Node | None:
        rule = step.rule
        assert isinstance(rule, Gather)
        out = program.types[step.outputs[0]]
        kind = code_of(out.dtype)
        nodes = [self.cast(self.given(one, program), kind) for one in self.linear(step)]
        if any(one.kind != kind for one in nodes) or kind not in KINDS:
            return None
        rest = [one for place, one in enumerate(step.inputs) if rule.linear is not None and place not in rule.linear]
        if rest:
            return self.indexed(step, program, nodes, rest)
        if rule.lands is None:
            return None
        types = [Shaped(one.shape) for one in nodes]
        small = self.all_small(nodes, out.shape) if kind in KINDS else None
        if small is not None and out.size:
            return self.landed(rule, small, types, step.params, out.shape, kind)
        layout = fake(out.shape, None)
        made: Node | None = None
        for place, node in enumerate(nodes):
            whole = rule.lands(layout, place, types, step.params)
            if whole is None:
                return None
            if rule.takes is not None:
                taken = self.viewed(node, None, lambda one, place=place: rule.takes(one, place, step.params))
                if taken is None:
                    return None
                node = taken
            covers = whole.shape == out.shape and whole.strides == layout.strides and offset_of(whole, layout) == 0
            if covers and node.shape == out.shape and not (rule.adds and place):
                made = node
                continue
            if 0 in whole.shape:
                continue
            offset = offset_of(whole, layout)
            box = region_of(out.shape, whole.shape, offset, whole.strides)
            part = Part(node, rule.adds and place > 0, whole.shape, Affine(offset), whole.strides, box)
            made = Pieces(out.shape, kind, made, part)
        if made is None:
            return Memory(out.shape, self.plan.buffer(out.shape, kind)) if out.size == 0 else None
        if made.work > MOST_WORK and isinstance(made, Pieces) and made.depth < 6:
            self.plan.realised(made)
        return made

    def linear(self, step: Step) -> list[Operand]:
        rule = step.rule
        assert isinstance(rule, Gather)
        return [one for place, one in enumerate(step.inputs) if rule.linear is None or place in rule.linear]

    def landed(
        self, rule: Gather, nodes: list[Scalars], types: Any, params: Any, shape: tuple[int, ...], kind: str
    ) -> Node | None:
        scribe = self.plan.scribe
        before = len(scribe.values)
        positions = np.arange(size_of(shape)).reshape(shape)
        values = np.empty(size_of(shape), object)
        assert rule.lands is not None
        for place, node in enumerate(nodes):
            where = rule.lands(positions, place, types, params)
            if where is None:
                return None
            given = node.values if rule.takes is None else rule.takes(node.values, place, params)
            while given.ndim > where.ndim:
                given = given[0]
            for at, one in zip(where.ravel().tolist(), np.broadcast_to(given, where.shape).ravel(), strict=True):
                if rule.adds and place:
                    one = scribe.value("or" if kind == "b1" else "add", kind, values[at], one)
                values[at] = one
        return self.plan.scalars(values.reshape(shape), kind, before)

    def indexed(self, step: Step, program: Program, nodes: list[Node], rest: list[Operand]) -> Node | None:
        """Indexing by integer arrays: taking, or putting into a copy."""
        rule = step.rule
        assert isinstance(rule, Gather)
        out = program.types[step.outputs[0]]
        if rule.holes is None:
            return None
        indices = [self.given(one, program) for one in rest]
        if any(one.kind[0] not in "iu" for one in indices):
            return None
        source = nodes[0]
        if source.size == 0 or out.size == 0:
            return None
        layout = fake(source.shape, None)
        static, axes, spot = rule.holes(layout, step.params)
        wide = np.broadcast_shapes(*[one.shape for one in indices])
        if 0 in wide:
            return None
        held = tuple([(one, stride, extent) for one, (stride, extent) in zip(indices, axes, strict=True)])
        self.check(held, wide)
        if len(nodes) == 1:
            whole = self.plan.realised(source, contiguous=True)
            place = whole.place.plus(Affine(offset_of(static, layout)))
            view = Memory(static.shape, whole.buffer, whole.task, place, static.strides)
            made = Taken(out.shape, view, held, spot, wide)
            made.task = self.plan.tasks[-1]
            return made
        return self.put(nodes[0], nodes[1], static, offset_of(static, layout), held, (spot, wide), rule.adds)

    def check(self, held: Sequence[tuple[Node, int, int]], wide: tuple[int, ...]) -> None:
        """Leave to the interpreter what it raises an error for: an index out of range."""
        bad: Node | None = None
        for node, _, extent in held:
            if self.views.get(("checked", id(node), extent)) is node:
                continue
            self.views["checked", id(node), extent] = node
            wide_node = self.cast(node, "i8")
            low = self.pointwise("less", "b1", (wide_node, Number(-extent, "i8")), ("i8", "i8"))
            high = self.pointwise("greater_equal", "b1", (wide_node, Number(extent, "i8")), ("i8", "i8"))
            here = self.pointwise("logical_or", "b1", (low, high))
            here = self.reduced(here, "or", tuple(range(len(here.shape))))
            bad = here if bad is None else self.pointwise("logical_or", "b1", (bad, here))
        if bad is None:
            return
        scribe = self.plan.scribe
        before = len(scribe.values)
        (value,) = self.small(bad).values.ravel()
        fine = scribe.value("xor", "b1", value, scribe.constant(True, "b1"))
        self.plan.scalars(np.array([fine], object), "b1", before)
        self.plan.block().items.append(Guard(fine, -2))

    def put(
        self,
        base: Node,
        value: Node,
        static: Any,
        offset: int,
        held: tuple[tuple[Node, int, int], ...],
        spot: tuple[int, tuple[int, ...]],
        adds: bool,
    ) -> Node:
        target = Memory(base.shape, self.plan.buffer(base.shape, base.kind))
        self.plan.keep_closed(base, target)
        place, wide = spot
        shape = (*static.shape[:place], *wide, *static.shape[place:])
        given = value
        while len(given.shape) > len(shape):
            given = self.reshaped(given, given.shape[1:])
        region = Memory(static.shape, target.buffer, None, Affine(offset), static.strides)
        combine = "" if not adds else "or" if base.kind == "b1" else "add"
        self.plan.scatter(given, shape, region, (held, place, wide), combine)
        target.task = self.plan.tasks[-1]
        return target

    # -- positions that move with a loop

    def moving(self, step: Step, program: Program) -> Node | None:
        """Reading or writing at positions that depend on numbers of iterations."""
        rule = step.rule
        assert isinstance(rule, Gather)
        assert rule.moves is not None
        out = program.types[step.outputs[0]]
        nodes = [self.given(one, program) for one in self.linear(step)]
        numbers = [self.given(one, program) for one in step.inputs[len(nodes) :]]
        source = nodes[0]
        if source.size == 0 or any(one.kind not in KINDS for one in nodes):
            return None
        layout = fake(source.shape, None)
        part, moved = rule.moves(layout, step.params)
        place = self.moved(moved, numbers)
        if place is None:
            return None
        place = place.plus(Affine(offset_of(part, layout)))
        if len(nodes) == 1:
            if part.shape != out.shape:
                return None
            if not place.terms:
                return self.viewed(
                    source, out.shape, lambda one: rule.moves(one, step.params)[0] if not moved else None
                ) or self.at_place(source, out.shape, place, part.strides)
            return self.at_place(source, out.shape, place, part.strides)
        value = nodes[1]
        while len(value.shape) > len(part.shape):
            value = self.reshaped(value, value.shape[1:])
        box = None if place.terms else region_of(source.shape, part.shape, place.const, part.strides)
        value = self.cast(value, source.kind)
        return Pieces(source.shape, source.kind, source, Part(value, rule.adds, part.shape, place, part.strides, box))

    def at_place(self, source: Node, shape: tuple[int, ...], place: Affine, strides: tuple[int, ...]) -> Node:
        """A part of an array in memory, or of what was just written to it."""
        while isinstance(source, Pieces) and source.memory is None and source.base is not None:
            part = source.part
            alike = part.shape == shape and part.strides == strides and part.place.terms == place.terms
            if alike and part.place.const == place.const:
                given = spread_to(part.node, shape)
                if not part.adds:
                    return given
                before = self.at_place(source.base, shape, place, strides)
                return self.pointwise("add", source.kind, (before, given))
            if not alike or size_of(shape) != 1:
                break
            source = source.base
        memory = self.plan.realised(source, contiguous=True)
        return Memory(shape, memory.buffer, memory.task, memory.place.plus(place), strides)

    def moved(self, moved: Sequence[tuple[int, int, int, int, tuple[int, ...]]], numbers: list[Node]) -> Affine | None:
        """How far moving positions are from those at 0; None where that is not affine, or out of range at times."""
        known: list[Affine] = []
        for one in numbers:
            value: Value | None = one.values[()] if isinstance(one, Scalars) else None
            if isinstance(one, Number):
                known.append(Affine(int(one.value)))
            elif value is not None and value.op == "axis":
                known.append(value.attr)
            else:
                return None
        total = Affine(0)
        for stride, extent, start, span, factors in moved:
            here = Affine(start)
            for factor, term in zip(factors, known, strict=True):
                here = here.plus(term.times(factor))
            low, high = here.span()
            if not span and -extent <= low and high < 0:
                here = here.plus(Affine(extent))
                low, high = here.span()
            if low < 0 or high + max(span, 1) > extent:
                return None
            total = total.plus(here.times(stride))
        return total

    def grown(self, step: Step, program: Program) -> Node | None:
        """A number that grows by a fixed amount with the numbers of iterations."""
        start, factors, dtype, _ = step.params
        kind = np.dtype(dtype).str[1:]
        if kind not in KINDS or kind == "b1":
            return None
        exact = "i8" if isinstance(start, int) and all(isinstance(one, int) for one in factors) else "f8"
        total: Node = Number(start, exact)
        for factor, operand in zip(factors, step.inputs, strict=True):
            number = self.cast(self.given(operand, program), exact)
            term = self.pointwise("multiply", exact, (number, Number(factor, exact)))
            total = self.pointwise("add", exact, (total, term))
        return self.cast(total, kind)
