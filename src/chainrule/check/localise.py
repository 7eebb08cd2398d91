"""The steps of a program and a wrong gradient -> which step is at fault: the telescoped dot test, then each step alone.

With the adjoint ``a_k`` that is fed into step k, the parts ``c_kj`` that it gives back to its inputs, and the tangents
of all values along a direction u of the input, ``delta_k = <a_k, dz_k> - sum_j <c_kj, dz_j>`` is zero for a step whose
backward pass is right, whatever the others do; and all of them add up to the mismatch of the whole gradient along u.
So one reverse sweep and one line of differences split the mismatch over the steps. A step that is accused is then
checked alone, as a function of its own inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.check.alone import Alone, check_alone
from chainrule.check.claim import Claim
from chainrule.check.directions import coordinate, random_line
from chainrule.check.judgement import Judgement
from chainrule.check.report import Report
from chainrule.check.step_text import step_line
from chainrule.check.sweep import StepProblem, is_real, sweep
from chainrule.containers import flatten
from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.line import Line, Lines, Noise, differentiate, measure_noise
from chainrule.numerical.point import FloatArray, Point
from chainrule.provider import Tape, TapeStep, Untraceable

__all__ = ["Complaint", "blame", "localise"]

LINES = 2  # random ones; with that of the worst entry
MOST_ALONE = 64  # steps that are checked alone where the telescoped test accuses none
ACCUSED = 6
ENOUGH = 60  # evaluations that a budget must still hold
SHARE = 1e-3  # a step with less of the mismatch than this is not told of beside one with more


class Complaint(NamedTuple):
    """What is to be explained: where, for which weights of the output, and what gradients were claimed there."""

    point: Point  # of the precision in which differences are taken
    x: FloatArray
    cotangents: FloatArray  # (projections, outputs)
    gradients: FloatArray | None  # (projections, entries); None where the claim never got so far
    eps: float  # of the run that is taken to pieces
    rounding: float  # of the claim, which may be in a lower precision
    worst: int | None  # the entry that is most wrong
    projection: int


def localise(report: Report, tape: Tape, complaint: Complaint, seed: int) -> None:
    """Fills in ``report.steps`` (the steps at fault, the worst first) and says the first of them in the sentence."""
    rng = np.random.default_rng(seed)
    leaves = flatten(complaint.point.build(complaint.x))[0]
    values = tape.replay(leaves)
    if values is None:
        report.notes.append("the steps can not be told apart: the program took another path when it was run again")
        return
    report.notes += [remark for remark in tape.remarks if remark not in report.notes]
    rows: list[dict[str, Any]] = []
    try:
        shares = _telescope(tape, complaint, values, rng)
    except StepProblem as problem:
        rows = [_row(tape, problem.number, None, Alone("FAIL", str(problem), problem.pattern, problem.label))]
    else:
        rows = _accused(tape, values, shares, report, seed)
    report.steps = rows
    if rows:
        _tell(report, rows, len(tape.steps))


# --- the telescoped dot test ----------------------------------------------------------------------------------------


class _Shares(NamedTuple):
    """Along the line on which the mismatch is clearest: what each step adds to it."""

    share: FloatArray  # of every step
    defect: FloatArray
    allowed: FloatArray
    accused: npt.NDArray[np.bool_]  # on any line
    rank: FloatArray  # the largest share on any line
    wiring: float  # the share that no step accounts for: the chaining itself
    miswired: bool


def _telescope(tape: Tape, complaint: Complaint, values: Mapping[int, Any], rng: np.random.Generator) -> _Shares:
    point = _at(complaint.point, complaint.x)
    picked = list(dict.fromkeys([complaint.projection, 0]))
    sweeps = [sweep(tape, values, complaint.cotangents[p]) for p in picked]
    weights = [one.weights for one in sweeps]
    number = len(tape.steps)

    def defects(tree: Any) -> FloatArray:
        moved = tape.replay(flatten(tree)[0])
        return _defects(weights, number, values, moved)

    evaluator = Evaluator(defects, point, progress=False)
    lines = [random_line(point, rng) for _ in range(LINES)]
    if complaint.worst is not None:
        lines.append(coordinate(point, complaint.worst).line)
    noise = _noise(evaluator, point, lines[0], weights, values)
    sizes = np.array([_size(tape, weights, point, line) for line in lines])
    seen = differentiate(evaluator, point.x, lines, noise, target=1e-7 * np.max(sizes, axis=0), relative=1e-4, effort=9)
    evaluator.close()
    return _split(complaint, picked, [one.gradient for one in sweeps], lines, seen, sizes, number)


def _at(point: Point, x: FloatArray) -> Point:
    """The same kind of point at another place."""
    moved = Point(point.build(x), snap=False)
    moved.leaves, moved.x, moved.scale, moved.eps = point.leaves, x, point.scale, point.eps
    return moved


def _defects(
    weights: list[list[list[tuple[int, Any]]]], number: int, values: Mapping[int, Any], moved: Mapping[int, Any] | None
) -> FloatArray:
    """For every sweep and step: the weighted sum of what its values have moved by."""
    found = np.full(len(weights) * number, np.nan)
    if moved is None:
        return found
    gaps: dict[int, Any] = {}
    for place, step in enumerate(entry for one in weights for entry in one):
        total = 0.0
        for key, weight in step:
            gap = gaps.get(key)
            if gap is None:
                new, old = moved.get(key), values[key]
                if new is None or np.shape(new) != np.shape(old):
                    return np.full(found.size, np.nan)
                gap = gaps[key] = np.asarray(new, dtype=np.float64) - old
            total += float(np.sum(weight * gap))
        found[place] = total
    return found


def _noise(
    evaluator: Evaluator,
    point: Point,
    line: Line,
    weights: list[list[list[tuple[int, Any]]]],
    values: Mapping[int, Any],
) -> Noise:
    """The noise of the defects: they vanish at x, so the floor is that of the values that they are made of."""
    measured = measure_noise(evaluator, point.x, line)
    unit = 0.29 * evaluator.eps
    floor = np.array(
        [
            unit * np.sqrt(sum(float(np.sum((np.asarray(values[key], dtype=float) * w) ** 2)) for key, w in step))
            for one in weights
            for step in one
        ]
    )
    floor = np.where(np.isfinite(floor), floor, 0.0)
    sigma = np.maximum(measured.sigma, floor)
    return Noise(sigma, sigma / np.maximum(floor, 1e-300), np.maximum(measured.near, floor))


def _size(tape: Tape, weights: list[list[list[tuple[int, Any]]]], point: Point, line: Line) -> FloatArray:
    """The size of the terms of each defect along a line, by one plain difference: what roundings are relative to."""
    h = 2.0**-17 if point.eps < 1e-10 else 2.0**-8
    ends = [tape.replay(flatten(point.build(line.at(point.x, sign * h)))[0]) for sign in (1.0, -1.0)]
    if ends[0] is None or ends[1] is None:
        return np.zeros(sum(map(len, weights)))
    up, down = ends[0], ends[1]
    sizes = []
    for step in (entry for one in weights for entry in one):
        total = 0.0
        for key, weight in step:
            if key in up and key in down and np.shape(up[key]) == np.shape(down[key]):
                slope = (np.asarray(up[key], dtype=float) - down[key]) / (2 * h)
                with np.errstate(all="ignore"):
                    total += float(np.sum(np.abs(weight * slope)))
        sizes.append(total if np.isfinite(total) else 0.0)
    return np.array(sizes)


def _split(
    complaint: Complaint,
    picked: list[int],
    swept: list[FloatArray],
    lines: list[Line],
    seen: Lines,
    sizes: FloatArray,
    number: int,
) -> _Shares:
    """The line on which the mismatch stands out most, and each step's part of it."""
    unit = complaint.eps
    best: tuple[float, _Shares] | None = None
    accused, rank = np.zeros(number, dtype=bool), np.zeros(number)
    for i, line in enumerate(lines):
        for q, projection in enumerate(picked):
            part = slice(q * number, (q + 1) * number)
            defect, allowed = _weighed(seen, i, part, sizes[i], unit)
            wiring, miswired = 0.0, False
            if complaint.gradients is not None:
                wiring, miswired = _wiring(complaint, projection, swept[q], line)
            total = float(np.sum(defect)) + wiring
            clear = np.abs(defect) > allowed
            share = defect / total if total != 0 else np.sign(defect)
            accused |= clear
            # Along a line on which faults cancel, shares are large for all of them.
            rank = np.maximum(rank, np.where(clear, np.abs(defect) / max(float(np.sum(np.abs(defect))), 1e-300), 0.0))
            scale = max(float(np.max(sizes[i][part], initial=0.0)), 1e-300)
            stands = abs(total) / (scale * unit + float(np.sum(np.where(clear, 0.0, allowed))))
            found = _Shares(share, defect, allowed, accused, rank, wiring / total if total else 0.0, miswired)
            if best is None or stands > best[0]:
                best = stands, found
    assert best is not None
    return best[1]._replace(accused=accused, rank=rank)


