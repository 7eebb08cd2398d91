"""Claimed and true adjoints of one input of one step -> the mistake that turns one into the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.check.explain import explain
from chainrule.numerical.point import FloatArray

__all__ = ["Table", "pattern_of"]


class Table(NamedTuple):
    """Entries ``chosen`` of one input: claimed and true adjoint for one cotangent, with the bound of the true one."""

    claimed: FloatArray
    true: FloatArray
    error: FloatArray
    chosen: npt.NDArray[np.intp]
    shape: tuple[int, ...]
    whole: FloatArray  # the claimed adjoint of the whole input
    x: FloatArray
    outputs: list[Any]
    cotangents: list[FloatArray]

    @property
    def room(self) -> FloatArray:
        """What may differ."""
        size = np.maximum(np.abs(self.claimed), np.abs(self.true))
        return np.maximum(10 * self.error, 1e-6 * size + 1e-9 * float(np.max(size, initial=0.0)))

    @property
    def complete(self) -> bool:
        """Whether all entries are in it."""
        return bool(self.chosen.size == int(np.prod(self.shape)))


def pattern_of(table: Table, others: Mapping[str, Table], shrunk: Sequence[Table]) -> str:
    """The simplest sentence that fits; empty where none does."""
    usable = np.isfinite(table.true) & np.isfinite(table.error)
    if not usable.all():
        if not usable.any():
            return ""
        table = table._replace(
            claimed=table.claimed[usable],
            true=table.true[usable],
            error=table.error[usable],
            chosen=table.chosen[usable],
        )
    for sentence in (_straight_through(table), _of_another(table, others)):
        if sentence:
            return sentence
    x = table.x.ravel()[table.chosen]
    plain = explain(
        table.claimed, table.true, table.error, np.arange(table.chosen.size), (table.chosen.size,),
        table.claimed, x, sum(one.size for one in table.outputs),
    ) if not table.complete else explain(
        table.claimed, table.true, table.error, table.chosen, table.shape, table.whole.ravel(), table.x.ravel(),
        sum(one.size for one in table.outputs),
    )  # fmt: skip
    sure = plain and not plain.startswith(("wrong in", "relative errors of"))
    if sure:
        return plain
    return _forgotten_eps(table, shrunk) or _lost_sum(table) or plain


def _straight_through(t: Table) -> str:
    """The cotangent is handed on as it is, and the true derivative is another."""
    for y, v in zip(t.outputs, t.cotangents, strict=True):
        if y.shape != t.shape or len(t.outputs) > 1:
            continue
        passed = v.ravel()[t.chosen]
        if not np.all(np.abs(t.claimed - passed) <= 1e-6 * np.abs(passed)):
            continue
        if np.all(np.abs(t.true) <= t.room):
            return (
                "the cotangent is handed on as it is, where the function is piecewise constant:"
                " a straight-through estimator"
            )
        return "the cotangent is handed on as it is: the factor of this step is missing"
    return ""


def _of_another(t: Table, others: Mapping[str, Table]) -> str:
    """It is the adjoint of another input."""
    for name, other in others.items():
        same = other.shape == t.shape and np.array_equal(other.chosen, t.chosen)
        if same and np.any(np.abs(other.true - t.true) > t.room) and np.all(np.abs(t.claimed - other.true) <= t.room):
            return f"it is the adjoint of {name}: two inputs exchanged?"
    return ""


def _forgotten_eps(t: Table, shrunk: Sequence[Table]) -> str:
    """A small relative error that grows steadily as the input shrinks."""
    sizes = [_relative(one) for one in (t, *shrunk)]
    if len(sizes) < 3 or not 0 < sizes[0] < 0.05:
        return ""
    growth = [b / a for a, b in itertools.pairwise(sizes)]
    if all(1.6 < g < 5 for g in growth):
        return (
            f"relative errors of about {sizes[0]:.0e} that grow as the input shrinks:"
            " an eps forgotten, or in another place?"
        )
    return ""


def _relative(t: Table) -> float:
    size = float(np.linalg.norm(t.true))
    return float(np.linalg.norm(t.claimed - t.true)) / size if size else 0.0


def _lost_sum(t: Table) -> str:
    """What is missing is constant along an axis, or proportional to x or to the output along it."""
    if not t.complete or not t.shape:
        return ""
    gap = (t.claimed - t.true).reshape(t.shape)
    room = t.room.reshape(t.shape)
    centred = [(t.x - t.x.mean(axis=a, keepdims=True), f"x less its mean along axis {a}") for a in range(t.x.ndim)]
    forms: list[tuple[FloatArray | None, str]] = [(None, ""), (t.x, "the input"), *centred]
    forms[2:2] = [(np.asarray(y, dtype=np.float64), "the output") for y in t.outputs if y.shape == t.shape]
    for form, word in forms:
        for axis in range(len(t.shape)):
            if t.shape[axis] < 3:
                continue
            base = np.ones(t.shape) if form is None else form
            weight = np.sum(base * base, axis=axis, keepdims=True)
            with np.errstate(all="ignore"):
                factor = np.sum(gap * base, axis=axis, keepdims=True) / weight
                rest = np.abs(gap - factor * base)
            size = np.abs(gap).max()
            if np.all(rest <= 4 * room + 1e-5 * size) and size > 10 * float(room.max()):
                along = f"constant along axis {axis}" if form is None else f"proportional to {word} along axis {axis}"
                return f"a term that is {along} is missing or extra: a sum or mean over that axis?"
    return ""
