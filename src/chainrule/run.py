"""Program -> numbers: the interpreter, which runs a program step by step through NumPy.

It frees each value after its last use, and a step that has an overwriting form (``rule.update``) overwrites its first
argument where nobody can see it: the argument is dead afterwards, and so is everything that shares its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ProgramError
from chainrule.program import Literal, Program, Var

__all__ = ["owned", "plan_of", "plan_of_body", "repeated"]


def plan_of(
    program: Program, given_away: frozenset[Var] = frozenset()
) -> Callable[[Sequence[Any], Sequence[Any]], list[Any]]:
    """A function of (inputs, constants) that runs the program; it may overwrite the inputs that are given away."""
    slot: dict[Var, int] = {}
    template: list[Any] = []
    for var in (*program.inputs, *program.captures):
        slot[var] = len(template)
        template.append(None)
    given = len(template)
    constant_slots: dict[tuple[int, Any], int] = {}

    def constant(value: Any, key: Any) -> int:
        # Keyed by identity: equal parameters (1, 1.0 and True) are not the same.
        found = constant_slots.get((id(key), None))
        if found is None:
            found = constant_slots[id(key), None] = len(template)
            template.append(value)
        return found

    update_at = _overwriting(program, given_away)
    lines: list[tuple[Any, tuple[int, ...], Any, tuple[int, ...]]] = []
    ends = dict(program.last_uses())
    for number, step in enumerate(program.steps):
        ins = [constant(one.value, one) if isinstance(one, Literal) else slot[one] for one in step.inputs] + [
            constant(one, one) for one in step.params
        ]
        outs: Any
        made = []
        for var in step.outputs:
            slot[var] = len(template)
            made.append(len(template))
            template.append(None)
        outs = made[0] if len(made) == 1 else tuple(made)
        function = step.rule.update if number in update_at else step.rule.value
        lines.append((function, tuple(ins), outs, tuple(slot[var] for var in ends[number])))
    results = [constant(one.value, one) if isinstance(one, Literal) else slot[one] for one in program.outputs]
    dtypes = [None if isinstance(one, Literal) else program.types[one].dtype for one in program.outputs]

    def run(inputs: Sequence[Any], constants: Sequence[Any]) -> list[Any]:
        env = template.copy()
        env[:given] = [*inputs, *constants]
        if len(env) != len(template):
            got = f"got {len(inputs)} and {len(constants)}"
            raise ProgramError(f"{program.name} takes {given} inputs and constants, {got}")
        with np.errstate(all="ignore"):
            for function, ins, out, ending in lines:
                value = function(*[env[one] for one in ins])
                if type(out) is int:
                    env[out] = value
                else:
                    for one, part in zip(out, value, strict=True):
                        env[one] = part
                for one in ending:
                    env[one] = None
        return [_typed(env[one], dtype) for one, dtype in zip(results, dtypes, strict=True)]

    return run


def _typed(value: Any, dtype: Any) -> Any:
    # A result that never met an array of its own dtype (a Python number out of `float(x)`) is given it here.
    if dtype is not None and getattr(value, "dtype", None) != dtype:
        return np.asarray(value, dtype=dtype)[()]
    return value


def _families(program: Program) -> dict[Var, Var]:
    """For each variable the one whose memory it may share: an input, or the result that was computed anew."""
    family: dict[Var, Var] = {var: var for var in (*program.inputs, *program.captures)}
    for step in program.steps:
        for var in step.outputs:
            first = step.inputs[0] if step.inputs else None
            shares = step.rule.aliases and first is not None and not isinstance(first, Literal)
            family[var] = family[first] if shares and not isinstance(first, Literal) and first is not None else var
    return family


def _overwriting(program: Program, given_away: frozenset[Var]) -> set[int]:
    """The steps that may overwrite their first argument."""
    if not any(step.rule.update is not None for step in program.steps):
        return set()
    family = _families(program)
    last: dict[Var, int] = {}
    fixed = {var for var in (*program.inputs, *program.captures) if var not in given_away}
    for number, step in enumerate(program.steps):
        for one in step.inputs:
            if not isinstance(one, Literal):
                last[family[one]] = number
    for one in program.outputs:
        if not isinstance(one, Literal):
            last[family[one]] = len(program.steps)
    found = set()
    for number, step in enumerate(program.steps):
        if step.rule.update is None or not step.inputs:
            continue
        first = step.inputs[0]
        if isinstance(first, Literal) or family[first] in fixed or family[first] != first:
            continue
        others = [one for one in step.inputs[1:] if not isinstance(one, Literal)]
        if last[first] == number and all(family[one] != first for one in others):
            found.add(number)
    return found


# --- loops ------------------------------------------------------------------------------------------------------------


def _own_carries(body: Program, carries: int) -> list[bool]:
    """The carries whose memory is the loop's own after every iteration, so that the next one may overwrite it.

    Such a carry is computed anew or comes from such a carry, and shares its memory with no other carry.
    """
    family = _families(body)
    roots = [None if isinstance(one, Literal) else family[one] for one in body.outputs]
    inputs = {var: place for place, var in enumerate(body.inputs)}
    own = [root is not None and roots[:carries].count(root) == 1 for root in roots[:carries]]
    changed = True
    while changed:
        changed = False
        for place in range(carries):
            source = inputs.get(roots[place]) if roots[place] is not None else None  # type: ignore[arg-type]
            if own[place] and source is not None and not (1 <= source <= carries and own[source - 1]):
                own[place] = False
                changed = True
    return own


def plan_of_body(body: Program, carries: int) -> tuple[Callable[..., list[Any]], list[bool]]:
    """How the body of a loop with so many carries is run, and which of the carries are the loop's own memory."""
    own = _own_carries(body, carries)
    away = frozenset(var for var, mine in zip(body.inputs[1:], own, strict=False) if mine)
    return plan_of(body, away), own


def repeated(
    body: Program, planned: Any, arguments: Sequence[Any], trips: int, carries: int, sequences: int, reverse: bool
) -> list[Any]:
    """The last carries, and the results of the iterations, stacked; a write into a carry happens in place."""
    plan, own = planned
    held = []
    for place, value in enumerate(arguments[:carries]):
        dtype = body.types[body.inputs[1 + place]].dtype
        held.append(dtype.type(value) if not np.ndim(value) else np.array(value) if own[place] else value)
    slices = arguments[carries : carries + sequences]
    rest = arguments[carries + sequences :]
    stacked = []
    for one in body.outputs[carries:]:
        kind = body.type_of(one)
        shape, dtype = ((), np.dtype(kind)) if isinstance(kind, type) else (kind.shape, kind.dtype)
        stacked.append(np.empty((trips, *shape), dtype=dtype))
    for trip in range(trips):
        number = trips - 1 - trip if reverse else trip
        made = plan([np.int64(number), *held, *[one[number] for one in slices], *rest], ())
        for whole, part in zip(stacked, made[carries:], strict=True):
            whole[number] = part
        held = made[:carries]
    # What is not the loop's own may be memory of its arguments, or of another carry.
    held = [value if mine or not np.ndim(value) else np.array(value) for value, mine in zip(held, own, strict=True)]
    return [*held, *stacked]


def owned(value: Any) -> Any:
    """The value as an array of its own, which the caller may write to without touching anything else."""
    if isinstance(value, np.ndarray) and not (value.flags.owndata and value.flags.writeable):
        return value.copy()
    return value
