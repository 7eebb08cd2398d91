"""Each line of a derivation held against numbers: differences of the step's own values, and the formula as shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule import numerical
from chainrule.derive.derivation import Verdict, WholeCheck
from chainrule.derive.evidence import Evidence
from chainrule.derive.expression import Expr, Leaf, evaluate
from chainrule.derive.pullback import Piece
from chainrule.program import Program, Var

__all__ = ["agree", "combined", "formula_agrees", "pullback_agrees", "whole_check"]

#: Up to this many entries of the gradient are differenced one by one.
ONE_BY_ONE = 64
_DIRECTIONS = 8


def _seed(text: str) -> np.random.Generator:
    return np.random.default_rng(list(text.encode()))


def _direction(x: Any, rng: np.random.Generator) -> Any:
    """Entries sign x {8..15}/8 x size of the entry, so that a step stays on one side of 0."""
    array = np.asarray(x)
    with np.errstate(all="ignore"):
        size = np.abs(array.astype(np.float64))
    typical = float(np.median(size[np.isfinite(size)])) if np.isfinite(size).any() else 1.0
    size = np.where((size > 0) & np.isfinite(size), size, typical or 1.0)
    drawn = rng.choice([-1.0, 1.0], array.shape) * rng.integers(8, 16, array.shape) / 8.0
    return (drawn * size).astype(array.dtype) if array.ndim else array.dtype.type(drawn * size)


def _dot(weights: Sequence[Any], results: Sequence[Any]) -> float:
    with np.errstate(all="ignore"):
        return float(sum(np.sum(np.asarray(one, np.float64) * two) for one, two in zip(weights, results, strict=True)))


def pullback_agrees(
    piece: Piece, program: Program, wrt: Sequence[Var], values: Callable[[Var], Any], name: str
) -> dict[Var, Verdict]:
    """The adjoints of each variable that a piece reads, against differences of the piece's own values.

    With random weights w on the results and a random direction u, <w, J u> by differences is held against <J'w, u>.
    """
    rng = _seed(name)
    point = [values(var) for var in piece.reads]
    with np.errstate(all="ignore"):
        made = piece.program.run(point)
    if not all(np.isfinite(one).all() for one in made if np.asarray(one).dtype.kind == "f"):
        return dict.fromkeys(wrt, Verdict(None, "the value is not finite here: differences say nothing"))
    weights = [
        rng.choice([-1.0, 1.0], np.shape(one)) * rng.integers(8, 16, np.shape(one)) / 8.0
        if np.asarray(one).dtype.kind == "f"
        else np.zeros(np.shape(one))
        for one in made
    ]
    given = [np.asarray(w, dtype=np.asarray(one).dtype)[()] for w, one in zip(weights, made, strict=True)]
    with np.errstate(all="ignore"):
        adjoints = program.run([*point, *given])
    verdicts = {}
    for var, adjoint in zip(wrt, adjoints, strict=True):
        verdicts[var] = _along(piece, point, weights, piece.reads.index(var), adjoint, rng)
    return verdicts


def _along(
    piece: Piece, point: list[Any], weights: list[Any], place: int, adjoint: Any, rng: np.random.Generator
) -> Verdict:
    x = point[place]
    if np.size(x) == 0:
        return Verdict(True, "an empty array: there is nothing to differentiate")
    u = _direction(x, rng)
    single = np.asarray(x).dtype != np.float64

    def moved(t: float) -> float:
        at = list(point)
        at[place] = np.asarray(x + t * u, dtype=np.asarray(x).dtype)[()]
        with np.errstate(all="ignore"):
            return _dot(weights, piece.program.run(at))

    if single:
        return _single_precision(moved, _dot([adjoint], [u]))
    with np.errstate(all="ignore"):
        ours = _dot([adjoint], [u])
        seen = numerical.derivative(moved, 0.0, relative=1e-6)
    return _judged(ours, seen)


def _single_precision(moved: Callable[[float], float], ours: float) -> Verdict:
    """In less than double precision: one central difference with a step for that precision, and a wide bound."""
    h = 2.0**-8
    seen = (moved(h) - moved(-h)) / (2 * h)
    finer = (moved(h / 2) - moved(-h / 2)) / h
    bound = 4 * abs(seen - finer) + 2e-3 * max(abs(seen), abs(ours), 1e-30)
    size = max(abs(seen), abs(ours), 1e-300)
    ok = abs(finer - ours) <= bound
    return Verdict(bool(ok), "differences in single precision", abs(finer - ours) / size, bound / size)


def _judged(ours: float, seen: Any) -> Verdict:
    value, error, status = float(seen.value), float(seen.error), str(seen.status)
    size = max(abs(value), abs(ours), 1e-300)
    if not np.isfinite(ours):
        return Verdict(None, "the derivative is not finite here: differences say nothing")
    if status == "kink":
        left, right = (float(one) for one in seen.one_sided)
        low, high = min(left, right), max(left, right)
        inside = low - error <= ours <= high + error
        how = f"at a kink: one-sided slopes {left:.6g} and {right:.6g}"
        return Verdict(True if inside else None, how, 0.0, (high - low) / size)
    if status in ("jump", "nan", "unresolved") or not np.isfinite(error):
        return Verdict(None, f"differences can not tell here ({status})")
    bound = error + 1e-9 * size
    ok = abs(value - ours) <= bound
    if ok and error > 1e-3 * size and size > 1e-12:
        return Verdict(None, "differences are too noisy here to tell", abs(value - ours) / size, bound / size)
    return Verdict(bool(ok), "differences along a random direction", abs(value - ours) / size, bound / size)


def agree(shown: Any, computed: Any, how: str) -> Verdict:
    """Whether two arrays are equal up to rounding, with NaN and infinities at the same places."""
    shown, computed = np.asarray(shown), np.asarray(computed)
    if shown.shape != computed.shape:
        try:
            shown = np.broadcast_to(shown, computed.shape)
        except ValueError:
            return Verdict(False, f"{how}: shape {shown.shape} is not {computed.shape}", float("inf"))
    if computed.size == 0:
        return Verdict(True, how)
    single = computed.dtype.itemsize < 8
    bound = 1e-3 if single else 1e-8
    finite = np.isfinite(computed)
    same = bool(np.array_equal(np.isfinite(shown), finite)) and bool(
        np.array_equal(shown[~finite], computed[~finite], equal_nan=True)
    )
    if not same:
        return Verdict(None, f"{how}: not finite here", float("inf"))
    if not finite.any():
        return Verdict(None, f"{how}: not finite here")
    wide = computed[finite].astype(np.float64)
    scale = float(np.max(np.abs(wide)))
    error = float(np.max(np.abs(shown[finite].astype(np.float64) - wide))) / scale if scale else 0.0
    if not scale:
        error = float(np.max(np.abs(shown[finite].astype(np.float64))))
    return Verdict(error <= bound, how, error, bound)


def formula_agrees(expr: Expr, value: Callable[[Leaf], Any], computed: Any) -> Verdict:
    """Whether a formula, as it is shown, gives the numbers that the program computed."""
    with np.errstate(all="ignore"):
        try:
            shown = evaluate(expr, value)
        except (ArithmeticError, ValueError, TypeError) as refusal:
            return Verdict(False, f"the formula can not be computed: {refusal}", float("inf"))
    return agree(shown, computed, "the formula, evaluated")


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict from several: the worst of them."""
    if not verdicts:
        return Verdict(True, "nothing to verify")
    for wanted in (False, None):
        for one in verdicts:
            if one.ok is wanted:
                return one
    worst = max(verdicts, key=lambda one: one.error)
    return Verdict(True, verdicts[0].how, worst.error, worst.bound)


