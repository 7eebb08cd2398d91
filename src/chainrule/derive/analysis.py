"""What a writer of source must know of a program: who uses what, what shares memory, which line a step is from."""

from __future__ import annotations

import ast
import os.path
from typing import Any

from chainrule.derive.identifiers import is_numbered
from chainrule.program import ArrayType, Literal, Program, Step, Var
from chainrule.rule import Control, Loop
from chainrule.source import place as place_of

__all__ = ["Reading", "argument_path", "kind_of", "overwritten_carries"]

#: At most this many steps are folded into one expression.
_MOST = 12


def kind_of(kind: ArrayType) -> str:
    """``float64 array of shape (3, 4)``, ``int64 number``."""
    return f"{kind.dtype.name} array of shape {kind.shape}" if kind.ndim else f"{kind.dtype.name} number"


def argument_path(path: str) -> tuple[str, ast.expr] | None:
    """The argument and the expression by which a leaf is reached (``p["w1"]``); None if that is no Python expression.

    >>> argument_path("p['w1'][0]")[0]
    'p'
    """
    try:
        whole = ast.parse(path, mode="eval").body
    except (SyntaxError, ValueError):
        return None
    node: Any = whole
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant):
            return None
        node = node.value
    return (node.id, whole) if isinstance(node, ast.Name) else None


class Reading:
    """One pass over a program.

    ``uses`` are the numbers of the steps that read a variable (the number of steps stands for the result),
    ``foldable`` the variables that may be written into the one expression that uses them, ``overwrites`` the steps that
    may overwrite their first argument, ``sweep`` the number of the first step of a sweep that differentiates.
    """

    def __init__(self, program: Program, *, owned: frozenset[Var] = frozenset()) -> None:
        self.program = program
        self.uses: dict[Var, list[int]] = {}
        self.names = program.readable_names()
        self.guarded = {var for var, _ in program.guards}
        for number, step in enumerate(program.steps):
            for one in step.inputs:
                if not isinstance(one, Literal):
                    self.uses.setdefault(one, []).append(number)
        for one in program.outputs:
            if not isinstance(one, Literal):
                self.uses.setdefault(one, []).append(len(program.steps))
        self.foldable: set[Var] = set()
        self.overwrites: set[int] = set()
        #: The variables whose memory a variable may be a part of: itself, unless it is a view of others.
        self.roots: dict[Var, frozenset[Var]] = {}
        #: The last step at which anything in the memory of a variable is read; the variables with memory of their own.
        self.held: dict[Var, int] = {}
        self.fresh: set[Var] = set(owned)
        self._share()
        self.sweep = self._first_of_sweep()
        files = {where.file for where in map(place_of, program.sites.values()) if where is not None}
        #: The one file that all steps are from, or None.
        self.file = files.pop() if len(files) == 1 else None

    def last_use(self, var: Var) -> int:
        """The number of the last step that reads the variable; -1 if none does."""
        found = self.uses.get(var)
        return found[-1] if found else -1

    def is_given(self, var: Var) -> bool:
        """Whether the variable has a name of the user's."""
        return not is_numbered(self.names[var])

    def _share(self) -> None:
        program, steps = self.program, self.program.steps
        held = self.held
        weight: dict[Var, int] = {}
        fresh = self.fresh

        def admit(var: Var, roots: frozenset[Var]) -> None:
            self.roots[var] = roots
            for root in roots:
                held[root] = max(held.get(root, -1), self.last_use(var))

        for var in (*program.inputs, *program.captures):
            admit(var, frozenset({var}))
        for number, step in enumerate(steps):
            first = step.inputs[0] if step.inputs and not isinstance(step.inputs[0], Literal) else None
            operands = [one for one in step.inputs if not isinstance(one, Literal)]
            if step.rule.update is not None and first is not None and program.types[first].ndim:
                roots = self.roots[first]
                if self.dies(first, number) and first not in self.foldable:
                    self.overwrites.add(number)
                    admit(step.outputs[0], roots)
                    continue
            held_program = _shared(step) if isinstance(step.rule, Control) else ()
            for place, var in enumerate(step.outputs):
                roots = frozenset({var})
                if step.rule.aliases and first is not None:
                    roots = self.roots[first]
                elif place in held_program:
                    roots = roots.union(*[self.roots[one] for one in operands])
                else:
                    fresh.add(var)
                uses = self.uses.get(var, ())
                size = 1 + sum(weight.get(one, 0) for one in operands)
                if (
                    len(step.outputs) == 1
                    and len(uses) + (var in self.guarded) == 1
                    and not self.is_given(var)
                    and size <= _MOST
                    and step.rule.update is None
                    and not isinstance(step.rule, Control)
                    and not self._must_stand(var, uses)
                ):
                    self.foldable.add(var)
                    weight[var] = size
                    roots = roots.union(*[self.roots[one] for one in operands]) - {var} | {var}
                admit(var, roots)

    def _must_stand(self, var: Var, uses: Any) -> bool:
        """Whether the one use of a variable needs it to have a name: it is overwritten, or one of many results."""
        if not uses:
            return False
        if uses[0] == len(self.program.steps):
            return len(self.program.outputs) > 1
        step = self.program.steps[uses[0]]
        return isinstance(step.rule, Control) or (step.rule.update is not None and step.inputs[0] == var)

    def _first_of_sweep(self) -> int:
        names = self.program.names
        for number, step in enumerate(self.program.steps):
            if any(var in names and not isinstance(names[var], str) for var in step.outputs):
                return number
        return len(self.program.steps)

    def dies(self, var: Var, number: int) -> bool:
        """Whether the memory of a variable is its own, and read for the last time by this step."""
        roots = self.roots[var]
        return len(roots) == 1 and roots <= self.fresh and self.held[min(roots)] <= number

    def cited(self, number: int) -> tuple[Any, str]:
        """Where a step is from, to tell lines apart, and how a comment cites it; empty where nothing is known."""
        step = self.program.steps[number]
        where = place_of(self.program.sites.get(step.outputs[0])) if step.outputs else None
        if where is None:
            return None, ""
        spot = f"line {where.line}" if self.file is not None else f"{os.path.basename(where.file)}:{where.line}"
        return (where.file, where.line), f"{spot}: {where.text}" if where.text else spot


