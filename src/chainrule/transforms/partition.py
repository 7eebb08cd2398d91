"""Program -> two Programs: what can be computed before some of the inputs are known, and the rest."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.program import Literal, Program, Var

__all__ = ["partition"]


def partition(program: Program, known: Sequence[bool], outputs_first: int) -> tuple[Program, Program]:
    """Split by which inputs are known.

    The first program takes the known inputs and gives the first ``outputs_first`` outputs and the values that the
    second needs; the second takes the other inputs and those values, and gives the other outputs.
    """
    early: set[Var] = {var for var, yes in zip(program.inputs, known, strict=True) if yes} | set(program.captures)
    late = {var for var, yes in zip(program.inputs, known, strict=True) if not yes}
    first, second = [], []
    for step in program.steps:
        # A step without an early argument (a constant) is cheap: the second program makes it anew.
        if any(one in late for one in step.inputs if not isinstance(one, Literal)):
            late.update(step.outputs)
            second.append(step)
        else:
            early.update(step.outputs)
            first.append(step)
    wanted = [one for step in second for one in step.inputs if not isinstance(one, Literal) and one in early]
    wanted += [one for one in program.outputs[outputs_first:] if not isinstance(one, Literal) and one in early]
    residuals = list(dict.fromkeys(wanted))
    known_inputs = [var for var, yes in zip(program.inputs, known, strict=True) if yes]
    other_inputs = [var for var, yes in zip(program.inputs, known, strict=True) if not yes]
    return (
        Program(
            name=f"{program.name}_first", types=program.types, inputs=known_inputs, captures=program.captures,
            constants=program.constants, steps=first, outputs=(*program.outputs[:outputs_first], *residuals),
            sites=program.sites, names=program.names,
        ),
        Program(
            name=f"{program.name}_second", types=program.types, inputs=(*other_inputs, *residuals), steps=second,
            outputs=program.outputs[outputs_first:], sites=program.sites, names=program.names,
        ),
    )  # fmt: skip
