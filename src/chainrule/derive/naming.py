"""Variables of a traced program -> the short names that a reader knows them by: the user's, or v1, v2, ..."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.program import Program, Var

__all__ = ["captured_names", "names_of"]

_LAST = re.compile(r"\[(?P<quote>['\"])(?P<key>[^\W\d]\w*)(?P=quote)\]$|\.(?P<attribute>[^\W\d]\w*)$")


def names_of(
    program: Program, paths: Sequence[str], outside: Sequence[tuple[str, Any]]
) -> tuple[dict[Var, str], set[Var]]:
    """A unique name for each variable, and the variables that the user gave none (to be numbered: v1, v2, ...).

    ``paths`` are how the user addresses the inputs; an array in a container goes by its last key where that is clear.
    """
    readable = program.readable_names()
    unnamed = {
        var
        for position, var in enumerate([*program.inputs, *program.captures, *_made(program)])
        if readable[var] == f"v{position}"
    }
    last = [found and (found["key"] or found["attribute"]) for found in map(_LAST.search, paths)]
    taken = {name for var, name in readable.items() if var not in unnamed}
    for var, key in zip(program.inputs, last, strict=True):
        if key and last.count(key) == 1 and key not in taken:
            taken.discard(readable[var])
            readable[var] = key
            taken.add(key)
    for var, name in captured_names(program, outside).items():
        if name not in taken:
            taken.add(name)
            readable[var] = name
    return readable, unnamed


def _made(program: Program) -> list[Var]:
    return [var for step in program.steps for var in step.outputs]


def captured_names(program: Program, outside: Sequence[tuple[str, Any]]) -> dict[Var, str]:
    """Names of captured arrays: those under which the function can reach an array of the same contents."""
    found: dict[Var, str] = {}
    for var, constant in zip(program.captures, program.constants, strict=True):
        if constant is None or constant.ndim == 0:
            continue
        for name, value in outside:
            if value is constant or (
                isinstance(value, np.ndarray)
                and value.shape == constant.shape
                and value.dtype == constant.dtype
                and np.array_equal(value, constant, equal_nan=value.dtype.kind == "f")
            ):
                found[var] = name
                break
    return found
