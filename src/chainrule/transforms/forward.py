"""Program -> Program: forward accumulation (Wengert 1964). Each variable carries its tangent along a direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.build import Builder, Value
from chainrule.errors import NotDifferentiable
from chainrule.expand import expanded
from chainrule.loops import carried_on, parts_of, record_loop
from chainrule.program import Literal, Operand, Program, Step, Var
from chainrule.rule import Discrete, Elementwise, Gather, Index, Loop, Opaque, Undefined
from chainrule.source import excerpt

__all__ = ["forward"]


def forward(program: Program, wrt: Sequence[int]) -> Program:
    """A program of the inputs, followed by a tangent of each input number ``wrt``.

    Its outputs are the program's, followed by the tangent of each.
    """
    with np.errstate(all="ignore"):
        return _Forward(program, wrt).run()


def _moving(program: Program, wrt: Sequence[int]) -> set[Var]:
    """The variables that may have a tangent where the inputs number ``wrt`` have one."""
    moving = {program.inputs[place] for place in wrt}
    for step in program.steps:
        if not isinstance(step.rule, Discrete) and any(type(one) is int and one in moving for one in step.inputs):
            moving.update(var for var in step.outputs if program.types[var].dtype.kind in "fc")
    return moving


class _Forward:
    def __init__(self, program: Program, wrt: Sequence[int]) -> None:
        program = expanded(program, lambda step: not isinstance(step.rule, Loop))
        self.program = program
        self.wrt = wrt
        self.builder = Builder(f"jvp_{program.name}")
        self.env: dict[Var, Operand] = {}
        self.tangents: dict[Var, Any] = {}

    def run(self) -> Program:
        program, builder = self.program, self.builder
        names = program.given_names()
        for var in program.inputs:
            self.env[var] = builder.input(program.types[var], names.get(var)).var
        for position in self.wrt:
            var = program.inputs[position]
            label = f"t_{names[var]}" if var in names else None
            self.tangents[var] = builder.input(program.types[var], label)
        for var, constant in zip(program.captures, program.constants, strict=True):
            self.env[var] = builder.new(program.types[var])
            builder.captures.append(self.env[var])  # type: ignore[arg-type]
            builder.constants.append(constant)
        for step in program.steps:
            builder.anonymous = False
            builder.replay_steps(program, (step,), self.env)
            builder.anonymous = True
            if not isinstance(step.rule, Discrete) and any(
                type(one) is int and one in self.tangents for one in step.inputs
            ):
                builder.site = program.sites.get(step.outputs[0])
                if isinstance(step.rule, Loop):
                    self.loop(step)
                else:
                    self.step(step)
                builder.site = None
        outs = [self.value(one) for one in program.outputs]
        tangents = [self.result(one) for one in program.outputs]
        return builder.finish([*outs, *tangents])

    def value(self, operand: Operand) -> Any:
        return operand.value if isinstance(operand, Literal) else self.builder.value(self.env[operand])

    def tangent(self, operand: Operand) -> Any:
        return self.tangents.get(operand) if type(operand) is int else None

    def result(self, operand: Operand) -> Any:
        tangent = self.tangent(operand)
        if tangent is not None:
            return tangent
        kind = self.program.type_of(operand)
        dtype, shape = getattr(kind, "dtype", np.dtype(np.float64)), getattr(kind, "shape", ())
        return self.builder.constant_array(dtype.type(0), shape)

    def keep(self, var: Var, tangent: Any) -> None:
        kind = self.program.types[var]
        if tangent is None or kind.dtype.kind not in "fc":
            return
        if not isinstance(tangent, Value):
            tangent = self.builder.constant_array(kind.dtype.type(tangent), kind.shape)
        if tangent.dtype != kind.dtype:
            tangent = tangent.astype(kind.dtype)
        if tangent.shape != kind.shape:
            tangent = self.builder.spread(tangent, kind.shape)
        target = self.env[var]
        if type(target) is int:
            self.builder.names[tangent.var] = ("t_", target)
        self.tangents[var] = tangent

    def step(self, step: Step) -> None:
        rule = step.rule
        arguments = [self.value(one) for one in step.inputs]
        tangents = [self.tangent(one) for one in step.inputs]
        types = [one if isinstance(one, Literal) else self.program.types[one] for one in step.inputs]
        if isinstance(rule, Elementwise):
            self.keep(step.outputs[0], self.elementwise(rule, step, arguments, tangents))
        elif isinstance(rule, Index):
            total = None
            words, out = rule.letters(types, step.params)
            for k, tangent in enumerate(tangents):
                if tangent is not None:
                    replaced = [tangent if place == k else one for place, one in enumerate(arguments)]
                    kind = self.program.types[step.outputs[0]]
                    extents = dict(zip(out, kind.shape, strict=True))
                    term = rule.contract(words, out, replaced, extents)
                    total = term if total is None else total + term
            self.keep(step.outputs[0], total)
        elif isinstance(rule, Gather):
            linear = range(len(arguments)) if rule.linear is None else rule.linear
            replaced = list(arguments)
            for place in linear:
                like = types[place]
                dtype = np.dtype(like.dtype)
                tangent = tangents[place]
                if tangent is None:
                    tangent = self.builder.constant_array(dtype.type(0), like.shape)
                replaced[place] = tangent
            if any(tangents[place] is not None for place in linear):
                self.keep(step.outputs[0], self.builder.record(rule, replaced, step.params))
        elif isinstance(rule, Opaque):
            ys = [self.value(one) for one in step.outputs]
            made = rule.forward(tangents, ys[0] if len(ys) == 1 else tuple(ys), arguments, step.params)
            for var, tangent in zip(step.outputs, (made,) if len(ys) == 1 else made, strict=True):
                self.keep(var, tangent)

    def loop(self, step: Step) -> None:
        """A loop that carries the tangents with the values, in the place of the one that carries the values alone."""
        assert self.builder.steps[-1].rule is step.rule
        self.builder.steps.pop()
        parts = parts_of(step)
        body = parts.body
        inputs, variables = carried_on(step, self.tangents, _moving)
        inner = _Forward(body, [place for place, var in enumerate(body.inputs) if var in inputs])
        made = inner.run()
        tangent_of = dict(
            zip([var for var in body.inputs if var in inputs], made.inputs[len(body.inputs) :], strict=True)
        )
        count = len(body.outputs)
        outs, touts = made.outputs[:count], made.outputs[count:]
        own = dict(zip(body.inputs, made.inputs, strict=False))
        carries = []
        for place, var in enumerate(parts.carries):
            carries.append((own[var], outs[place], self.value(parts.initial[place])))
        carried = [place for place, var in enumerate(parts.carries) if var in inputs]
        for place in carried:
            kind = body.types[parts.carries[place]]
            given = self.tangent(parts.initial[place])
            if given is None:
                given = self.builder.constant_array(kind.dtype.type(0), kind.shape)
            elif given.dtype != kind.dtype:
                given = given.astype(kind.dtype)
            carries.append((tangent_of[parts.carries[place]], touts[place], given))
        sequences: list[tuple[Var, Any]] = []
        invariants: list[tuple[Var, Any]] = []
        for pairs, operands, into in (
            (parts.sequences, parts.stacks, sequences), (parts.invariants, parts.shared, invariants),
        ):  # fmt: skip
            for var, one in zip(pairs, operands, strict=True):
                into.append((own[var], self.value(one)))
                if var in inputs:
                    into.append((tangent_of[var], self.tangent(one)))
        results = list(outs[len(parts.carries) :])
        moving = [place for place, one in enumerate(parts.results) if type(one) is int and one in variables]
        results += [touts[len(parts.carries) + place] for place in moving]
        finals, stacked = record_loop(
            self.builder, inner.builder, parts.trips, parts.reverse, own[parts.number],
            carries, sequences, invariants, results, body.name,
        )  # fmt: skip
        values = [*finals[: len(parts.carries)], *stacked[: len(parts.results)]]
        for var, value in zip(step.outputs, values, strict=True):
            if var in self.program.names:
                self.builder.names[value.var] = self.program.names[var]
            self.env[var] = value.var
        for place, tangent in zip(carried, finals[len(parts.carries) :], strict=True):
            self.keep(parts.finals[place], tangent)
        for place, tangent in zip(moving, stacked[len(parts.results) :], strict=True):
            self.keep(parts.stacked[place], tangent)

    def elementwise(self, rule: Elementwise, step: Step, arguments: list[Any], tangents: list[Any]) -> Any:
        total = None
        y = self.value(step.outputs[0])
        for k, tangent in enumerate(tangents):
            partial = rule.partials[k]
            if tangent is None:
                continue
            if isinstance(partial, Undefined):
                raise NotDifferentiable(
                    f"{rule.name} has no derivative in its argument {k}: {partial.why}",
                    where=excerpt(self.builder.site),
                    cure="keep that argument independent of what you differentiate by, or use stop_gradient",
                )
            if callable(partial):
                if rule.singular:
                    # A Python zero as NumPy's, whose division is IEEE's and raises nothing.
                    zero = y.dtype.type(0)
                    arguments = [zero if type(one) in (int, float) and one == 0 else one for one in arguments]
                p = partial(y, *arguments)
                if getattr(p, "dtype", None) == np.bool_:
                    term = np.where(p, tangent, tangent.dtype.type(0))
                elif rule.selects:
                    term = np.where(p != 0, p * tangent, tangent.dtype.type(0))
                else:
                    term = p * tangent
            elif partial == 0:
                continue
            else:
                term = tangent if partial == 1 else -tangent if partial == -1 else partial * tangent
            total = term if total is None else total + term
        return total
