"""Program -> Program: the same numbers with fewer steps.

EXACT identities only: each holds for every float, NaN and signed zero included. A step that was done is not done
again; what nobody reads is dropped; ``x * 1`` is ``x``; an operand is not broadcast where the operation does it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.loops import merged, pruned
from chainrule.program import Literal, Operand, Program, Step, Var, literal
from chainrule.rule import RULES, Cost, Elementwise, Gather, Index, Loop

__all__ = ["simplify"]


def simplify(program: Program) -> Program:
    """An equal program without repeated, idle and unread steps."""
    same: dict[Var, Operand] = {}
    done: dict[Any, tuple[Var, ...]] = {}
    made_by: dict[Var, Step] = {}
    kept: list[Step] = []
    types = program.types

    def current(operand: Operand) -> Operand:
        return same.get(operand, operand) if type(operand) is int else operand

    for step in program.steps:
        inputs = tuple([current(one) for one in step.inputs])
        rule = step.rule
        if isinstance(rule, Index) and rule.name == "broadcast_to":
            inputs = _innermost(inputs, made_by)
            if isinstance(inputs[0], Literal) and step.params == ((),) and isinstance(inputs[0].value, np.generic):
                same[step.outputs[0]] = inputs[0]
                continue
        if rule.merges and type(inputs[0]) is int:
            before_it = made_by.get(inputs[0])
            if before_it is not None and before_it.rule is rule and not isinstance(before_it.inputs[0], Literal):
                inputs = before_it.inputs
            if type(inputs[0]) is int and types[inputs[0]] is types[step.outputs[0]]:
                same[step.outputs[0]] = inputs[0]
                continue
        if isinstance(rule, Elementwise):
            uniform = _uniform(program, rule, inputs, step.outputs[0], made_by)
            if uniform is not None:
                if program.types[step.outputs[0]].ndim == 0:
                    same[step.outputs[0]] = uniform
                    continue
                rule, inputs = RULES["broadcast_to"], (uniform,)
                step = Step(rule, inputs, (program.types[step.outputs[0]].shape,), step.outputs)
        elif rule.aliases and inputs and isinstance(rule, Index | Gather):
            # Any rearrangement of one number is that number again.
            source = _innermost(inputs, made_by)[0]
            if isinstance(source, Literal) and isinstance(source.value, np.generic):
                if program.types[step.outputs[0]].ndim == 0:
                    same[step.outputs[0]] = source
                    continue
                rule, inputs = RULES["broadcast_to"], (source,)
                step = Step(rule, inputs, (program.types[step.outputs[0]].shape,), step.outputs)
        if isinstance(rule, Elementwise):
            inputs = _without_broadcasts(program, inputs, step.outputs[0], made_by)
            found = _idle(program, rule, inputs, step.outputs[0], made_by)
            if found is not None:
                same[step.outputs[0]] = found
                if type(found) is int:
                    _keep_names(program, step.outputs, (found,))
                continue
        key = (rule, inputs, step.params)
        before = done.get(key)
        if before is not None and all(types[old] is types[new] for old, new in zip(before, step.outputs, strict=True)):
            same.update(zip(step.outputs, before, strict=True))
            _keep_names(program, step.outputs, before)
            continue
        step = Step(rule, inputs, step.params, step.outputs)
        if isinstance(rule, Loop):
            step, gone = merged(step._replace(params=(simplify(step.params[0]), *step.params[1:])))
            same.update(gone)
        done[key] = step.outputs
        for var in step.outputs:
            made_by[var] = step
        kept.append(step)
    outputs = tuple([current(one) for one in program.outputs])
    guards = tuple((var, value) for var, value in ((current(one), value) for one, value in program.guards))
    return _rebuilt(program, _read(kept, outputs, guards), outputs, guards)


def _innermost(inputs: tuple[Operand, ...], made_by: dict[Var, Step]) -> tuple[Operand, ...]:
    """What a broadcast of broadcasts begins with."""
    one = inputs[0]
    while type(one) is int and one in made_by and made_by[one].rule.name == "broadcast_to":
        one = made_by[one].inputs[0]
    return (one,)


def _uniform(
    program: Program, rule: Elementwise, inputs: tuple[Operand, ...], out: Var, made_by: dict[Var, Step]
) -> Literal | None:
    """The one number that every element of the result is, where all arguments are one number each.

    Not for functions of the maths library: NumPy's vector and scalar versions may differ in the last place.
    """
    if not isinstance(rule.cost, Cost) or rule.cost.calls:
        return None
    values = []
    for one in inputs:
        source = _innermost((one,), made_by)[0]
        if not isinstance(source, Literal):
            return None
        values.append(source.value)
    dtype = program.types[out].dtype
    if dtype.kind not in "fb" or not any(isinstance(value, np.generic) for value in values):
        return None
    with np.errstate(all="ignore"):
        value = np.asarray(rule.value(*values))
    return literal(value[()]) if value.ndim == 0 and value.dtype == dtype else None


def _keep_names(program: Program, dropped: tuple[Var, ...], kept: tuple[Var, ...]) -> None:
    for old, new in zip(dropped, kept, strict=True):
        name = program.names.get(old)
        if name is not None and program.names.get(new) is None and new in program.names:
            program.names[new] = name


def _without_broadcasts(
    program: Program, inputs: tuple[Operand, ...], out: Var, made_by: dict[Var, Step]
) -> tuple[Operand, ...]:
    shape = program.types[out].shape
    for place, one in enumerate(inputs):
        if type(one) is not int:
            continue
        step = made_by.get(one)
        if step is None or not isinstance(step.rule, Index) or step.rule.name != "broadcast_to":
            continue
        source = step.inputs[0]
        if isinstance(source, Literal) and not isinstance(source.value, np.generic):
            continue
        shapes = [_shape(program, other) for rank, other in enumerate(inputs) if rank != place]
        source_shape = _shape(program, source)
        if np.broadcast_shapes(source_shape, *shapes) == shape:
            inputs = (*inputs[:place], source, *inputs[place + 1 :])
    return inputs


def _shape(program: Program, operand: Operand) -> tuple[int, ...]:
    return () if isinstance(operand, Literal) else program.types[operand].shape


def _idle(
    program: Program, rule: Elementwise, inputs: tuple[Operand, ...], out: Var, made_by: dict[Var, Step]
) -> Operand | None:
    """The operand that the step gives back unchanged, or None."""
    kind = program.types[out]
    if rule.neutral and len(inputs) == 2:
        for place, neutral in enumerate(rule.neutral):
            one, other = inputs[place], inputs[1 - place]
            if neutral is None or not isinstance(one, Literal) or isinstance(other, Literal):
                continue
            if _is_exactly(one.value, neutral) and program.types[other] is kind:
                return other
    if rule.chooses:
        condition = _innermost((inputs[0],), made_by)[0]
        if isinstance(condition, Literal):
            chosen = inputs[1 if condition.value else 2]
            if not isinstance(chosen, Literal) and program.types[chosen] is kind:
                return chosen
    if rule.involution and type(inputs[0]) is int:
        inner = made_by.get(inputs[0])
        if inner is not None and inner.rule is rule and not isinstance(inner.inputs[0], Literal):
            return inner.inputs[0]
    return None


def _is_exactly(value: Any, neutral: float) -> bool:
    return bool(value == neutral) and math.copysign(1, float(value)) == math.copysign(1, neutral)


def _read(steps: list[Step], outputs: tuple[Operand, ...], guards: tuple[Any, ...]) -> list[Step]:
    needed: set[Operand] = {one for one in outputs if not isinstance(one, Literal)}
    needed.update(var for var, _ in guards)
    kept = []
    for step in reversed(steps):
        if any(var in needed for var in step.outputs):
            if isinstance(step.rule, Loop):
                step = pruned(step, needed)
            needed.update(one for one in step.inputs if not isinstance(one, Literal))
            kept.append(step)
    kept.reverse()
    return kept


def _rebuilt(program: Program, steps: list[Step], outputs: tuple[Operand, ...], guards: tuple[Any, ...]) -> Program:
    """The program with these steps; captures that nothing reads are kept, since callers pass them by position."""
    return Program(
        name=program.name, types=program.types, inputs=program.inputs, captures=program.captures,
        constants=program.constants, steps=steps, outputs=outputs, guards=guards, sites=program.sites,
        names=program.names, out_tree=program.out_tree,
    )  # fmt: skip
