"""What a derivation rests on: the traced program with the value and the adjoint of every variable at the point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.expand import expanded
from chainrule.program import Literal, Operand, Program, Step, Var
from chainrule.transforms.backprop import adjoints_of_all, backprop
from chainrule.transforms.simplify import simplify

__all__ = ["Evidence", "gather", "values_of"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The program (no programs held in it), and arrays by variable. ``adjoints`` lacks what does not act."""

    program: Program
    leaves: tuple[Any, ...]
    values: dict[Var, Any]
    adjoints: dict[Var, Any]
    #: The program of value and gradient, as ``value_and_grad`` would run it.
    gradient_program: Program
    #: Who makes each variable: the position of its step.
    maker: dict[Var, int] = field(default_factory=dict)
    #: The steps that read each variable, with the positions of the operand.
    readers: dict[Var, list[tuple[int, int]]] = field(default_factory=dict)

    def value(self, operand: Operand) -> Any:
        """The number that an operand stood for."""
        return operand.value if isinstance(operand, Literal) else self.values[operand]

    def arguments(self, step: Step) -> list[Any]:
        """The numbers that a step was given."""
        return [self.value(one) for one in step.inputs]


def values_of(program: Program, leaves: Sequence[Any]) -> dict[Var, Any]:
    """The value of every variable, by NumPy, step by step."""
    values: dict[Var, Any] = dict(zip(program.inputs, leaves, strict=True))
    values.update(zip(program.captures, program.constants, strict=True))
    with np.errstate(all="ignore"):
        for step in program.steps:
            arguments = [one.value if isinstance(one, Literal) else values[one] for one in step.inputs]
            made = step.rule.value(*arguments, *step.params)
            if len(step.outputs) == 1:
                values[step.outputs[0]] = made
            else:
                values.update(zip(step.outputs, made, strict=True))
    return values


def gather(traced: Program, leaves: Sequence[Any]) -> Evidence:
    """Run the program and its sweep of backpropagation once, and keep everything."""
    program = expanded(traced)
    wrt = range(len(program.inputs))
    sweep, found = adjoints_of_all(program, wrt)
    adjoints = dict(zip(found, sweep.run(list(leaves)), strict=True))
    maker: dict[Var, int] = {}
    readers: dict[Var, list[tuple[int, int]]] = {}
    for position, step in enumerate(program.steps):
        for var in step.outputs:
            maker[var] = position
        for place, one in enumerate(step.inputs):
            if not isinstance(one, Literal):
                readers.setdefault(one, []).append((position, place))
    gradient = simplify(backprop(traced, wrt, with_value=True))
    return Evidence(
        program, tuple(leaves), values_of(program, leaves), adjoints, gradient, maker, readers,
    )  # fmt: skip
