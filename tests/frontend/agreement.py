"""A function and a point -> the assertion that its gradient is right, or that it is refused by an error of ours."""

# ruff: noqa: PT017 - a refusal is one of two right answers

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.containers import flatten

__all__ = ["agrees", "close", "refused", "right_or_refused", "witness_of"]


def close(found: Any, expected: Any, tolerance: Any = 0.0) -> None:
    """Each leaf equal up to its tolerance and a few roundings; structure and shapes equal."""
    leaves, tree = flatten(found)
    wanted, wanted_tree = flatten(expected)
    assert tree == wanted_tree, f"{tree!r} against {wanted_tree!r}"
    allowed = flatten(tolerance)[0] if not isinstance(tolerance, float) else [tolerance] * len(leaves)
    for one, other, slack in zip(leaves, wanted, allowed, strict=True):
        assert not type(one).__name__.startswith("StandIn"), "a stand-in left the trace"
        assert np.shape(one) == np.shape(other), f"{np.shape(one)} against {np.shape(other)}"
        a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
        room = np.asarray(slack) + 1e-12 * (1 + np.abs(b))
        with np.errstate(all="ignore"):
            off = np.abs(a - b) > room
        differs = np.where(np.isfinite(a) & np.isfinite(b), off, ~((a == b) | (np.isnan(a) & np.isnan(b))))
        assert not differs.any(), f"found {one}\nexpected {other}\ntolerance {slack}"


def witness_of(f: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """The derivative by differences and its error bound, which must be small enough to decide anything."""
    witness = cr.numerical.grad(f, x)
    assert witness.ok, f"the witness is of no use here: {witness!r}"
    for value, error in zip(flatten(witness.value)[0], flatten(witness.error)[0], strict=True):
        scale = 1.0 + float(np.max(np.abs(value), initial=0.0))
        assert float(np.max(error, initial=0.0)) < 1e-5 * scale, f"the witness is too coarse: {witness!r}"
    return witness.value, witness.error


def agrees(f: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of ``f`` at ``x``, held against the witness; ``x`` and the value are as NumPy has them."""
    leaves = flatten(x)[0]
    before = [np.array(leaf) for leaf in leaves]
    value, found = cr.value_and_grad(f)(x)
    for leaf, kept in zip(leaves, before, strict=True):
        np.testing.assert_array_equal(leaf, kept, err_msg="the caller's argument was changed")
    close(found, *witness_of(f, x))
    fresh = x.copy() if isinstance(x, np.ndarray) else x
    close(value, np.asarray(f(fresh), dtype=float)[()])
    return found


def right_or_refused(
    f: Callable[[Any], Any],
    x: Any,
    *,
    also: tuple[type[BaseException], ...] = (),
    witness: Callable[[Any], Any] | None = None,
) -> str:
    """``"right"`` or ``"refused"``; a wrong gradient fails. ``witness`` is what f should be, if f does not tell."""
    try:
        found = cr.grad(f)(x)
    except cr.ChainruleError as refusal:
        assert refusal.what
        assert refusal.cure
        return "refused"
    except also:
        return "refused"
    close(found, *witness_of(witness or f, x))
    return "right"


def refused(f: Callable[[Any], Any], x: Any, *fragments: str) -> cr.ChainruleError:
    """The error that a gradient of ``f`` raises; it has a cure, and its text holds the fragments."""
    try:
        found = cr.grad(f)(x)
    except cr.ChainruleError as refusal:
        text = str(refusal)
        assert refusal.cure, f"no cure in: {text}"
        for fragment in fragments:
            assert fragment in text, f"{fragment!r} is not in: {text}"
        return refusal
    raise AssertionError(f"not refused: {found!r}")
