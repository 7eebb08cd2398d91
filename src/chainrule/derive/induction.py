"""A loop of the user's, told once: one pass with the index l, the base case at its end, the step, the conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.derive.block import Block, readers_of
from chainrule.derive.derivation import Carry, Contribution, Input, Item
from chainrule.derive.expression import Expr, Leaf, Number, Over
from chainrule.derive.grouping import Group, groups_of
from chainrule.derive.names import unicode_name
from chainrule.derive.passes import Passes, Relative
from chainrule.derive.real import added
from chainrule.derive.witness import combined
from chainrule.derive.writing import written
from chainrule.program import Literal, Var

if TYPE_CHECKING:
    from chainrule.derive.story import Story

__all__ = ["Induction"]

#: Of a longer loop not every pass is held against the witness, but so many, the first and the last among them.
HELD = 12


class Induction:
    """The passes of a loop: the blocks of all of them, and those of one that stands for all."""

    def __init__(self, story: Story, passes: Passes, label: str) -> None:
        self.story, self.passes, self.label = story, passes, label
        self.per_pass = [self._blocks(list(block)) for block in passes.passes]
        self.blocks = [block for one in self.per_pass for block in one]
        self.naming = Relative(passes, story.leaf)
        here = passes.told
        self.told = self._blocks(list(passes.passes[here]), passes.letter)
        self._told = {block.label: block for block in self.told}
        self.next = self._blocks(list(passes.passes[here + 1]), f"{passes.letter}+1")

    def _blocks(self, positions: list[int], index: str = "") -> list[Block]:
        story = self.story
        naming = self.naming if index else None
        given = self._moving(positions, index) if index else None
        return [
            Block(story, Group(group.steps, group.words), f"{self.label}.{number}", naming, given)
            for number, group in enumerate(groups_of(story.program, positions), start=1)
        ]

    def _moving(self, positions: Sequence[int], index: str) -> dict[Var, Leaf]:
        """What a pass reads at a place that moves with it: the array's name with the index of the pass."""
        program = self.story.program
        found: dict[Var, Leaf] = {}
        for place in self.passes.moving:
            step = program.steps[positions[place]]
            read = [one for one in step.inputs if not isinstance(one, Literal)]
            for var in step.outputs:
                name = self.story.leaf(read[0]).name if read else self.story.leaf(var).name
                found[var] = Leaf(program.types[var].shape, name, index=index)
        return found

    # -- what reaches variables from outside

    def repeats(self, block: Block, var: Var) -> bool:
        """Whether a block reads the variable in every pass, not only in the first, which begins with it."""
        told = self._told.get(block.label)
        return told is not None and var in told.piece.reads and var in block.piece.reads

    def _begins_and_stays(self, var: Var) -> bool:
        """Whether a step reads the variable in each pass and, in the first, as what came from before, too."""
        program, passes = self.story.program, self.passes
        if var not in passes.initial.values():
            return False
        for first, other in zip(self.per_pass[0], self.per_pass[1], strict=True):
            count = [
                sum(program.steps[position].inputs.count(var) for position in block.group.steps)
                for block in (first, other)
            ]
            if count[1] and count[0] != count[1]:
                return True
        return False

    def contribution(self, var: Var) -> Contribution | None:
        """What all passes together add to the adjoint of a variable that each of them reads."""
        terms = [one for block in self.told if var in block.piece.reads and (one := block.contribution(var))]
        shares = [
            share for block in self.blocks if self.repeats(block, var) and (share := block.passed(var)) is not None
        ]
        if not terms or not shares:
            return None
        exprs = [one.expr for one in terms if one.expr is not None]
        expr = None
        if len(exprs) == len(terms) and not self._begins_and_stays(var):
            inner = added(exprs)
            expr = Over(inner.shape, self.passes.letter, inner)
        total: Any = shares[0]
        with np.errstate(all="ignore"):
            for share in shares[1:]:
                total = total + share
        summed = tuple(dict.fromkeys(axis for one in terms for axis in one.summed))
        name = self.story.name(var)
        note = (
            f"each of the {self.passes.trips} passes of step {self.label} reads {name}: what acts through each is added"
        )
        return Contribution(
            self.label, expr, total, combined([one.verdict for one in terms]), summed, (note,), terms[0].through
        )

    def given(self, column: tuple[Var, ...], paths: Sequence[str]) -> Input:
        """Arguments of which each pass reads its own, as one."""
        story, passes = self.story, self.passes
        var = column[passes.told]
        kind = story.program.types[var]
        leaf = self.naming.leaf(var)
        values = np.stack([np.asarray(story.evidence.values[one]) for one in column])
        adjoint = story.adjoint(var, readers_of(self.told), self.naming)
        if adjoint is not None:
            all_of_them = [story.adjoint(one, story.readers) for one in column]
            adjoints = [np.zeros(kind.shape) if one is None else np.asarray(one.value) for one in all_of_them]
            verdict = combined([adjoint.verdict, *(one.verdict for one in all_of_them if one is not None)])
            adjoint = replace(adjoint, value=np.stack(adjoints), verdict=verdict)
        path = f"{paths[0]}, {paths[1]}, …, {paths[-1]}"
        return Input(leaf.name, path, leaf, kind.shape, kind.dtype.name, values, False, adjoint, passes.trips)

    # -- the item

    def item(self, readers: dict[Var, list[Block]]) -> Item:
        """What a reader is told of the loop."""
        story, passes = self.story, self.passes
        here = passes.told
        inside = readers_of([*self.told, *self.next])
        own = {id(block) for block in self.blocks}
        for position in passes.passes[here]:
            for var in story.program.steps[position].outputs:
                beyond = [_Beyond(block) for block in readers.get(var, ()) if id(block) not in own]
                if beyond:
                    inside[var] = [*inside.get(var, ()), *beyond]  # type: ignore[list-item]
        body = tuple(block.item({**readers, **inside}) for block in self.told)
        last = [passes.made_at(slot, passes.trips - 1) for slot in passes.initial] or [self.per_pass[-1][-1].makes[0]]
        ends = [story.adjoint(var, readers) for var in last]
        kind = story.program.types[last[0]]
        leaf = story.leaf(last[0])
        held = [
            verdict
            for block in self._held()
            for verdict in block.verdicts.values()
        ]  # fmt: skip
        verdict = combined([*held, *(one.verdict for one in body), *(one.verdict for one in ends if one is not None)])
        reads = dict.fromkeys(self.naming.name(var) for block in self.told for var in block.piece.reads)
        made = {one.name for one in body}
        consumers = dict.fromkeys(
            block.label for var in passes.made for block in readers.get(var, ()) if id(block) not in own
        )
        return Item(
            label=self.label,
            name=leaf.name,
            leaf=leaf,
            kind="loop",
            words=f"{passes.trips} passes",
            shape=kind.shape,
            dtype=kind.dtype.name,
            place=self.told[0].place,
            expr=None,
            reads=tuple(name for name in reads if name not in made),
            consumers=tuple(consumers),
            partials=(),
            adjoint=ends[0],
            value=story.evidence.values[last[0]],
            verdict=verdict,
            body=body,
            letter=passes.letter,
            trips=passes.trips,
            induction=tuple(self._sentences(ends)),
            carries=tuple(self._carries()),
            steps=tuple(position for block in passes.passes for position in block),
        )

    def _held(self) -> list[Block]:
        count = self.passes.trips
        chosen = range(count) if count <= HELD else sorted({round(k * (count - 1) / (HELD - 1)) for k in range(HELD)})
        return [block for number in chosen for block in self.per_pass[number]]

    def _carries(self) -> list[Carry]:
        story, passes = self.story, self.passes
        made = []
        for slot, initial in passes.initial.items():
            mine = self.naming.leaf(passes.made_at(slot, passes.told))
            start: Expr = Number((), initial.value) if isinstance(initial, Literal) else story.leaf(initial)
            if not isinstance(initial, Literal) and initial in story.program.captures:
                value = np.asarray(story.evidence.values[initial])
                if value.size and np.all(value == value.flat[0]):
                    start = Number((), value.flat[0])
            made.append(Carry(Leaf(mine.shape, mine.name, index="0"), start, mine))
        return made

    def _sentences(self, ends: Sequence[Any]) -> list[str]:
        story, passes = self.story, self.passes
        letter, count = passes.letter, passes.trips
        told: list[str] = []
        carries = self._carries()
        if carries:
            handed = " and ".join(unicode_name(one.next) for one in carries)  # type: ignore[arg-type]
            before = " and ".join(f"{unicode_name(one.leaf)} = {written(one.initial)}" for one in carries)
            told.append(
                f"Pass {letter} makes {handed} from what pass {letter} − 1 made; before the first pass, {before}."
            )
        for column in passes.given:
            mine = self.naming.leaf(column[passes.told])
            names = [story.path(var) for var in column]
            told.append(f"{unicode_name(mine)} is what pass {letter} is given: {names[0]}, {names[1]}, …, {names[-1]}.")
        moving = self._moving(list(passes.passes[passes.told]), letter)
        told += [
            f"{unicode_name(leaf)} is the part of {leaf.name} that pass {letter} reads; "
            f"what it adds to d{leaf.name} lands there."
            for leaf in dict.fromkeys(moving.values())
        ]
        bases = [
            f"{unicode_name(end.leaf)} = {'1' if end.seed else '0' if not end.contributions else written(end.expr)}"
            if end.seed or not end.contributions or end.expr is not None
            else f"{unicode_name(end.leaf)} is what the steps after the loop hand back"
            for end in ends
            if end is not None
        ]
        through = ""
        if bases:
            told.append(f"Base case, {letter} = {count}: the steps after the loop give {'; '.join(bases)}.")
            through = (
                f"for {letter} < {count} what a pass hands on acts on the result through pass {letter} + 1, whose "
                "adjoints are known by then. "
            )
        told.append(
            f"Step: {through}The lines below give the adjoints of pass {letter} from them, and of what it was given."
        )
        starts = [written(one.initial) for one in carries if isinstance(one.initial, Leaf)]
        told.append(
            f"Conclusion: {count} steps down, from {letter} = {count} to {letter} = 1, and every adjoint is known"
            + (f", that of {' and '.join(starts)} too, with which the first pass began." if starts else ".")
        )
        return told


class _Beyond:
    """A step outside of the loop that reads what a pass made: its formula speaks of one pass, so it is not written."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.label, self.makes, self.piece = block.label, block.makes, block.piece

    def contribution(self, var: Var) -> Contribution | None:
        """What it adds, without a formula."""
        made = self.block.contribution(var)
        return None if made is None else replace(made, expr=None)