def _shared(step: Step) -> Any:
    """The results of a step that holds a program that may be memory of its arguments."""
    if not isinstance(step.rule, Loop):
        return range(len(step.outputs))
    body, trips, carries, _, _ = step.params
    overwritten = overwritten_carries(body, carries)
    reading = Reading(body, owned=overwritten)
    shared = []
    for place, (var, one) in enumerate(zip(body.inputs[1 : 1 + carries], body.outputs, strict=False)):
        new = trips and (isinstance(one, Literal) or reading.roots[one] <= reading.fresh)
        if body.types[var].ndim and var not in overwritten and not new:
            shared.append(place)
    return shared


def overwritten_carries(body: Program, carries: int) -> frozenset[Var]:
    """The carries of a loop's body that an iteration overwrites, and of whose memory nothing else becomes a part."""
    owned = frozenset(var for var in body.inputs[1 : 1 + carries] if body.types[var].ndim)
    while owned:
        reading = Reading(body, owned=owned)
        roots = [reading.roots[one] if not isinstance(one, Literal) else frozenset() for one in body.outputs[:carries]]
        fine = set()
        for place, (var, mine) in enumerate(zip(body.inputs[1 : 1 + carries], roots, strict=True)):
            others = frozenset().union(*[one for rank, one in enumerate(roots) if rank != place])
            if var in owned and mine and mine <= reading.fresh and not mine & others:
                fine.add(var)
        if fine == owned:
            touched = {min(reading.roots[body.steps[number].outputs[0]]) for number in reading.overwrites}
            return owned & touched
        owned = frozenset(fine)
    return owned
