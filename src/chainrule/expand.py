"""Steps that hold programs, written out: a loop of n trips becomes n copies of its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.build import Builder, Value
from chainrule.program import Literal, Operand, Program, Step, Var
from chainrule.rule import RULES, Control, Loop, Rule

__all__ = ["expanded", "loop_rule"]


def loop_rule() -> Loop:
    """The rule of repetition."""
    for rule in RULES.values():
        if isinstance(rule, Loop):
            return rule
    raise AssertionError


def expanded(program: Program, chosen: Callable[[Step], bool] | None = None) -> Program:
    """The program with the steps that hold programs (the chosen ones) written out; itself where there are none.

    What iterations take and leave is passed on entry by entry, so that nothing stays of the arrays that a loop is given
    and gives, unless another step reads them whole.
    """
    split = False
    while any(isinstance(step.rule, Control) and (chosen is None or chosen(step)) for step in program.steps):
        expansion = _Expansion(program, chosen)
        program = expansion.made()
        split = split or expansion.split
    if split:
        # Guards on what iterations left are asked again in the order in which their values are made.
        given = {*program.inputs, *program.captures}
        program.guards = tuple(sorted(program.guards, key=lambda guard: -1 if guard[0] in given else guard[0]))
    return program


class _Expansion:
    """One pass, which writes out the outermost of the held programs."""

    def __init__(self, program: Program, chosen: Callable[[Step], bool] | None) -> None:
        self.program = program
        self.chosen = chosen
        self.loop = loop_rule()
        self.builder = Builder(program.name)
        #: The operand that a variable has become, or the list of its entries.
        self.env: dict[Var, Operand | list[Any]] = {}
        self.whole: dict[Var, Operand] = {}
        #: Whether a guard on what iterations left has become one on each entry.
        self.split = False

    def made(self) -> Program:
        program, builder = self.program, self.builder
        for var in program.inputs:
            name = program.names.get(var)
            self.env[var] = builder.input(program.types[var], name if isinstance(name, str) else None).var
        for var, constant in zip(program.captures, program.constants, strict=True):
            copy = self.env[var] = builder.new(program.types[var])
            builder.captures.append(copy)
            builder.constants.append(constant)
        for step in program.steps:
            self.step(step)
        outputs = [self.operand(one) for one in program.outputs]
        guards = self.guards()
        made = builder.finish([builder.value(one) for one in outputs])
        return Program(
            name=made.name, types=made.types, inputs=made.inputs, captures=made.captures, constants=made.constants,
            steps=made.steps, outputs=outputs, sites=made.sites, names=made.names, out_tree=program.out_tree,
            guards=guards,
        )  # fmt: skip

    def operand(self, one: Operand) -> Operand:
        """What a step reads: a list of entries becomes one array."""
        if isinstance(one, Literal):
            return one
        now = self.env[one]
        if not isinstance(now, list):
            return now
        if one not in self.whole:
            entries = tuple([self.builder.operand(entry) for entry in now])
            dtype = str(self.program.types[one].dtype)
            self.whole[one] = self.builder.add(self.loop.pack, entries, (dtype, ()))[0]
        return self.whole[one]

    def argument(self, one: Operand) -> Any:
        now = one if isinstance(one, Literal) else self.env[one]
        return now if isinstance(now, list) else now.value if isinstance(now, Literal) else Value(self.builder, now)

    def step(self, step: Step) -> None:
        rule: Rule = step.rule
        if isinstance(rule, Control) and (self.chosen is None or self.chosen(step)):
            results = rule.expand(self.builder, [self.argument(one) for one in step.inputs], step.params)
            for var, result in zip(step.outputs, results, strict=True):
                self.env[var] = result if isinstance(result, list) else self.builder.operand(result)
            return
        if rule is self.loop.pack:
            entries = self.packed(step)
            if entries is not None:
                self.env[step.outputs[0]] = entries
                return
        if rule is self.loop.unpack:
            source = self.argument(step.inputs[0])
            if isinstance(source, list):
                self.env[step.outputs[0]] = self.builder.operand(source[step.params[0]])
                return
        env: dict[Var, Operand] = {one: self.operand(one) for one in step.inputs if not isinstance(one, Literal)}
        self.builder.replay_steps(self.program, (step,), env)
        self.env.update((var, env[var]) for var in step.outputs)

    def packed(self, step: Step) -> list[Any] | None:
        """The entries of what is packed; None where it is packed from entries of an array that stays whole."""
        runs = step.params[1] or (None,) * len(step.inputs)
        entries: list[Any] = []
        for one, run in zip(step.inputs, runs, strict=True):
            source = self.argument(one)
            if run is None:
                entries.append(self.builder.value(self.operand(one)))
            elif isinstance(source, list):
                entries.extend(source[entry] for entry in range(*run))
            else:
                return None
        return entries

    def guards(self) -> list[tuple[Var, Any]]:
        """The guards; one on what the iterations left is one on each entry."""
        made: list[tuple[Var, Any]] = []
        for var, value in self.program.guards:
            now = self.env[var]
            if isinstance(now, list):
                self.split = True
                values = value if isinstance(value, tuple) else (value,) * len(now)
                found = [(self.builder.operand(entry), one) for entry, one in zip(now, values, strict=True)]
            else:
                found = [(now, value)]
            made.extend((one, value) for one, value in found if type(one) is int)
        return made
