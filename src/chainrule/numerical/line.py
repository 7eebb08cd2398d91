"""A function and straight lines through a point -> the derivative along each line, with bound and status."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.noise import POINTS, measured_noise, rounding_floor, spacings
from chainrule.numerical.point import FloatArray
from chainrule.numerical.table import CENTRAL, ONE_SIDED, RHO, SECOND, SEEN, Estimate, extrapolate, limit_of_asymmetry

__all__ = ["Line", "Lines", "Noise", "differentiate", "measure_noise", "windows_for"]

ROWS = 3
MAX_PAIRS = 16
_NEAR = 2.0**-20


class Line(NamedTuple):
    """A direction: ``step[i]`` at entry ``where[i]`` (all entries where ``where`` is None), in units of x."""

    step: FloatArray
    where: npt.NDArray[np.intp] | None = None

    def at(self, x: FloatArray, t: float) -> FloatArray:
        """The point x + t u."""
        if self.where is None:
            return x + t * self.step
        moved = x.copy()
        moved[self.where] += t * self.step
        return moved


class Noise(NamedTuple):
    """For every projection of the output: its noise, how many roundings that is, and the noise very close to x."""

    sigma: FloatArray
    roundings: FloatArray
    near: FloatArray

    def at(self, h: float) -> FloatArray:
        """The noise that matters for steps of size h: structure that only wide steps see is none for narrow ones."""
        return self.near if h < _NEAR else self.sigma

    @staticmethod
    def assumed(sigma: FloatArray) -> Noise:
        """Noise that was not measured."""
        return Noise(sigma, np.ones_like(sigma), sigma)


@dataclasses.dataclass
class Lines:
    """Results, shape (lines, projections): ``value``, ``error``, ... and the history of every line."""

    value: FloatArray
    error: FloatArray
    noise: FloatArray
    truncation: FloatArray
    step: FloatArray
    order: npt.NDArray[np.int64]
    status: npt.NDArray[np.str_]
    left: FloatArray
    right: FloatArray
    second_order: npt.NDArray[np.bool_]
    done: npt.NDArray[np.bool_]
    trace: list[dict[str, Any]]


@dataclasses.dataclass
class _Rows:
    """The differences of one window of one line: a row for every step."""

    h: list[float]
    both: list[FloatArray]  # V (f(x + h u) - f(x - h u))
    plus: list[FloatArray]  # V (f(x + h u) - f(x))
    minus: list[FloatArray]  # V (f(x - h u) - f(x))


def windows_for(eps: float, kind: str = "first") -> tuple[int, ...]:
    """Exponents of the first step of each window: the best step of a sixth-order table, then ever closer to x."""
    if kind == "second":
        return (4, 8, 12) if eps < 1e-10 else (2, 4)
    if eps < 1e-10:
        return (7, 15, 23, 31)
    return (4, 9) if eps < 1e-5 else (2, 4)


def _project(values: FloatArray, projections: FloatArray | None) -> FloatArray:
    with np.errstate(all="ignore"):
        return values if projections is None else np.asarray(values @ projections.T)


def _floor(size: FloatArray, eps: float, projections: FloatArray | None) -> FloatArray:
    each = rounding_floor(size, eps)
    if projections is None:
        return each
    unit = float(np.max(each, initial=0.0)) or 1.0  # squares of the tiny would vanish
    return np.asarray(unit * np.sqrt(((each / unit) ** 2) @ (projections.T**2)))


def _equidistant(
    evaluator: Evaluator, x: FloatArray, line: Line, tau: float
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    return evaluator.many(POINTS - 1, lambda i: line.at(x, (i + 1) * tau))


def measure_noise(evaluator: Evaluator, x: FloatArray, line: Line, projections: FloatArray | None = None) -> Noise:
    """The noise of f near x on one side of a line: 18 evaluations.

    At one spacing the seven points may fall on the same side of the rounding grid (one time in six), at three they
    hardly ever do; the largest counts, except very close to x.
    """
    y0 = evaluator.y0
    floor = _floor(y0, evaluator.eps, projections)
    sigmas: list[FloatArray] = [floor]
    side = 1.0
    for tau in spacings(evaluator.eps):
        values, done = _equidistant(evaluator, x, line, side * tau)
        if side > 0 and done.all() and not np.isfinite(values).all():
            side = -1.0  # the other side of a boundary of the domain
            values, done = _equidistant(evaluator, x, line, side * tau)
        if not done.all():
            break
        floor = np.maximum(floor, _floor(np.max(np.abs(values), axis=0), evaluator.eps, projections))
        sigmas.append(measured_noise(_project(np.vstack([y0[None, :], values]) - y0, projections))[0])
    sigma = np.maximum.reduce(sigmas)
    return Noise(sigma, sigma / np.maximum(floor, 1e-300), np.maximum(floor, sigmas[min(1, len(sigmas) - 1)]))


class _Line:
    """One line while it is being measured."""

    def __init__(self) -> None:
        self.windows: list[_Rows] = []
        self.estimates: list[Estimate] = []


def differentiate(
    evaluator: Evaluator,
    x: FloatArray,
    lines: Sequence[Line],
    noise: Noise,
    projections: FloatArray | None = None,
    *,
    target: FloatArray | float = 0.0,
    relative: float = 1e-9,
    kind: str = "first",
    effort: int = MAX_PAIRS,
    raised: bool = True,
) -> Lines:
    """The first (or second) derivative of every projection of f along every line.

    All lines share their rounds, so that each round is one batch of evaluations: the first window of steps for all;
    the next, closer window for those that do not converge; then single steps where the bound is above the target.
    ``target`` is an absolute bound that suffices, ``relative`` one in units of the value; ``effort`` limits the
    number of pairs of points on a line.
    """
    states = [_Line() for _ in lines]
    alive = list(range(len(lines)))
    columns = noise.sigma.size
    exponents = windows_for(evaluator.eps, kind)
    later: dict[int, int] = {}  # lines that look like a kink at x, and the number of windows they have had
    for number, exponent in enumerate(exponents):
        if evaluator.stopped:
            break
        last = number == len(exponents) - 1
        now = [i for i in range(len(lines)) if i in alive and (last or i not in later)]
        alive = _window(evaluator, x, lines, states, now, exponent, noise, projections, kind) + [
            i for i in alive if i not in now
        ]
        if now and ROWS * (max(len(states[i].windows) for i in now) + 1) > effort:
            break
        if number == 0 and kind == "first":
            # The same kink at the widest and at the finest steps is one in between as well.
            later = {i: 1 for i in alive if _looks_kinked(states[i], noise)}
    again = [i for i in later if not _looks_kinked(states[i], noise) and effort >= ROWS * 3]
    for exponent in exponents[1:-1]:
        if again and not evaluator.stopped:
            again = _window(evaluator, x, lines, states, again, exponent, noise, projections, kind)
    for state in states:
        order = sorted(range(len(state.windows)), key=lambda w: -state.windows[w].h[0])
        state.windows = [state.windows[w] for w in order]
        state.estimates = [state.estimates[w] for w in order]
    _extend(evaluator, x, lines, states, noise, projections, target, relative, kind, effort)
    return _finish(evaluator, states, noise, columns, kind, raised)


def _window(
    evaluator: Evaluator,
    x: FloatArray,
    lines: Sequence[Line],
    states: list[_Line],
    which: list[int],
    exponent: int,
    noise: Noise,
    projections: FloatArray | None,
    kind: str,
) -> list[int]:
    """Measures one window of steps on some lines; returns those that do not converge in it."""
    if not which:
        return []
    hs = [2.0**-exponent * RHO**-row for row in range(ROWS)]
    rows = _evaluate_rows(evaluator, x, lines, which, hs, projections)
    which = [i for i in which if i in rows]
    for i in which:
        states[i].windows.append(rows[i])
    clean = _estimate_group(states, which, noise, hs[0], kind)
    return [i for i, good in zip(which, clean, strict=True) if not good]


def _looks_kinked(state: _Line, noise: Noise) -> bool:
    """Whether the difference of the one-sided slopes of every unclean column keeps its size over the last window."""
    window, estimate = state.windows[-1], state.estimates[-1]
    h = np.array(window.h)[:, None]
    with np.errstate(all="ignore"):
        bend = (np.array(window.plus) + np.array(window.minus)) / h
        size = np.abs(bend)
        far = noise.at(window.h[0]) * np.sqrt(6.0) / h
        stays = np.all(np.abs(bend - bend[0]) <= 0.1 * size[0] + SEEN * far, axis=0) & (size[0] > 2 * SEEN * far[0])
    return bool(np.all(stays | estimate.clean))


def _evaluate_rows(
    evaluator: Evaluator,
    x: FloatArray,
    lines: Sequence[Line],
    which: list[int],
    hs: list[float],
    projections: FloatArray | None,
) -> dict[int, _Rows]:
    per = 2 * len(hs)
    signed = [s * h for h in hs for s in (1.0, -1.0)]
    values, done = evaluator.many(per * len(which), lambda k: lines[which[k // per]].at(x, signed[k % per]))
    y0 = evaluator.y0
    result: dict[int, _Rows] = {}
    for position, i in enumerate(which):
        if not done[per * position : per * (position + 1)].all():
            continue
        block = values[per * position : per * (position + 1)]
        with np.errstate(all="ignore"):
            result[i] = _Rows(
                list(hs),
                list(_project(block[0::2] - block[1::2], projections)),
                list(_project(block[0::2] - y0, projections)),
                list(_project(block[1::2] - y0, projections)),
            )
    return result


def _quotients(
    rows: Sequence[_Rows], sigma: FloatArray, kind: str
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Quotients, their noise, asymmetries and their noise, for lines with the same steps, columns side by side."""
    h = np.array(rows[0].h)[:, None]
    both = np.concatenate([np.array(r.both) for r in rows], axis=1)
    plus = np.concatenate([np.array(r.plus) for r in rows], axis=1)
    minus = np.concatenate([np.array(r.minus) for r in rows], axis=1)
    with np.errstate(all="ignore"):
        if kind == "second":
            return (plus + minus) / h**2, np.sqrt(6.0) * sigma / h**2, both / h, sigma * np.sqrt(2.0) / h
        return both / (2 * h), sigma / (np.sqrt(2.0) * h), (plus + minus) / h, np.sqrt(6.0) * sigma / h


