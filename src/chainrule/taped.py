"""A function and a point -> its Program as a tape: every step with both of its directions, for the judge to hold alone.

A step's backward pass is that of a program of this one step, so it is what backpropagation makes of the rule.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.arguments import Point
from chainrule.expand import expanded
from chainrule.program import Literal, Program, Step, Var
from chainrule.provider import Tape, TapeStep
from chainrule.source import place
from chainrule.trace.tracer import execute
from chainrule.transforms.backprop import backprop

__all__ = ["taped"]


def taped(f: Callable[..., Any], args: tuple[Any, ...], argnums: Any) -> Tape:
    """The tape of ``f(*args)``, with the leaves of the arguments ``argnums`` as its roots.

    >>> import numpy as np
    >>> tape = taped(lambda x: np.sum(np.sin(x)), (np.array([0.5, 1.0]),), 0)
    >>> [step.name for step in tape.steps]
    ['sin', 'sum']
    >>> outputs, pullback = tape.steps[0].vjp(np.array([0.0, 0.0]))
    >>> pullback([np.array([1.0, 2.0])])
    [array([1., 2.])]
    """
    point = Point(f, args, {}, argnums)
    traced, _, _ = point.trace()
    program = expanded(traced)
    names = program.readable_names()
    held = dict(zip(program.captures, program.constants, strict=True))
    # A literal result (a function that does not depend on its input) gets a number of its own.
    literals = {-1 - k: one.value for k, one in enumerate(program.outputs) if isinstance(one, Literal)}
    results = [-1 - k if isinstance(one, Literal) else one for k, one in enumerate(program.outputs)]

    def replay(leaves: Sequence[Any]) -> Mapping[int, Any] | None:
        values: dict[int, Any] = dict(literals)
        values.update(held)
        for var, leaf in zip(program.inputs, leaves, strict=True):
            values[var] = np.asarray(leaf, dtype=program.types[var].dtype)[()]
        with np.errstate(all="ignore"):
            for step in program.steps:
                values.update(
                    zip(step.outputs, _forward(step, [_value(one, values) for one in step.inputs]), strict=True)
                )
        for var, expected in program.guards:
            if not np.array_equal(values[var], expected, equal_nan=True):
                return None
        return values

    return Tape([_step(program, step, names) for step in program.steps], list(program.inputs), results, replay)


def _value(operand: Any, values: Mapping[int, Any]) -> Any:
    return operand.value if isinstance(operand, Literal) else values[operand]


def _forward(step: Step, operands: Sequence[Any]) -> Sequence[Any]:
    made = step.rule.value(*operands, *step.params)
    return (made,) if len(step.outputs) == 1 else made


def _step(program: Program, step: Step, names: Mapping[Var, str]) -> TapeStep:
    inputs = tuple(dict.fromkeys(one for one in step.inputs if not isinstance(one, Literal)))
    alone = Program(
        name=step.rule.name, types=program.types, inputs=inputs, steps=[step], outputs=step.outputs, names=program.names
    )
    real = [k for k, var in enumerate(inputs) if program.types[var].dtype.kind == "f"]
    swept: list[Program] = []

    def forward(*values: Any) -> Sequence[Any]:
        given = dict(zip(inputs, values, strict=True))
        with np.errstate(all="ignore"):
            return _forward(step, [_value(one, given) for one in step.inputs])

    def pulled(*values: Any) -> tuple[Sequence[Any], Callable[[Sequence[Any]], list[Any]]]:
        if not swept:
            swept.append(backprop(alone, real, seeded=True))

        def pullback(adjoints: Sequence[Any]) -> list[Any]:
            parts: list[Any] = [None] * len(inputs)
            for k, part in zip(real, execute(swept[0], [*values, *adjoints]), strict=True):
                parts[k] = part
            return parts

        return forward(*values), pullback

    where = place(program.sites.get(step.outputs[0]))
    # A rule of the user's own is called what its function is called, and has a line where its pullback is written.
    pullback: Any = getattr(step.rule, "pullback", None)
    given = getattr(pullback, "__wrapped__", None)
    rule = getattr(given, "__code__", None)
    name = step.rule.name if given is None else pullback.__name__
    return TapeStep(
        name, inputs, step.outputs, forward, pulled,
        tuple(names[var] for var in inputs), where.short if where else "", where.text if where else "",
        f"{os.path.basename(rule.co_filename)}:{rule.co_firstlineno}" if rule is not None else "",
    )  # fmt: skip