def _weighed(seen: Lines, i: int, part: slice, sizes: FloatArray, unit: float) -> tuple[FloatArray, FloatArray]:
    """Defects and what is allowed; at a kink zero must lie between the slopes."""
    if not seen.done[i]:
        zero = np.zeros(sizes[part].size)
        return zero, np.full(zero.size, np.inf)
    defect, error = seen.value[i, part].copy(), seen.error[i, part].copy()
    status = seen.status[i, part]
    kink = status == "kink"
    low, high = np.minimum(seen.left[i, part], seen.right[i, part]), np.maximum(seen.left[i, part], seen.right[i, part])
    slack = seen.truncation[i, part]
    inside = kink & (low - slack <= 0) & (high + slack >= 0)
    defect = np.where(inside, 0.0, np.where(kink, np.where(low > 0, low, high), defect))
    error = np.where(kink, slack, error)
    lost = ~np.isfinite(defect) | (status == "jump") | (status == "nan")
    allowed = np.where(lost, np.inf, error + 64 * unit * sizes[part])
    return np.where(lost, 0.0, defect), allowed


def _wiring(complaint: Complaint, projection: int, swept: FloatArray, line: Line) -> tuple[float, bool]:
    """What the claim is beside what its own steps make when they are chained."""
    assert complaint.gradients is not None
    step = np.zeros(swept.size)
    step[slice(None) if line.where is None else line.where] = line.step
    gap = swept - complaint.gradients[projection]
    size = float(np.sum(np.abs(swept * step)) + np.sum(np.abs(complaint.gradients[projection] * step)))
    value = float(gap @ step)
    if not np.isfinite(value):
        return 0.0, False
    return value, abs(value) > (1e5 if complaint.rounding < 1e-10 else 1e4) * complaint.rounding * size