def _estimate_group(states: list[_Line], which: list[int], noise: Noise, h: float, kind: str) -> list[bool]:
    """Estimates the last window of each line; all of them have the same steps. Returns which lines are clean."""
    if not which:
        return []
    last = [states[i].windows[-1] for i in which]
    sigma = noise.at(h)
    columns = sigma.size
    q, qn, j, jn = _quotients(last, np.tile(sigma, len(which)), kind)
    estimate = extrapolate(q, qn, SECOND, None, None) if kind == "second" else extrapolate(q, qn, CENTRAL, j, jn)
    with np.errstate(all="ignore"):
        # Lost in noise that is far above rounding: it may be structure that a closer window resolves.
        lost = (estimate.error > 0.05 * np.abs(q[0])) & np.tile(noise.roundings > 1e4, len(which))
    estimate = estimate._replace(clean=estimate.clean & ~lost)
    good: list[bool] = []
    for position, i in enumerate(which):
        part = slice(position * columns, (position + 1) * columns)
        states[i].estimates.append(estimate.columns(part))
        good.append(bool(states[i].estimates[-1].clean.all()))
    return good


def _extend(
    evaluator: Evaluator,
    x: FloatArray,
    lines: Sequence[Line],
    states: list[_Line],
    noise: Noise,
    projections: FloatArray | None,
    target: FloatArray | float,
    relative: float,
    kind: str,
    effort: int,
) -> None:
    """Adds coarser steps where noise limits, finer ones where truncation does, while that halves the bound."""
    typical = [float(np.median(np.abs(s.estimates[0].value))) for s in states if s.estimates]
    level = 1e-3 * float(np.median(typical)) if typical else 0.0
    stale = [0] * len(states)
    waiting = [i for i, s in enumerate(states) if s.estimates and bool(s.estimates[-1].clean.all())]
    while waiting and not evaluator.stopped:
        steps: dict[int, float] = {}
        for i in waiting:
            window, estimate = states[i].windows[-1], states[i].estimates[-1]
            enough = np.maximum(target, relative * np.maximum(np.abs(estimate.value), level))
            over = estimate.error / np.maximum(enough, 1e-300)
            pairs = sum(len(w.h) for w in states[i].windows)
            if not bool((over > 1).any()) or stale[i] >= 2 or pairs >= effort:
                continue
            worst = int(np.argmax(over))
            # The floor of the noise can not be left by finer steps, nor that of truncation by coarser ones.
            coarser = 4.0 * estimate.noise[worst] > 2.0 * estimate.truncation[worst]
            h = window.h[0] * RHO if coarser else window.h[-1] / RHO
            if not 2.0**-47 < h <= 0.51:
                continue
            steps[i] = h
        waiting = []
        for h in sorted(set(steps.values())):
            group = [i for i, step in steps.items() if step == h]
            rows = _evaluate_rows(evaluator, x, lines, group, [h], projections)
            for i in rows:
                window, added, before = states[i].windows[-1], rows[i], states[i].estimates[-1]
                place = 0 if h > window.h[0] else len(window.h)
                for mine, its in ((window.both, added.both), (window.plus, added.plus), (window.minus, added.minus)):
                    mine.insert(place, its[0])
                window.h.insert(place, h)
                q, qn, j, jn = _quotients([window], noise.at(window.h[0]), kind)
                if kind == "second":
                    after = extrapolate(q, qn, SECOND)
                else:
                    after = extrapolate(q, qn, CENTRAL, j, jn)
                row_before = before.row + (1 if place == 0 else 0)
                better = after.error < before.error
                merged = [np.where(better, a, b) for a, b in zip(after, before._replace(row=row_before), strict=True)]
                merged[6] = before.clean
                states[i].estimates[-1] = Estimate(*merged)
                stale[i] = 0 if bool((after.error < before.error / 2).any()) else stale[i] + 1
                waiting.append(i)


