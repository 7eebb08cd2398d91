"""Repetition in a traced program, told once: which steps are passes of one loop, and what their variables are called.

A run of ``trips`` blocks of steps that are copies of each other (layers in a list, a ``for`` over time) has a name for
each place in the block, and the number of the pass as an index: ``h`` of pass 3 is ``h⁽³⁾``, and of any pass ``h⁽ˡ⁾``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from chainrule.derive.expression import Leaf
from chainrule.derive.names import unicode_name
from chainrule.expand import loop_rule
from chainrule.program import Literal, Program, Var
from chainrule.repetition import Facts, Run, runs_of

__all__ = ["Passes", "Relative", "passes_of", "stem"]


class Passes:
    """One run: where its passes lie, what stays the same, what is handed on and what differs from pass to pass."""

    def __init__(self, program: Program, run: Run, letter: str) -> None:
        self.program, self.run, self.letter = program, run, letter
        self.trips = run.trips
        self.passes = [range(run.start + p * run.period, run.start + (p + 1) * run.period) for p in range(run.trips)]
        #: For a variable made in a pass: the number of the pass (from 0), and its place in the block.
        self.made: dict[Var, tuple[int, int]] = {}
        for number, block in enumerate(self.passes):
            slot = 0
            for position in block:
                for var in program.steps[position].outputs:
                    self.made[var] = (number, slot)
                    slot += 1
        #: Steps of the block whose index moves with the pass, by their place in the block.
        self.moving = set(run.parts)
        #: What differs from pass to pass and comes from outside: one variable a pass, in order.
        self.given: list[tuple[Var, ...]] = []
        #: What the first pass is given for what later passes take from the one before.
        self.initial: dict[int, Var | Literal] = {}
        self.foldable = self._read()

    def _read(self) -> bool:
        """Sort out what the passes read; False where that can not be told with one letter."""
        program = self.program
        seen: set[tuple[Var, ...]] = set()
        for place in range(self.run.period):
            rows = [program.steps[block[place]].inputs for block in self.passes]
            for column in zip(*rows, strict=True):
                if isinstance(column[0], Literal) and all(isinstance(one, Literal) for one in column):
                    if any(one is not column[0] for one in column):
                        return False
                    continue
                lags = [
                    number - self.made[one][0] if not isinstance(one, Literal) and one in self.made else None
                    for number, one in enumerate(column)
                ]
                if all(lag == 0 for lag in lags):
                    continue
                if lags[0] is None and all(lag == 1 for lag in lags[1:]):
                    before = column[1]
                    assert not isinstance(before, Literal)
                    slot = self.made[before][1]
                    if self.initial.setdefault(slot, column[0]) != column[0]:
                        return False
                    continue
                if any(lag is not None for lag in lags) or any(isinstance(one, Literal) for one in column):
                    return False
                outside = tuple(one for one in column if not isinstance(one, Literal))
                if len(set(outside)) == 1:
                    continue
                if len(set(outside)) != len(outside):
                    return False
                if outside not in seen:
                    seen.add(outside)
                    self.given.append(outside)
        return True

    def made_at(self, slot: int, number: int) -> Var:
        """The variable at a place of the block, of one pass."""
        for position in self.passes[number]:
            for var in self.program.steps[position].outputs:
                if self.made[var][1] == slot:
                    return var
        raise KeyError(slot)

    @property
    def told(self) -> int:
        """The pass that stands for all: it has one before it and one after it."""
        return self.trips // 2


class Relative:
    """What variables are called in one pass that stands for all: those of the pass before have l − 1, and so on."""

    def __init__(self, passes: Passes, leaf: Callable[[Var], Leaf]) -> None:
        self.passes = passes
        self._absolute = leaf

    def leaf(self, var: Var) -> Leaf:
        """The variable with its index relative to the pass."""
        found = self._absolute(var)
        if not found.index:
            return found
        return Leaf(found.shape, found.name, index=self._index(var, found.index))

    def adjoint_leaf(self, var: Var) -> Leaf:
        """Its adjoint."""
        mine = self.leaf(var)
        return Leaf(mine.shape, mine.name, adjoint=True, index=mine.index)

    def name(self, var: Var) -> str:
        """The name without an index for what the passes make."""
        found = self._absolute(var)
        return found.name if var in self.passes.made else unicode_name(self.leaf(var))

    def _index(self, var: Var, absolute: str) -> str:
        here = self.passes.told
        if var in self.passes.made:
            distance = self.passes.made[var][0] - here
        else:
            column = next((one for one in self.passes.given if var in one), None)
            if column is None:
                return absolute
            distance = column.index(var) - here
        letter = self.passes.letter
        return letter if distance == 0 else f"{letter}{'+' if distance > 0 else '-'}{abs(distance)}"


def passes_of(program: Program, used: Sequence[int]) -> list[Passes]:
    """The repetitions among the steps that the result depends on, in order."""
    if len(used) < 3:
        return []
    kept = set(used)
    letters = [one for one in ("l", "t", "k", "n", "m") if one not in _names(program)] or ["ℓ"]
    made = []
    for run in runs_of(Facts(program, loop_rule().number)):
        if run.trips < 3 or any(position not in kept for position in range(run.start, run.stop)):
            continue
        one = Passes(program, run, letters[0])
        if one.foldable:
            made.append(one)
    return made


def _names(program: Program) -> set[str]:
    return {name for name in program.given_names().values() if len(name) == 1}


def stem(names: Sequence[str]) -> str:
    """What names of the passes have in common: ``h`` of h, h_2, h_3; ``layers_0`` of layers_0_0, layers_1_0, ..."""
    bare = [re.sub(r"_\d+$", "", name) for name in names]
    if len(set(bare)) == 1:
        return bare[0]
    split = [re.split(r"(\d+)", name) for name in names]
    if len({len(one) for one in split}) == 1:
        kept = [part for part, *others in zip(*split, strict=True) if all(part == other for other in others)]
        joined = re.sub(r"__+", "_", "".join(kept)).strip("_")
        if joined:
            return joined
    return names[0]