# --- each step alone ------------------------------------------------------------------------------------------------


def _accused(tape: Tape, values: Mapping[int, Any], shares: _Shares, report: Report, seed: int) -> list[dict[str, Any]]:
    """The rows of the steps at fault: those that fail alone too come first."""
    active = _active(tape)
    order = [int(k) for k in np.argsort(-shares.rank, kind="stable") if shares.accused[k]]
    order = [k for k in order if shares.rank[k] >= SHARE * shares.rank[order[0]]][:ACCUSED]
    found: dict[int, Alone] = {k: check_alone(tape.steps[k], values, active, report.rtol, seed) for k in order}
    sure = [k for k in order if found[k].verdict in {"FAIL", "WARN"}]
    structural = any(outcome == "fail" for _, outcome, _ in report.structural)
    if not sure and (structural or not order) and not (shares.miswired and abs(shares.wiring) > 0.5):
        # What keeps state, or is not linear in its cotangent, shows in no difference.
        for k in [k for k in range(len(tape.steps) - 1, -1, -1) if k not in found][:MOST_ALONE]:
            if active.isdisjoint(tape.steps[k].inputs):
                continue
            alone = check_alone(tape.steps[k], values, active, report.rtol, seed)
            if alone.verdict == "FAIL":
                found[k] = alone
                sure.append(k)
                if len(sure) >= 3:
                    break
    rows: list[dict[str, Any]] = []
    for k in [*sure, *(k for k in order if k not in sure)]:
        row = _row(tape, k, shares, found[k])
        rows += (_inside(tape.steps[k], values, row, report, seed) if k in sure else []) or [row]
    if sure:
        rows = [row for row in rows if row["verdict"] in {"FAIL", "WARN"} or abs(row["share"]) > 0.05]
    if shares.miswired and abs(shares.wiring) > SHARE:
        row = {
            "step": "the chaining of the steps", "number": -1, "place": "", "text": "", "rule": "", "input": "",
            "share": shares.wiring, "defect": float("nan"), "bound": float("nan"), "verdict": "FAIL",
            "pattern": "the steps chained one by one give another gradient: "
            + ("; ".join(tape.remarks) or "a term is lost, added twice, or changed between the steps"),
            "sentence": "every adjoint must be the sum of what all users of the value give back", "worst": [],
        }  # fmt: skip
        rows.insert(0 if abs(shares.wiring) > 0.5 else len(rows), row)
    return rows