def _finish(evaluator: Evaluator, states: list[_Line], noise: Noise, columns: int, kind: str, raised: bool) -> Lines:
    shape = (len(states), columns)
    out = Lines(
        value=np.full(shape, np.nan),
        error=np.full(shape, np.inf),
        noise=np.full(shape, np.nan),
        truncation=np.full(shape, np.nan),
        step=np.full(shape, np.nan),
        order=np.zeros(shape, dtype=np.int64),
        status=np.full(shape, "unresolved", dtype="<U10"),
        left=np.full(shape, np.nan),
        right=np.full(shape, np.nan),
        second_order=np.zeros(shape, dtype=bool),
        done=np.zeros(len(states), dtype=bool),
        trace=[],
    )
    for i, state in enumerate(states):
        if not state.estimates:
            out.trace.append({"h": [], "D": [], "bound": [], "range": []})
            continue
        out.done[i] = True
        _choose(out, i, state, noise.roundings)
        hard = ~np.asarray([e.clean for e in state.estimates]).any(axis=0)
        for p in np.nonzero(hard)[0]:
            _judge(out, i, int(p), state, noise, kind, raised)
        out.trace.append(_history(state, kind))
    if not np.isfinite(evaluator.y0).all():
        out.status[:] = "nan"
    return out


def _choose(out: Lines, i: int, state: _Line, roundings: FloatArray) -> None:
    """The clean window with the least bound, else the window with the least bound."""
    errors = np.array([e.error for e in state.estimates])
    clean = np.array([e.clean for e in state.estimates])
    rank = np.where(clean | ~clean.any(axis=0), errors, np.inf)
    pick = np.argmin(rank, axis=0)
    for w in np.unique(pick):
        estimate, window = state.estimates[w], state.windows[w]
        mine = pick == w
        for name in ("value", "error", "noise", "truncation", "order", "second_order"):
            getattr(out, name)[i, mine] = getattr(estimate, name)[mine]
        out.step[i, mine] = np.array(window.h)[np.minimum(estimate.row[mine], len(window.h) - 1)]
        with np.errstate(all="ignore"):
            lost = estimate.error > 0.05 * np.abs(window.both[0]) / (2 * window.h[0])
        fine = mine & estimate.clean
        out.status[i, fine] = np.where(lost & (roundings > 1e4), "noisy", "ok")[fine]
        out.left[i, fine] = out.right[i, fine] = estimate.value[fine]


