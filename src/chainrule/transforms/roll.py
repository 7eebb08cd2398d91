"""Program -> Program: steps that repeat each other, folded into a Loop; written out again, it is the same program.

A run of steps that is several copies of one block becomes one step. What the block reads is invariant, carried from
the iteration before, or has one value an iteration: entries of an array at places that grow by a fixed amount (the
index moves with the number of the iteration), results of the iterations of an earlier loop (which leaves them stacked),
or anything else, which is packed before the loop. First and last iterations that differ stay outside.

A guard on a value of every iteration becomes one guard on the stacked values: its value is the tuple of what they were,
or, of truth values that are all the same, that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.build import Builder
from chainrule.expand import expanded, loop_rule
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var, array_type, infer, literal
from chainrule.repetition import Facts, Run, runs_of
from chainrule.rule import RULES, Elementwise, Loop
from chainrule.source import assigned_name

__all__ = ["roll", "unroll"]

_LETTERS = "lkji"


def roll(program: Program) -> Program:
    """The program with its repetitions as loops, the innermost too; the program itself where there is none.

    ``unroll`` gives back an equal program. Takes time in proportion to the number of steps.
    """
    return _rolled(program, 0)


def unroll(program: Program) -> Program:
    """The program with its loops written out."""
    return expanded(program, lambda step: isinstance(step.rule, Loop))


def _rolled(program: Program, depth: int) -> Program:
    facts = Facts(program, loop_rule().number)
    runs = runs_of(facts)
    if not runs:
        return program
    return _Rolling(program, facts, runs, depth).made()


class _Differs(Exception):
    """Blocks that looked like copies of each other are not."""


class _Rolling:
    """One program while its runs are folded, in the order of its steps."""

    def __init__(self, program: Program, facts: Facts, runs: Sequence[Run], depth: int) -> None:
        self.program = program
        self.facts = facts
        self.runs = {run.start: run for run in runs}
        self.depth = depth
        self.loop = loop_rule()
        self.types = list(program.types)
        self.names = dict(program.names)
        self.sites = dict(program.sites)
        self.steps: list[Step] = []
        self.folded: list[_Folded] = []
        #: For each result of the program's steps the number of the folded run that it is in.
        self.home = np.full(int(facts.outs_before[-1]), -1, dtype=np.int64)
        self.taken_out: dict[Var, Operand] = {}

    def made(self) -> Program:
        program = self.program
        place = 0
        while place < len(program.steps):
            run = self.runs.get(place)
            folded = None if run is None else self.fold(run)
            if run is None or folded is None:
                step = program.steps[place]
                self.steps.append(step._replace(inputs=tuple([self.outside(one) for one in step.inputs])))
                place += 1
                continue
            self.home[self.facts.outs_before[run.start] : self.facts.outs_before[run.stop]] = len(self.folded)
            self.folded.append(folded)
            place = run.stop
        outputs = [self.outside(one) for one in program.outputs]
        guards = self.guards()
        for folded in self.folded:
            self.steps[folded.place] = folded.step()
        return Program(
            name=program.name, types=self.types, inputs=program.inputs, captures=program.captures,
            constants=program.constants, steps=self.steps, outputs=outputs, guards=guards, sites=self.sites,
            names=self.names, out_tree=program.out_tree,
        )  # fmt: skip

    def new(self, kind: ArrayType, name: str | None, site: Any = None) -> Var:
        self.types.append(kind)
        var = len(self.types) - 1
        self.names[var] = name
        if site is not None:
            self.sites[var] = site
        return var

    def label(self, operand: Operand) -> str | None:
        """The user's name of a variable, where it has one."""
        if isinstance(operand, Literal):
            return None
        if operand in self.program.names:
            given = self.program.names[operand]
            if isinstance(given, tuple):
                target = self.program.names.get(given[1])
                return f"{given[0]}{target}" if isinstance(target, str) else None
            return given  # type: ignore[no-any-return]
        site = self.program.sites.get(operand)
        return None if site is None else assigned_name(site)

    # -- where values are

    def located(self, operand: Operand) -> tuple[_Folded, int, int] | None:
        """The folded run that makes a value, which of its results it is, and of which block."""
        if isinstance(operand, Literal):
            return None
        rank = int(self.facts.rank[operand])
        if rank < 0 or self.home[rank] < 0:
            return None
        folded = self.folded[self.home[rank]]
        block, slot = divmod(rank - folded.base, folded.results)
        return folded, slot, block

    def outside(self, operand: Operand) -> Operand:
        """A value as the steps after a loop read it."""
        found = self.located(operand)
        if found is None:
            return operand
        assert not isinstance(operand, Literal)
        known = self.taken_out.get(operand)
        if known is None:
            folded, slot, block = found
            known = folded.last(slot, block)
            if known is None:
                stack = folded.stack(slot)
                site = self.program.sites.get(operand)
                known = self.new(self.program.types[operand], self.label(operand), site)
                entry = folded.number(block)
                self.steps.append(Step(self.loop.unpack, (stack,), (entry,), (known,)))
            self.taken_out[operand] = known
        return known

    def guards(self) -> list[tuple[Var, Any]]:
        guards = self.program.guards
        found = [self.located(var) for var, _ in guards]
        # Written out, guards on stacked values are sorted by where the values are made.
        numbers = [int(self.facts.rank[var]) for var, _ in guards]
        groups: dict[tuple[int, int], list[int]] = {}
        if numbers == sorted(numbers):
            for place, one in enumerate(found):
                if one is not None:
                    groups.setdefault((id(one[0]), one[1]), []).append(place)
        made: list[tuple[Var, Any]] = []
        done: set[tuple[int, int]] = set()
        for place, ((var, value), one) in enumerate(zip(guards, found, strict=True)):
            key = (id(one[0]), one[1]) if one is not None else None
            if one is not None and key in groups and len(groups[key]) == one[0].run.trips:
                if key in done:
                    continue
                rows = [found[member][2] for member in groups[key]]  # type: ignore[index]
                if rows == list(range(len(rows))):
                    values = [guards[member][1] for member in groups[key]]
                    ordered = values[::-1] if one[0].reverse else values
                    same = all(item is values[0] for item in values) and isinstance(values[0], bool)
                    made.append((one[0].stack(one[1]), values[0] if same else tuple(ordered)))
                    done.add(key)
                    continue
            now = self.outside(var)
            made.append((now, value))  # type: ignore[arg-type]
            assert place < len(guards)
        return made

    # -- folding

    def fold(self, run: Run) -> _Folded | None:
        try:
            return _Folded(self, run)
        except _Differs:
            return None


