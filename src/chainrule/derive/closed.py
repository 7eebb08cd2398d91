"""The gradient with respect to an argument on one line, where it fits: the whole sweep as a single expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from chainrule.derive.expression import Expr, Leaf, expression_of, node_count
from chainrule.derive.real import tidy
from chainrule.derive.writing import written
from chainrule.program import Program, Var
from chainrule.transforms.backprop import backprop
from chainrule.transforms.simplify import simplify

__all__ = ["closed_forms"]

#: A closed form is shown if it is no longer than this, written as text.
LONGEST = 110
_MOST_STEPS = 400


def closed_forms(
    program: Program, leaf: Callable[[Var], Leaf], named: Mapping[Var, bool]
) -> list[tuple[Expr, Expr] | None]:
    """For each input of the program its adjoint as ``(expression to show, the same before real identities)``.

    First in the inputs alone, then in the variables that the user named (``named``), then in any of the program's;
    None where all are too long.
    """
    if len(program.steps) > _MOST_STEPS:
        return [None] * len(program.inputs)
    with np.errstate(all="ignore"):
        swept = backprop(program, range(len(program.inputs)))
        gradient = simplify(swept)
    counterpart: dict[Var, Var] = dict(zip(program.inputs, swept.inputs, strict=True))
    counterpart.update(zip(program.captures, swept.captures, strict=False))
    for mine, its in zip(program.steps, swept.steps, strict=False):
        counterpart.update(zip(mine.outputs, its.outputs, strict=True))
    outside = {*program.inputs, *program.captures}
    choices = (
        {var for var in counterpart if var in outside},
        {var for var in counterpart if var in outside or named.get(var)},
        set(counterpart),
    )
    made: list[tuple[Expr, Expr] | None] = []
    for output in gradient.outputs:
        found = None
        for choice in choices:
            known: dict[Var, Expr] = {counterpart[var]: leaf(var) for var in choice}
            expr = expression_of(gradient, output, known)
            if expr is None:
                continue
            shown = tidy(expr)
            if node_count(shown) <= LONGEST and len(written(shown)) <= LONGEST:
                found = (shown, expr)
                break
        made.append(found)
    return made
