"""A traced program and its numbers -> the items of a derivation: steps, local derivatives, adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.derive.block import Block, Naming, readers_of
from chainrule.derive.closed import closed_forms
from chainrule.derive.derivation import Adjoint, Gradient, Input, Item, Local, Verdict
from chainrule.derive.evidence import Evidence
from chainrule.derive.expression import Expr, Leaf, expression_of
from chainrule.derive.grouping import groups_of
from chainrule.derive.induction import Induction
from chainrule.derive.kinds import local_derivatives
from chainrule.derive.names import unicode_name, unicode_number
from chainrule.derive.naming import names_of
from chainrule.derive.passes import Passes, passes_of, stem
from chainrule.derive.real import added
from chainrule.derive.witness import agree, formula_agrees
from chainrule.derive.writing import written
from chainrule.program import Literal, Program, Var

__all__ = ["Story"]

#: So many of the choices that a function made by values are listed.
_CHOICES = 6


class Story:
    """Builds items. A *block* is a group of steps with its piece, pullback and verdicts, worked out once."""

    def __init__(self, evidence: Evidence, paths: Sequence[str], outside: Sequence[tuple[str, Any]]) -> None:
        self.evidence = evidence
        self.program: Program = evidence.program
        self.paths = paths
        self.names, self.unnamed = names_of(self.program, paths, outside)
        self.letter = self._free_letter()
        self.used = self._used()
        #: For what passes of a loop make or are given: its name without the pass, and the number of the pass from 1.
        self.passed: dict[Var, tuple[str, int]] = {}
        self._pass_of: dict[Var, int] = {}
        self._owner: dict[int, Induction] = {}
        self.loops: list[Passes] = []
        for loop in passes_of(self.program, self.used):
            self._index(loop)
        #: Of a folded argument: the loop and the variables, one a pass.
        self.folded: dict[Var, tuple[Induction, tuple[Var, ...]]] = {}
        self.blocks: list[Block] = []
        #: The blocks that read each variable.
        self.readers: dict[Var, list[Block]] = {}

    # -- names

    def _index(self, loop: Passes) -> None:
        """Give what the passes make, and what each is given, one name with the number of the pass."""
        slots = sorted({slot for _, slot in loop.made.values()})
        columns = [
            *loop.given,
            *(tuple(loop.made_at(slot, number) for number in range(loop.trips)) for slot in slots),
        ]
        if any(self._pass_of.get(var, number) != number for one in columns for number, var in enumerate(one, start=1)):
            return
        self.loops.append(loop)
        for column in columns:
            names = [self.names[var] for var in column]
            for number, var in enumerate(column, start=1):
                self._pass_of[var] = number
                if var not in self.unnamed and var not in self.passed:
                    self.passed[var] = (stem(names), number)
                    if var in loop.made:
                        self.names[var] = unicode_name(self.leaf(var))

    def _free_letter(self) -> str:
        """What unnamed steps are called, with a number: not what the user calls variables with a number."""
        taken = [name for var, name in self.names.items() if var not in self.unnamed]
        for letter in ("v", "t", "u", "s", "step"):
            if not any(name.startswith(letter) and name[len(letter) :].isdigit() for name in taken):
                return letter
        return "v_"

    def leaf(self, var: Var) -> Leaf:
        """The variable in an expression."""
        shape = self.program.types[var].shape
        if var in self.passed:
            name, number = self.passed[var]
            return Leaf(shape, name, index=str(number))
        return Leaf(shape, self.names[var])

    def adjoint_leaf(self, var: Var) -> Leaf:
        """Its adjoint in an expression."""
        mine = self.leaf(var)
        return Leaf(mine.shape, mine.name, adjoint=True, index=mine.index)

    def name(self, var: Var) -> str:
        """The name that a reader knows it by."""
        return self.names[var]

    def path(self, var: Var) -> str:
        """How the user addresses it: ``layers[0][1]``; its name, where it is no argument."""
        found = self.program.inputs.index(var) if var in self.program.inputs else -1
        return self.names[var] if found < 0 else self.paths[found]

    def christen(self, var: Var, label: str, after: str) -> None:
        """Call what the user gave no name after the number of its step."""
        if var not in self.unnamed:
            return
        name = f"{self.letter}{label}{after}"
        number = self._pass_of.get(var)
        if number is not None:
            self.passed[var] = (name, number)
            name = unicode_name(self.leaf(var))
        self.names[var] = name

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
        told: list[Block | Induction] = []
        at = 0
        for loop in self.loops:
            first = self.used.index(loop.run.start)
            told += self._plain(self.used[at:first], len(told))
            told.append(Induction(self, loop, str(len(told) + 1)))
            at = first + loop.run.period * loop.trips
        told += self._plain(self.used[at:], len(told))
        for one in told:
            self.blocks += [one] if isinstance(one, Block) else one.blocks
            if isinstance(one, Induction):
                self._owner.update((id(block), one) for block in one.blocks)
        self.readers = readers_of(self.blocks)
        for one in told:
            if isinstance(one, Induction):
                self.folded.update({
                    column[0]: (one, column)
                    for column in one.passes.given
                    if all(var in self.program.inputs and len(self._loops_reading(var)) == 1 for var in column)
                })  # fmt: skip
        return tuple(one.item(self.readers) for one in told)

    def _sources(self, var: Var, readers: dict[Var, list[Block]], naming: Naming | None) -> list[Block | Induction]:
        """The blocks that read a variable; a loop of which several passes do, as one."""
        blocks = readers.get(var, [])
        if naming is not None and naming is not self:
            return list(blocks)
        made: list[Block | Induction] = []
        for block in blocks:
            loop = self._owner.get(id(block))
            if loop is None or var in loop.passes.made or not loop.repeats(block, var):
                made.append(block)
            elif loop not in made:
                made.append(loop)
        return made

    def _loops_reading(self, var: Var) -> set[str]:
        """The loops, and the steps outside of loops, that read a variable."""
        return {block.label.split(".")[0] for block in self.readers.get(var, ())}

    def _plain(self, positions: Sequence[int], before: int) -> list[Block]:
        return [
            Block(self, group, str(number))
            for number, group in enumerate(groups_of(self.program, positions), start=before + 1)
        ]

    def inputs(self) -> tuple[Input, ...]:
        """The arguments and the captured arrays that are read, with their adjoints."""
        readers = self.readers
        made = []
        later = {var for _, column in self.folded.values() for var in column[1:]}
        for var, path in zip(self.program.inputs, self.paths, strict=True):
            if var in later:
                continue
            if var in self.folded:
                loop, column = self.folded[var]
                made.append(loop.given(column, [self.paths[self.program.inputs.index(one)] for one in column]))
                continue
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

    def choices(self) -> tuple[str, ...]:
        """What the function asked the values for at this point, and what it was told: the derivation rests on it."""
        made = {var for position in self.used for var in self.program.steps[position].outputs}
        known: dict[Var, Expr] = {var: self.leaf(var) for var in (*self.program.inputs, *self.program.captures, *made)}
        said: dict[str, None] = {}
        for var, value in self.program.guards:
            expr = expression_of(self.program, var, known)
            shown = self.names[var] if expr is None else written(expr)
            # Of an array the guard is a checksum.
            told = "is what it is, entry by entry" if self.program.types[var].ndim else f"is {unicode_number(value)}"
            said[f"{shown} {told}"] = None
        listed = list(said)
        more = [f"and {len(listed) - _CHOICES} more"] if len(listed) > _CHOICES else []
        return (*listed[:_CHOICES], *more)

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
        later = {var for _, column in self.folded.values() for var in column[1:]}
        forms = [
            None if var in self.folded else form
            for var, form in zip(self.program.inputs, forms, strict=True)
            if var not in later
        ]
        for one, form in zip([each for each in inputs if not each.captured], forms, strict=True):
            assert one.adjoint is not None
            closed = None
            if form is not None:
                verdict = formula_agrees(form[0], lambda leaf: values[leaf.name], one.adjoint.value)
                closed = form[0] if verdict.ok is not False else None
            made.append(Gradient(one.name, one.leaf, closed, one.adjoint.value))
        return tuple(made)

    def adjoint(self, var: Var, readers: dict[Var, list[Block]], naming: Naming | None = None) -> Adjoint | None:
        """The adjoint of a variable as the sum over what reads it."""
        evidence = self.evidence
        leaf = (self if naming is None else naming).adjoint_leaf(var)
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
            for block in self._sources(var, readers, naming)
            if not isinstance(block, Block) or any(one in evidence.adjoints for one in block.makes)
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
