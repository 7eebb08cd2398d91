"""Program -> Program: the chain rule from the last step to the first (reverse accumulation, Linnainmaa 1970).

Base case: the adjoint of the output is given (1 for a gradient). Inductive step: the adjoint of a variable is the sum,
over the steps that read it, of the adjoint of their result times their local partial. Each variable is visited once,
so one sweep gives all partial derivatives at a small constant times the cost of the program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.build import Builder, Value
from chainrule.errors import NotDifferentiable
from chainrule.expand import expanded
from chainrule.loops import carried_on, left_behind, masked_loops, parts_of, record_loop
from chainrule.program import Literal, Operand, Program, Step, Var, array_type
from chainrule.rule import Discrete, Elementwise, Gather, Index, Loop, Opaque, Undefined
from chainrule.source import excerpt

__all__ = ["active_variables", "adjoints_of_all", "backprop"]


class _Adjoint:
    """The derivative of the outputs with respect to a variable, as far as it has been summed.

    ``live`` (lazily) is False where the adjoint is zero because the element was not selected (``where``, ``maximum``,
    an index): there, what stands above it does not matter, be it infinite or NaN. ``strong`` says that a selection by
    value took part.
    """

    __slots__ = ("live", "strong", "value")

    def __init__(self, value: Any, live: Callable[[], Any] | None = None, strong: bool = False) -> None:
        self.value = value
        self.live = live
        self.strong = strong


def active_variables(program: Program, wrt: Sequence[int]) -> set[Var]:
    """Variables through which the inputs number ``wrt`` act differentiably."""
    active = {
        program.inputs[position] for position in wrt if program.types[program.inputs[position]].dtype.kind in "fc"
    }
    for step in program.steps:
        if isinstance(step.rule, Discrete):
            continue
        if not any(type(one) is int and one in active for one in step.inputs):
            continue
        if isinstance(step.rule, Loop):
            _, inside = carried_on(step, active, active_variables)
            pairs = zip(step.outputs, step.params[0].outputs, strict=True)
            active.update(var for var, one in pairs if type(one) is int and one in inside)
        else:
            active.update(var for var in step.outputs if program.types[var].dtype.kind in "fc")
    return active


def backprop(
    program: Program, wrt: Sequence[int] | None = None, *, seeded: bool = False, with_value: bool = False
) -> Program:
    """The program of the adjoints of the inputs number ``wrt`` (all floating inputs if None).

    The inputs are those of ``program``, followed by the adjoint of each output if ``seeded``; otherwise the program has
    one scalar output, whose adjoint is 1. ``with_value`` puts the program's own outputs first.
    """
    if wrt is None:
        wrt = [place for place, var in enumerate(program.inputs) if program.types[var].dtype.kind == "f"]
    sweep = _Sweep(program, wrt)
    sweep.forward()
    sweep.seed(seeded)
    with np.errstate(all="ignore"):
        sweep.backward()
    outputs = sweep.values(program.outputs) if with_value else []
    made = sweep.builder.finish([*outputs, *sweep.adjoints_of_inputs()])
    made.name = f"grad_{program.name}" if not seeded else f"vjp_{program.name}"
    return made


def adjoints_of_all(program: Program, wrt: Sequence[int]) -> tuple[Program, tuple[Var, ...]]:
    """The sweep of ``backprop``, with the adjoint of every variable on the way as its results, and which these are.

    ``program`` holds no programs of its own (see ``expanded``), so that its variables are those that are named. The
    adjoints of variables that the result does not depend on are left out.
    """
    sweep = _Sweep(program, wrt)
    sweep.forward()
    sweep.seed(False)
    with np.errstate(all="ignore"):
        sweep.backward()
        for var in program.inputs:
            if var in sweep.adjoints:
                sweep.passed[var] = sweep.adjoints[var].value
        results = {var: sweep.full(value, var) for var, value in sweep.passed.items()}
    made = sweep.builder.finish(list(results.values()))
    made.name = f"adjoints_of_{program.name}"
    return made, tuple(results)


class _Sweep:
    def __init__(self, program: Program, wrt: Sequence[int]) -> None:
        program = expanded(program, lambda step: not isinstance(step.rule, Loop))
        active = active_variables(program, wrt)
        masked = masked_loops(program, active, active_variables)
        if masked:
            program = expanded(program, lambda step: not isinstance(step.rule, Loop) or step.outputs in masked)
            active = active_variables(program, wrt)
        self.program = program
        self.wrt = wrt
        self.active = active
        self.builder = Builder()
        self.env: dict[Var, Operand] = {}
        self.adjoints: dict[Var, _Adjoint] = {}
        #: The adjoints of the variables that the sweep has left behind.
        self.passed: dict[Var, Any] = {}

    # -- forward: the program itself

    def forward(self) -> None:
        program, builder = self.program, self.builder
        names = program.given_names()
        for var in program.inputs:
            self.env[var] = builder.input(program.types[var], names.get(var)).var
        for var, constant in zip(program.captures, program.constants, strict=True):
            copy = builder.new(program.types[var])
            builder.captures.append(copy)
            builder.constants.append(constant)
            self.env[var] = copy
        builder.replay_steps(program, program.steps, self.env)
        builder.anonymous = True

    def values(self, operands: Sequence[Operand]) -> list[Any]:
        return [self.value(one) for one in operands]

    def value(self, operand: Operand) -> Any:
        if isinstance(operand, Literal):
            return operand.value
        return self.builder.value(self.env[operand])

    # -- seeds

    def seed(self, seeded: bool) -> None:
        program = self.program
        for place, operand in enumerate(program.outputs):
            if seeded:
                kind = program.type_of(operand)
                given = self.builder.input(kind, f"adjoint{place if len(program.outputs) > 1 else ''}")
                if not isinstance(operand, Literal) and operand in self.active:
                    self.add(operand, _Adjoint(given))
            elif not isinstance(operand, Literal) and operand in self.active:
                self.add(operand, _Adjoint(program.types[operand].dtype.type(1)))

    # -- backward

    def backward(self) -> None:
        program, builder = self.program, self.builder
        for step in reversed(program.steps):
            given = [self.adjoints.pop(var, None) for var in step.outputs]
            if all(one is None for one in given):
                continue
            builder.site = program.sites.get(step.outputs[0])
            for var, one in zip(step.outputs, given, strict=True):
                if one is not None:
                    self.name(var, one)
                    self.passed[var] = one.value
            self.step(step, given)
        builder.site = None

    def name(self, var: Var, adjoint: _Adjoint) -> None:
        if isinstance(adjoint.value, Value):
            target = self.env[var]
            # A step of the function itself keeps the name that its line gives it, though it is an adjoint too.
            if type(target) is int and self.builder.names.get(adjoint.value.var, "") is None:
                self.builder.names[adjoint.value.var] = ("d", target)

    def step(self, step: Step, given: list[_Adjoint | None]) -> None:
        rule = step.rule
        if isinstance(rule, Elementwise):
            assert given[0] is not None
            self.elementwise(rule, step, given[0])
        elif isinstance(rule, Index):
            assert given[0] is not None
            self.index(rule, step, given[0])
        elif isinstance(rule, Gather):
            assert given[0] is not None
            self.gather(rule, step, given[0])
        elif isinstance(rule, Opaque):
            self.opaque(rule, step, given)
        elif isinstance(rule, Loop):
            self.loop(step, given)

    def wanted(self, step: Step) -> list[int]:
        return [place for place, one in enumerate(step.inputs) if type(one) is int and one in self.active]

    def elementwise(self, rule: Elementwise, step: Step, adjoint: _Adjoint) -> None:
        g = adjoint.value
        y = self.value(step.outputs[0])
        arguments = self.values(step.inputs)
        if rule.singular:
            arguments = [_ieee(one, y) for one in arguments]
        for k in self.wanted(step):
            partial = rule.partials[k]
            live = adjoint.live
            strong = adjoint.strong
            if isinstance(partial, Undefined):
                raise NotDifferentiable(
                    f"{rule.name} has no derivative in its argument {k}: {partial.why}",
                    where=excerpt(self.builder.site),
                    cure="keep that argument independent of what you differentiate by, or use stop_gradient",
                )
            if callable(partial):
                p = partial(y, *arguments)
                if rule.selects and not isinstance(p, Value):
                    p = self.builder.constant_array(np.bool_(p), self.program.types[step.outputs[0]].shape)
                if getattr(p, "dtype", None) == np.bool_:
                    term = np.where(p, g, g.dtype.type(0))
                elif rule.selects:
                    # An infinite adjoint times the 0 of an argument that was not selected would be NaN.
                    term = np.where(p != 0, self.times(g, p), g.dtype.type(0))
                else:
                    term = self.times(g, p)
                singular = rule.singular(*arguments) if callable(rule.singular) else rule.singular
                if live is not None and (strong or singular):
                    term = np.where(live(), term, term.dtype.type(0))
                if rule.selects:
                    live, strong = _both(live, p, np.shape(y)), True
            elif partial == 0:
                continue
            else:
                term = g if partial == 1 else -g if partial == -1 else g * partial
            self.contribute(step.inputs[k], term, live, strong)

    def times(self, g: Any, p: Any) -> Any:
        if not isinstance(g, Value) and g == 1 and isinstance(p, Value) and p.dtype == g.dtype:
            return p
        if not isinstance(g, Value) and not isinstance(p, Value):
            return g * p
        return g * p

    def contribute(self, operand: Operand, term: Any, live: Callable[[], Any] | None, strong: bool) -> None:
        """Add a term to an adjoint, summed over the axes along which the operand was broadcast."""
        kind = self.program.type_of(operand)
        if np.shape(term) != kind.shape:
            if live is not None:
                live = _reduced_live(live, kind.shape)
            term = _sum_to(term, kind.shape, self.builder)
        self.add(operand, _Adjoint(term, live, strong))

    def index(self, rule: Index, step: Step, adjoint: _Adjoint) -> None:
        types = [_type(self.program, one) for one in step.inputs]
        words, out = rule.letters(types, step.params)
        arguments = self.values(step.inputs)
        for k in self.wanted(step):
            others = [place for place in range(len(words)) if place != k]
            extents = dict(zip(words[k], types[k].shape, strict=True))
            term = rule.contract(
                [out, *(words[place] for place in others)], words[k],
                [self.full(adjoint.value, step.outputs[0]), *(arguments[place] for place in others)], extents,
            )  # fmt: skip
            live = None
            if adjoint.live is not None:
                live = _through(adjoint.live, functools.partial(_contracted, rule, out, words[k], extents))
            self.add(step.inputs[k], _Adjoint(term, live, adjoint.strong))

    def gather(self, rule: Gather, step: Step, adjoint: _Adjoint) -> None:
        types = [_type(self.program, one) for one in step.inputs]
        arguments = self.values(step.inputs)
        g = self.full(adjoint.value, step.outputs[0])
        for k in self.wanted(step):
            if rule.linear is not None and k not in rule.linear:
                continue
            before = len(self.builder.steps)
            term = rule.transpose(k, g, types, arguments, step.params)
            fresh = len(self.builder.steps) > before
            live = adjoint.live
            if live is None and not rule.aliases:
                mask: Callable[[], Any] = _ones(g)
            elif live is None:
                mask = _ones(g)
            else:
                mask = live
            kept = _through(mask, functools.partial(_transposed, rule, k, types, arguments, step.params))
            covers = live is None and types[k].size == self.program.types[step.outputs[0]].size
            self.add(step.inputs[k], _Adjoint(term, None if covers else kept, adjoint.strong), fresh=fresh)

    def opaque(self, rule: Opaque, step: Step, given: list[_Adjoint | None]) -> None:
        arguments = self.values(step.inputs)
        ys = self.values(step.outputs)
        wanted = self.wanted(step)
        gs = [
            self.full(one.value, var) if one is not None else self.zeros(var)
            for one, var in zip(given, step.outputs, strict=True)
        ]
        flags = tuple(place in wanted for place in range(len(step.inputs)))
        single = len(gs) == 1
        terms = rule.pullback(
            gs[0] if single else tuple(gs), ys[0] if single else tuple(ys), arguments, step.params, flags
        )
        alive = [one.live for one in given if one is not None]
        strong = all(one.strong for one in given if one is not None) and all(one is not None for one in alive)
        for k in wanted:
            term = terms[k]
            if term is None:
                continue
            live = None
            if rule.selects:
                mask = alive[0] if alive[0] is not None else _ones(gs[0])
                live = _through(mask, functools.partial(_pulled, rule, k, ys[0], arguments, step.params, flags))
                if strong:
                    term = np.where(live(), term, term.dtype.type(0))
                self.add(step.inputs[k], _Adjoint(term, live, strong))
                continue
            if strong:
                masks = [one for one in alive if one is not None]
                live = functools.partial(_any_of, masks, np.shape(term))
                term = np.where(live(), term, term.dtype.type(0))
            self.add(step.inputs[k], _Adjoint(term, live, strong))

    def loop(self, step: Step, given: list[_Adjoint | None]) -> None:
        """A loop the other way round over what the loop left behind: its body is the sweep of the body.

        The adjoints of carries are carried; those of what all iterations read are summed in a carry; those of what each
        iteration reads are stacked. What the sweep reads of an iteration is computed again where that costs next to
        nothing, else the loop is made to leave it.
        """
        parts = parts_of(step)
        body = parts.body
        inputs, inside = carried_on(step, self.active, active_variables)
        inner = _Sweep(body, [place for place, var in enumerate(body.inputs) if var in inputs])
        inner.forward()
        recorded = len(inner.builder.steps)
        own = {var: inner.env[var] for var in body.inputs}
        count = len(parts.carries)

        def zeros(kind: Any) -> Any:
            return self.builder.constant_array(kind.dtype.type(0), kind.shape)

        # What is summed and carried backwards, then the adjoints of the results of this iteration.
        held: dict[Var, Value] = {}
        for var in (*parts.invariants, *parts.carries):
            if var in inputs:
                label = body.names.get(var)
                held[var] = inner.builder.input(body.types[var], f"d{label}" if isinstance(label, str) else None)
        for var in parts.invariants:
            if var in held:
                inner.add(var, _Adjoint(held[var]))
        for var, following in zip(parts.carries, parts.following, strict=True):
            if var in held and type(following) is int and following in inside:
                inner.add(following, _Adjoint(held[var]))
        sequences: list[tuple[Var, Any]] = []
        for var, one, adjoint in zip(parts.stacked, parts.results, given[count:], strict=True):
            if adjoint is not None and type(one) is int and one in inside:
                seed = inner.builder.input(body.types[one])
                inner.add(one, _Adjoint(seed))
                sequences.append((seed.var, self.full(adjoint.value, var)))
        inner.backward()
        carries = []
        for var, value in held.items():
            place = parts.carries.index(var) if var in parts.carries else None
            adjoint = None if place is None else given[place]
            start = zeros(body.types[var]) if adjoint is None else self.full(adjoint.value, parts.finals[place or 0])
            left = inner.adjoints.get(var)
            after = inner.zeros(var) if left is None else inner.full(left.value, var)
            carries.append((value.var, after.var, start))
        slices = [var for var in parts.sequences if var in inputs and var in inner.adjoints]
        results = [inner.full(inner.adjoints[var].value, var).var for var in slices]

        # What the sweep reads of the iteration.
        outputs = [*(after for _, after, _ in carries), *results]
        free = {own[var] for var in (parts.number, *parts.sequences, *parts.invariants)}
        kept = left_behind(inner.builder, recorded, [own[var] for var in parts.carries], free, outputs)
        # The body as the inner sweep recorded it: its own loops may have been made to leave something, too.
        again = Program(
            name=body.name, types=inner.builder.types, inputs=[own[var] for var in body.inputs],  # type: ignore[misc]
            steps=inner.builder.steps[:recorded], sites=inner.builder.sites, names=inner.builder.names,
            outputs=[*(one if isinstance(one, Literal) else inner.env[one] for one in body.outputs), *kept],
        )  # fmt: skip
        tape = self.leave(step, again)
        inner.builder.steps = [one for one in inner.builder.steps if not set(one.outputs) & set(kept)]
        sequences += [(own[var], self.value(one)) for var, one in zip(parts.sequences, parts.stacks, strict=True)]  # type: ignore[misc]
        sequences += list(zip(kept, tape, strict=True))
        invariants = [(own[var], self.value(one)) for var, one in zip(parts.invariants, parts.shared, strict=True)]
        finals, stacked = record_loop(
            self.builder, inner.builder, parts.trips, not parts.reverse, own[parts.number],  # type: ignore[arg-type]
            carries, sequences, invariants, results, f"d_{body.name}",  # type: ignore[arg-type]
        )  # fmt: skip
        arguments = dict(zip(body.inputs[1:], step.inputs, strict=True))
        for var, term in (*zip(held, finals, strict=True), *zip(slices, stacked, strict=True)):
            operand = arguments[var]
            if type(operand) is int and operand in self.active:
                self.add(operand, _Adjoint(term))

    def leave(self, step: Step, body: Program) -> list[Value]:
        """Have the forward loop leave what else this body gives, stacked."""
        builder = self.builder
        first = self.env[step.outputs[0]]
        place = next(place for place, one in enumerate(builder.steps) if first in one.outputs)
        rule, inputs, params, outputs = builder.steps[place]
        tape = []
        for var in body.outputs[len(outputs) :]:
            kind = body.type_of(var)
            tape.append(builder.new(array_type((params[1], *kind.shape), kind.dtype)))
            label = body.names.get(var) if type(var) is int else None
            builder.names[tape[-1]] = f"{label}_all" if isinstance(label, str) else None
        builder.steps[place] = Step(rule, inputs, (body, *params[1:]), (*outputs, *tape))
        return [Value(builder, one) for one in tape]

    # -- sums

    def full(self, g: Any, var: Var) -> Any:
        """A recorded adjoint of the variable's shape (a seed is a bare number until somebody needs an array)."""
        kind = self.program.types[var]
        if isinstance(g, Value):
            return g
        return self.builder.constant_array(kind.dtype.type(g), kind.shape)

    def zeros(self, var: Var) -> Any:
        kind = self.program.types[var]
        return self.builder.constant_array(kind.dtype.type(0), kind.shape)

    def add(self, operand: Operand, more: _Adjoint, *, fresh: bool = False) -> None:
        """Add a term to an adjoint; ``fresh`` says that the last step made the term, and nobody else holds it."""
        assert not isinstance(operand, Literal)
        dtype = self.program.types[operand].dtype
        if more.value.dtype != dtype:
            more.value = more.value.astype(dtype)
        held = self.adjoints.get(operand)
        if held is None:
            self.adjoints[operand] = more
            return
        total = self.builder.fuse_addition(held.value, more.value) if fresh else None
        if total is None:
            total = held.value + more.value
        live = None if held.live is None or more.live is None else _either(held.live, more.live)
        self.adjoints[operand] = _Adjoint(total, live, held.strong or more.strong)

    def adjoints_of_inputs(self) -> list[Any]:
        results = []
        for position in self.wrt:
            var = self.program.inputs[position]
            adjoint = self.adjoints.get(var)
            if adjoint is None:
                results.append(self.zeros(var))
                continue
            self.name(var, adjoint)
            results.append(self.full(adjoint.value, var))
        return results


