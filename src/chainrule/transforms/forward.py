"""Program -> Program: forward accumulation (Wengert 1964). Each variable carries its tangent along a direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.build import Builder, Value
from chainrule.errors import NotDifferentiable
from chainrule.expand import expanded
from chainrule.program import Literal, Operand, Program, Step, Var
from chainrule.rule import Discrete, Elementwise, Gather, Index, Opaque, Undefined
from chainrule.source import excerpt

__all__ = ["forward"]


def forward(program: Program, wrt: Sequence[int]) -> Program:
    """A program of the inputs, followed by a tangent of each input number ``wrt``.

    Its outputs are the program's, followed by the tangent of each.
    """
    with np.errstate(all="ignore"):
        return _Forward(program, wrt).run()


class _Forward:
    def __init__(self, program: Program, wrt: Sequence[int]) -> None:
        program = expanded(program)
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
