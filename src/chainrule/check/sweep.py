"""The steps of a program and weights of its output -> adjoints, step by step backwards, as the steps claim them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from chainrule.check.claim import ClaimProblem
from chainrule.errors import ArgumentError
from chainrule.numerical.point import FloatArray
from chainrule.provider import Tape, TapeStep, Untraceable

__all__ = ["StepProblem", "Sweep", "is_real", "parts_of", "sweep"]


class StepProblem(Exception):
    """A backward pass that raises or returns what can not be an adjoint: that step is at fault, whatever the others."""

    def __init__(self, sentence: str, number: int, pattern: str, label: str = "") -> None:
        super().__init__(sentence)
        self.number, self.pattern, self.label = number, pattern, label


class Sweep(NamedTuple):
    """For each step (value number, weight): plus the adjoint of each output, minus the part given to each input."""

    weights: list[list[tuple[int, Any]]]
    gradient: FloatArray


def is_real(value: Any) -> bool:
    """Whether a value has an adjoint: floating-point numbers do, indices and truth values do not."""
    return np.asarray(value).dtype.kind == "f"


def sweep(tape: Tape, values: Mapping[int, Any], cotangent: FloatArray) -> Sweep:
    """Runs the backward passes from the last step to the first. Raises StepProblem."""
    adjoints: dict[int, Any] = {}
    start = 0
    for number in tape.results:
        value = np.asarray(values[number])
        if is_real(value):
            weight = cotangent[start : start + value.size].reshape(value.shape).astype(value.dtype)
            adjoints[number] = adjoints[number] + weight if number in adjoints else weight
        start += value.size
    weights: list[list[tuple[int, Any]]] = [[] for _ in tape.steps]
    for k in range(len(tape.steps) - 1, -1, -1):
        step = tape.steps[k]
        if not any(number in adjoints for number in step.outputs):
            continue
        given = [_adjoint(adjoints, number, values) for number in step.outputs]
        parts = parts_of(step, k, [values[number] for number in step.inputs], given)
        row = [(n, np.asarray(g, dtype=np.float64)) for n, g in zip(step.outputs, given, strict=True) if n in adjoints]
        # A value that is overwritten has no other user after this step: its adjoint ends here.
        for number in step.outputs:
            adjoints.pop(number, None)
        for number, part in zip(step.inputs, parts, strict=True):
            if part is None:
                continue
            row.append((number, -np.asarray(part, dtype=np.float64)))
            adjoints[number] = adjoints[number] + part if number in adjoints else part
        weights[k] = row
    pieces = [
        np.asarray(adjoints.get(number, np.zeros(np.shape(values[number]))), dtype=np.float64).ravel()
        for number in tape.roots
    ]
    return Sweep(weights, np.concatenate(pieces) if pieces else np.zeros(0))


def _adjoint(adjoints: dict[int, Any], number: int, values: Mapping[int, Any]) -> Any:
    value = np.asarray(values[number])
    return adjoints[number] if number in adjoints else np.zeros(value.shape, value.dtype)


def parts_of(
    step: TapeStep, k: int, inputs: list[Any], given: list[Any], pullback: Callable[[Any], Any] | None = None
) -> list[Any]:
    """The parts that one step gives back to its inputs, examined; by ``pullback`` if its forward pass has been run."""
    try:
        with np.errstate(all="ignore"):
            pull = step.vjp(*map(_fresh, inputs))[1] if pullback is None else pullback
            parts = list(pull([_fresh(one) for one in given]))
    except (ArgumentError, Untraceable):
        raise
    except ClaimProblem as problem:
        raise StepProblem(str(problem), k, "an adjoint for each input, in its container") from problem
    except Exception as problem:
        raise StepProblem(
            f"its backward pass raises {type(problem).__name__}: {problem}", k, f"raises {type(problem).__name__}"
        ) from problem
    if len(parts) != len(inputs):
        raise StepProblem(
            f"its backward pass returns {len(parts)} adjoints for {len(inputs)} inputs", k, "an adjoint for each input"
        )
    made: list[Any] = []
    for place, (part, value) in enumerate(zip(parts, inputs, strict=True)):
        if part is None or not is_real(value):
            made.append(None)
            continue
        label = step.labels[place] if place < len(step.labels) else ""
        array = np.asarray(part)
        if array.shape != np.shape(value):
            if array.ndim >= np.ndim(value) and array.size > np.size(value):
                pattern = "a sum over a broadcast axis is missing"
            elif array.shape == np.shape(value)[::-1]:
                pattern = "transposed"
            else:
                pattern = "an adjoint has the shape of what it belongs to"
            sentence = f"it returns an adjoint of shape {array.shape} for its input {label} of shape {np.shape(value)}"
            raise StepProblem(sentence.replace("  ", " "), k, pattern, label)
        made.append(array)
    return made


def _fresh(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
