"""Claimed and true adjoints of one input of one step -> the mistake that turns one into the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
    slabs: Mapping[int, FloatArray] = MappingProxyType({})  # axis of the output -> true adjoints of each index alone
    claimed_slabs: Mapping[int, FloatArray] = MappingProxyType({})  # and the claimed ones

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
            claimed=table.claimed[usable], true=table.true[usable], error=table.error[usable],
            chosen=table.chosen[usable], slabs={axis: part[:, usable] for axis, part in table.slabs.items()},
            claimed_slabs={axis: part[:, usable] for axis, part in table.claimed_slabs.items()},
        )  # fmt: skip
    for sentence in (
        _straight_through(table),
        _of_another(table, others),
        _factor(table),
        _forgotten_eps(table, shrunk),
    ):
        if sentence:
            return sentence
    plain = _plain(table)
    if plain and not plain.startswith(("wrong in", "relative errors of")):
        return plain
    for sentence in (_lost_slab(table), _lost_sum(table), _along(table), _coupling(table)):
        if sentence:
            return sentence
    return plain or _no_pattern(table)


def _plain(t: Table) -> str:
    """The patterns of whole gradients, read on one step."""
    outputs = sum(one.size for one in t.outputs)
    if t.complete:
        return explain(t.claimed, t.true, t.error, t.chosen, t.shape, t.whole.ravel(), t.x.ravel(), outputs)
    # Of a sample the places say nothing: it is shown as a list.
    number = t.chosen.size
    x = t.x.ravel()[t.chosen]
    return explain(t.claimed, t.true, t.error, np.arange(number), (number,), t.claimed, x, outputs)


def _factor(t: Table) -> str:
    """One factor for all entries, which is a number of entries along an axis in some form."""
    use = np.abs(t.true) > 4 * t.room
    if not use.any():
        return ""
    ratio = float(np.median(t.claimed[use] / t.true[use]))
    room = np.maximum(t.room, 1e-4 * np.abs(t.true)) * max(1.0, abs(ratio))
    if abs(ratio - 1) < 1e-3 or ratio == 0 or np.any(np.abs(t.claimed - ratio * t.true) > room):
        return ""
    extents = {n for shape in (t.shape, *(one.shape for one in t.outputs)) for n in (*shape, int(np.prod(shape)))}
    for n in sorted(extents - {0, 1, 2}):
        bessel = f"n - 1 and n = {n} exchanged, in a variance?"
        for value, text in (
            (float(n), f"a factor n = {n} too much: a sum for a mean?"),
            (1 / n, f"a missing factor n = {n}: a mean for a sum?"),
            ((n - 1) / n, bessel), (n / (n - 1), bessel),
            (((n - 1) / n) ** 0.5, bessel), ((n / (n - 1)) ** 0.5, bessel),
            (float(n) ** 0.5, f"a factor sqrt({n}) too much?"), (float(n) ** -0.5, f"a missing factor sqrt({n})?"),
        ):  # fmt: skip
            if abs(ratio / value - 1) < 1e-4 and min(abs(ratio - 2), abs(ratio - 0.5)) > 1e-4:
                return f"the claimed array is {ratio:.6g} x the true one: {text}"
    return ""


def _lost_slab(t: Table) -> str:
    """What is claimed is the adjoint of a part of the output only."""
    for axis, parts in t.slabs.items():
        total = parts.sum(axis=0)
        if np.any(np.abs(total - t.true) > 4 * t.room):
            continue
        for i in range(len(parts)):
            if np.all(np.abs(t.claimed - parts[i]) <= t.room):
                return f"it holds index {i} along axis {axis} of the output only: a sum over that axis is missing?"
            if np.all(np.abs(t.claimed - (t.true - parts[i])) <= t.room) and np.any(np.abs(parts[i]) > t.room):
                return f"index {i} along axis {axis} of the output is left out"
    return ""


def _along(t: Table) -> str:
    """Whether wrong entries are those at some indices of one axis."""
    if not t.complete or len(t.shape) == 0:
        return ""
    wrong = (np.abs(t.claimed - t.true) > t.room).reshape(t.shape)
    for axis, extent in enumerate(t.shape):
        rest = tuple(a for a in range(wrong.ndim) if a != axis)
        any_, all_ = wrong.any(axis=rest), wrong.all(axis=rest)
        if extent < 3 or not np.array_equal(any_, all_) or any_.all() or not any_.any():
            continue
        good, bad = np.nonzero(~any_)[0], np.nonzero(any_)[0]
        if good.tolist() in ([0], [extent - 1]):
            end = "first" if good[0] == 0 else "last"
            return f"right only at the {end} index along axis {axis}: what is carried along it is wrong?"
        if bad.size <= 2:
            return f"wrong only at index {', '.join(map(str, bad))} along axis {axis}: a boundary?"
    return ""


def _coupling(t: Table) -> str:
    """Which indices of the output reach which of the input, as claimed and in truth."""
    if not t.complete:
        return ""
    for out, parts in t.slabs.items():
        claims = t.claimed_slabs.get(out)
        if claims is None or len(parts) < 3:
            continue
        for axis, extent in enumerate(t.shape):
            if extent != len(parts):
                continue
            rest = tuple(1 + a for a in range(len(t.shape)) if a != axis)
            level = 1e-6 * max(float(np.abs(parts).max()), float(np.abs(claims).max())) + 10 * float(t.error.max())
            true, claimed = (np.abs(one.reshape(len(one), *t.shape)).max(axis=rest) > level for one in (parts, claims))
            where = f"index i along axis {out} of the output and index j along axis {axis} of this input"
            if np.array_equal(true, claimed):
                continue
            if np.array_equal(true.T, claimed):
                return f"it couples {where} the wrong way round: a transposed matrix?"
            if not np.any(claimed & ~np.eye(extent, dtype=bool)) and np.any(true & ~np.eye(extent, dtype=bool)):
                return f"it couples {where} only where i = j: a sum over the others, or a transposition, is missing?"
            if np.all(true[claimed]):
                return f"it couples {where} at too few places: a path is missing?"
            if np.all(claimed[true]):
                return f"it couples {where} where f does not"
    return ""


def _no_pattern(t: Table) -> str:
    wrong = int(np.sum(np.abs(t.claimed - t.true) > t.room))
    return f"wrong in {wrong} of {t.true.size} entries, by {_relative(t):.2g} of the norm" if wrong else ""


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
    centred = [(t.x - t.x.mean(axis=a, keepdims=True), "x less its mean") for a in range(t.x.ndim)]
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
                kind = "a constant" if form is None else f"a multiple of {word}"
                return f"along axis {axis}, {kind} is missing or extra: a sum or mean over that axis?"
    return ""