def _ieee(argument: Any, y: Any) -> Any:
    """The argument; a Python zero as NumPy's, whose division is IEEE's and raises nothing."""
    if type(argument) in (int, float) and argument == 0 and y.dtype.kind == "f":
        return y.dtype.type(argument)
    return argument


def _type(program: Program, operand: Operand) -> Any:
    return operand if isinstance(operand, Literal) else program.types[operand]


def _sum_to(term: Any, shape: tuple[int, ...], builder: Builder) -> Any:
    if not isinstance(term, Value):
        if shape == ():
            return term
        return builder.constant_array(term, shape)
    ndim = term.ndim
    if ndim < len(shape):
        return builder.spread(term, shape)
    extra = ndim - len(shape)
    mine = term.shape[extra:]
    axes = tuple(range(extra)) + tuple(
        place + extra for place, (have, want) in enumerate(zip(mine, shape, strict=True)) if want == 1 and have != 1
    )
    if axes:
        term = np.sum(term, axis=axes)
    if term.shape != shape:
        term = term.reshape(shape) if term.size == _size(shape) else builder.spread(term, shape)
    return term


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def _reduced_live(live: Callable[[], Any], shape: tuple[int, ...]) -> Callable[[], Any]:
    def mask() -> Any:
        full = live()
        if full.ndim < len(shape):
            return np.broadcast_to(full, shape)
        extra = full.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(
            place + extra for place, want in enumerate(shape) if want == 1 and full.shape[place + extra] != 1
        )
        full = full.any(axis=axes) if axes else full
        return full.reshape(shape) if full.shape != shape and full.size == _size(shape) else full

    return mask


