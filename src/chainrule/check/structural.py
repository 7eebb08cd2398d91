"""A claim at a point -> what is wrong with it that shows without any difference: repeats, stale state, linearity."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chainrule.check.claim import Claim, _same
from chainrule.numerical.point import FloatArray

__all__ = ["Finding", "examine"]


class Finding(NamedTuple):
    """One structural test: its name, whether it failed, passed or was only remarkable, and the sentence."""

    test: str
    outcome: str  # "ok", "fail", "warn", "note"
    sentence: str


SINGLE = 64 * float(np.finfo(np.float32).eps)  # defects up to this size may be the roundings of float32


def _grade(defect: float, eps: float) -> str:
    """Whether a relative defect is none, one that a lower precision explains, or a fault."""
    if defect <= 1e4 * eps:
        return "ok"
    return "warn" if defect <= SINGLE else "fail"


def _apart(a: FloatArray, b: FloatArray) -> float:
    """The largest difference in units of the largest entry."""
    size = max(float(np.max(np.abs(a), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
    gap = float(np.max(np.abs(a - b), initial=0.0))
    return 0.0 if gap == 0 or np.array_equal(a, b, equal_nan=True) else gap / size


def _near(a: FloatArray, b: FloatArray, tolerance: float) -> bool:
    size = max(float(np.max(np.abs(a), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
    return bool(np.all(np.abs(a - b) <= tolerance * size)) or bool(np.array_equal(a, b, equal_nan=True))


def examine(
    claim: Claim, x: FloatArray, y: FloatArray, eps: float, rng: np.random.Generator, deterministic: bool
) -> tuple[list[Finding], Callable[[FloatArray], FloatArray]]:
    """All structural findings, and the pullback at x (fresh: made after everything else has been called)."""
    found: list[Finding] = []
    value, pull = claim.forward(x)
    if value is not None:
        found.append(_value_agrees(value, y, eps, deterministic))
    m = y.size
    v0 = _signs(rng, m) if claim.is_linear_map else np.ones(m)
    first = pull(v0)
    raw = claim.raw
    kept = copy.deepcopy(raw)
    second = pull(v0)
    found.append(_repeats(first, second, pull, v0, eps, deterministic))
    shift = x * (1 + 2.0**-4 * _signs(rng, x.size)) + 2.0**-6 * (x == 0) * claim.point.scale
    other = _elsewhere(claim, shift)
    moved = not _same(raw, kept)
    if other is not None:
        third = pull(v0)
        _, fresh = claim.forward(x)
        reference = fresh(v0)
        same = max(1e4 * eps, 10 * _apart(first, second))
        if not _near(third, reference, same) and _near(first, reference, same):
            stale = _near(third, other(v0), 1e3 * eps)
            found.append(
                Finding(
                    "stale state", "fail",
                    "the pullback gives another gradient once the forward pass has run at another point: "
                    + ("it uses values that the other call left behind" if stale else "it keeps state between calls"),
                )
            )  # fmt: skip
        elif not _near(first, reference, same) and deterministic:
            found.append(
                Finding("stale state", "fail", "the gradient at x depends on what was evaluated before: stale state")
            )
        else:
            found.append(Finding("stale state", "ok", "unchanged by a forward pass elsewhere"))
        pull = fresh
    linear = _linear(pull, v0, first, m, eps, rng) if claim.is_linear_map else []
    if moved or not _same(raw, kept):
        found.append(
            Finding(
                "own buffer", "fail", "a gradient that was returned changes at the next call: it is a view of a buffer"
            )
        )
    if claim.overwrote:
        found.append(Finding("input unchanged", "fail", f"the gradient overwrites {claim.overwrote}"))
    found.extend(linear)
    finite = np.isfinite(first)
    if not finite.all():
        place = int(np.argmin(finite))
        found.append(
            Finding(
                "finite", "fail",
                f"{int((~finite).sum())} of {finite.size} entries of the gradient are not finite where f is: "
                f"{claim.point.name(place)} = {x[place]:.6g} has {first[place]}"
                " (the branch of a where() that was not taken, or 0 times inf?)",
            )
        )  # fmt: skip
    else:
        found.append(Finding("finite", "ok", "all entries are finite"))
    return found, pull


def _signs(rng: np.random.Generator, size: int) -> FloatArray:
    return np.asarray(rng.choice([-1.0, 1.0], size) * rng.integers(8, 16, size) / 8.0)


def _elsewhere(claim: Claim, x: FloatArray) -> Callable[[FloatArray], FloatArray] | None:
    """The pullback at another point, called once; None where that point is outside the domain."""
    try:
        _, pull = claim.forward(x)
        pull(np.ones(sum(np.size(leaf) for leaf in claim.out_leaves)))
    except Exception:  # noqa: BLE001 - whatever is raised outside the domain is no finding
        return None
    return pull


def _value_agrees(value: FloatArray, y: FloatArray, eps: float, deterministic: bool) -> Finding:
    if value.size != y.size:
        return Finding("value", "fail", f"the forward pass returns {value.size} numbers where f returns {y.size}")
    grade = _grade(_apart(value, y), eps)
    if deterministic and grade == "warn":
        return Finding(
            "value", "warn",
            f"the forward pass of the gradient returns the value of f only to {_apart(value, y):.1g}: float32 inside?",
        )  # fmt: skip
    if deterministic and grade != "ok":
        worst = int(np.argmax(np.abs(value - y)))
        return Finding(
            "value", "fail",
            f"the forward pass of the gradient does not return the value of f: {value[worst]:.8g}, not {y[worst]:.8g}",
        )  # fmt: skip
    return Finding("value", "ok", "the instrumented forward pass returns the value of f")


def _repeats(
    first: FloatArray,
    second: FloatArray,
    pull: Callable[[FloatArray], FloatArray],
    v0: FloatArray,
    eps: float,
    deterministic: bool,
) -> Finding:
    if np.array_equal(first, second, equal_nan=True):
        return Finding("repeatable", "ok", "two calls give the same bits")
    if _near(first, second, 1e3 * eps):
        return Finding("repeatable", "note", "two calls differ in the last bits (the order of a sum?)")
    if not deterministic:
        return Finding("repeatable", "note", "two calls differ, as f itself does: random? (freeze_rng=True)")
    if _grade(_apart(first, second), eps) == "warn":
        return Finding(
            "repeatable", "warn",
            f"two calls of the pullback differ by {_apart(first, second):.1g}: a sum in changing order, in float32?",
        )  # fmt: skip
    if _near(pull(v0) - second, second - first, 1e4 * eps):
        return Finding(
            "repeatable", "fail", "each call adds the same to the gradient: a buffer is added to, not cleared"
        )
    return Finding("repeatable", "fail", "two calls of the pullback with the same cotangent give different gradients")


def _linear(
    pull: Callable[[FloatArray], FloatArray],
    v0: FloatArray,
    g0: FloatArray,
    m: int,
    eps: float,
    rng: np.random.Generator,
) -> list[Finding]:
    found: list[Finding] = []
    zero = pull(np.zeros(m))
    if np.any(zero != 0) and np.isfinite(g0).all():
        found.append(
            Finding(
                "zero cotangent",
                "fail",
                f"the pullback of a zero cotangent is not zero (up to {np.max(np.abs(zero)):.3g})",
            )
        )
    v1 = _signs(rng, m)
    one, both = pull(v1), pull(v0 - 2 * v1)
    size = np.max(np.abs(g0), initial=0.0) + 2 * np.max(np.abs(one), initial=0.0)
    defect = float(np.max(np.abs(both - (g0 - 2 * one)), initial=0.0))
    if np.isfinite(defect) and size > 0 and _grade(defect / size, eps) == "warn":
        found.append(
            Finding(
                "linear", "warn",
                f"the pullback is linear in its cotangent only to {defect / size:.1g}, as float32 would be:"
                " float32 inside?",
            )
        )  # fmt: skip
    elif np.isfinite(defect) and defect > 1e4 * eps * size:
        if _near(g0, one, 1e3 * eps) and _near(g0, both, 1e3 * eps):
            why = "the cotangent is ignored: the same gradient comes back for every v"
        else:
            why = f"the pullback is not linear in its cotangent (defect {defect / size:.2g} of the gradient)"
        found.append(Finding("linear", "fail", why))
    else:
        found.append(Finding("linear", "ok", "vjp(v0 - 2 v1) = vjp(v0) - 2 vjp(v1)"))
    return found
