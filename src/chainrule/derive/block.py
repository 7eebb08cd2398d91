"""Steps that are told as one: their formula, what they add to the adjoints of what they read, and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chainrule.build import Builder
from chainrule.derive.derivation import Contribution, Item, Partial, Verdict
from chainrule.derive.expression import Expr, Leaf, evaluate, expression_of
from chainrule.derive.grouping import Group
from chainrule.derive.kinds import words_of
from chainrule.derive.pullback import Piece, Pulled, differentiable, piece_of, pulled_back, scalar_partials
from chainrule.derive.real import tidy
from chainrule.derive.witness import combined, formula_agrees, pullback_agrees
from chainrule.program import Literal, Program, Step, Var, array_type
from chainrule.rule import Discrete, Elementwise
from chainrule.source import Place, place

if TYPE_CHECKING:
    from chainrule.derive.story import Story

__all__ = ["Block", "Formulae", "Naming", "readers_of", "spread_axes"]


def readers_of(blocks: Sequence[Block]) -> dict[Var, list[Block]]:
    """The blocks that read each variable."""
    found: dict[Var, list[Block]] = {}
    for block in blocks:
        for var in block.piece.reads:
            found.setdefault(var, []).append(block)
    return found


class Naming(Protocol):
    """What variables are called: in general, or in a pass of a loop that stands for all."""

    def leaf(self, var: Var) -> Leaf:
        """The variable in an expression."""

    def adjoint_leaf(self, var: Var) -> Leaf:
        """Its adjoint in an expression."""

    def name(self, var: Var) -> str:
        """The name that a reader knows it by."""


class Formulae:
    """What is written of some steps of a program: result, adjoints, partials. ``leaf`` names variables."""

    def __init__(
        self,
        program: Program,
        steps: Sequence[Step],
        makes: Sequence[Var],
        leaf: Callable[[Var], Expr],
        adjoint: Callable[[Var], Leaf],
        given: Mapping[Var, Leaf] | None = None,
    ) -> None:
        self.steps, self.leaf, self.adjoint = steps, leaf, adjoint
        #: Results of these steps that are written as something that is given (an entry of an array, of each pass).
        self.given = given or {}
        self.piece: Piece = piece_of(program, steps, makes)

    def expression(self) -> Expr | None:
        """The (first) result, from what is read."""
        return expression_of(self.piece.program, self.piece.inner[self.piece.makes[0]], self._known())

    def _known(self) -> dict[Var, Expr]:
        known: dict[Var, Expr] = {self.piece.inner[one]: self.leaf(one) for one in self.piece.reads}
        return known | {self.piece.inner[var]: leaf for var, leaf in self.given.items()}

    def tidied(self, expr: Expr) -> Expr:
        """An expression after real identities, with the results of these steps by their names."""
        results: dict[Expr, Leaf] = {}
        for var in self.piece.makes:
            made = expression_of(self.piece.program, self.piece.inner[var], self._known())
            name = self.leaf(var)
            if made is not None and isinstance(name, Leaf):
                results[made] = name
        return tidy(expr, results)

    def pulled(self, wrt: Sequence[Var]) -> Pulled:
        """The adjoints of those of the variables that there are derivatives in."""
        kept = differentiable(self.piece, wrt)
        return pulled_back(self.piece, kept, self.leaf, self.adjoint, tidy=self.tidied)

    def partials(self, pulled: Pulled) -> tuple[Partial, ...]:
        """The local derivatives: of an elementwise step the partials themselves, else the pullback."""
        leaves = [(var, name) for var in pulled.wrt if isinstance(name := self.leaf(var), Leaf)]
        if len(self.steps) == 1 and isinstance(self.steps[0].rule, Elementwise):
            exprs = dict(zip(pulled.wrt, self._elementwise(pulled.wrt), strict=True))
            return tuple(Partial(name, "partial", exprs[var]) for var, name in leaves)
        exprs = dict(zip(pulled.wrt, pulled.exprs, strict=True))
        return tuple(Partial(name, "pullback", exprs[var]) for var, name in leaves)

    def _elementwise(self, wrt: Sequence[Var]) -> list[Expr | None]:
        """The partials of an elementwise step: those of one entry."""
        step = self.steps[0]
        scalar = _scalar_piece(self.piece, step)

        def leaf(var: Var) -> Expr:
            name = self.leaf(var)
            return replace(name, shape=()) if isinstance(name, Leaf) else name

        inner: dict[Var, Expr] = {scalar.inner[var]: leaf(var) for var in self.piece.reads}
        whole = expression_of(scalar.program, scalar.inner[step.outputs[0]], inner)
        result = leaf(step.outputs[0])
        known = {} if whole is None or not isinstance(result, Leaf) else {whole: result}
        return [None if one is None else tidy(one, known) for one in scalar_partials(scalar, wrt, leaf)]


class Block:
    """Some steps that are told as one."""

    def __init__(
        self,
        story: Story,
        group: Group,
        label: str,
        naming: Naming | None = None,
        given: Mapping[Var, Leaf] | None = None,
    ) -> None:
        program = story.program
        self.story, self.group, self.label = story, group, label
        self.naming: Naming = story if naming is None else naming
        self.steps = [program.steps[position] for position in group.steps]
        self.makes = self.steps[-1].outputs
        for var in self.makes:
            story.christen(var, label, "" if len(self.makes) == 1 else f"_{self.makes.index(var)}")
        self.given = {var: leaf for var, leaf in (given or {}).items() if any(var in one.outputs for one in self.steps)}
        self.parts = [
            Block(story, Group((position,)), f"{label}.{number}", naming, given)
            for number, position in enumerate(group.steps[:-1], start=1)
        ] if len(group.steps) > 1 else []  # fmt: skip
        leaf, adjoint = self.naming.leaf, self.naming.adjoint_leaf
        self.formulae = Formulae(program, self.steps, self.makes, leaf, adjoint, self.given)
        self.piece = self.formulae.piece
        self._pulled: Pulled | None = None
        self._verdicts: dict[Var, Verdict] | None = None
        self._contributed: dict[Var, Any] = {}

    @property
    def wrt(self) -> tuple[Var, ...]:
        """What it reads that carries an adjoint."""
        return tuple(var for var in self.piece.reads if var in self.story.evidence.adjoints)

    @property
    def pulled(self) -> Pulled | None:
        """The adjoints of what it reads, as a program and as formulae; None where no adjoint reaches it."""
        if self._pulled is None and self.wrt and any(var in self.story.evidence.adjoints for var in self.makes):
            evidence = self.story.evidence
            self._pulled = self.formulae.pulled(self.wrt)
            given = [evidence.values[var] for var in self.piece.reads]
            seeds = [self._seed(var) for var in self.makes]
            with np.errstate(all="ignore"):
                results = self._pulled.program.run([*given, *seeds])
            self._contributed = dict(zip(self._pulled.wrt, results, strict=True))
        return self._pulled

    @property
    def verdicts(self) -> dict[Var, Verdict]:
        """The pullback against the witness, for each variable that it reads; worked out when it is asked for."""
        if self._verdicts is None:
            pulled = self.pulled
            values = self.story.evidence.values.__getitem__
            self._verdicts = (
                {}
                if pulled is None
                else pullback_agrees(self.piece, pulled.program, pulled.wrt, values, self.group.words or self.label)
            )
        return self._verdicts

    @property
    def name(self) -> str:
        """The name of what it makes."""
        return self.story.names[self.makes[0]]

    @property
    def place(self) -> Place | None:
        """The user's line."""
        return place(self.story.program.sites.get(self.makes[0]))

    def partial_value(self, expr: Expr, index: tuple[int, ...]) -> float | None:
        """A partial of an elementwise step at one entry of its result."""
        shape = self.story.program.types[self.makes[0]].shape
        try:
            with np.errstate(all="ignore"):
                made = np.broadcast_to(np.asarray(evaluate(expr, self._lookup)), shape)
                return float(made[index]) if made.ndim == len(index) else None
        except (ValueError, IndexError, KeyError):
            return None

    def _seed(self, var: Var) -> Any:
        found = self.story.evidence.adjoints.get(var)
        kind = self.story.program.types[var]
        return np.zeros(kind.shape, kind.dtype)[()] if found is None else found

    def _lookup(self, leaf: Leaf) -> Any:
        evidence = self.story.evidence
        for var in (*self.piece.reads, *self.makes):
            mine = self.naming.leaf(var)
            if mine.name == leaf.name and mine.index == leaf.index:
                return self._seed(var) if leaf.adjoint else evidence.values[var]
        raise KeyError(leaf.name)

    def passed(self, var: Var) -> Any:
        """What reaches a variable through this block, as a number or an array; None where nothing does."""
        pulled = self.pulled
        return None if pulled is None or var not in pulled.wrt else self._contributed[var]

    def contribution(self, var: Var) -> Contribution | None:
        """What this block adds to the adjoint of a variable that it reads."""
        pulled = self.pulled
        if pulled is None or var not in pulled.wrt:
            return None
        # What is written for an entry of each pass has no formula for the whole array.
        expr = None if self.given else pulled.exprs[pulled.wrt.index(var)]
        value = self._contributed[var]
        verdicts = [self.verdicts[var]]
        if expr is not None:
            verdicts.append(formula_agrees(expr, self._lookup, value))
        summed = spread_axes(self.story.program, self.steps, var)
        through = self.naming.leaf(self.makes[0])
        return Contribution(self.label, expr, value, combined(verdicts), summed, (), through)

    # -- the item

    def item(self, readers: dict[Var, list[Block]]) -> Item:
        """What a reader is told of this block."""
        story, evidence = self.story, self.story.evidence
        program = story.program
        var = self.makes[0]
        step = self.steps[-1]
        kind = program.types[var]
        expr = self.expression()
        discrete = kind.dtype.kind not in "fc" or isinstance(step.rule, Discrete)
        adjoint = None
        for one in self.makes:
            adjoint = adjoint or story.adjoint(one, readers, self.naming)
        inner = readers_of([*self.parts, *([_LastPart(self)] if self.parts else [])])
        parts = tuple(part.item({**readers, **inner}) for part in self.parts)
        if self.parts:
            parts = (*parts, _LastPart(self).item(readers))
        partials = self.partials()
        verdicts = list(self.verdicts.values())
        if adjoint is not None:
            verdicts.append(adjoint.verdict)
        verdicts += [one.verdict for one in parts]
        return Item(
            label=self.label,
            name=self.naming.name(var),
            leaf=self.naming.leaf(var),
            kind="group" if self.parts else "step",
            words=self.group.words or words_of(step),
            shape=kind.shape,
            dtype=kind.dtype.name,
            place=self.place,
            expr=expr,
            reads=tuple(self.naming.name(one) for one in self.piece.reads),
            consumers=tuple(dict.fromkeys(block.label for one in self.makes for block in readers.get(one, ()))),
            partials=partials,
            adjoint=adjoint,
            value=evidence.values[var],
            verdict=combined(verdicts),
            parts=parts,
            discrete=discrete,
            steps=self.group.steps,
            convention=step.rule.convention if not self.parts else "",
        )

    def expression(self) -> Expr | None:
        """What it makes, from what it reads."""
        return self.formulae.expression()

    def partials(self) -> tuple[Partial, ...]:
        """The local derivatives: of an elementwise step the partials themselves, else the pullback."""
        pulled = self.pulled
        return () if pulled is None else self.formulae.partials(pulled)