def _history(state: _Line, kind: str) -> dict[str, Any]:
    h = [step for window in state.windows for step in window.h]
    with np.errstate(all="ignore"):
        if kind == "second":
            d = [(a + b) / s**2 for w in state.windows for a, b, s in zip(w.plus, w.minus, w.h, strict=True)]
        else:
            d = [b / (2 * s) for w in state.windows for b, s in zip(w.both, w.h, strict=True)]
    change = [np.maximum(np.abs(a), np.abs(b)) for w in state.windows for a, b in zip(w.plus, w.minus, strict=True)]
    return {"h": h, "D": d, "bound": [e.error for e in state.estimates], "range": change}


def _judge(out: Lines, i: int, p: int, state: _Line, noise: Noise, kind: str, raised: bool) -> None:
    """What stands in the way of a column that is clean in no window: a boundary, a kink, a jump, noise."""
    sigmas = [float(noise.at(w.h[0])[p]) for w in state.windows]
    sigma = sigmas[-1]
    both = [np.array([r[p] for r in w.both]) for w in state.windows]
    plus = [np.array([r[p] for r in w.plus]) for w in state.windows]
    minus = [np.array([r[p] for r in w.minus]) for w in state.windows]
    hs = [np.array(w.h) for w in state.windows]
    if kind == "second":
        _settle(out, i, p, [(a + b) / h**2 for a, b, h in zip(plus, minus, hs, strict=True)], noise)
        return
    up, down = np.isfinite(plus[-1]).all(), np.isfinite(minus[-1]).all()
    if not (up and down):
        if not (up or down):
            out.status[i, p] = "nan" if not any(np.isfinite(b).any() for b in both) else "unresolved"
            out.error[i, p] = np.inf if out.status[i, p] == "nan" else out.error[i, p]
            return
        _one_side(out, i, p, plus if up else minus, 1.0 if up else -1.0, hs, sigmas)
        return
    quotients = [b / (2 * h) for b, h in zip(both, hs, strict=True)]
    last = quotients[-1]
    loud = np.abs(last) > 2 * SEEN * sigma / hs[-1]
    ratios = last[1:] / np.where(last[:-1] == 0, np.nan, last[:-1])
    if loud.all() and bool(np.all(np.abs(ratios / RHO - 1) < 0.05)):
        out.status[i, p], out.error[i, p] = "jump", np.inf
        return
    if _kink(out, i, p, plus, minus, hs, sigmas):
        return
    if raised:
        _raise_noise(out, i, p, quotients, hs, sigma)
    _settle(out, i, p, quotients, noise)


