"""Loops over iterations in C: carries in variables or memory, entries of sequences by their place, stacked results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.derive.analysis import Reading, overwritten_carries
from chainrule.derive.c_arrays import Constant, Counter, Lazy, Local, Memory, Node, c_strides, symbol
from chainrule.derive.c_expression import C_TYPES, cast
from chainrule.derive.identifiers import is_numbered
from chainrule.program import Literal, Step, Var

__all__ = ["write_loop"]


def write_loop(outer: Any, count: int, step: Step) -> None:
    """Write a step that runs a program several times; ``outer`` is the body that it stands in."""
    _Loop(outer, count, step).write()


class _Loop:
    """A ``for`` loop over iterations: its carries, its body, its stacked results."""

    def __init__(self, outer: Any, count: int, step: Step) -> None:
        self.body, self.trips, self.carries, self.sequences, self.reverse = step.params
        self.outer, self.count, self.step, self.file = outer, count, step, outer.file
        self.overwritten = overwritten_carries(self.body, self.carries)
        reading = Reading(self.body, owned=self.overwritten)
        names = {}
        for var, name in self.body.readable_names().items():
            names[var] = self.file.names.new(name if reading.is_given(var) else f"t{name[1:]}")
        self.inner = type(outer)(self.file, self.body, reading, names, outer.depth + 1)
        self.inner.sweeps = count >= outer.reading.sweep if outer.sweeps is None else outer.sweeps

    def write(self) -> None:
        outer, inner, body, step = self.outer, self.inner, self.body, self.step
        outer.cite(self.count)
        carried = [self._carry(place) for place in range(self.carries)]
        given = [outer.node(one) for one in step.inputs]
        for place, one in enumerate(given):
            if place >= self.carries and isinstance(one, Lazy):
                kind = outer.type_of(step.inputs[place])
                given[place] = outer.temporary(one, "held") if kind.ndim else one
        stacked = []
        for var in step.outputs[self.carries :]:
            stacked.append(outer.room(var))
            outer.nodes[var] = stacked[-1]
        for var, held in zip(step.outputs, carried, strict=False):
            outer.nodes[var] = held
        if not self.trips:
            return
        counter = inner.names[body.inputs[0]]
        inner.nodes[body.inputs[0]] = Counter((), np.dtype(np.int64), counter, self.trips)
        for place, (var, node) in enumerate(zip(body.inputs[1:], given, strict=True)):
            if place < self.carries:
                inner.nodes[var] = carried[place]
            elif place < self.carries + self.sequences:
                inner.nodes[var] = self._entry(var, node, counter)
            else:
                inner.nodes[var] = node
        head = (
            f"for ({self.file.index_type} {counter} = {self.trips - 1}; {counter} >= 0; {counter}--) {{"
            if self.reverse
            else f"for ({self.file.index_type} {counter} = 0; {counter} < {self.trips}; {counter}++) {{"
        )
        outer.say(head)
        first = len(self.file.lines)
        self._aim(carried, stacked, counter)
        inner.write()
        self._results(stacked, counter)
        self._next(carried)
        self.file.loops.append((first, len(self.file.lines)))
        outer.say("}")
        outer.cited = None

    def _carry(self, place: int) -> Node:
        """The variable or the memory in which a carry goes from one iteration to the next."""
        outer, var, first = self.outer, self.body.inputs[1 + place], self.step.inputs[place]
        kind = self.body.types[var]
        node = outer.node(first)
        name = self.inner.names[var]
        if not kind.ndim:
            outer.say(f"{self.file.c_type(kind.dtype)} {name} = {cast(node.at(()), node.dtype, kind.dtype).text};")
            return Local((), kind.dtype, name)
        mine = (
            isinstance(node, Memory)
            and node.is_whole
            and node.buffer.role == "arena"
            and not isinstance(first, Literal)
            and self.step.inputs.count(first) == 1
            and outer.reading.dies(first, self.count)
        )
        if mine and isinstance(node, Memory):
            if is_numbered(node.buffer.name) and self.inner.reading.is_given(var):
                node.buffer.name = name
            return node
        held = self.file.buffer(kind.dtype, kind.shape, name)
        made = Memory(kind.shape, kind.dtype, held, c_strides(kind.shape))
        outer.copy(node, made)
        return made

    def _entry(self, var: Var, node: Node, counter: str) -> Node:
        """The entry of a sequence that belongs to the iteration."""
        kind = self.body.types[var]
        if isinstance(node, Constant):
            return Constant(kind.shape, node.dtype, node.value)
        assert isinstance(node, Memory)
        offset = node.offset.plus(symbol(counter).times(node.strides[0]))
        return Memory(node.shape[1:], node.dtype, node.buffer, node.strides[1:], offset)

    def _aim(self, carried: Sequence[Node], stacked: Sequence[Memory], counter: str) -> None:
        """Results of the body that can be computed right where they are to be."""
        outputs = self.body.outputs
        reading = self.inner.reading
        made_by = {var: count for count, step in enumerate(self.body.steps) for var in step.outputs}
        for place, operand in enumerate(outputs):
            if isinstance(operand, Literal) or operand not in made_by or outputs.count(operand) > 1:
                continue
            if not self.body.types[operand].ndim or self.body.steps[made_by[operand]].rule.update is not None:
                continue
            if place >= self.carries:
                self.inner.targets[operand] = self._slot(stacked[place - self.carries], counter)
            else:
                var, held = self.body.inputs[1 + place], carried[place]
                if isinstance(held, Memory) and reading.held[var] < made_by[operand] and var not in outputs:
                    self.inner.targets[operand] = held

    def _slot(self, whole: Memory, counter: str) -> Memory:
        offset = whole.offset.plus(symbol(counter).times(whole.strides[0]))
        return Memory(whole.shape[1:], whole.dtype, whole.buffer, whole.strides[1:], offset)

    def _results(self, stacked: Sequence[Memory], counter: str) -> None:
        """Put the results of the iteration into the arrays of all of them."""
        for whole, operand in zip(stacked, self.body.outputs[self.carries :], strict=True):
            node, slot = self.inner.node(operand), self._slot(whole, counter)
            if isinstance(node, Memory) and (node.buffer, node.offset, node.strides) == (
                slot.buffer,
                slot.offset,
                slot.strides,
            ):
                continue
            self.inner.copy(node, slot)

    def _next(self, carried: Sequence[Node]) -> None:
        """Hand the carries on to the next iteration."""
        inner = self.inner
        pending = []
        for held, operand in zip(carried, self.body.outputs, strict=False):
            node = inner.node(operand)
            if isinstance(held, Memory) and isinstance(node, Memory) and node.buffer is held.buffer and node.is_whole:
                continue
            if isinstance(held, Local) and isinstance(node, Local) and node.name == held.name:
                continue
            pending.append((held, node))
        changing = [set(held.reads) for held, _ in pending]
        for place, (held, node) in enumerate(pending):
            # What another carry is made of must be read before that changes.
            others: set[Any] = set().union(*changing[:place])
            own = node.reads & held.reads and bool(held.shape)
            if node.reads & others or own:
                if held.shape:
                    pending[place] = held, inner.temporary(node, "next")
                else:
                    name = self.file.names.new("next")
                    inner.say(f"const {C_TYPES[node.dtype.name]} {name} = {node.at(()).text};")
                    pending[place] = held, Local((), node.dtype, name)
        order = sorted(range(len(pending)), key=lambda place: pending[place][0].shape != ())
        for held, node in (pending[place] for place in order):
            if isinstance(held, Memory):
                inner.copy(node, held)
            else:
                assert isinstance(held, Local)
                inner.say(f"{held.name} = {cast(node.at(()), node.dtype, held.dtype).text};")