class _Folded:
    """A run that has become a Loop; results that later steps ask for are added to it as they ask."""

    def __init__(self, rolling: _Rolling, run: Run) -> None:
        self.rolling = rolling
        self.run = run
        self.facts = rolling.facts
        self.base = int(self.facts.outs_before[run.start])
        self.results = int(self.facts.outs_before[run.start + run.period]) - self.base
        self.stacked: dict[Any, Var] = {}
        self.extra: list[tuple[Operand, Var]] = []
        columns = self.varying()
        resolved = {key: self.resolved(operands) for key, operands in columns.items()}
        self.reverse = self.goes_down(columns)
        self.build()
        self.arguments = self.given(resolved)
        self.place = len(rolling.steps)
        rolling.steps.append(Step(rolling.loop, (), (), ()))

    def number(self, block: int) -> int:
        """The number of the iteration that is this block."""
        return self.run.trips - 1 - block if self.reverse else block

    def step(self) -> Step:
        """The Loop, with everything that was asked of it."""
        builder, rolling = self.builder, self.rolling
        if not self.carried and not self.extra:
            # Steps that nobody reads are steps too.
            self.stack(self.results - 1)
        body = Program(
            name=f"{rolling.program.name}_{_letter(rolling.depth)}",
            types=builder.types,
            inputs=[self.counter, *self.carried.values(), *self.sequences.values(), *self.invariants.values()],
            steps=builder.steps,
            outputs=[*self.next.values(), *(operand for operand, _ in self.extra)],
            sites=builder.sites,
            names=builder.names,
        )
        body = _rolled(body, rolling.depth + 1)
        params = (body, self.run.trips, len(self.carried), len(self.sequences), self.reverse)
        outputs = (*self.finals, *(var for _, var in self.extra))
        return Step(rolling.loop, self.arguments, params, outputs)

    # -- what it leaves

    def last(self, slot: int, block: int) -> Var | None:
        """The variable behind the loop of a value of the last iterations that the loop carries anyway."""
        lag = self.run.trips - block
        for (carried, inits), var in zip(self.carried, self.finals, strict=True):
            if carried == slot and len(inits) == lag:
                return var
        return None

    def stack(self, slot: int) -> Var:
        """The results of all iterations."""
        return self.added(slot, self.env[slot])

    def stack_before(self, key: Any) -> Var:
        """What is carried into each iteration."""
        return self.added(key, self.carried[key])

    def added(self, key: Any, operand: Operand) -> Var:
        found = self.stacked.get(key)
        if found is None:
            assert not isinstance(operand, Literal)
            kind = self.builder.types[operand]
            name = self.builder.names.get(operand)
            if name is None and operand in self.builder.sites:
                name = assigned_name(self.builder.sites[operand])
            label = f"{name}_all" if isinstance(name, str) else None
            found = self.rolling.new(array_type((self.run.trips, *kind.shape), kind.dtype), label)
            self.stacked[key] = found
            self.extra.append((operand, found))
        return found

    # -- the body

    def build(self) -> None:
        """The body, from the first block."""
        rolling, run, program = self.rolling, self.run, self.rolling.program
        self.builder = builder = Builder("body")
        self.counter = builder.input(array_type((), np.dtype(np.int64)), _letter(rolling.depth)).var
        #: The variables of the body that are carried: by the result, and what it is before the first iterations.
        self.carried: dict[tuple[int, tuple[Operand, ...]], Var] = {}
        self.sequences: dict[bytes, Var] = {}
        self.entries: dict[bytes, list[Operand]] = {}
        self.invariants: dict[Var, Var] = {}
        #: The variables of the body by the number of the result.
        self.env: list[Operand] = []
        column = 0
        for place in range(run.period):
            step = program.steps[run.start + place]
            width = len(step.inputs)
            inputs = [self.read(step, column + k, k) for k in range(width)]
            column += width
            rule, params = step.rule, step.params
            table = run.parts.get(place)
            if table is not None and (table != table[0]).any():
                rule, params = self.moved(step, table)
                inputs.append(self.counter)
            outs = builder.add(rule, tuple(inputs), params)
            for var, out in zip(step.outputs, outs, strict=True):
                if builder.types[out] is not program.types[var]:
                    raise _Differs
                if var in program.sites:
                    builder.sites[out] = program.sites[var]
                if var in program.names:
                    builder.names[out] = rolling.label(var)
                self.env.append(out)
        #: What is carried into the next iteration.
        self.next = {
            (slot, inits): self.env[slot] if len(inits) == 1 else self.carried[slot, inits[1:]]
            for slot, inits in self.carried
        }
        first = int(self.facts.outs_before[run.stop - run.period])
        made = [var for step in program.steps[run.stop - run.period : run.stop] for var in step.outputs]
        assert int(self.facts.rank[made[0]]) == first
        self.finals = [
            rolling.new(builder.types[var], rolling.label(made[slot]), program.sites.get(made[slot]))
            for (slot, _), var in self.carried.items()
        ]

    def moved(self, step: Step, table: Any) -> tuple[Any, tuple[Any, ...]]:
        """The rule and its parameters at positions that grow with the number of the iteration."""
        strides = table[1] - table[0]
        starts = table[0]
        if self.reverse:
            starts, strides = table[-1], -strides
        growing = iter(zip(starts.tolist(), strides.tolist(), strict=True))
        if step.rule is self.rolling.loop.number:
            ((start, stride),) = growing
            return step.rule, (start, (*step.params[1], stride), *step.params[2:])
        held = max((len(one) - 2 for one in step.params[0] if type(one) is tuple), default=0)
        template = tuple([_growing(one, growing, held) for one in step.params[0]])
        return RULES[step.rule.moving], (template, *step.params[1:])

    def read(self, step: Step, column: int, k: int) -> Operand:
        """The operand of the body in the place of a column of operands."""
        run, facts = self.run, self.facts
        codes = run.operands[:, column]
        lag = int(run.lags[column])
        if lag == 0:
            slot = (int(facts.rank[codes[0]]) - self.base) % self.results
            return self.env[slot]
        if lag > 0:
            slot = (int(facts.rank[codes[-1]]) - self.base) % self.results
            kind = self.rolling.program.types[int(codes[-1])]
            rows = [facts.operand(code) for code in codes[:lag].tolist()]
            for one in rows:
                if isinstance(one, Literal):
                    self.check_number(step, k, one, kind)
            return self.carry(slot, tuple(rows), kind)
        if (codes == codes[0]).all():
            one = facts.operand(codes[0])
            if isinstance(one, Literal):
                return one
            if one not in self.invariants:
                self.invariants[one] = self.input(self.rolling.program.types[one], one)
            return self.invariants[one]
        operands = [facts.operand(code) for code in codes.tolist()]
        key = codes.tobytes()
        if all(isinstance(one, Literal) for one in operands):
            return self.numbers(step, k, operands, key)  # type: ignore[arg-type]
        first = next(one for one in operands if not isinstance(one, Literal))
        kind = self.rolling.program.types[first]
        for one in operands:
            if isinstance(one, Literal):
                self.check_number(step, k, one, kind)
        return self.sequence(key, operands, kind, first)

    def input(self, kind: ArrayType, operand: Operand) -> Var:
        return self.builder.input(kind, self.rolling.label(operand)).var

    def sequence(self, key: bytes, operands: list[Operand], kind: ArrayType, like: Operand) -> Var:
        if key not in self.sequences:
            self.sequences[key] = self.input(kind, like)
            self.entries[key] = operands
        return self.sequences[key]

    def carry(self, slot: int, inits: tuple[Operand, ...], kind: ArrayType) -> Var:
        """The variable of a result of ``len(inits)`` iterations before; ``inits`` are the first that it has."""
        for depth in range(1, len(inits) + 1):
            key = (slot, inits[-depth:])
            if key not in self.carried:
                self.carried[key] = self.input(kind, self.result(slot))
        return self.carried[slot, inits]

    def result(self, slot: int) -> Var:
        """The result number ``slot`` of the first block."""
        return next(
            var
            for step in self.rolling.program.steps[self.run.start : self.run.start + self.run.period]
            for var in step.outputs
            if int(self.facts.rank[var]) == self.base + slot
        )

    # -- numbers

    def check_number(self, step: Step, k: int, one: Literal, kind: ArrayType) -> None:
        """A literal may stand where there are variables of this type, if it changes no other type."""
        if not self.stands_for(step, k, one, kind):
            raise _Differs

    def stands_for(self, step: Step, k: int, one: Literal, kind: ArrayType) -> bool:
        if kind.shape != ():
            return False
        if isinstance(one.type, ArrayType):
            return one.type is kind
        if one.type is complex or not isinstance(step.rule, Elementwise):
            return array_type((), np.dtype(one.type)) is kind
        if not np.can_cast(np.dtype(one.type), kind.dtype, casting="same_kind"):
            return False
        # What the number becomes where it meets the others.
        types = self.rolling.program.types
        given = [item.type if isinstance(item, Literal) else types[item] for item in step.inputs]
        given[k] = kind
        wanted = tuple([types[var] for var in step.outputs])
        return infer(step.rule, tuple(given), step.params) == wanted

    def numbers(self, step: Step, k: int, operands: list[Literal], key: bytes) -> Operand:
        """Literals that vary: a number that grows, or a sequence."""
        first = operands[0]
        if any(type(one.value) is not type(first.value) for one in operands):
            raise _Differs
        weak = not isinstance(first.type, ArrayType)
        kind = self.kind_of(step, k, first)
        values = [one.value if weak else one.value.item() for one in operands]
        if self.reverse:
            values.reverse()
        if type(values[0]) in (int, float):
            start, stride = values[0], values[1] - values[0]
            grown = [start + stride * number for number in range(len(values))]
            if all(_identical(one, other) for one, other in zip(grown, values, strict=True)):
                params = (start, (stride,), str(kind.dtype), weak)
                return self.builder.add(self.rolling.loop.number, (self.counter,), params)[0]
        return self.sequence(key, list(operands), kind, first)

    def kind_of(self, step: Step, k: int, one: Literal) -> ArrayType:
        """The type of an array's entry that can stand for a literal."""
        if isinstance(one.type, ArrayType):
            return one.type
        types = self.rolling.program.types
        others = [types[item] for item in (*step.outputs, *step.inputs) if not isinstance(item, Literal)]
        for dtype in [*(other.dtype for other in others), np.dtype(one.type)]:
            kind = array_type((), dtype)
            if dtype.kind != "b" and self.stands_for(step, k, one, kind):
                return kind
        raise _Differs

    # -- what it is given

    def varying(self) -> dict[bytes, list[Operand]]:
        """The columns of operands with a value an iteration: what they are, block by block."""
        found: dict[bytes, list[Operand]] = {}
        for column in np.flatnonzero(self.run.lags < 0):
            codes = np.ascontiguousarray(self.run.operands[:, column])
            if (codes != codes[0]).any() and not (codes < 0).all():
                found[codes.tobytes()] = [self.facts.operand(code) for code in codes.tolist()]
        return found

    def resolved(self, operands: list[Operand]) -> tuple[Var, bool] | None:
        """The array that an earlier loop leaves with these entries, and whether in the opposite order; or None."""
        rolling = self.rolling
        places = [rolling.located(one) for one in operands]
        inner = places[1] if len(places) > 1 else None
        if inner is None:
            return None
        folded, slot, _ = inner
        trips = folded.run.trips
        if len(operands) != trips:
            return None
        up = list(range(trips))
        blocks = [one[2] if one is not None and one[0] is folded and one[1] == slot else -1 for one in places]
        for order, down in ((up, False), (up[::-1], True)):
            if blocks == order:
                return folded.stack(slot), down != folded.reverse
            # What was carried into the iterations: the initial value, then the results of all but the last one.
            first = operands[-1] if down else operands[0]
            key = (slot, (rolling.outside(first) if places[-1 if down else 0] is not None else first,))
            shifted = blocks[:-1] == order[1:] if down else blocks[1:] == order[:-1]
            if shifted and key in folded.carried:
                return folded.stack_before(key), down != folded.reverse
        return None

    def goes_down(self, columns: dict[bytes, list[Operand]]) -> bool:
        """Whether the numbers of the iterations go down: where most of what is read does."""
        steps: list[int] = []
        for operands in columns.values():
            one, other = self.rolling.located(operands[1]), self.rolling.located(operands[2])
            if one is not None and other is not None and one[0] is other[0]:
                steps.append(other[0].number(other[2]) - one[0].number(one[2]))
        if not steps:
            tables = self.run.parts.values()
            steps = [int(table[1][k] - table[0][k]) for table in tables for k in np.flatnonzero(table[0] >= 0)]
        return sum(stride < 0 for stride in steps) > sum(stride > 0 for stride in steps)

    def given(self, resolved: dict[bytes, tuple[Var, bool] | None]) -> tuple[Operand, ...]:
        rolling = self.rolling
        initial = [rolling.outside(inits[0]) for _, inits in self.carried]
        sequences = []
        for key, var in self.sequences.items():
            found = resolved.get(key)
            if found is not None and found[1] == self.reverse:
                sequences.append(found[0])
                continue
            sequences.append(self.packed(self.entries[key], self.builder.types[var]))
        return (*initial, *sequences, *(rolling.outside(one) for one in self.invariants))

    def packed(self, operands: list[Operand], kind: ArrayType) -> Var:
        """One array of these entries, those of earlier loops taken from what they left."""
        rolling = self.rolling
        operands = operands[::-1] if self.reverse else operands
        parts: list[tuple[Operand, Any]] = []
        for one in operands:
            found = rolling.located(one)
            if found is None:
                parts.append((one, None))
                continue
            folded, slot, block = found
            stack, number = folded.stack(slot), folded.number(block)
            before = parts[-1] if parts else None
            if before is not None and before[0] == stack and before[1] is not None:
                start, count, stride = before[1]
                if count == 1 and abs(number - start) == 1:
                    parts[-1] = (stack, (start, 2, number - start))
                    continue
                if count > 1 and number == start + count * stride:
                    parts[-1] = (stack, (start, count + 1, stride))
                    continue
            parts.append((stack, (number, 1, 1)))
        runs = tuple([None if run is None else (run[0], run[0] + run[1] * run[2], run[2]) for _, run in parts])
        params = (str(kind.dtype), runs if any(run is not None for run in runs) else ())
        inputs = tuple([one for one, _ in parts])
        types = tuple([one.type if isinstance(one, Literal) else rolling.types[one] for one in inputs])
        (made,) = infer(rolling.loop.pack, types, params)
        name = rolling.label(next((one for one in operands if type(one) is int), literal(0)))
        var = rolling.new(made, None if name is None else f"{name}_each")
        rolling.steps.append(Step(rolling.loop.pack, inputs, params, (var,)))
        return var


def _letter(depth: int) -> str:
    return _LETTERS[min(depth, len(_LETTERS) - 1)]


def _identical(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


def _growing(one: Any, growing: Any, held: int) -> Any:
    """An entry of a key, which has ``held`` strides if it moves already, with one more stride."""
    if type(one) is int:
        start, stride = next(growing)
        return ("affine", start, *(0,) * held, stride) if held or stride else one
    if type(one) is str and ":" in one:
        first, last, *step = one.split(":")
        if first.isdigit() and last.isdigit():
            start, stride = next(growing)
            if stride or held:
                moved = ":".join([str(start), str(start + int(last) - int(first)), *step])
                return ("affine", moved, *(0,) * held, stride)
        return one
    if type(one) is tuple:
        _, inner, *strides = one
        found = _growing(inner, growing, 0)
        if type(found) is not tuple:
            return ("affine", found, *strides, 0)
        return ("affine", found[1], *strides, found[2])
    return one