def _one_side(
    out: Lines, i: int, p: int, differences: list[FloatArray], sign: float, hs: list[FloatArray], sigmas: list[float]
) -> None:
    best = None
    for difference, h, sigma in zip(differences, hs, sigmas, strict=True):
        if not np.isfinite(difference).all():
            continue
        estimate = extrapolate((sign * difference / h)[:, None], (np.sqrt(2.0) * sigma / h)[:, None], ONE_SIDED)
        rank = (not bool(estimate.clean[0]), float(estimate.error[0]))
        if best is None or rank < best[0]:
            best = (rank, estimate, h)
    assert best is not None
    (unclean, _), estimate, h = best
    slope = sign * differences[-1] / hs[-1]
    grows = (
        bool(np.all(np.abs(slope[1:]) > 1.3 * np.abs(slope[:-1]))) and abs(slope[-1]) > SEEN * sigmas[-1] / hs[-1][-1]
    )
    out.value[i, p] = estimate.value[0]
    out.error[i, p] = np.inf if grows else estimate.error[0]
    out.noise[i, p], out.truncation[i, p] = estimate.noise[0], estimate.truncation[0]
    out.order[i, p], out.step[i, p] = estimate.order[0], h[int(estimate.row[0])]
    size = max(float(np.nanmax(np.abs(d / s))) for d, s in zip(differences, hs, strict=True) if np.isfinite(d).any())
    ok = (not unclean and not grows) or out.error[i, p] <= 1e-3 * size
    out.status[i, p] = "ok" if ok else "unresolved"
    out.second_order[i, p] = bool(estimate.second_order[0])
    (out.right if sign > 0 else out.left)[i, p] = estimate.value[0]