def _inside(
    step: TapeStep, values: Mapping[int, Any], outer: dict[str, Any], report: Report, seed: int
) -> list[dict[str, Any]]:
    """The steps at fault inside of a loop or a branch, with their parts of its share; none if none can be told."""
    if step.inside is None:
        return []
    rng = np.random.default_rng(seed)
    tape, leaves = step.inside(*[values[number] for number in step.inputs])
    real = [k for k, leaf in enumerate(leaves) if is_real(leaf) and np.size(leaf)]
    point = Point(tuple(np.asarray(leaves[k])[()] for k in real), snap=False)

    def replay(moved: Sequence[Any]) -> Mapping[int, Any] | None:
        full = list(leaves)
        for k, leaf in zip(real, moved, strict=True):
            full[k] = leaf
        return tape.replay(full)

    inner = Tape(tape.steps, [tape.roots[k] for k in real], tape.results, replay, tape.remarks)
    there = inner.replay(flatten(point.build(point.x))[0])
    if there is None:
        return []
    size = sum(int(np.size(there[number])) for number in inner.results)
    cotangents = rng.choice([-1.0, 1.0], (1, size)) * rng.integers(8, 16, (1, size)) / 8.0
    complaint = Complaint(point, point.x, cotangents, None, point.eps, point.eps, None, 0)
    rows = [
        row
        for row in _accused(inner, there, _telescope(inner, complaint, there, rng), report, seed)
        if row["verdict"] in {"FAIL", "WARN"}
    ]
    for row in rows:
        row["step"], row["number"] = f"{step.name} > {row['step']}", outer["number"]
        row["share"] *= outer["share"]
    return rows


def _active(tape: Tape) -> set[int]:
    """The values that depend on x."""
    active = set(tape.roots)
    for step in tape.steps:
        if not active.isdisjoint(step.inputs):
            active.update(step.outputs)
    return active


def _row(tape: Tape, k: int, shares: _Shares | None, alone: Alone) -> dict[str, Any]:
    step = tape.steps[k]
    told = shares is not None and bool(shares.accused.any())
    share = float(shares.share[k]) if shares is not None and told else float("nan")
    pattern = alone.pattern
    if alone.verdict in {"PASS", "PASS*"}:
        pattern = (
            "right as a function of its inputs, and yet its result moves otherwise: it depends on x by a path that the"
            " backward pass does not know: "
            + ("; ".join(tape.remarks) or "a number or array made from x outside of it")
        )
    return {
        "step": step.name, "number": k, "place": step.place, "text": step.text, "rule": step.rule,
        "input": alone.label, "share": share,
        "defect": float(shares.defect[k]) if shares is not None else float("nan"),
        "bound": float(shares.allowed[k]) if shares is not None else float("nan"),
        "verdict": alone.verdict, "pattern": pattern, "sentence": alone.sentence, "worst": alone.worst,
    }  # fmt: skip


def _tell(report: Report, rows: Sequence[dict[str, Any]], total: int) -> None:
    text = step_line(rows[0], total)
    report.sentence += f" {text[0].upper()}{text[1:]}" + ("" if text.endswith("?") else ".")


# --- from a report to its steps -------------------------------------------------------------------------------------


def blame(
    report: Report, claim: Claim, point: Point, judgement: Judgement | None, taped: Callable[..., Tape], left: float
) -> None:
    """Localises a wrong gradient where the verdict found it, if the program's steps can be had."""
    if left < ENOUGH:
        report.notes.append("the budget was too small to tell the steps of the program apart")
        return
    site = judgement.site if judgement is not None else None
    if site is not None:
        worst = report.worst[0] if report.worst else None
        complaint = Complaint(
            site.evaluator.point, site.x, site.cotangents, site.gradients,
            2 * site.rounding if not site.lifted else float(np.finfo(float).eps), 2 * site.rounding,
            worst["flat"] if worst is not None else None, worst["projection"] if worst is not None else 0,
        )  # fmt: skip
    else:
        rng = np.random.default_rng(report.seed)
        size = sum(int(np.size(leaf)) for leaf in claim.out_leaves)
        cotangents = rng.choice([-1.0, 1.0], (1, size)) * rng.integers(8, 16, (1, size)) / 8.0
        complaint = Complaint(point, point.x, cotangents, None, point.eps, point.eps, None, 0)
    try:
        with claim.frozen(), np.errstate(all="ignore"):
            tree = complaint.point.build(complaint.x)
            localise(report, taped(claim.f, claim.arguments(tree), claim.argnums), complaint, report.seed)
    except Untraceable as problem:
        report.notes.append(f"the steps can not be told apart: {problem}")
    except Exception as problem:  # noqa: BLE001 - the verdict stands, whatever the program does when taken to pieces
        report.notes.append(f"the steps can not be told apart: {type(problem).__name__}: {problem}".split("\n")[0])
