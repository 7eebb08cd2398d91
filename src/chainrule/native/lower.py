"""Program -> Code: what each step is (an expression, a view, a loop nest, a call), and which nest computes it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.native.arena import planned
from chainrule.native.forms import CALLS, FORMS, Scribe
from chainrule.native.loops import KINDS, Affine, Buffer, Callback, Code, Guard, Item, Value, kind_of
from chainrule.native.nests import Nest, Root, loops_of
from chainrule.native.nodes import Memory, Node, Number, Pointwise
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var
from chainrule.rule import Elementwise, Index

__all__ = ["lower"]


@dataclass(eq=False, slots=True)
class Direct:
    """Items that stand for themselves: a call."""

    items: list[Item]


class Lowering:
    """The lowering of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.tasks: list[Nest | Direct] = []
        self.nodes: dict[Var, Node] = {}
        self.buffers: list[Buffer] = []
        self.callbacks: list[Callback] = []
        self.constants = 0

    # -- buffers

    def buffer(
        self, shape: tuple[int, ...], kind: str, role: str = "arena", place: int = -1, data: Any = None
    ) -> Buffer:
        size = 1
        for extent in shape:
            size *= extent
        made = Buffer(kind, size, role, place, data, shape)
        self.buffers.append(made)
        return made

    # -- the program

    def run(self) -> Code:
        program = self.program
        for role, variables in (("input", program.inputs), ("capture", program.captures)):
            for place, var in enumerate(variables):
                kind = program.types[var]
                self.nodes[var] = Memory(kind.shape, self.buffer(kind.shape, code_of(kind.dtype), role, place))
        guards: dict[Var, list[tuple[int, Any]]] = {}
        for number, (var, value) in enumerate(program.guards):
            guards.setdefault(var, []).append((number, value))
        self.guards(guards, (*program.inputs, *program.captures))
        for step in program.steps:
            self.step(step)
            self.guards(guards, step.outputs)
        outputs = [self.output(place, one) for place, one in enumerate(program.outputs)]
        body: list[Item] = []
        for task in self.tasks:
            body += loops_of(task) if isinstance(task, Nest) else task.items
        arena = planned(body)
        return Code(program.name, body, self.buffers, arena, self.callbacks, outputs)

    def guards(self, guards: dict[Var, list[tuple[int, Any]]], variables: Sequence[Var]) -> None:
        for var in variables:
            for number, value in guards.get(var, ()):
                self.guard(self.nodes[var], number, value, self.program.types[var])

    def guard(self, node: Node, number: int, value: Any, kind: ArrayType) -> None:
        held = self.realised(node)
        if kind.shape:
            # A fingerprint of a whole array.
            answer = self.buffer((), "b1")
            self.call_back(_Fingerprint(value, kind), (held,), (Memory((), answer),))
            held = Memory((), answer)
            want: Any = True
            of = "b1"
        else:
            want, of = value, held.kind
            if of != "b1" and isinstance(value, bool):
                want = int(value)
            if of[0] in "iu" and not _fits(want, of):
                of = "f8"
        scribe = Scribe()
        load = scribe.value("load", held.kind, attr=(held.buffer, held.place))
        load_as = scribe.cast(load, of)
        same = scribe.value("equal", "b1", load_as, scribe.constant(want, of))
        if isinstance(want, float) and want != want:  # noqa: PLR0124 - NaN is not itself
            same = scribe.value("unordered", "b1", load_as, load_as)
        self.tasks.append(Direct([*scribe.values, Guard(same, number + 1)]))

    # -- results

    def output(self, place: int, operand: Operand) -> Buffer:
        program = self.program
        if isinstance(operand, Literal):
            value = np.asarray(operand.value)
            node: Node = Number(value[()].item(), code_of(value.dtype))
            shape: tuple[int, ...] = ()
            kind = node.kind
            if kind[0] == "c" or kind_of(value.dtype) is None:
                node = Memory((), self.constant(value))
        else:
            node = self.nodes[operand]
            kind, shape = code_of(program.types[operand].dtype), program.types[operand].shape
        if (
            isinstance(node, Memory)
            and node.buffer.role == "arena"
            and node.contiguous
            and node.size == node.buffer.size
        ):
            node.buffer.role, node.buffer.place = "output", place
            return node.buffer
        target = Memory(shape, self.buffer(shape, kind, "output", place))
        self.store(node, target)
        if not isinstance(operand, Literal) and not isinstance(node, Memory):
            self.nodes[operand] = target
        return target.buffer

    def constant(self, value: Any) -> Buffer:
        self.constants += 1
        array = np.ascontiguousarray(value)
        return self.buffer(array.shape, code_of(array.dtype), "constant", self.constants, array)

    # -- tasks

    def store(self, node: Node, target: Memory) -> None:
        """Compute an expression into memory, in a nest that has its domain if there is one."""
        self.join(Root(node, target), target.shape)

    def join(self, root: Root, domain: tuple[int, ...]) -> None:
        needed = leaves(root.node)
        best = None
        for task in reversed(self.tasks):
            if isinstance(task, Nest) and task.domain == domain and _may_join(task, needed):
                best = task
            if any(leaf.task is task for leaf in needed):
                break
        if best is None:
            best = Nest(domain)
            self.tasks.append(best)
        best.roots.append(root)
        root.target.task = best
        root.target.reduced = bool(root.op)

    def realised(self, node: Node, contiguous: bool = False) -> Memory:
        """The array in memory."""
        if isinstance(node, Memory) and (node.contiguous or not contiguous):
            return node
        target = Memory(node.shape, self.buffer(node.shape, node.kind))
        self.store(node, target)
        return target

    def call_back(self, step: Any, reads: Sequence[Memory], writes: Sequence[Memory]) -> None:
        callback = Callback(
            len(self.callbacks), step, tuple((one.buffer, one.place) for one in reads),
            tuple((one.buffer, one.place) for one in writes),
        )  # fmt: skip
        self.callbacks.append(callback)
        task = Direct([callback])
        self.tasks.append(task)
        for one in writes:
            one.task = task

    # -- steps

    def step(self, step: Step) -> None:
        made = self.elementwise(step) or self.view(step) or self.reduction(step)
        if made is not None:
            (var,) = step.outputs
            self.nodes[var] = made
            return
        reads, writes = [], []
        for one in step.inputs:
            if not isinstance(one, Literal):
                held = self.nodes[one] = self.realised(self.nodes[one], contiguous=True)
                reads.append(held)
        for var in step.outputs:
            kind = self.program.types[var]
            target = self.nodes[var] = Memory(kind.shape, self.buffer(kind.shape, code_of(kind.dtype)))
            writes.append(target)
        self.call_back((step, self.program), reads, writes)

    def elementwise(self, step: Step) -> Node | None:
        rule = step.rule
        if not isinstance(rule, Elementwise) or rule.native not in FORMS:
            return None
        out = self.program.types[step.outputs[0]]
        kind = kind_of(out.dtype)
        types = tuple(self.program.type_of(one) for one in step.inputs)
        kinds = loop_kinds(rule, types, out.dtype)
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
        return self.held(Pointwise(rule.native, kind, out.shape, tuple(args), kinds, CALLS.get(rule.native, 0)))

    def held(self, node: Pointwise) -> Node:
        return self.realised(node)

    def view(self, step: Step) -> Node | None:
        rule = step.rule
        if rule.view is None or len(step.inputs) != 1:
            return None
        (operand,) = step.inputs
        out = self.program.types[step.outputs[0]]
        if isinstance(operand, Literal):
            if code_of(out.dtype)[0] == "c" or kind_of(out.dtype) is None:
                return None
            source: Node = Number(np.asarray(operand.value, out.dtype).item(), code_of(out.dtype))
            if isinstance(rule, Index):
                return self.realised(Pointwise("positive", source.kind, out.shape, (source,), (source.kind,), 0))
            return None
        source = self.realised(self.nodes[operand])
        if source.size == 0 or out.size == 0:
            return Memory(out.shape, source.buffer, source.task, source.place)
        if not source.contiguous:
            layout = fake(source.shape, source.strides)
        else:
            layout = fake(source.shape, None)
        made = rule.view.apply(layout, (), step.params)
        if made is None:
            source = self.realised(source, contiguous=True)
            layout = fake(source.shape, None)
            made = rule.view.apply(layout, (), step.params)
        if made is None or made.shape != out.shape:
            return None
        offset = made.__array_interface__["data"][0] - layout.__array_interface__["data"][0]
        held = Memory(out.shape, source.buffer, source.task, source.place.plus(Affine(offset)), made.strides)
        held.reduced = source.reduced
        return held

    def reduction(self, step: Step) -> Node | None:
        rule = step.rule
        if not isinstance(rule, Index) or len(step.inputs) != 1 or isinstance(step.inputs[0], Literal):
            return None
        source = self.nodes[step.inputs[0]]
        (word,), output = rule.letters((self.program.types[step.inputs[0]],), step.params)
        out = self.program.types[step.outputs[0]]
        kind = kind_of(out.dtype)
        if kind is None or source.kind not in KINDS or [one for one in word if one in output] != list(output):
            return None
        axes = tuple(place for place, letter in enumerate(word) if letter not in output)
        if source.kind != kind:
            source = Pointwise("cast", kind, source.shape, (source,), (source.kind,), 0)
        target = Memory(out.shape, self.buffer(out.shape, kind))
        self.join(Root(source, target, "add", axes), source.shape)
        return target


