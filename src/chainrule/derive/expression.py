"""An expression: what a step or an adjoint is computed from, as a small tree that can be written in many ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chainrule.program import Literal, Operand, Program, Step, Var
from chainrule.rule import Rule

__all__ = ["Expr", "Leaf", "Node", "Number", "Over", "evaluate", "expression_of", "leaves_of", "node_count"]

#: An expression whose tree would have more nodes than this is not written out.
LARGEST = 400


@dataclass(frozen=True, slots=True)
class Expr:
    """A value in a formula, with the shape of the array that it stands for. Immutable; compared by structure."""

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Number(Expr):
    """A number that is written as digits."""

    value: Any = 0.0


@dataclass(frozen=True, slots=True)
class Leaf(Expr):
    """A variable by the user's name; with ``adjoint``, the derivative of the result with respect to it.

    ``index`` says which one of a repeated variable is meant (``l``, ``l-1``, ``L``), and is empty outside of loops.
    """

    name: str = ""
    adjoint: bool = False
    index: str = ""


@dataclass(frozen=True, slots=True)
class Node(Expr):
    """A rule applied to expressions; ``result`` numbers the results of a rule that has several."""

    rule: Rule = field(default=None)  # type: ignore[assignment]
    operands: tuple[Expr, ...] = ()
    params: tuple[Any, ...] = ()
    result: int = 0

    def over(self, *operands: Expr) -> Node:
        """The same rule on other operands."""
        return replace(self, operands=operands)


@dataclass(frozen=True, slots=True)
class Over(Expr):
    """The sum of an expression over the passes of a loop, whose number is ``letter``."""

    letter: str = "l"
    inner: Expr = field(default=None)  # type: ignore[assignment]


def expression_of(
    program: Program, operand: Operand, known: Mapping[Var, Expr], *, inline: Callable[[Step], bool] | None = None
) -> Expr | None:
    """What ``operand`` is, written with the expressions of the variables in ``known``; None if it grows too long.

    ``inline`` says of a step whether it may be written out (all may, if it is None).
    """
    made_by = {var: step for step in program.steps for var in step.outputs}
    sizes: dict[Var, int] = {}
    done: dict[Var, Expr] = dict(known)

    def size(one: Operand) -> int:
        if isinstance(one, Literal) or one in known:
            return 1
        found = sizes.get(one)
        if found is None:
            found = sizes[one] = 1 + sum(map(size, made_by[one].inputs))
        return found

    def build(one: Operand) -> Expr:
        if isinstance(one, Literal):
            return Number((), one.value)
        found = done.get(one)
        if found is None:
            step = made_by[one]
            if inline is not None and not inline(step):
                raise _TooLong
            found = done[one] = Node(
                program.types[one].shape,
                step.rule,
                tuple(build(each) for each in step.inputs),
                step.params,
                step.outputs.index(one),
            )
        return found

    # A chain of many steps is as deep as it is long: its size is counted from the first step on.
    for step in program.steps:
        for var in step.outputs:
            if var not in known:
                sizes[var] = min(10 * LARGEST, 1 + sum(map(size, step.inputs)))
    if size(operand) > LARGEST:
        return None
    try:
        return build(operand)
    except _TooLong:
        return None


class _TooLong(Exception):
    pass


def leaves_of(expr: Expr) -> Iterator[Leaf]:
    """The variables of an expression, from left to right, each as often as it occurs."""
    if isinstance(expr, Leaf):
        yield expr
    elif isinstance(expr, Over):
        yield from leaves_of(expr.inner)
    elif isinstance(expr, Node):
        for one in expr.operands:
            yield from leaves_of(one)


def node_count(expr: Expr) -> int:
    """How many rules, names and numbers the expression has."""
    return 1 + (sum(map(node_count, expr.operands)) if isinstance(expr, Node) else 0)


def evaluate(expr: Expr, value: Callable[[Leaf], Any]) -> Any:
    """The number or array that an expression is, with the values of its variables."""
    if isinstance(expr, Number):
        return expr.value
    if isinstance(expr, Leaf):
        return value(expr)
    assert isinstance(expr, Node)
    made = expr.rule.value(*(evaluate(one, value) for one in expr.operands), *expr.params)
    return made[expr.result] if isinstance(made, tuple) else made
