"""Steps of a program in C: elementwise rules, sums of products, held programs; what else there is, by its kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.derive.analysis import Reading
from chainrule.derive.c_arrays import ZERO, Affine, Constant, Lazy, Local, Memory, Node, c_strides, symbol
from chainrule.derive.c_expression import C_TYPES, Term, cast, filled, form_of, literal_as, loop_kinds, number
from chainrule.derive.c_functions import FUNCTIONS
from chainrule.derive.c_loop import write_loop
from chainrule.derive.c_places import part, picked, put, view
from chainrule.derive.c_routines import ROUTINES
from chainrule.derive.c_writer import Writer
from chainrule.errors import NoRule
from chainrule.program import ArrayType, Literal, Step, Var
from chainrule.rule import Control, Elementwise, Gather, Index, Loop
from chainrule.source import excerpt

__all__ = ["Body"]

#: Expressions longer than this are not written into others.
_SHORT = 64


class Body(Writer):
    """The statements of one program."""

    # -- steps

    def write(self) -> None:
        """Write all steps."""
        for var in (*self.program.inputs, *self.program.captures):
            self.guard(var)
        for count, step in enumerate(self.program.steps):
            live = [var for var in step.outputs if self.reading.uses.get(var) or var in self._guards]
            if not live:
                continue
            self.step(count, step)
            for var in step.outputs:
                self.guard(var)

    def step(self, count: int, step: Step) -> None:
        """Write one step."""
        rule = step.rule
        for var in step.outputs:
            self.file.c_type(self.program.types[var].dtype, step)
        if isinstance(rule, Loop):
            write_loop(self, count, step)
        elif isinstance(rule, Control):
            self._call(count, step)
        elif isinstance(rule, Elementwise):
            self._elementwise(count, step, rule)
        elif rule.native in ROUTINES:
            ROUTINES[rule.native](self, count, step)
        elif not (view(self, step) or self._sum(count, step) or put(self, count, step) or picked(self, count, step)):
            raise self.no_form(step)

    def no_form(self, step: Step) -> NoRule:
        """The error for a step that C can not do."""
        return NoRule(
            f"{step.rule.name} has no form in C",
            where=excerpt(self.program.sites.get(step.outputs[0])),
            cure="write the function out as NumPy instead: chainrule.to_numpy",
        )

    # -- elementwise

    def _elementwise(self, count: int, step: Step, rule: Elementwise) -> None:
        (var,) = step.outputs
        out = self.program.types[var]
        kinds = loop_kinds(rule, [self.program.type_of(one) for one in step.inputs], out.dtype)
        known = {*FUNCTIONS}.__contains__
        form = (
            None
            if kinds is None or any(one.name not in C_TYPES for one in kinds)
            else form_of(rule, out.dtype, kinds, known)
        )
        if form is None or kinds is None:
            raise self.no_form(step)
        ours = set(re.findall(r"(\w+)~\(", form))
        if not ours <= set(FUNCTIONS):
            raise self.no_form(step)
        form = form.replace("~(", "(")
        nodes: list[Node] = []
        for one, kind in zip(step.inputs, kinds, strict=True):
            nodes.append(Constant((), kind, literal_as(one, kind)) if isinstance(one, Literal) else self.nodes[one])
        single = bool(ours) and out.dtype == np.float32
        result = np.dtype(np.float64) if single else self._computed(rule, form, out, kinds)

        def element(index: Sequence[Affine]) -> Term:
            terms = [cast(node.under(index), node.dtype, kind) for node, kind in zip(nodes, kinds, strict=True)]
            return cast(filled(form, terms), result, out.dtype)

        reads = frozenset().union(*[node.reads for node in nodes])
        made = Lazy(out.shape, out.dtype, element, reads, count)
        if self._folds(var) and len(element([symbol("i")] * out.ndim).text) <= _SHORT:
            self.nodes[var] = made
        else:
            self.realise(count, var, made)

    def _computed(self, rule: Elementwise, form: str, out: ArrayType, kinds: Sequence[Any]) -> Any:
        """The dtype in which C computes: small integers become int, and are cut to size by a cast."""
        if rule.native == "cast":
            return kinds[0]
        if out.dtype.kind in "iu" and form not in ("{0}", "{0} ? {1} : {2}"):
            return np.dtype(np.int64 if out.dtype.kind == "i" else np.uint64) if out.dtype.itemsize < 8 else out.dtype
        return out.dtype

    def _folds(self, var: Var) -> bool:
        """Whether a variable is computed where it is read: in one place, once for each of its elements."""
        if var not in self.reading.foldable:
            return False
        shape = self.program.types[var].shape
        uses = self.reading.uses.get(var, [])
        if not uses:
            return not shape
        if uses[0] == len(self.program.steps):
            return self.depth == 1
        reader = self.program.steps[uses[0]]
        if isinstance(reader.rule, Elementwise):
            return self.program.types[reader.outputs[0]].shape == shape
        if isinstance(reader.rule, Index):
            return len(reader.inputs) == 1 and reader.rule.view is None
        if (
            isinstance(reader.rule, Gather)
            and reader.rule.update is not None
            and reader.rule.lands is not None
            and reader.inputs[0] != var
        ):
            return len(reader.inputs) == 2 and part(self, reader).shape == shape
        return False

    # -- sums of products

    def _sum(self, count: int, step: Step) -> bool:
        rule = step.rule
        if not isinstance(rule, Index):
            return False
        (var,) = step.outputs
        out = self.program.types[var]
        words, output = rule.letters([self.type_of(one) for one in step.inputs], step.params)
        nodes = [self.node(one) for one in step.inputs]
        extents: dict[str, int] = {}
        for word, node in zip(words, nodes, strict=True):
            for letter, extent in zip(word, node.shape, strict=True):
                extents[letter] = max(extent, extents.get(letter, 1)) if extent and extents.get(letter, 1) else 0
        summed = [letter for letter in dict.fromkeys("".join(words)) if letter not in output]

        def product(at: dict[str, Affine]) -> str:
            terms = [
                cast(
                    node.at([at[one] if node.shape[place] != 1 else ZERO for place, one in enumerate(word)]),
                    node.dtype,
                    out.dtype,
                )
                for word, node in zip(words, nodes, strict=True)
            ]
            made = terms[0]
            for one in terms[1:]:
                made = filled("{0} * {1}", [made, one])
            return made.text

        zero = number(0, out.dtype).text
        self.cite(count)
        if not out.ndim:
            name = self.names[var]
            self.say(f"{self.file.c_type(out.dtype)} {name} = {zero};")
            self.nest(
                [extents[one] for one in summed],
                lambda index: self.say(f"{name} += {product(dict(zip(summed, index, strict=True)))};"),
            )
            self.nodes[var] = Local((), out.dtype, name)
            return True
        target = self.room(var)
        self.nodes[var] = target
        if target.buffer in frozenset().union(*[node.reads for node in nodes]):
            held = self.file.buffer(out.dtype, out.shape, self.file.names.new(self.names[var]))
            target = self.nodes[var] = Memory(out.shape, out.dtype, held, c_strides(out.shape))
        if self._by_rows(words, output, summed, nodes):
            outer, last = list(output[:-1]), output[-1]

            def rows(index: list[Affine]) -> None:
                def at(j: list[Affine], k: list[Affine]) -> dict[str, Affine]:
                    return dict(zip([*outer, last, *summed], [*index, *j, *k], strict=True))

                self.nest([extents[last]], lambda j: self.say(f"{target.at([*index, *j]).text} = {zero};"))
                self.nest(
                    [extents[summed[0]]],
                    lambda k: self.nest(
                        [extents[last]], lambda j: self.say(f"{target.at([*index, *j]).text} += {product(at(j, k))};")
                    ),
                )

            self.nest(out.shape[:-1], rows)
            return True

        def entry(index: list[Affine]) -> None:
            at = dict(zip(output, index, strict=True))
            if not summed:
                self.say(f"{target.at(index).text} = {product(at)};")
                return
            self.say(f"{self.file.c_type(out.dtype)} sum = {zero};")
            self.nest(
                [extents[one] for one in summed],
                lambda inner: self.say(f"sum += {product({**at, **dict(zip(summed, inner, strict=True))})};"),
            )
            self.say(f"{target.at(index).text} = sum;")

        self.nest(out.shape, entry, scoped=bool(summed))
        return True

    def _by_rows(self, words: Sequence[str], output: str, summed: Sequence[str], nodes: Sequence[Node]) -> bool:
        """Whether a matrix product goes through memory in order if rows are added up."""
        if len(nodes) != 2 or len(summed) != 1 or not output:
            return False
        second = nodes[1]
        if (
            not isinstance(second, Memory)
            or output[-1] not in words[1]
            or output[-1] in words[0]
            or summed[0] not in words[1]
        ):
            return False
        return second.strides[words[1].index(output[-1])] == 1 and second.strides[words[1].index(summed[0])] != 1

    # -- steps that hold programs

    def _call(self, count: int, step: Step) -> None:
        (program,) = step.params
        inner = Body(self.file, program, Reading(program), self.file.names.of(program), self.depth)
        inner.sweeps = count >= self.reading.sweep if self.sweeps is None else self.sweeps
        for var, one in zip(program.inputs, step.inputs, strict=True):
            inner.nodes[var] = self.node(one)
        inner.write()
        for var, one in zip(step.outputs, program.outputs, strict=True):
            node = inner.node(one)
            if isinstance(node, Lazy):
                self.realise(count, var, node)
            else:
                self.nodes[var] = node