# --- what is known without a program ----------------------------------------------------------------------------------


def code_of(dtype: Any) -> str:
    """The code of any dtype: what its bytes are."""
    return f"{dtype.kind}{dtype.itemsize}"


def fake(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> Any:
    """An array of bytes without memory of its own whose strides are those of an array, in elements."""
    from chainrule.native.nodes import c_strides

    one = np.empty(1, np.int8)
    return np.lib.stride_tricks.as_strided(one, shape, c_strides(shape) if strides is None else strides)


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


def leaves(node: Node) -> dict[Memory, bool]:
    """The arrays in memory that an expression reads; whether each is read only at the index of the result."""
    found: dict[Memory, bool] = {}
    seen: set[int] = set()

    def visit(one: Node, same: bool) -> None:
        if isinstance(one, Memory):
            found[one] = found.get(one, True) and same
        elif isinstance(one, Pointwise):
            if id(one) in seen:
                return
            seen.add(id(one))
            for arg in one.args:
                visit(arg, same and arg.shape == one.shape)

    visit(node, True)
    return found


def _may_join(nest: Nest, needed: dict[Memory, bool]) -> bool:
    own = {id(root.target) for root in nest.roots if not root.op}
    return all(leaf.task is not nest or (same and id(leaf) in own) for leaf, same in needed.items())


def _fits(value: Any, kind: str) -> bool:
    limits = np.iinfo(kind)
    return isinstance(value, int) and limits.min <= value <= limits.max


class _Fingerprint:
    """The check of a guard on a whole array."""

    def __init__(self, value: Any, kind: ArrayType) -> None:
        self.value = value
        self.kind = kind


def lower(program: Program) -> Code:
    """Lower a program to loops and buffers."""
    return Lowering(program).run()
