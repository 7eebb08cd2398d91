"""Lines -> their derivatives at one or two evaluations each, verified as a whole by a few careful lines."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.line import Line, Lines, Noise, differentiate, measure_noise
from chainrule.numerical.point import FloatArray, Point

__all__ = ["complex_step", "one_difference_each"]

_TINY = 2.0**-100


def _random_sum(lines: list[Line], size: int, rng: np.random.Generator) -> tuple[FloatArray, Line]:
    """Weights sign x {8..15}/8 for every line, and the line that moves along all of them."""
    weights = rng.choice([-1.0, 1.0], len(lines)) * rng.integers(8, 16, len(lines)) / 8.0
    total = np.zeros(size)
    for weight, line in zip(weights, lines, strict=True):
        if line.where is None:
            total += weight * line.step
        else:
            total[line.where] += weight * line.step
    return weights, Line(total)


def _filled(lines: int, columns: int, done: npt.NDArray[np.bool_], **fields: Any) -> Lines:
    shape = (lines, columns)
    full = {key: np.broadcast_to(np.asarray(value), shape).copy() for key, value in fields.items()}
    return Lines(**full, second_order=np.zeros(shape, dtype=bool), done=done, trace=[])


def one_difference_each(
    point: Point, evaluator: Evaluator, lines: list[Line], noise: Noise, central: bool, seed: int
) -> Lines | str:
    """One central (or forward) difference for each line at a step that shared lines suggest, or why not.

    The step balances noise against the third (second) derivative seen along four random combinations; then the
    weighted sums of the results must agree with the careful derivatives along these combinations. A single wrong
    entry passes with probability 16^-4.
    """
    rng = np.random.default_rng(seed + 1)
    drawn = [_random_sum(lines, point.size, rng) for _ in range(4)]
    careful = differentiate(evaluator, point.x, [line for _, line in drawn], noise, effort=6)
    if not bool((careful.status == "ok").all()):
        words = sorted(set(careful.status.ravel().tolist()) - {"ok"})
        return f"a shared line is {', '.join(words)}"
    exponent = -7 if evaluator.eps < 1e-10 else -4
    h0 = 2.0**exponent
    root = np.sqrt(len(lines))
    with np.errstate(all="ignore"):
        first = np.array([t["D"][0] for t in careful.trace])
        bend = np.sqrt(np.mean((first - careful.value) ** 2, axis=0)) / h0**2 / root  # about f'''/6 of one entry
        if central:
            best = np.cbrt(noise.sigma / np.sqrt(2.0) / np.maximum(2 * bend, 1e-300))
        else:
            best = np.sqrt(noise.sigma / np.maximum(bend, 1e-300))
    low, high = 2.0 ** (-26 if evaluator.eps < 1e-10 else -12), h0
    h = float(2.0 ** np.round(np.log2(np.clip(np.median(best), low, high))))
    signs = (h, -h) if central else (h,)
    values, done = evaluator.many(
        len(signs) * len(lines), lambda k: lines[k // len(signs)].at(point.x, signs[k % len(signs)])
    )
    values = values.reshape(len(lines), len(signs), -1)
    done = np.asarray(done.reshape(len(lines), len(signs)).all(axis=1))
    with np.errstate(all="ignore"):
        slopes = (values[:, 0] - (values[:, 1] if central else evaluator.y0)) / (2 * h if central else h)
    if done.all() and not np.isfinite(slopes).all():
        return "f is not finite at a neighbouring point"
    own_noise = noise.sigma * (1 / np.sqrt(2.0) if central else np.sqrt(2.0)) / h
    truncation = bend * h**2 if central else np.maximum(bend * h, 0.0)
    if done.all():
        for (weights, _), value, error in zip(drawn, careful.value, careful.error, strict=True):
            # Roundings add at random; truncations may all point the same way.
            mismatch = np.abs(weights @ slopes - value)
            slack = error + 4 * own_noise * np.linalg.norm(weights) + 2 * truncation * np.sum(np.abs(weights))
            slack = slack + 1e-3 * np.sqrt(np.sum((weights[:, None] * slopes) ** 2, axis=0)) * (not central)
            if bool((mismatch > slack).any()):
                return "the sum of the entries disagrees with the derivative along a random direction"
        residual = np.max(
            [np.abs(w @ slopes - v) / np.linalg.norm(w) for (w, _), v in zip(drawn, careful.value, strict=True)], axis=0
        )
        truncation = np.maximum(truncation, residual)
    error = 4 * own_noise + 4 * truncation
    return _filled(
        len(lines), slopes.shape[1], done, value=slopes, error=np.where(done[:, None], error, np.inf), noise=own_noise,
        truncation=truncation, step=h, order=2 if central else 1, left=slopes, right=slopes,
        status=np.where(done[:, None], "ok", "unresolved"),
    )  # fmt: skip


def complex_step(point: Point, evaluator: Evaluator, lines: list[Line], seed: int) -> Lines | str:
    """The imaginary part of f at x + i 2^-100 u for each line, certified by two careful lines, or why not.

    The complex step alone is silently wrong where f takes absolute values, conjugates, compares or casts; a difference
    of real points at x and at a neighbouring point shows it.

    Source: W. Squire and G. Trapp (1998); J. Martins, P. Sturdza and J. Alonso (2003).
    """
    rng = np.random.default_rng(seed + 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for shift in (0.0, 2.0**-5):
                base = point.x + shift * rng.choice([-1.0, 1.0], point.size) * point.scale * (shift > 0)
                problem = _certificate(point, evaluator, lines, base, rng)
                if problem:
                    return problem
            values = evaluator.complex_many(
                len(lines), lambda k: point.x + 1j * (lines[k].at(np.zeros(point.size), _TINY))
            )
    except Exception as problem:  # noqa: BLE001 - f was not written for complex numbers: anything may come out of it
        return f"{type(problem).__name__}: {problem}"
    slopes = values.imag / _TINY
    return _filled(
        len(lines), slopes.shape[1], np.ones(len(lines), dtype=bool), value=slopes,
        error=32 * evaluator.eps * np.abs(slopes) + 64 * evaluator.eps * np.sqrt(np.mean(slopes**2, axis=0)),
        noise=evaluator.eps * np.abs(slopes), truncation=0.0, step=_TINY, order=0, left=slopes, right=slopes,
        status="ok",
    )  # fmt: skip


def _certificate(
    point: Point, evaluator: Evaluator, lines: list[Line], base: FloatArray, rng: np.random.Generator
) -> str:
    """Why the complex step can not be trusted at ``base``; empty if a careful line agrees with it."""
    _, line = _random_sum(lines, point.size, rng)
    here = evaluator.y0
    try:
        values, _ = evaluator.many(1, lambda _: base)
        if not np.isfinite(values).all():
            return ""  # the neighbouring point is outside the domain: no second certificate to be had
        evaluator.y0 = values[0]
        noise = measure_noise(evaluator, base, line)
        real = differentiate(evaluator, base, [line], noise)
        imaginary = evaluator.complex_many(1, lambda _: base + 1j * (_TINY * line.step))[0].imag / _TINY
    finally:
        evaluator.y0 = here
    if not bool((real.status == "ok").all()):
        return "no difference of real points could certify it"
    wrong = np.abs(imaginary - real.value[0]) > real.error[0] + 64 * evaluator.eps * np.abs(imaginary)
    return "it disagrees with a difference of real points" if bool(wrong.any()) else ""
