"""Program -> Program: the same program on a batch, along a leading axis of the inputs that are marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.build import Builder, Value
from chainrule.expand import expanded
from chainrule.program import Literal, Operand, Program, Var, array_type
from chainrule.rule import Elementwise

__all__ = ["batch"]


def batch(program: Program, batched: Sequence[bool], size: int) -> Program:
    """Each input marked in ``batched`` gets a leading axis of extent ``size``; every output has one."""
    program = expanded(program)
    builder = Builder(f"batch_{program.name}")
    env: dict[Var, Operand] = {}
    spread: set[Var] = set()
    names = program.given_names()
    for var, yes in zip(program.inputs, batched, strict=True):
        kind = program.types[var]
        if yes:
            kind = array_type((size, *kind.shape), kind.dtype)
            spread.add(var)
        env[var] = builder.input(kind, names.get(var)).var
    for var, constant in zip(program.captures, program.constants, strict=True):
        env[var] = builder.new(program.types[var])
        builder.captures.append(env[var])  # type: ignore[arg-type]
        builder.constants.append(constant)
    for step in program.steps:
        flags = tuple(type(one) is int and one in spread for one in step.inputs)
        if not any(flags):
            builder.replay_steps(program, (step,), env)
            continue
        spread.update(step.outputs)
        arguments = [one.value if isinstance(one, Literal) else builder.value(env[one]) for one in step.inputs]
        builder.site = program.sites.get(step.outputs[0])
        rule = step.rule
        if isinstance(rule, Elementwise):
            rank = program.types[step.outputs[0]].ndim
            aligned = [_aligned(one, rank, size) if yes else one for one, yes in zip(arguments, flags, strict=True)]
            made = builder.record(rule, aligned, ())
        else:
            made = rule.batch(flags, size, arguments, step.params)  # type: ignore[attr-defined]
        builder.site = None
        results = (made,) if len(step.outputs) == 1 else made
        for var, result in zip(step.outputs, results, strict=True):
            env[var] = builder.operand(result)
    outputs: list[Any] = []
    for operand in program.outputs:
        value: Any
        if not isinstance(operand, Literal) and operand in spread:
            value = builder.value(env[operand])
        else:
            kind = program.type_of(operand)
            shape = getattr(kind, "shape", ())
            if isinstance(operand, Literal):
                value = builder.constant_array(np.asarray(operand.value)[()], (size,))
            else:
                value = np.broadcast_to(builder.value(env[operand]), (size, *shape))
        outputs.append(value)
    return builder.finish(outputs)


def _aligned(value: Value, rank: int, size: int) -> Value:
    """The leading axis apart, so that NumPy's broadcasting aligns the others from the right."""
    shape = value.shape[1:]
    if len(shape) == rank:
        return value
    made: Value = value.reshape((size, *(1,) * (rank - len(shape)), *shape))
    return made