def whole_check(evidence: Evidence, wrt: Sequence[Var], run: Callable[[Sequence[Any]], float]) -> WholeCheck:
    """The whole gradient against differences of the function itself.

    Few entries are differenced one by one; of many, some, and the rest along random directions through all of them.
    """
    program = evidence.program
    sizes = [program.types[var].size for var in wrt]
    total = sum(sizes)
    places = [program.inputs.index(var) for var in wrt]
    adjoints = [np.asarray(_adjoint(evidence, var), dtype=np.float64) for var in wrt]
    rng = _seed(program.name)
    calls = [0]

    def at(parts: Sequence[Any]) -> float:
        calls[0] += 1
        given = list(evidence.leaves)
        for place, part in zip(places, parts, strict=True):
            given[place] = part
        with np.errstate(all="ignore"):
            return float(run(given))

    point = [evidence.leaves[place] for place in places]
    verdicts: list[Verdict] = []
    entries = list(range(total)) if total <= ONE_BY_ONE else sorted(rng.choice(total, 8, replace=False).tolist())
    single = any(np.asarray(one).dtype != np.float64 for one in point)
    scale = [np.where(np.abs(one) > 0, np.abs(one), 1.0) for one in map(np.asarray, point)]
    overall = max((float(np.max(np.abs(a * s))) for a, s in zip(adjoints, scale, strict=True) if a.size), default=0.0)
    verdicts += [_entry(at, point, adjoints, sizes, entry, single, overall) for entry in entries]
    if total > ONE_BY_ONE:
        for _ in range(_DIRECTIONS):
            us = [_direction(one, rng) for one in point]
            verdicts.append(_line(at, point, us, _dot(adjoints, us), single, overall))
    flops = program.cost().operations
    swept = evidence.gradient_program.cost().operations
    verdict = combined(verdicts)
    return WholeCheck(verdict, total, len(entries), calls[0], flops, swept)


def _adjoint(evidence: Evidence, var: Var) -> Any:
    found = evidence.adjoints.get(var)
    return np.zeros(evidence.program.types[var].shape) if found is None else found


def _entry(
    at: Callable[[Sequence[Any]], float], point: list[Any], adjoints: list[Any], sizes: list[int], entry: int,
    single: bool, overall: float,
) -> Verdict:  # fmt: skip
    us = [np.zeros(np.shape(one), dtype=np.float64) for one in point]
    start = 0
    for place, size in enumerate(sizes):
        if entry < start + size:
            flat = us[place].reshape(-1)
            x = float(np.asarray(point[place]).reshape(-1)[entry - start])
            flat[entry - start] = abs(x) if x and np.isfinite(x) else 1.0
            us[place] = flat.reshape(us[place].shape)
            break
        start += size
    return _line(at, point, us, _dot(adjoints, us), single, overall)


def _line(
    at: Callable[[Sequence[Any]], float], point: list[Any], us: list[Any], ours: float, single: bool, overall: float
) -> Verdict:
    def moved(t: float) -> float:
        return at([
            np.asarray(one + t * u, dtype=np.asarray(one).dtype)[()] for one, u in zip(point, us, strict=True)
        ])  # fmt: skip

    if single:
        return _single_precision(moved, ours)
    with np.errstate(all="ignore"):
        seen = numerical.derivative(moved, 0.0, relative=1e-6)
    found = _judged(ours, seen)
    if (
        found.ok is not True
        and abs(float(seen.value) - ours) <= max(1e-9 * overall, float(seen.error)) < 1e-6 * overall
    ):
        # An entry that hardly acts: known to be as small as claimed, next to the others.
        return Verdict(True, "differences", 0.0, 1e-6)
    return found
