"""The kinds of step in a program, each with its local derivatives in letters of its own: y from u, v, w."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.build import Builder
from chainrule.derive.derivation import Local, Partial
from chainrule.derive.expression import Expr, Leaf, Node, Number, expression_of
from chainrule.derive.pullback import Piece, differentiable, pulled_back, scalar_partials
from chainrule.derive.real import tidy
from chainrule.errors import ChainruleError
from chainrule.program import Literal, Program, Step, array_type
from chainrule.rule import Discrete, Elementwise

__all__ = ["local_derivatives", "words_of"]

_LETTERS = "uvwabcefghkmpqrst"


def words_of(step: Step) -> str:
    """What readers call a step."""
    return step.rule.words or step.rule.name.replace("_", " ")


def local_derivatives(program: Program, steps: Iterable[tuple[str, Step]]) -> tuple[Local, ...]:
    """One entry for each kind of step, in order of first appearance; ``steps`` come with the names of their results."""
    kinds: dict[Any, list[str]] = {}
    first: dict[Any, Step] = {}
    for name, step in steps:
        if isinstance(step.rule, Discrete) or len(step.inputs) > len(_LETTERS):
            continue
        key = _kind(program, step)
        first.setdefault(key, step)
        kinds.setdefault(key, []).append(name)
    made = []
    for key, names in kinds.items():
        one = _local(program, first[key], tuple(names))
        if one is not None:
            made.append(one)
    return tuple(made)


def _kind(program: Program, step: Step) -> Any:
    """What tells one kind from another: the rule, which operands are numbers, and which are the same variable."""
    order = {one: place for place, one in reversed(list(enumerate(step.inputs)))}
    ranks = tuple(0 if isinstance(one, Literal) else program.types[one].ndim for one in step.inputs)
    shape = () if isinstance(step.rule, Elementwise) else ranks
    given = tuple(
        ("number", 0 if step.rule.algebra != "power" else repr(one)) if isinstance(one, Literal) else order[one]
        for one in step.inputs
    )
    return step.rule, given, shape


def _local(program: Program, step: Step, names: tuple[str, ...]) -> Local | None:
    if isinstance(step.rule, Elementwise):
        return _elementwise(program, step, names)
    builder = Builder("kind")
    inner: dict[int, Any] = {}
    letters: dict[int, str] = {}
    for one in step.inputs:
        if not isinstance(one, Literal) and one not in inner:
            inner[one] = builder.input(program.types[one]).var
            letters[one] = _LETTERS[len(letters)]
    builder.replay_steps(program, [step], inner)
    piece = Piece(
        builder.finish([builder.value(inner[var]) for var in step.outputs]), tuple(letters), step.outputs, inner
    )
    if not any(program.types[one].dtype.kind == "f" for one in letters):
        return None
    result = Leaf(program.types[step.outputs[0]].shape, "y")
    names_of_results = {
        var: "y" if len(step.outputs) == 1 else f"y{place + 1}" for place, var in enumerate(step.outputs)
    }

    def leaf(var: int) -> Leaf:
        return Leaf(program.types[var].shape, letters.get(var) or names_of_results[var])

    def adjoint(var: int) -> Leaf:
        return Leaf(program.types[var].shape, letters.get(var) or names_of_results[var], adjoint=True)

    wrt = differentiable(piece, [one for one in letters if program.types[one].dtype.kind == "f"])
    known: dict[int, Expr] = {inner[var]: leaf(var) for var in letters}
    expr = expression_of(piece.program, inner[step.outputs[0]], known)
    if expr is None or not wrt:
        return None
    try:
        pulled = pulled_back(piece, wrt, leaf, adjoint, tidy=lambda one: tidy(one, {expr: leaf(step.outputs[0])}))
    except ChainruleError:
        return None
    partials = tuple(Partial(leaf(var), "pullback", one) for var, one in zip(wrt, pulled.exprs, strict=True))
    return Local(words_of(step), result, expr, partials, "", step.rule.convention, names)


def _elementwise(program: Program, step: Step, names: tuple[str, ...]) -> Local | None:
    rule = step.rule
    assert isinstance(rule, Elementwise)
    builder = Builder("kind")
    inner: dict[int, Any] = {}
    letters: dict[int, str] = {}
    ins: list[Any] = []
    general: dict[int, str] = {}
    for one in step.inputs:
        if isinstance(one, Literal):
            if len(names) > 1 and rule.algebra != "power" and not isinstance(one.value, bool):
                # Several steps differ in this number only: it is a letter c here.
                var = builder.input(array_type((), np.dtype(np.float64))).var
                general[var] = "c"
                ins.append(var)
            else:
                ins.append(one)
            continue
        if one not in inner:
            inner[one] = builder.input(array_type((), program.types[one].dtype)).var
            letters[one] = _LETTERS[len(letters)]
        ins.append(inner[one])
    (made,) = builder.add(rule, tuple(ins), step.params)
    inner[step.outputs[0]] = made
    scalar = builder.finish([builder.value(made)])
    wrt = [one for one in letters if program.types[one].dtype.kind == "f"]
    numbers = list(range(-1, -1 - len(general), -1))
    reads = _in_order(scalar, inner, list(letters), numbers)
    names_by_key = {**letters, **dict.fromkeys(numbers, "c"), step.outputs[0]: "y"}
    piece = Piece(scalar, tuple(reads), step.outputs, inner)
    kept = differentiable(piece, wrt)
    if not kept:
        return None

    def leaf(var: int) -> Leaf:
        return Leaf((), names_by_key[var])

    known: dict[int, Expr] = {place: leaf(key) for place, key in zip(scalar.inputs, reads, strict=True)}
    expr = expression_of(scalar, made, known)
    if expr is None:
        return None
    exprs = scalar_partials(piece, kept, leaf)
    partials = tuple(
        Partial(leaf(var), "partial", None if one is None else tidy(one, {expr: leaf(step.outputs[0])}))
        for var, one in zip(kept, exprs, strict=True)
    )
    return Local(words_of(step), Leaf((), "y"), expr, partials, _domain(rule, step, letters), rule.convention, names)


def _in_order(scalar: Program, inner: dict[int, Any], variables: Sequence[int], numbers: Sequence[int]) -> list[int]:
    """The keys of a program's inputs: variables of the whole program, or stand-ins (below 0) for its numbers."""
    back = {inner[var]: var for var in variables}
    spare = iter(numbers)
    return [back[place] if place in back else next(spare) for place in scalar.inputs]


def _domain(rule: Elementwise, step: Step, letters: dict[int, str]) -> str:
    """Where the derivative exists, as far as the rule says so."""
    said = []
    for one, bounds in zip(step.inputs, rule.domain, strict=True):
        if isinstance(one, Literal):
            continue
        low, high = bounds
        name = letters[one]
        if low == 0 and high == math.inf:
            said.append(f"{name} > 0")
        elif (low, high) == (-1.0, 1.0):
            said.append(f"|{name}| < 1")
        elif low == 0 and high == 1:
            said.append(f"0 < {name} < 1")
        elif low == 1 and high == math.inf:
            said.append(f"{name} > 1")
    return ", ".join(dict.fromkeys(said))


def is_trivial(local: Local) -> bool:
    """Whether a kind of step needs no derivation: it only moves or spreads numbers."""
    return isinstance(local.expr, Node) and isinstance(local.partials[0].expr, Number)
