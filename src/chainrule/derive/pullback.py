"""A piece of a program -> the adjoints of what it reads, as expressions: backprop on the piece, then real identities.

Nothing here is written by hand: the same rules and the same sweep that compute a gradient give the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.build import Builder
from chainrule.derive.expression import Expr, Leaf, expression_of
from chainrule.errors import NotDifferentiable
from chainrule.program import Literal, Program, Step, Var
from chainrule.transforms.backprop import backprop
from chainrule.transforms.simplify import simplify

__all__ = ["Piece", "Pulled", "differentiable", "piece_of", "pulled_back", "scalar_partials"]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some steps of a program as a program of their own: its inputs are the variables that they read from outside.

    ``inner`` numbers the variables of the whole program in the piece.
    """

    program: Program
    reads: tuple[Var, ...]
    makes: tuple[Var, ...]
    inner: Mapping[Var, Var]


def piece_of(program: Program, steps: Sequence[Step], makes: Sequence[Var]) -> Piece:
    """The program of these steps, with the results ``makes``."""
    builder = Builder("piece")
    inner: dict[Var, Any] = {}
    reads: list[Var] = []
    own = {var for step in steps for var in step.outputs}
    for step in steps:
        for one in step.inputs:
            if not isinstance(one, Literal) and one not in own and one not in inner:
                inner[one] = builder.input(program.types[one]).var
                reads.append(one)
    builder.replay_steps(program, steps, inner)
    made = builder.finish([builder.value(inner[var]) for var in makes])
    made.names.clear()
    return Piece(made, tuple(reads), tuple(makes), dict(inner))


@dataclass(frozen=True, eq=False)
class Pulled:
    """The adjoints of what a piece reads: the program that computes them, and an expression for each.

    The program takes what the piece reads, then the adjoints of what it makes.
    """

    program: Program
    wrt: tuple[Var, ...]
    exprs: tuple[Expr | None, ...]


def pulled_back(
    piece: Piece,
    wrt: Sequence[Var],
    leaf: Callable[[Var], Expr],
    adjoint: Callable[[Var], Leaf],
    *,
    tidy: Callable[[Expr], Expr] = lambda expr: expr,
) -> Pulled:
    """Adjoints of the variables ``wrt`` that the piece reads; ``leaf`` and ``adjoint`` name variables.

    Raises NotDifferentiable where a rule has no derivative in an operand that is asked for.
    """
    places = [piece.reads.index(var) for var in wrt]
    with np.errstate(all="ignore"):
        swept = backprop(piece.program, places, seeded=True)
        program = simplify(swept)
    # A sweep repeats the steps of the piece first: their results have names of their own.
    known: dict[Var, Expr] = {}
    for var, given in zip(piece.reads, swept.inputs, strict=False):
        known[given] = leaf(var)
    for var, given in zip(piece.makes, swept.inputs[len(piece.reads) :], strict=True):
        known[given] = adjoint(var)
    for mine, its in zip(piece.program.steps, swept.steps, strict=False):
        for one, other in zip(mine.outputs, its.outputs, strict=True):
            for var in piece.makes:
                if piece.inner[var] == one:
                    known[other] = leaf(var)
    exprs = []
    for result in program.outputs:
        expr = expression_of(program, result, known)
        exprs.append(None if expr is None else tidy(expr))
    return Pulled(program, tuple(wrt), tuple(exprs))


def differentiable(piece: Piece, wrt: Sequence[Var]) -> tuple[Var, ...]:
    """Those of the variables in which the piece has a derivative that can be asked for."""
    kept = []
    for var in wrt:
        try:
            backprop(piece.program, [piece.reads.index(var)], seeded=True)
        except NotDifferentiable:
            continue
        kept.append(var)
    return tuple(kept)


def scalar_partials(piece: Piece, wrt: Sequence[Var], leaf: Callable[[Var], Expr]) -> list[Expr | None]:
    """The partials of one step between numbers: the sweep of a program whose one result is that number."""
    with np.errstate(all="ignore"):
        swept = backprop(piece.program, [piece.reads.index(var) for var in wrt])
        program = simplify(swept)
    known: dict[Var, Expr] = {place_of: leaf(var) for var, place_of in zip(piece.reads, swept.inputs, strict=True)}
    for var, made in zip(piece.makes, swept.steps[0].outputs, strict=True):
        known[made] = leaf(var)
    return [expression_of(program, one, known) for one in program.outputs]