def _through(live: Callable[[], Any], linear: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: linear(live().astype(np.float64)) != 0


def _contracted(rule: Index, out: str, word: str, extents: dict[str, int], mask: Any) -> Any:
    return rule.contract([out], word, [mask], extents)


def _transposed(rule: Gather, k: int, types: Any, arguments: Any, params: Any, mask: Any) -> Any:
    return rule.transpose(k, mask, types, arguments, params)


def _pulled(rule: Opaque, k: int, y: Any, arguments: Any, params: Any, flags: Any, mask: Any) -> Any:
    return rule.pullback(mask, y, arguments, params, flags)[k]


def _ones(g: Any) -> Callable[[], Any]:
    return lambda: g.builder.constant_array(np.True_, g.shape)


def _both(live: Callable[[], Any] | None, p: Any, shape: tuple[int, ...]) -> Callable[[], Any]:
    def mask() -> Any:
        chosen = p if getattr(p, "dtype", None) == np.bool_ else p != 0
        if np.shape(chosen) != shape:
            chosen = np.broadcast_to(chosen, shape)
        return chosen if live is None else chosen & live()

    return mask


def _either(one: Callable[[], Any], other: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: one() | other()


def _any_of(masks: list[Callable[[], Any]], shape: tuple[int, ...]) -> Any:
    alive: Any = None
    for mask in masks:
        made = mask().any()
        alive = made if alive is None else alive | made
    return np.broadcast_to(alive, shape) if shape else alive
