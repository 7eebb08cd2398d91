"""Random programs with one mutated backward step, in two forms: a list of steps, and primitives that are traced.

As a script (``python -m tests.check.localisation 600 --seed 1``) it counts how many are detected, and how often the
mutated step is named first.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from tests.check.programs import Program, _reduce

import chainrule as cr
from chainrule.check import check


def _mutant(program: Program, k: int) -> Any:
    """The backward pass of step k, with the program's mutation if it is there."""
    step = program.steps[k][0]

    def backward(g: Any, y: Any, *inputs: Any) -> Any:
        parts = list(step.backward(g, y, *inputs))
        if k == program.mutated and program.mutation is not None:
            parts[program.which] = program.mutation(parts[program.which], np.random.default_rng(3))
        return tuple(parts) if len(parts) > 1 else parts[0]

    return backward


def as_steps(program: Program) -> list[tuple[Any, ...]]:
    """The program as ``steps=`` takes it; every second step in the form that keeps residuals."""
    made: list[tuple[Any, ...]] = []
    names = ["x['a']", "x['b']"]
    for k, (step, picks) in enumerate(program.steps):
        wiring = f"{', '.join(names[i] for i in picks)} -> v{k}"
        backward = _mutant(program, k)
        if k % 2:

            def paired(*inputs: Any, step: Any = step, backward: Any = backward) -> Any:
                y = step.forward(*inputs)
                return y, lambda g: backward(g, y, *inputs)

            made.append((step.name, paired, wiring))
        else:

            def pulled(*call: Any, step: Any = step, backward: Any = backward) -> Any:
                *inputs, g = call
                return backward(g, step.forward(*inputs), *inputs)

            made.append((step.name, step.forward, pulled, wiring))
        names.append(f"v{k}")

    def total(a: Any, b: Any, z: Any) -> Any:
        return np.sum(program.weights * z) + 0.3 * np.sum(a * b)

    def total_backward(a: Any, b: Any, z: Any, g: Any) -> Any:
        return g * 0.3 * b * np.ones_like(a), _reduce(g * 0.3 * a, b), _reduce(g * program.weights, z)

    made.append(("total", total, total_backward, f"x['a'], x['b'], {names[-1]} -> y"))
    return made


def as_primitives(program: Program) -> Any:
    """The program as a function that chainrule traces, every step a primitive with the user's own pullback."""
    steps = []
    for k, (step, picks) in enumerate(program.steps):
        primitive = cr.primitive(step.forward, pullback=_mutant(program, k))
        primitive.__name__ = f"s{k}_{step.name}"
        steps.append((primitive, picks))

    def f(x: Any) -> Any:
        values = [x["a"], x["b"]]
        for primitive, picks in steps:
            values.append(primitive(*(values[i] for i in picks)))
        return np.sum(program.weights * values[-1]) + 0.3 * np.sum(values[0] * values[1])

    return f


class Count(NamedTuple):
    number: int
    detected: int
    first: int
    false: int
    missed: list[str]


def count(seed: int, number: int, form: str) -> Count:
    """How many of ``number`` mutants are detected, and named first; how many unmutated programs are called wrong."""
    rng = np.random.default_rng(seed)
    made = detected = first = false = 0
    missed: list[str] = []
    while made < number:
        program = Program(rng)
        if abs(program(program.x)) > 1e6:
            continue
        if form == "steps":
            right = check(program, program.x, steps=as_steps(program), seed=made)
            false += right.verdict == "FAIL" or bool(right.steps and right.verdict != "WARN")
        if not program.mutate(rng):
            continue
        made += 1
        if form == "steps":
            report = check(program, program.x, steps=as_steps(program), seed=made)
        else:
            report = check(as_primitives(program), program.x, seed=made)
        detected += report.verdict in {"FAIL", "WARN"}
        name = f"s{program.mutated}_{program.steps[program.mutated][0].name}"
        named = report.steps[0] if report.steps else {"number": None, "step": ""}
        right_one = named["number"] == program.mutated if form == "steps" else named["step"] == name
        first += right_one
        if not right_one:
            missed.append(f"seed {seed}, mutant {made}: {name} was mutated\n{report}")
    return Count(made, detected, first, false, missed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for form in ("steps", "primitives"):
        found = count(options.seed, options.number, form)
        print(
            f"{form}: {found.number} mutants, {found.detected} detected, {found.first} named first,"
            f" {found.false} false alarms"
        )
        print(*found.missed[:5], sep="\n")


if __name__ == "__main__":
    main()
