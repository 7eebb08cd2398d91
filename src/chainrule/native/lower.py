"""Program -> Code: what each step is: an expression, a view, pieces, a reduction, a call."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.native.arena import planned
from chainrule.native.forms import CALLS, FORMS, Scribe, known
from chainrule.native.gathers import MOST_WORK, SMALL, Gathers
from chainrule.native.layouts import Shaped, code_of, size_of
from chainrule.native.loops import KINDS, Affine, Buffer, Callback, Code, Guard, Value, kind_of
from chainrule.native.nodes import (
    Memory,
    Node,
    Number,
    Pointwise,
    Scalars,
)  # fmt: skip
from chainrule.native.products import Product
from chainrule.native.repeats import Repeats
from chainrule.native.scans import Scans
from chainrule.native.schedule import Direct, Schedule
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var
from chainrule.rule import Control, Elementwise, Gather, Index

__all__ = ["Lowering", "lower"]

#: A reduction along an axis of at most so many places is written out.
FEW_TERMS = 4
#: How many values there may be outside of loops.
MOST_SCALARS = 100_000


class Lowering(Product, Gathers, Repeats, Scans):
    """The lowering of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.plan = Schedule()
        self.nodes: dict[Var, Node] = {}
        self.callbacks: list[Callback] = []
        self.constants = 0
        self.views: dict[Any, Node] = {}

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
        if kind.shape and node.kind in KINDS and (isinstance(value, bool) or _is_plain(value, kind)):
            # One value for each iteration of a loop, or the same for all.
            want: Node = Number(value, "b1")
            if not isinstance(value, bool):
                want = Memory(kind.shape, self.constant(np.asarray(value, kind.dtype)))
            same = self.pointwise("equal", "b1", (node, self.cast(want, node.kind)))
            node, value = self.reduced(same, "and", tuple(range(len(kind.shape)))), True
        elif kind.shape:
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
            holds = scribe.value("unordered", "b1", shown, shown)
        else:
            holds = scribe.value("equal", "b1", shown, scribe.constant(value, of))
        self.plan.scalars(np.array([holds], object), "b1", before)
        self.plan.block().items.append(Guard(holds, number + 1))

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
            elif isinstance(rule, Gather) and rule.moves is not None:
                made = self.moving(step, program)
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
        if not known(rule.native):
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
        # Calls of the maths library are made for a whole vector where there is one.
        dear = CALLS.get(form, 0) and size_of(shape) > FEW_TERMS
        small = None if dear else self.all_small(args, shape)
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
        words, output = rule.letters([Shaped(one.shape) for one in nodes], step.params)
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
        terms = node.size // max(size_of(shape), 1)
        if 1 < terms <= FEW_TERMS and size_of(shape) >= 8 and len(axes) == 1 and op in FORMS:
            return self.by_places(node, op, axes[0], shape)
        return self.plan.reduced(node, op, axes, shape)

    def by_places(self, node: Node, op: str, axis: int, shape: tuple[int, ...]) -> Node:
        """A reduction along a short axis: its places one after the other."""
        total: Node | None = None
        for place in range(node.shape[axis]):
            key = (*(slice(None),) * axis, place, ...)
            one = self.viewed(node, shape, lambda layout, key=key: layout[key])
            assert one is not None
            total = one if total is None else self.pointwise(op, node.kind, (total, one))
        assert total is not None
        return total

    # -- by name

    def native(self, step: Step, program: Program) -> Node | None:
        word, _, op = step.rule.native.partition(" ")
        if word == "number_at":
            return self.grown(step, program)
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
        if word == "scan" and kind != "b1":
            axis, reverse, *exclusive = step.params
            return self.running(nodes[0], op, kind, axis, reverse, *exclusive)
        if word == "recurrence" and kind != "b1":
            return self.recurrence(nodes[0], nodes[1], kind, *step.params)
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


class _Fingerprint:
    """The check of a guard on a whole array."""

    def __init__(self, value: Any, kind: ArrayType) -> None:
        self.value = value
        self.kind = kind


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


def _is_plain(value: Any, kind: ArrayType) -> bool:
    """Whether a guard's value has a number for each entry of a vector, each of which is itself."""
    if not isinstance(value, tuple) or kind.ndim != 1 or len(value) != kind.size:
        return False
    return all(isinstance(one, bool | int | float) and kind.dtype.type(one) == one for one in value)


def _fits(value: Any, kind: str) -> bool:
    limits = np.iinfo(kind)
    return isinstance(value, int) and limits.min <= value <= limits.max


def lower(program: Program) -> Code:
    """Lower a program to loops and buffers."""
    return Lowering(program).run()
