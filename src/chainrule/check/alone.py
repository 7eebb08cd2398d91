"""One step of a program, with its own forward and backward pass -> the verdict on it alone, and its pattern."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import numpy as np

from chainrule.check.step_pattern import Table, pattern_of
from chainrule.check.sweep import is_real
from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.line import Line, differentiate, measure_noise
from chainrule.numerical.point import FloatArray, Point
from chainrule.provider import TapeStep

__all__ = ["Alone", "check_alone"]

MOST_SLABS = 64
MOST_ENTRIES = 96  # of one input, in the table from which its pattern is read


class Alone(NamedTuple):
    """What a step is when nothing else is run: verdict, sentence, pattern, and the input that is wrong."""

    verdict: str
    sentence: str
    pattern: str
    label: str
    worst: list[dict[str, Any]] = []  # noqa: RUF012 - a NamedTuple's defaults are never changed


def check_alone(step: TapeStep, values: Mapping[int, Any], active: AbstractSet[int], rtol: float, seed: int) -> Alone:
    """A check of one step as a function of its inputs that depend on x (``active``), at the values that they had."""
    from chainrule.check.core import check  # the judge itself, one level down

    given = [values[number] for number in step.inputs]
    real = [k for k, n in enumerate(step.inputs) if n in active and is_real(given[k]) and np.size(given[k])]
    if not real:
        return Alone("PASS", "it has no real input", "", "")
    labels = _labels(step, real)
    shown = _Shown(step, given, real)
    if not shown.outputs:
        return Alone("PASS", "it has no real output", "", "")
    args = tuple(_array(given[place]) for place in real)
    shown.describe(labels)
    argnums: Any = 0 if len(args) == 1 else tuple(range(len(args)))
    with np.errstate(all="ignore"):
        report = check(
            shown, *args, argnums=argnums, value_and_pullback=shown.vjp, rtol=rtol or None, seed=seed, probes=False
        )
    if report.verdict not in {"FAIL", "WARN"}:
        return Alone(report.verdict, report.sentence, "", "")
    at = 0
    if report.worst:
        name = report.worst[0]["name"]
        at = next((k for k, label in enumerate(labels) if name == label or name.startswith(f"{label}[")), 0)
    failed = [(t, s) for t, outcome, s in report.structural if outcome == "fail" and t != "finite"]
    structural = failed[0][1] if failed else ""
    if not report.worst:
        at = _worst_input(shown, args, seed)
    pattern = structural
    if not failed or failed[0][0] == "linear":
        # Roundings of a narrow type are not linear either, and have a name of their own.
        told = _pattern(shown, args, at, seed) or report.pattern
        if not failed or "inside" in told:
            pattern, structural = told, ""
    spoken = _spoken(step, real, at)
    return Alone(report.verdict, report.sentence, pattern, "" if structural else spoken, report.worst[:4])


def _array(value: Any) -> Any:
    array = np.asarray(value)
    return array.copy() if array.ndim else array[()]


def _spoken(step: TapeStep, real: list[int], at: int) -> str:
    """The name of an input; its number where it has none and is not the only one."""
    name = step.labels[real[at]] if real[at] < len(step.labels) else ""
    return name or (f"input {real[at] + 1}" if len(real) > 1 else "")


def _labels(step: TapeStep, real: list[int]) -> list[str]:
    """A name for each real input that Python would take for an argument, no two alike."""
    labels: list[str] = []
    for place in real:
        name = step.labels[place] if place < len(step.labels) else ""
        if not name.isidentifier() or name in labels:
            name = f"input{place}"
        labels.append(name)
    return labels


class _Shown:
    """A step as the judge wants it: a function of its real inputs, and the product with its transposed Jacobian."""

    def __init__(self, step: TapeStep, given: list[Any], real: list[int]) -> None:
        self.step, self.given, self.real = step, given, real
        self.__name__ = step.name
        made = step.forward(*self._full(tuple(_array(given[place]) for place in real)))
        self.outputs = [k for k, one in enumerate(made) if is_real(one) and np.size(one)]
        self.made = [np.asarray(one) for one in made]

    def describe(self, labels: list[str]) -> None:
        kind = inspect.Parameter.POSITIONAL_ONLY
        self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in labels])

    def _full(self, args: tuple[Any, ...]) -> list[Any]:
        full = [one.copy() if isinstance(one, np.ndarray) else one for one in self.given]
        for place, one in zip(self.real, args, strict=True):
            full[place] = one
        return full

    def __call__(self, *args: Any) -> Any:
        made = self.step.forward(*self._full(args))
        kept = tuple(np.asarray(made[k]) for k in self.outputs)
        return kept[0] if len(kept) == 1 else kept

    def vjp(self, *args: Any) -> tuple[Any, Callable[[Any], Any]]:
        """In the form of ``value_and_pullback``."""
        made, pull = self.step.vjp(*self._full(args))
        kept = tuple(np.asarray(made[k]) for k in self.outputs)

        def pullback(v: Any) -> Any:
            given = [np.zeros(one.shape, one.dtype if one.dtype.kind == "f" else np.float64) for one in self.made]
            for k, weight in zip(self.outputs, list(v) if len(self.outputs) > 1 else [v], strict=True):
                given[k] = np.asarray(weight)
            parts = list(pull(given))
            wanted = tuple(parts[place] for place in self.real)
            return wanted[0] if len(wanted) == 1 else wanted

        return kept[0] if len(kept) == 1 else kept, pullback


def _worst_input(shown: _Shown, args: tuple[Any, ...], seed: int) -> int:
    """The input whose adjoint is most wrong, where the verdict names none."""
    gaps = []
    for at in range(len(args)):
        table = _table(shown, args, at, seed)
        size = max(float(np.max(np.abs(table.true), initial=0.0)), 1e-300) if table is not None else 1.0
        gaps.append(float(np.max(np.abs(table.claimed - table.true), initial=0.0)) / size if table is not None else 0.0)
    return int(np.argmax(gaps))


def _table(shown: _Shown, args: tuple[Any, ...], at: int, seed: int, shrink: float = 1.0) -> Table | None:
    """Claimed and true adjoints of entries of one input, for one random cotangent."""
    rng = np.random.default_rng(seed)
    moved = tuple(np.asarray(one) * shrink for one in args) if shrink != 1.0 else args
    x = np.asarray(moved[at])
    outputs = shown(*moved)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    cotangent = tuple(
        (rng.choice([-1.0, 1.0], one.shape) * rng.integers(8, 16, one.shape) / 8.0).astype(one.dtype) for one in parts
    )
    flat = np.concatenate([np.asarray(one, dtype=np.float64).ravel() for one in cotangent])

    def alone(value: Any) -> Any:
        made = shown(*moved[:at], value, *moved[at + 1 :])
        pieces = made if isinstance(made, tuple) else (made,)
        return np.concatenate([np.asarray(one).ravel() for one in pieces])

    try:
        pull = shown.vjp(*moved)[1]

        def claim(flat_weights: FloatArray) -> FloatArray:
            weights, start = [], 0
            for one in parts:
                weights.append(flat_weights[start : start + one.size].reshape(one.shape).astype(one.dtype))
                start += one.size
            made = pull(tuple(weights) if len(weights) > 1 else weights[0])
            made = made if len(moved) == 1 else made[at]
            return np.zeros(x.shape) if made is None else np.asarray(made, dtype=np.float64)

        claimed = claim(flat)
        point = Point(x if x.ndim else x[()], snap=False)
        evaluator = Evaluator(alone, point, progress=False)
        chosen = np.arange(x.size)
        if x.size > MOST_ENTRIES:
            # Neighbours beside a random sample: shifts and transpositions show in both.
            chosen = np.unique(
                np.concatenate([chosen[: MOST_ENTRIES // 2], rng.permutation(x.size)[: MOST_ENTRIES // 2]])
            )
        rows, slabs = _slabs(flat, parts)
        noise = measure_noise(evaluator, point.x, Line(point.scale * rng.choice([-1.0, 1.0], x.size)), rows)
        lines = [Line(point.scale[i : i + 1], np.array([i])) for i in chosen]
        seen = differentiate(evaluator, point.x, lines, noise, rows, relative=1e-7, effort=6)
    except Exception:  # noqa: BLE001 - then there is no table, and the verdict stands without a pattern
        return None
    lengths = point.scale[chosen]
    return Table(
        claimed=claimed.ravel()[chosen], true=seen.value[:, 0] / lengths, error=seen.error[:, 0] / lengths,
        chosen=chosen, shape=x.shape, whole=claimed, x=x.astype(np.float64), outputs=[np.asarray(one) for one in parts],
        cotangents=[np.asarray(one, dtype=np.float64) for one in cotangent],
        slabs={axis: seen.value[:, part].T / lengths for axis, part in slabs.items()},
        claimed_slabs={
            axis: np.array([claim(row).ravel()[chosen] for row in rows[part]]) for axis, part in slabs.items()
        } if shrink == 1.0 else {},
    )  # fmt: skip


def _slabs(flat: FloatArray, parts: tuple[Any, ...]) -> tuple[FloatArray, dict[int, slice]]:
    """The cotangent, and its restrictions to each index along each axis of the output: of the same evaluations."""
    rows = [flat]
    slabs: dict[int, slice] = {}
    if len(parts) == 1:
        shape = parts[0].shape
        for axis, extent in enumerate(shape):
            if 1 < extent <= MOST_SLABS:
                slabs[axis] = slice(len(rows), len(rows) + extent)
                index = np.indices(shape)[axis].ravel()
                rows += [np.where(index == i, flat, 0.0) for i in range(extent)]
    return np.stack(rows), slabs


def _pattern(shown: _Shown, args: tuple[Any, ...], at: int, seed: int) -> str:
    table = _table(shown, args, at, seed)
    if table is None:
        return ""
    others = {
        k: other for k in range(len(args)) if k != at and (other := _table(shown, args, k, seed)) is not None
    } if len(args) > 1 else {}  # fmt: skip
    shrunk = [one for s in (0.5, 0.25) if (one := _table(shown, args, at, seed, s)) is not None]
    return pattern_of(table, {_spoken(shown.step, shown.real, k): other for k, other in others.items()}, shrunk)
