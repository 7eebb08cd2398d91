"""Program -> Code: what each step is: an expression, a view, pieces, a reduction, a call."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.native.arena import planned
from chainrule.native.forms import CALLS, FORMS, Scribe
from chainrule.native.loops import KINDS, Affine, Buffer, Callback, Code, Guard, Value, kind_of
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
from chainrule.native.products import Product
from chainrule.native.schedule import Direct, Schedule
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var
from chainrule.rule import Control, Elementwise, Gather, Index

__all__ = ["Lowering", "lower"]

#: Arrays of at most so many elements are kept in registers, an element each.
SMALL = 16
#: How many values there may be outside of loops.
MOST_SCALARS = 4000
#: How many values an element of an expression may take before it is given memory.
MOST_WORK = 160


class Lowering(Product):
    """The lowering of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.plan = Schedule()
        self.nodes: dict[Var, Node] = {}
        self.callbacks: list[Callback] = []
        self.constants = 0
        self._views: dict[Any, Node] = {}

    # -- the program

    def run(self) -> Code:
        program = self.program
        for role, variables in (("input", program.inputs), ("capture", program.captures)):
            for place, var in enumerate(variables):
                kind = program.types[var]
                self.nodes[var] = Memory(kind.shape, self.plan.buffer(kind.shape, code_of(kind.dtype), role, place))
        guards: dict[Var, list[tuple[int, Any]]] = {}
        for number, (var, value) in enumerate(program.guards):
            guards.setdefault(var, []).append((number, value))
        self.guards(guards, (*program.inputs, *program.captures))
        for step in program.steps:
            self.step(step, program)
            self.guards(guards, step.outputs)
        outputs = self.outputs()
        body = self.plan.items()
        arena = planned(body)
        return Code(program.name, body, self.plan.buffers, arena, self.callbacks, outputs)

    def guards(self, guards: dict[Var, list[tuple[int, Any]]], variables: Sequence[Var]) -> None:
        for var in variables:
            for number, value in guards.get(var, ()):
                self.guard(self.nodes[var], number, value, self.program.types[var])

    def guard(self, node: Node, number: int, value: Any, kind: ArrayType) -> None:
        if kind.shape:
            # A fingerprint of a whole array.
            held = self.plan.realised(node, contiguous=True)
            answer = Memory((), self.plan.buffer((), "b1"))
            self.call_back(_Fingerprint(value, kind), (held,), (answer,))
            node, value = answer, True
        scribe = self.plan.scribe
        before = len(scribe.values)
        (here,) = self.small(node).values.ravel()
        of = here.kind
        if of != "b1" and isinstance(value, bool):
            value = int(value)
        if of[0] in "iu" and not _fits(value, of):
            of = "f8"
        shown = scribe.cast(here, of)
        if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN is not itself
            same = scribe.value("unordered", "b1", shown, shown)
        else:
            same = scribe.value("equal", "b1", shown, scribe.constant(value, of))
        block = self.plan.block()
        self.plan.scalars(np.array([same], object), "b1", before)
        block.items.append(Guard(same, number + 1))

    # -- results

    def outputs(self) -> list[Buffer]:
        return [self.output(place, one) for place, one in enumerate(self.program.outputs)]

    def output(self, place: int, operand: Operand) -> Buffer:
        program = self.program
        if isinstance(operand, Literal):
            value = np.asarray(operand.value)
            kind, shape = code_of(value.dtype), value.shape
            node: Node
            if kind in KINDS:
                node = Number(value[()].item(), kind)
            else:
                node = Memory((), self.constant(value))
        else:
            node = self.nodes[operand]
            kind, shape = code_of(program.types[operand].dtype), program.types[operand].shape
        memory = node if isinstance(node, Memory) else node.memory
        whole = memory is not None and memory.contiguous and memory.size == memory.buffer.size
        if memory is not None and whole and memory.buffer.role == "arena":
            memory.buffer.role, memory.buffer.place = "output", place
            return memory.buffer
        target = Memory(shape, self.plan.buffer(shape, kind, "output", place))
        self.plan.keep(node, target)
        return target.buffer

    def constant(self, value: Any) -> Buffer:
        self.constants += 1
        array = np.ascontiguousarray(value)
        return self.plan.buffer(array.shape, code_of(array.dtype), "constant", self.constants, array)

    # -- calls of Python

    def call_back(self, step: Any, reads: Sequence[Memory], writes: Sequence[Memory]) -> None:
        callback = Callback(
            len(self.callbacks), step, tuple((one.buffer, one.place) for one in reads),
            tuple((one.buffer, one.place) for one in writes),
        )  # fmt: skip
        self.callbacks.append(callback)
        task = self.plan.add(Direct([callback]))
        for one in writes:
            one.task = task

    def by_python(self, step: Step, program: Program) -> None:
        reads = [
            self.plan.realised(self.nodes[one], contiguous=True) for one in step.inputs if not isinstance(one, Literal)
        ]
        writes = []
        for var in step.outputs:
            kind = program.types[var]
            target = self.nodes[var] = Memory(kind.shape, self.plan.buffer(kind.shape, code_of(kind.dtype)))
            writes.append(target)
        self.call_back((step, program), reads, writes)

    # -- steps

    def step(self, step: Step, program: Program) -> None:
        rule = step.rule
        if isinstance(rule, Control) and self.control(step, program):
            return
        made = None
        if len(step.outputs) == 1:
            out = program.types[step.outputs[0]]
            if isinstance(rule, Elementwise):
                made = self.elementwise(step, program)
            elif rule.view is not None and len(step.inputs) == 1:
                made = self.view(step, program)
            elif isinstance(rule, Index):
                made = self.index(step, program)
            elif isinstance(rule, Gather) and (rule.holes is not None or rule.lands is not None):
                made = self.gathered(step, program)
            if made is None and rule.native:
                made = self.native(step, program)
            if made is not None:
                assert made.shape == out.shape, (step, made.shape)
                assert made.kind == code_of(out.dtype), (step, made.kind)
                self.nodes[step.outputs[0]] = made
                return
        self.by_python(step, program)

    def control(self, step: Step, program: Program) -> bool:
        return False

    def given(self, operand: Operand, program: Program) -> Node:
        """The array of an operand."""
        if not isinstance(operand, Literal):
            return self.nodes[operand]
        kind = program.type_of(operand)
        dtype = np.dtype(kind) if isinstance(kind, type) else kind.dtype
        if code_of(dtype) in KINDS:
            return Number(np.asarray(operand.value, dtype).item(), code_of(dtype))
        return Memory((), self.constant(np.asarray(operand.value, dtype)))

    # -- elementwise

    def elementwise(self, step: Step, program: Program) -> Node | None:
        rule = step.rule
        assert isinstance(rule, Elementwise)
        if rule.native not in FORMS:
            return None
        out = program.types[step.outputs[0]]
        kind = kind_of(out.dtype)
        kinds = loop_kinds(rule, tuple([program.type_of(one) for one in step.inputs]), out.dtype)
        if kind is None or kinds is None:
            return None
        args: list[Node] = []
        for one, wanted in zip(step.inputs, kinds, strict=True):
            if isinstance(one, Literal):
                made = number_as(one, wanted)
                if made is None:
                    return None
                args.append(made)
            elif self.nodes[one].kind not in KINDS:
                return None
            else:
                args.append(self.nodes[one])
        if not form_takes(rule.native, kind, kinds):
            return None
        return self.pointwise(rule.native, kind, tuple(args), kinds, out.shape)

    def pointwise(
        self,
        form: str,
        kind: str,
        args: tuple[Node, ...],
        kinds: tuple[str, ...] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Node:
        """A form of arrays: in registers where they are small, else an expression."""
        if shape is None:
            shape = np.broadcast_shapes(*[one.shape for one in args])
        kinds = kinds or tuple([one.kind for one in args])
        small = self.all_small(args, shape)
        if small is not None:
            scribe = self.plan.scribe
            before = len(scribe.values)
            values = np.empty(shape, object)
            given: list[Any] = [np.broadcast_to(one.values, shape) for one in small]
            for index in np.ndindex(*shape):
                cast = [scribe.cast(one[index], wanted) for one, wanted in zip(given, kinds, strict=True)]
                values[index] = FORMS[form](scribe, kind, *cast)
            return self.plan.scalars(values, kind, before)
        made = Pointwise(form, kind, shape, args, kinds, CALLS.get(form, 0))
        if made.work > MOST_WORK:
            self.plan.realised(made)
        return made

    def all_small(self, nodes: Sequence[Node], shape: tuple[int, ...]) -> list[Scalars] | None:
        """The arrays in registers, if they and the result are small."""
        size = 1
        for extent in shape:
            size *= extent
        if size > SMALL or len(self.plan.scribe.values) > MOST_SCALARS:
            return None
        if any(one.size > SMALL or not self.may_be_small(one) for one in nodes):
            return None
        return [self.small(one) for one in nodes]

    def may_be_small(self, node: Node) -> bool:
        return node.kind in KINDS and (isinstance(node, Scalars | Number | Memory) or node.memory is not None)

    def small(self, node: Node) -> Scalars:
        """A small array in registers."""
        if isinstance(node, Scalars):
            return node
        scribe = self.plan.scribe
        before = len(scribe.values)
        values = np.empty(node.shape, object)
        if isinstance(node, Number):
            values[()] = scribe.constant(node.value, node.kind)
            return self.plan.scalars(values, node.kind, before)
        memory = node if isinstance(node, Memory) else node.memory
        if memory is None:
            memory = self.plan.realised(node)
        for index in np.ndindex(*memory.shape):
            place = memory.place
            for one, stride in zip(index, memory.strides, strict=True):
                place = place.plus(Affine(one * stride))
            values[index] = scribe.value("load", memory.kind, attr=(memory.buffer, place), bits=place.bits)
        return self.plan.scalars(values, memory.kind, before)

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

    def viewed(self, source: Node, shape: tuple[int, ...], apply: Any) -> Node | None:
        """What ``apply`` makes of the layout of an array."""
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
        found = self._views.get(key)
        if found is not None:
            return found
        made: Node
        flat = (
            offset == 0
            and source.size == _size(shape)
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
        self._views[key] = made
        # The source is kept alive with its number.
        self._views[made] = source
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

    # -- reductions and products

    def index(self, step: Step, program: Program) -> Node | None:
        rule = step.rule
        assert isinstance(rule, Index)
        out = program.types[step.outputs[0]]
        kind = kind_of(out.dtype)
        nodes = [self.given(one, program) for one in step.inputs]
        if kind is None or any(one.kind not in KINDS for one in nodes):
            return None
        nodes = [self.cast(one, kind) for one in nodes]
        words, output = rule.letters([_Shaped(one.shape) for one in nodes], step.params)
        if any(len(set(word)) != len(word) for word in (*words, output)):
            return None
        if kind == "b1":
            return None
        if len(nodes) == 1:
            (node,), (word,) = nodes, words
            if [one for one in word if one in output] != list(output):
                return None
            axes = tuple(place for place, letter in enumerate(word) if letter not in output)
            return self.reduced(node, "add", axes)
        if len(nodes) == 2:
            return self.product(nodes, words, output, kind, out.shape)
        return None

    def reduced(self, node: Node, op: str, axes: tuple[int, ...]) -> Node:
        """A reduction along axes."""
        shape = tuple([extent for place, extent in enumerate(node.shape) if place not in axes])
        if all(node.shape[axis] == 1 for axis in axes):
            return self.reshaped(node, shape)
        if isinstance(node, Number):
            return node
        small = self.all_small((node,), node.shape) if node.size else None
        if small is not None:
            scribe = self.plan.scribe
            before = len(scribe.values)
            values = np.empty(shape, object)
            given = small[0].values
            for index in np.ndindex(*shape):
                inner = iter(index)
                ranges = [range(extent) if place in axes else (next(inner),) for place, extent in enumerate(node.shape)]
                total = None
                for place in itertools.product(*ranges):
                    total = given[place] if total is None else scribe.value(op, node.kind, total, given[place])
                values[index] = total
            return self.plan.scalars(values, node.kind, before)
        return self.plan.reduced(node, op, axes, shape)

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
        types = [_Shaped(one.shape) for one in nodes]
        small = self.all_small(nodes, out.shape) if kind in KINDS else None
        if small is not None and out.size:
            return self.landed(rule, small, types, step.params, out.shape, kind)
        layout = fake(out.shape, None)
        made: Node | None = None
        for place, node in enumerate(nodes):
            whole = rule.lands(layout, place, types, step.params)
            if whole is None:
                return None
            if whole.shape == out.shape and node.shape == out.shape and not (rule.adds and place):
                made = node
                continue
            if 0 in whole.shape:
                continue
            offset = offset_of(whole, layout)
            box = region_of(out.shape, whole.shape, offset, whole.strides)
            part = Part(node, rule.adds and place > 0, whole.shape, offset, whole.strides, box)
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
        positions = np.arange(_size(shape)).reshape(shape)
        values = np.empty(_size(shape), object)
        assert rule.lands is not None
        for place, node in enumerate(nodes):
            where = rule.lands(positions, place, types, params)
            if where is None:
                return None
            given = node.values
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
            wide_node = self.cast(node, "i8")
            low = self.pointwise("less", "b1", (wide_node, Number(-extent, "i8")), ("i8", "i8"))
            high = self.pointwise("greater_equal", "b1", (wide_node, Number(extent, "i8")), ("i8", "i8"))
            here = self.pointwise("logical_or", "b1", (low, high))
            here = self.reduced(here, "or", tuple(range(len(here.shape))))
            bad = here if bad is None else self.pointwise("logical_or", "b1", (bad, here))
        assert bad is not None
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

    # -- by name

    def native(self, step: Step, program: Program) -> Node | None:
        word, _, op = step.rule.native.partition(" ")
        if any(isinstance(one, Literal) for one in step.inputs):
            return None
        nodes = [self.given(one, program) for one in step.inputs]
        out = program.types[step.outputs[0]]
        kind = kind_of(out.dtype)
        if kind is None or any(one.kind not in KINDS for one in nodes):
            return None
        if word == "same":
            return nodes[0]
        if word == "reduce":
            if op not in {"and", "or"} and kind == "b1":
                return None
            return self.reduced(self.cast(nodes[0], kind), op, step.params[0])
        if word == "tie_weights":
            return self.tie_weights(nodes, kind, step.params[0])
        return None

    def tie_weights(self, nodes: list[Node], kind: str, axes: tuple[int, ...]) -> Node | None:
        x, y = nodes
        if kind[0] != "f":
            return None
        shape = tuple([1 if place in axes else extent for place, extent in enumerate(x.shape)])
        tall = self.reshaped(y, shape)
        attained = self.pointwise("equal", "b1", (x, tall))
        attained = self.pointwise("logical_or", "b1", (attained, self.pointwise("isnan", "b1", (x,))))
        count = self.reduced(self.cast(attained, "i8"), "add", axes)
        count = self.cast(self.reshaped(count, shape), kind)
        return self.pointwise("divide", kind, (self.cast(attained, kind), count), None, x.shape)


# --- what is known without a program ----------------------------------------------------------------------------------


class _Shaped:
    """A shape, as rules take it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.size = _size(shape)


class _Fingerprint:
    """The check of a guard on a whole array."""

    def __init__(self, value: Any, kind: ArrayType) -> None:
        self.value = value
        self.kind = kind


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def code_of(dtype: Any) -> str:
    """The code of any dtype: what its bytes are."""
    return f"{dtype.kind}{dtype.itemsize}"


def fake(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> Any:
    """An array of bytes without memory of its own whose strides are those of an array, in elements."""
    one = np.empty(1, np.int8)
    return np.lib.stride_tricks.as_strided(one, shape, c_strides(shape) if strides is None else strides)


def offset_of(part: Any, whole: Any) -> int:
    """Where a view of an array of bytes begins."""
    offset: int = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return offset


@functools.lru_cache(maxsize=4096)
def loop_kinds(rule: Elementwise, types: tuple[Any, ...], out: Any) -> tuple[str, ...] | None:
    """The kinds in which the rule's own loop takes its arguments."""
    given = [kind.dtype if isinstance(kind, ArrayType) else kind for kind in types]
    if isinstance(rule.value, np.ufunc):
        try:
            loop = rule.value.resolve_dtypes((*given, None))[:-1]
        except TypeError:
            return None
        kinds = [kind_of(one) for one in loop]
    elif rule.native == "cast":
        kinds = [kind_of(np.dtype(given[0]))]
    elif rule.chooses:
        kinds = [kind_of(np.dtype(given[0])), kind_of(out), kind_of(out)]
    else:
        kinds = [kind_of(out)] * len(given)
    return None if None in kinds else tuple(kinds)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=4096)
def form_takes(form: str, kind: str, kinds: tuple[str, ...]) -> bool:
    """Whether a form is written for these kinds."""
    try:
        made = FORMS[form](Scribe(), kind, *[Value("load", (), one) for one in kinds])
    except NotImplementedError:
        return False
    return made.kind == kind


def number_as(one: Literal, kind: str) -> Number | None:
    """A literal in the kind of a loop, as NumPy would convert it; None where that is an error or not a number here."""
    dtype = np.dtype("?" if kind == "b1" else kind)
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(one.value)
            if value.dtype.kind == "c":
                return None
            made = dtype.type(one.value) if isinstance(one.type, type) else value.astype(dtype)[()]
    except OverflowError:
        return None
    return Number(made.item(), kind)


def _fits(value: Any, kind: str) -> bool:
    limits = np.iinfo(kind)
    return isinstance(value, int) and limits.min <= value <= limits.max


def lower(program: Program) -> Code:
    """Lower a program to loops and buffers."""
    return Lowering(program).run()
