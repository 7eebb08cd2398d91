"""A traced program and its numbers -> the items of a derivation: steps, local derivatives, adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.derive.block import Block, readers_of
from chainrule.derive.closed import closed_forms
from chainrule.derive.derivation import Adjoint, Gradient, Input, Item, Local, Verdict
from chainrule.derive.evidence import Evidence
from chainrule.derive.expression import Leaf
from chainrule.derive.grouping import groups_of
from chainrule.derive.kinds import local_derivatives
from chainrule.derive.naming import names_of
from chainrule.derive.real import added
from chainrule.derive.witness import agree, formula_agrees
from chainrule.program import Literal, Program, Var

__all__ = ["Story"]


class Story:
    """Builds items. A *block* is a group of steps with its piece, pullback and verdicts, worked out once."""

    def __init__(self, evidence: Evidence, paths: Sequence[str], outside: Sequence[tuple[str, Any]]) -> None:
        self.evidence = evidence
        self.program: Program = evidence.program
        self.paths = paths
        self.names, self.unnamed = names_of(self.program, paths, outside)
        self.letter = self._free_letter()
        self.used = self._used()
        self.blocks: list[Block] = []
        #: The blocks that read each variable.
        self.readers: dict[Var, list[Block]] = {}

    # -- names

    def _free_letter(self) -> str:
        """What unnamed steps are called, with a number: not what the user calls variables with a number."""
        taken = [name for var, name in self.names.items() if var not in self.unnamed]
        for letter in ("v", "t", "u", "s", "step"):
            if not any(name.startswith(letter) and name[len(letter) :].isdigit() for name in taken):
                return letter
        return "v_"

    def leaf(self, var: Var) -> Leaf:
        """The variable in an expression."""
        return Leaf(self.program.types[var].shape, self.names[var])

    def adjoint_leaf(self, var: Var) -> Leaf:
        """Its adjoint in an expression."""
        return Leaf(self.program.types[var].shape, self.names[var], adjoint=True)

    def _used(self) -> list[int]:
        """The steps that the result depends on."""
        wanted = {one for one in self.program.outputs if not isinstance(one, Literal)}
        kept = []
        for position in range(len(self.program.steps) - 1, -1, -1):
            step = self.program.steps[position]
            if any(var in wanted for var in step.outputs):
                kept.append(position)
                wanted.update(one for one in step.inputs if not isinstance(one, Literal))
        return kept[::-1]

    # -- items

    def items(self) -> tuple[Item, ...]:
        """The items of the whole program, adjoints and verdicts included."""
        groups = groups_of(self.program, self.used)
        for number, group in enumerate(groups, start=1):
            self.blocks.append(Block(self, group, str(number)))
        self.readers = readers_of(self.blocks)
        return tuple(block.item(self.readers) for block in self.blocks)

    def inputs(self) -> tuple[Input, ...]:
        """The arguments and the captured arrays that are read, with their adjoints."""
        readers = self.readers
        made = []
        for var, path in zip(self.program.inputs, self.paths, strict=True):
            kind = self.program.types[var]
            value = self.evidence.values[var]
            adjoint = self.adjoint(var, readers)
            made.append(
                Input(self.names[var], path, self.leaf(var), kind.shape, kind.dtype.name, value, False, adjoint)
            )
        for var in self.program.captures:
            if var in readers:
                kind = self.program.types[var]
                name = self.names[var]
                made.append(
                    Input(name, name, self.leaf(var), kind.shape, kind.dtype.name, self.evidence.values[var], True)
                )
        return tuple(made)

    def locals(self) -> tuple[Local, ...]:
        """The kinds of step that carry an adjoint, with their local derivatives."""
        steps = []
        for block in self.blocks:
            for part in [*block.parts, block]:
                step = part.steps[-1]
                if any(var in self.evidence.adjoints for var in step.outputs):
                    steps.append((self.names[step.outputs[0]], step))
        return local_derivatives(self.program, steps)

    def gradient(self, inputs: Sequence[Input]) -> tuple[Gradient, ...]:
        """The result for each argument, in closed form where that is short and the numbers agree."""
        named = {var: var not in self.unnamed for step in self.program.steps for var in step.outputs}
        forms = closed_forms(self.program, self.leaf, named)
        values = {self.names[var]: value for var, value in self.evidence.values.items() if var in self.names}
        made = []
        for one, form in zip([each for each in inputs if not each.captured], forms, strict=True):
            assert one.adjoint is not None
            closed = None
            if form is not None:
                verdict = formula_agrees(form[0], lambda leaf: values[leaf.name], one.adjoint.value)
                closed = form[0] if verdict.ok is not False else None
            made.append(Gradient(one.name, one.leaf, closed, one.adjoint.value))
        return tuple(made)

    def adjoint(self, var: Var, readers: dict[Var, list[Block]]) -> Adjoint | None:
        """The adjoint of a variable as the sum over what reads it."""
        evidence = self.evidence
        leaf = self.adjoint_leaf(var)
        seeded = var in evidence.program.outputs
        kind = evidence.program.types[var]
        if var not in evidence.adjoints:
            if var in evidence.program.inputs:
                zero = np.zeros(kind.shape, kind.dtype)[()]
                return Adjoint(leaf, (), None, zero, Verdict(True, "nothing reads it"), notes=("nothing reads it",))
            return None
        value = evidence.adjoints[var]
        terms = [
            block.contribution(var)
            for block in readers.get(var, ())
            if any(one in evidence.adjoints for one in block.makes)
        ]
        kept = tuple(one for one in terms if one is not None)
        total: Any = np.ones((), kind.dtype)[()] if seeded else None
        with np.errstate(all="ignore"):
            for one in kept:
                total = one.value if total is None else total + one.value
        verdict = agree(total, value, "the sum of the contributions against the sweep")
        notes: tuple[str, ...] = ()
        if verdict.ok is None and np.isfinite(value).all():
            # The sweep knows which entries were not selected further up; a single step does not.
            notes = ("entries that are not selected further on are left out, whatever they are",)
            verdict = Verdict(True, "the sweep left out what was not selected")
        exprs = [one.expr for one in kept if one.expr is not None]
        expr = added(exprs) if exprs and len(exprs) == len(kept) and not seeded else None
        return Adjoint(leaf, kept, expr, value, verdict, seeded, notes)