def _kink(
    out: Lines,
    i: int,
    p: int,
    plus: list[FloatArray],
    minus: list[FloatArray],
    hs: list[FloatArray],
    sigmas: list[float],
) -> bool:
    """Whether the slopes to both sides converge to different limits at x itself; writes them down if so."""
    best = np.inf
    for up, down, h, sigma in reversed(list(zip(plus, minus, hs, sigmas, strict=True))):
        asymmetry, noise = (up + down) / h, np.sqrt(6.0) * sigma / h
        if not np.isfinite(asymmetry).all():
            break
        if abs(asymmetry[-1]) <= 4 * SEEN * noise[-1]:
            continue  # nothing to be seen at these steps: a coarser window has more power
        limit, bound = limit_of_asymmetry(asymmetry[:, None], noise[:, None])
        together = abs(asymmetry[-1] - asymmetry[-2]) <= 0.25 * abs(asymmetry[-1]) + SEEN * noise[-1]
        if not (together and abs(limit[0]) > 4 * bound[0]):
            break
        right = extrapolate((up / h)[:, None], (np.sqrt(2.0) * sigma / h)[:, None], ONE_SIDED)
        left = extrapolate((-down / h)[:, None], (np.sqrt(2.0) * sigma / h)[:, None], ONE_SIDED)
        spread = abs(right.value[0] - left.value[0]) / 2
        slack = max(float(left.error[0]), float(right.error[0]))
        if not slack < min(spread, best):
            continue
        best = slack
        out.left[i, p], out.right[i, p] = left.value[0], right.value[0]
        out.value[i, p] = (left.value[0] + right.value[0]) / 2
        out.error[i, p], out.truncation[i, p] = spread + slack, slack
        out.step[i, p], out.order[i, p] = h[-1], 1
        out.status[i, p] = "kink"
    return best < np.inf


def _raise_noise(out: Lines, i: int, p: int, quotients: list[FloatArray], hs: list[FloatArray], sigma: float) -> None:
    """Quotients that scatter like 1/h are noise that the seven points did not show: bounds are made with that."""
    if len(quotients) < 2:
        return
    scatter = [np.abs(np.diff(q)) * h[1:] for q, h in zip(quotients[-2:], hs[-2:], strict=True)]
    each = np.concatenate(scatter)
    signs = np.sign(np.concatenate([np.diff(q) for q in quotients[-2:]]))
    if np.abs(signs.sum()) == signs.size:
        return  # a slope without bound grows in one direction
    if not np.isfinite(each).all() or each.min() <= 0 or each.max() > 30 * each.min() or each.min() < 3 * sigma:
        return
    larger = float(each.max())
    best = np.inf
    for q, h in zip(quotients, hs, strict=True):
        if not np.isfinite(q).all():
            continue
        estimate = extrapolate(q[:, None], (larger / h)[:, None], CENTRAL)
        if estimate.error[0] < best:
            best = float(estimate.error[0])
            out.value[i, p], out.error[i, p] = estimate.value[0], best
            out.noise[i, p], out.truncation[i, p] = estimate.noise[0], estimate.truncation[0]
            out.step[i, p], out.order[i, p] = h[int(estimate.row[0])], estimate.order[0]
            out.second_order[i, p] = False
    out.status[i, p] = "noisy"


def _settle(out: Lines, i: int, p: int, quotients: list[FloatArray], noise: Noise) -> None:
    """The word for a column that converged in no window but has a bound: good enough, noisy or unresolved."""
    sizes = [float(np.max(np.abs(q))) for q in quotients if np.isfinite(q).all()]
    size = sizes[0] if sizes else 0.0
    last = np.abs(quotients[-1])
    if bool(np.all(last[1:] > 1.3 * last[:-1])) and noise.roundings[p] < 1e4 and last[-1] > 10 * size:
        out.error[i, p] = np.inf  # an infinite slope, like that of a root at zero
    if out.error[i, p] <= 1e-3 * size or (size == 0.0 and out.error[i, p] == 0.0):
        out.status[i, p] = "ok"
        out.left[i, p] = out.right[i, p] = out.value[i, p]
    elif out.status[i, p] == "noisy" or noise.roundings[p] > 1e4:
        out.status[i, p] = "noisy"
    else:
        out.status[i, p] = "unresolved"