class _LastPart(Block):
    """The last step of a group, as its last part: it makes what the group makes."""

    def __init__(self, block: Block) -> None:
        story = block.story
        names = {var: story.names[var] for var in block.makes}
        passed = {var: story.passed[var] for var in block.makes if var in story.passed}
        label = f"{block.label}.{len(block.steps)}"
        super().__init__(story, Group((block.group.steps[-1],)), label, block.naming, block.given)
        story.names.update(names)
        story.passed.update(passed)


def _scalar_piece(piece: Piece, step: Step) -> Piece:
    builder = Builder("partial")
    inner: dict[Var, Any] = {}
    for var, place_of in zip(piece.reads, piece.program.inputs, strict=True):
        inner[var] = builder.input(array_type((), piece.program.types[place_of].dtype)).var
    (made,) = builder.add(
        step.rule, tuple(one if isinstance(one, Literal) else inner[one] for one in step.inputs), step.params
    )
    inner[step.outputs[0]] = made
    return Piece(builder.finish([builder.value(made)]), piece.reads, step.outputs, inner)


def spread_axes(program: Program, steps: Sequence[Step], var: Var) -> tuple[int, ...]:
    """The axes of the result along which an elementwise step spreads the variable."""
    for step in steps:
        if isinstance(step.rule, Elementwise) and var in step.inputs:
            shape, mine = program.types[step.outputs[0]].shape, program.types[var].shape
            extra = len(shape) - len(mine)
            return tuple(range(extra)) + tuple(
                place_of + extra for place_of, extent in enumerate(mine) if extent == 1 and shape[place_of + extra] != 1
            )
    return ()
