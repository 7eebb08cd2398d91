"""Held programs and repetition: the part of the lowering that enters them.

A carry that is small is kept in registers from one iteration to the next; a larger one has one place in memory, which
is written to at the end of an iteration: in place where the new value is the old one with parts written over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from chainrule.native.forms import CALLS
from chainrule.native.gathers import SMALL
from chainrule.native.layouts import code_of
from chainrule.native.loops import KINDS, Affine, Axis, Carry, Copy, Item, Loop, Value
from chainrule.native.nests import Nest, Root, canonical
from chainrule.native.nodes import Memory, Node, Number, Pieces, Scalars
from chainrule.native.schedule import Direct, Schedule, spread_to
from chainrule.program import Operand, Program, Step, Var
from chainrule.rule import Elementwise, Gather, Index
from chainrule.rule import Loop as LoopRule

__all__ = ["Repeats"]

#: Carries of at most so many elements are in registers whatever an iteration does.
FEW = 4


class Repeats:
    """The part of the lowering that enters held programs."""

    plan: Schedule
    nodes: dict[Var, Node]
    given: Callable[[Operand, Program], Node]
    cast: Callable[[Node, str], Node]
    step: Callable[[Step, Program], None]
    small: Callable[[Node], Scalars]

    def control(self, step: Step, program: Program) -> bool:
        """Lower a step that holds a program; False where that is left to Python."""
        rule = step.rule
        if isinstance(rule, LoopRule):
            return self.repeated(step, program)
        if rule.native != "call":
            return False
        (held,) = step.params
        if held.captures or held.guards:
            return False
        arguments = [
            self.cast(self.given(one, program), code_of(held.types[var].dtype))
            for one, var in zip(step.inputs, held.inputs, strict=True)
        ]
        for var, node in zip(step.outputs, self.inlined(held, arguments), strict=True):
            self.nodes[var] = self.cast(node, code_of(program.types[var].dtype))
        return True

    def inlined(self, held: Program, arguments: list[Node]) -> list[Node]:
        """The results of a held program on these arrays."""
        around = self.nodes
        self.nodes = dict(zip(held.inputs, arguments, strict=True))
        try:
            for one in held.steps:
                self.step(one, held)
            return [self.given(one, held) for one in held.outputs]
        finally:
            self.nodes = around

    def repeated(self, step: Step, program: Program) -> bool:
        """A loop."""
        body, trips, carries, sequences, reverse = step.params
        kinds = [body.types[var] for var in body.inputs[1:]]
        if not trips or any(code_of(one.dtype) not in KINDS for one in body.types):
            return False
        arguments = [
            self.cast(self.given(one, program), code_of(kind.dtype))
            for one, kind in zip(step.inputs, kinds, strict=True)
        ]
        axis = Axis(trips)
        number = Affine(trips - 1, ((axis, -1),)) if reverse else Affine(0, ((axis, 1),))
        outer, inner = self.plan, Schedule(self.plan)
        moving, vectors = _moving(body), _has_vectors(body)
        held: list[_Held] = []
        given: list[Node] = []
        for var, node in zip(body.inputs[1 : 1 + carries], arguments[:carries], strict=True):
            if 0 < node.size <= (FEW if vectors else SMALL) and (node.size == 1 or var not in moving):
                held.append(_InRegisters(self.small(node), axis))
            else:
                memory = Memory(node.shape, outer.buffer(node.shape, node.kind))
                outer.keep_closed(node, memory)
                held.append(_InMemory(memory))
            given.append(held[-1].here)
        for node in arguments[carries : carries + sequences]:
            whole = outer.realised(node)
            place = whole.place.plus(number.times(whole.strides[0]))
            given.append(Memory(whole.shape[1:], whole.buffer, whole.task, place, whole.strides[1:]))
        given += [self.invariant(node) for node in arguments[carries + sequences :]]
        task = Direct([])
        self.plan = inner
        stacked: list[Memory] = []
        try:
            counter = np.empty((), object)
            counter[()] = inner.scribe.value("axis", "i8", attr=number, bits=axis.bit)
            results = self.inlined(body, [inner.scalars(counter, "i8", 0), *given])
            kinds = [program.types[var] for var in step.outputs]
            results = [self.cast(node, code_of(kind.dtype)) for node, kind in zip(results, kinds, strict=True)]
            for kind, node in zip(kinds[carries:], results[carries:], strict=True):
                whole = Memory(kind.shape, outer.buffer(kind.shape, node.kind), task)
                row = Memory(kind.shape[1:], whole.buffer, None, number.times(whole.strides[0]), whole.strides[1:])
                inner.keep(node, row)
                stacked.append(whole)
            self.carry(held, results[:carries])
        finally:
            self.plan = outer
        carried = [one for each in held if isinstance(each, _InRegisters) for one in each.carries]

        def items() -> list[Item]:
            made = inner.items()
            outer.absorb(inner)
            return [Loop(axis, made, carries=carried)]

        task.late = items
        outer.add(task)
        for carry in carried:
            outer.owns(carry.result, task)
        for var, each in zip(step.outputs[:carries], held, strict=True):
            self.nodes[var] = each.after(task)
        for var, whole in zip(step.outputs[carries:], stacked, strict=True):
            self.nodes[var] = whole
        return True

    def invariant(self, node: Node) -> Node:
        """What every iteration reads, computed before the first."""
        if isinstance(node, Number):
            return node
        if node.size <= SMALL and node.size:
            small = self.small(node)
            if small.size > 1:
                self.plan.realised(small)
            return small
        return self.plan.realised(node)

    def carry(self, held: list[_Held], results: list[Node]) -> None:
        """Take the results of an iteration to the next one."""
        plan = self.plan
        places = {one.memory.buffer for one in held if isinstance(one, _InMemory)}
        last: list[Direct | Nest] = []
        for one, node in zip(held, results, strict=True):
            if isinstance(one, _InRegisters):
                for carry, value in zip(one.carries, self.small(node).values.ravel().tolist(), strict=True):
                    carry.after = value
                continue
            chain: list[Pieces] = []
            base = node
            while isinstance(base, Pieces) and base.memory is None and base.base is not None:
                chain.append(base)
                base = base.base
            if base is one.here:
                last += [self.written_late(each, one.memory, places) for each in reversed(chain)]
                continue
            temporary = node if isinstance(node, Memory) else node.memory
            if temporary is None or not temporary.contiguous or temporary.buffer in places:
                temporary = Memory(node.shape, plan.buffer(node.shape, node.kind))
                plan.keep(node, temporary)
            copy = Copy(temporary.buffer, temporary.place, one.memory.buffer, one.memory.place, node.size)
            last.append(Direct([copy]))
        for each in last:
            plan.add(each)

    def written_late(self, node: Pieces, target: Memory, places: set[Any]) -> Nest:
        """The task that writes a part over an array in place, of values that are computed before."""
        part = node.part
        value = part.node
        if not isinstance(value, Scalars | Number):
            memory = value if isinstance(value, Memory) else value.memory
            if memory is None or memory.buffer in places:
                memory = Memory(value.shape, self.plan.buffer(value.shape, value.kind))
                self.plan.keep(value, memory)
            value = memory
        elif isinstance(value, Scalars) and value.size > 1:
            self.plan.realised(value)
        region = Memory(part.shape, target.buffer, None, target.place.plus(part.place), part.strides)
        combine = "" if not part.adds else "or" if node.kind == "b1" else "add"
        root = Root(spread_to(value, part.shape), part.shape, region, combine=combine)
        return Nest(canonical(part.shape), [root], closed=True)


class _InRegisters:
    """A carry that is small: a value for each element."""

    def __init__(self, first: Scalars, axis: Axis) -> None:
        self.carries: list[Carry] = []
        here: Any = np.empty(first.shape, object)
        for index in np.ndindex(*first.shape):
            here[index] = Value("result", (), first.kind, None, axis.bit)
            result = Value("result", (), first.kind)
            self.carries.append(Carry(first.values[index], here[index], None, result))
        self.here: Node = Scalars(here, first.kind)

    def after(self, task: Any) -> Node:
        """The carry after the last iteration."""
        values = np.empty(self.here.shape, object)
        for index, carry in zip(np.ndindex(*self.here.shape), self.carries, strict=True):
            values[index] = carry.result
        return Scalars(values, self.here.kind, task)


class _InMemory:
    """A carry that has a place in memory."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.here: Node = Memory(memory.shape, memory.buffer)

    def after(self, task: Any) -> Node:
        """The carry after the last iteration."""
        return Memory(self.memory.shape, self.memory.buffer, task)


_Held: TypeAlias = _InRegisters | _InMemory


def _has_vectors(body: Program) -> bool:
    """Whether an iteration works on small arrays as vectors: products of matrices, calls of the maths library."""
    for step in body.steps:
        if isinstance(step.rule, Index) and len(step.inputs) > 1:
            return True
        if (
            isinstance(step.rule, Elementwise)
            and CALLS.get(step.rule.native)
            and body.types[step.outputs[0]].size > FEW
        ):
            return True
    return False


def _moving(body: Program) -> set[Var]:
    """The inputs that are read or written at positions which only an iteration knows."""
    found: set[Var] = set()
    origin: dict[Var, Var] = {var: var for var in body.inputs}
    for step in body.steps:
        first = step.inputs[0] if step.inputs else None
        if isinstance(step.rule, Gather) and isinstance(first, int) and first in origin:
            for var in step.outputs:
                origin[var] = origin[first]
            if step.rule.moves is not None and len(step.inputs) > 1:
                found.add(origin[first])
    return found
