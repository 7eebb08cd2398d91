"""A traced program and its numbers -> the items of a derivation: steps, local derivatives, adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.derive.closed import closed_forms
from chainrule.derive.derivation import Adjoint, Contribution, Gradient, Input, Item, Local, Partial, Verdict
from chainrule.derive.evidence import Evidence
from chainrule.derive.expression import Expr, Leaf, evaluate, expression_of
from chainrule.derive.grouping import Group, groups_of
from chainrule.derive.kinds import local_derivatives, words_of
from chainrule.derive.naming import names_of
from chainrule.derive.pullback import Piece, Pulled, differentiable, piece_of, pulled_back, scalar_partials
from chainrule.derive.real import added, tidy
from chainrule.derive.witness import agree, combined, formula_agrees, pullback_agrees
from chainrule.program import Literal, Program, Step, Var
from chainrule.rule import Discrete, Elementwise
from chainrule.source import Place, place

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
        self.readers = _readers(self.blocks)
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


def _readers(blocks: Sequence[Block]) -> dict[Var, list[Block]]:
    found: dict[Var, list[Block]] = {}
    for block in blocks:
        for var in block.piece.reads:
            found.setdefault(var, []).append(block)
    return found


class Block:
    """Some steps that are told as one."""

    def __init__(self, story: Story, group: Group, label: str) -> None:
        program = story.program
        self.story, self.group, self.label = story, group, label
        self.steps = [program.steps[position] for position in group.steps]
        self.makes = self.steps[-1].outputs
        for var in self.makes:
            if var in story.unnamed:
                story.names[var] = f"{story.letter}{label}" + (
                    "" if len(self.makes) == 1 else f"_{self.makes.index(var)}"
                )
        self.parts = [
            Block(story, Group((position,)), f"{label}.{number}")
            for number, position in enumerate(group.steps[:-1], start=1)
        ] if len(group.steps) > 1 else []  # fmt: skip
        self.piece: Piece = piece_of(program, self.steps, self.makes)
        self._pulled: Pulled | None = None
        self._verdicts: dict[Var, Verdict] = {}
        self._contributed: dict[Var, Any] = {}

    @property
    def wrt(self) -> tuple[Var, ...]:
        """What it reads that carries an adjoint."""
        return tuple(var for var in self.piece.reads if var in self.story.evidence.adjoints)

    @property
    def pulled(self) -> Pulled | None:
        if self._pulled is None and self.wrt and any(var in self.story.evidence.adjoints for var in self.makes):
            story, evidence = self.story, self.story.evidence
            wrt = differentiable(self.piece, self.wrt)
            self._pulled = pulled_back(self.piece, wrt, story.leaf, story.adjoint_leaf, tidy=self.tidied)
            self._verdicts = pullback_agrees(
                self.piece, self._pulled.program, wrt, evidence.values.__getitem__, f"{self.label}"
            )
            given = [evidence.values[var] for var in self.piece.reads]
            seeds = [self._seed(var) for var in self.makes]
            with np.errstate(all="ignore"):
                results = self._pulled.program.run([*given, *seeds])
            self._contributed = dict(zip(wrt, results, strict=True))
        return self._pulled

    @property
    def name(self) -> str:
        """The name of what it makes."""
        return self.story.names[self.makes[0]]

    @property
    def place(self) -> Place | None:
        """The user's line."""
        return place(self.story.program.sites.get(self.makes[0]))

    def expression(self) -> Expr | None:
        """What it makes, from what it reads."""
        known: dict[Var, Expr] = {self.piece.inner[one]: self.story.leaf(one) for one in self.piece.reads}
        return expression_of(self.piece.program, self.piece.inner[self.makes[0]], known)

    def partial_value(self, expr: Expr, index: tuple[int, ...]) -> float | None:
        """A partial of an elementwise step at one entry of its result."""
        shape = self.story.program.types[self.makes[0]].shape
        try:
            with np.errstate(all="ignore"):
                made = np.broadcast_to(np.asarray(evaluate(expr, self._lookup)), shape)
                return float(made[index]) if made.ndim == len(index) else None
        except (ValueError, IndexError, KeyError):
            return None

    def tidied(self, expr: Expr) -> Expr:
        """The expression after real identities, with this block's own results by their names."""
        known: dict[Var, Expr] = {self.piece.inner[one]: self.story.leaf(one) for one in self.piece.reads}
        results = {}
        for var in self.makes:
            made = expression_of(self.piece.program, self.piece.inner[var], known)
            if made is not None:
                results[made] = self.story.leaf(var)
        return tidy(expr, results)

    def _seed(self, var: Var) -> Any:
        found = self.story.evidence.adjoints.get(var)
        kind = self.story.program.types[var]
        return np.zeros(kind.shape, kind.dtype)[()] if found is None else found

    def _lookup(self, leaf: Leaf) -> Any:
        evidence = self.story.evidence
        for var in (*self.piece.reads, *self.makes):
            if self.story.names[var] == leaf.name:
                return self._seed(var) if leaf.adjoint else evidence.values[var]
        raise KeyError(leaf.name)

    def contribution(self, var: Var) -> Contribution | None:
        """What this block adds to the adjoint of a variable that it reads."""
        pulled = self.pulled
        if pulled is None or var not in pulled.wrt:
            return None
        expr = pulled.exprs[pulled.wrt.index(var)]
        value = self._contributed[var]
        verdicts = [self._verdicts[var]]
        if expr is not None:
            verdicts.append(formula_agrees(expr, self._lookup, value))
        summed = _summed(self.story.program, self.steps, var)
        through = self.story.leaf(self.makes[0])
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
            adjoint = adjoint or story.adjoint(one, readers)
        inner = _readers([*self.parts, *([_LastPart(self)] if self.parts else [])])
        parts = tuple(part.item({**readers, **inner}) for part in self.parts)
        if self.parts:
            parts = (*parts, _LastPart(self).item(readers))
        partials = self.partials()
        verdicts = [self._verdicts[one] for one in self._verdicts]
        if adjoint is not None:
            verdicts.append(adjoint.verdict)
        verdicts += [one.verdict for one in parts]
        return Item(
            label=self.label,
            name=story.names[var],
            leaf=story.leaf(var),
            kind="group" if self.parts else "step",
            words=self.group.words or words_of(step),
            shape=kind.shape,
            dtype=kind.dtype.name,
            place=self.place,
            expr=expr,
            reads=tuple(story.names[one] for one in self.piece.reads),
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

    def partials(self) -> tuple[Partial, ...]:
        """The local derivatives: of an elementwise step the partials themselves, else the pullback."""
        story = self.story
        pulled = self.pulled
        if pulled is None:
            return ()
        if len(self.steps) == 1 and isinstance(self.steps[0].rule, Elementwise):
            return tuple(
                Partial(story.leaf(var), "partial", expr)
                for var, expr in zip(pulled.wrt, self._elementwise(pulled.wrt), strict=True)
            )
        return tuple(
            Partial(story.leaf(var), "pullback", expr) for var, expr in zip(pulled.wrt, pulled.exprs, strict=True)
        )

    def _elementwise(self, wrt: Sequence[Var]) -> list[Expr | None]:
        """The partials of an elementwise step: its pullback, entry by entry, of an adjoint of 1."""
        story = self.story
        scalar = _scalar_piece(self.piece, self.steps[0])
        inner: dict[Var, Expr] = {scalar.inner[var]: Leaf((), story.names[var]) for var in self.piece.reads}
        whole = expression_of(scalar.program, scalar.inner[self.makes[0]], inner)
        known = {} if whole is None else {whole: Leaf((), story.names[self.makes[0]])}
        return [
            None if expr is None else tidy(expr, known)
            for expr in scalar_partials(scalar, wrt, lambda var: Leaf((), story.names[var]))
        ]


class _LastPart(Block):
    """The last step of a group, as its last part: it makes what the group makes."""

    def __init__(self, block: Block) -> None:
        story = block.story
        names = {var: story.names[var] for var in block.makes}
        super().__init__(story, Group((block.group.steps[-1],)), f"{block.label}.{len(block.steps)}")
        story.names.update(names)


def _scalar_piece(piece: Piece, step: Step) -> Piece:
    from chainrule.build import Builder
    from chainrule.program import array_type

    builder = Builder("partial")
    inner: dict[Var, Any] = {}
    for var, place_of in zip(piece.reads, piece.program.inputs, strict=True):
        inner[var] = builder.input(array_type((), piece.program.types[place_of].dtype)).var
    (made,) = builder.add(
        step.rule, tuple(one if isinstance(one, Literal) else inner[one] for one in step.inputs), step.params
    )
    inner[step.outputs[0]] = made
    return Piece(builder.finish([builder.value(made)]), piece.reads, step.outputs, inner)


def _summed(program: Program, steps: Sequence[Step], var: Var) -> tuple[int, ...]:
    """The axes of the result along which an elementwise step spreads the variable."""
    for step in steps:
        if isinstance(step.rule, Elementwise) and var in step.inputs:
            shape, mine = program.types[step.outputs[0]].shape, program.types[var].shape
            extra = len(shape) - len(mine)
            return tuple(range(extra)) + tuple(
                place_of + extra for place_of, extent in enumerate(mine) if extent == 1 and shape[place_of + extra] != 1
            )
    return ()
