"""Program -> Program: the same program on a batch, along a leading axis of the inputs that are marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.build import Builder, Value
from chainrule.expand import expanded
from chainrule.loops import carried_on, parts_of, reached, record_loop
from chainrule.program import Literal, Operand, Program, Step, Var, array_type
from chainrule.rule import Elementwise, Loop

__all__ = ["batch"]


def batch(program: Program, batched: Sequence[bool], size: int) -> Program:
    """Each input marked in ``batched`` gets a leading axis of extent ``size``; every output has one."""
    program = expanded(program, lambda step: not isinstance(step.rule, Loop))
    batching = _Batch(program, batched, size)
    builder = batching.builder
    outputs: list[Any] = []
    for operand in program.outputs:
        value: Any
        if not isinstance(operand, Literal) and operand in batching.spread:
            value = builder.value(batching.env[operand])
        else:
            kind = program.type_of(operand)
            shape = getattr(kind, "shape", ())
            if isinstance(operand, Literal):
                value = builder.constant_array(np.asarray(operand.value)[()], (size,))
            else:
                value = np.broadcast_to(builder.value(batching.env[operand]), (size, *shape))
        outputs.append(value)
    return builder.finish(outputs)


class _Batch:
    """The steps of a program on a batch; ``spread`` are the variables that have an axis for it."""

    def __init__(self, program: Program, batched: Sequence[bool], size: int) -> None:
        self.program = program
        self.size = size
        self.builder = builder = Builder(f"batch_{program.name}")
        self.env: dict[Var, Operand] = {}
        self.spread: set[Var] = set()
        names = program.given_names()
        for var, yes in zip(program.inputs, batched, strict=True):
            kind = program.types[var]
            if yes:
                kind = array_type((size, *kind.shape), kind.dtype)
                self.spread.add(var)
            self.env[var] = builder.input(kind, names.get(var)).var
        for var, constant in zip(program.captures, program.constants, strict=True):
            copy = self.env[var] = builder.new(program.types[var])
            builder.captures.append(copy)
            builder.constants.append(constant)
        for step in program.steps:
            flags = tuple(type(one) is int and one in self.spread for one in step.inputs)
            if not any(flags):
                builder.replay_steps(program, (step,), self.env)
                continue
            builder.site = program.sites.get(step.outputs[0])
            if isinstance(step.rule, Loop):
                self.loop(step)
            else:
                self.step(step, flags)
            builder.site = None

    def value(self, operand: Operand) -> Any:
        return operand.value if isinstance(operand, Literal) else self.builder.value(self.env[operand])

    def step(self, step: Step, flags: tuple[bool, ...]) -> None:
        self.spread.update(step.outputs)
        arguments = [self.value(one) for one in step.inputs]
        rule = step.rule
        if isinstance(rule, Elementwise):
            rank = self.program.types[step.outputs[0]].ndim
            aligned = [
                _aligned(one, rank, self.size) if yes else one for one, yes in zip(arguments, flags, strict=True)
            ]
            made = self.builder.record(rule, aligned, ())
        else:
            made = rule.batch(flags, self.size, arguments, step.params)  # type: ignore[attr-defined]
        results = (made,) if len(step.outputs) == 1 else made
        for var, result in zip(step.outputs, results, strict=True):
            self.env[var] = self.builder.operand(result)

    def loop(self, step: Step) -> None:
        """A loop whose body is done on a batch; the axis of the batch comes after that of the iterations."""
        parts = parts_of(step)
        body, size = parts.body, self.size
        inputs, _ = carried_on(step, self.spread, reached)
        inner = _Batch(body, [var in inputs for var in body.inputs], size)
        own = dict(zip(body.inputs, inner.builder.inputs, strict=True))
        carries = []
        for var, following, initial in zip(parts.carries, parts.following, parts.initial, strict=True):
            after, given = inner.value(following), self.value(initial)
            kind = body.types[var]
            if var in inputs:
                if not (type(following) is int and following in inner.spread):
                    after = inner.builder.spread(after, (size, *kind.shape))
                if not (type(initial) is int and initial in self.spread):
                    given = self.builder.spread(
                        given if hasattr(given, "dtype") else kind.dtype.type(given), (size, *kind.shape)
                    )
            carries.append((own[var], inner.builder.operand(after), given))
        sequences = []
        for var, one in zip(parts.sequences, parts.stacks, strict=True):
            given = self.value(one)
            sequences.append((own[var], np.moveaxis(given, 0, 1) if var in inputs else given))
        invariants = [(own[var], self.value(one)) for var, one in zip(parts.invariants, parts.shared, strict=True)]
        results = [one if isinstance(one, Literal) else inner.env[one] for one in parts.results]
        finals, stacked = record_loop(
            self.builder, inner.builder, parts.trips, parts.reverse, own[parts.number],
            carries, sequences, invariants, results, body.name,
        )  # fmt: skip
        for var, held, final in zip(parts.finals, parts.carries, finals, strict=True):
            self.env[var] = final.var
            if held in inputs:
                self.spread.add(var)
        for var, one, stack in zip(parts.stacked, parts.results, stacked, strict=True):
            self.env[var] = stack.var
            if type(one) is int and one in inner.spread:
                self.env[var] = self.builder.operand(np.moveaxis(stack, 0, 1))  # type: ignore[type-var]
                self.spread.add(var)


def _aligned(value: Value, rank: int, size: int) -> Value:
    """The leading axis apart, so that NumPy's broadcasting aligns the others from the right."""
    shape = value.shape[1:]
    if len(shape) == rank:
        return value
    made: Value = value.reshape((size, *(1,) * (rank - len(shape)), *shape))
    return made
