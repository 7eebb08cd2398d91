"""Arguments to try a rule at: the one interpreter of the ``points`` facet, and draws from the ``domain`` facet.

A spec is a string like ``"3,4"`` (a float array of that shape; ``""`` is a scalar), with a word behind it for a matrix
of a kind (``"3,3 spd"``), or a nested list (an integer array).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from chainrule.rule import Elementwise, Rule

__all__ = ["Case", "argument", "cases", "draw"]


class Case(NamedTuple):
    """Arguments and parameters of one application of a rule."""

    arguments: tuple[Any, ...]
    params: tuple[Any, ...] = ()


def argument(spec: Any, rng: np.random.Generator) -> Any:
    """The array that a spec of ``points`` describes."""
    if isinstance(spec, np.ndarray):
        return spec
    if isinstance(spec, list):
        return np.array(spec, dtype=np.intp)
    words = spec.split()
    sizes = words[0] if words and words[0][0].isdigit() else ""
    kind = " ".join(words[1:] if sizes else words)
    shape = tuple(int(extent) for extent in sizes.split(",") if extent)
    made = rng.normal(size=shape)
    if kind:
        made = _KINDS[kind](made, rng)
    return np.asarray(made)


def _eye(x: Any) -> Any:
    return np.eye(x.shape[-2], x.shape[-1])


_KINDS = {
    "regular": lambda x, rng: x + 2 * x.shape[-1] * _eye(x) * np.sign(rng.normal(size=(x.shape[-2], 1))),
    "spd": lambda x, rng: x @ np.swapaxes(x, -1, -2) + x.shape[-1] * _eye(x),
    "symmetric": lambda x, rng: x + np.swapaxes(x, -1, -2),
    "lower": lambda x, rng: np.tril(x, -1) + 2 * _eye(x) + 0.3 * np.abs(x) * _eye(x),
    "upper": lambda x, rng: np.triu(x, 1) + 2 * _eye(x) + 0.3 * np.abs(x) * _eye(x),
    "positive": lambda x, rng: np.exp(x),
    "unit": lambda x, rng: rng.uniform(0.05, 0.95, x.shape),
    "integer": lambda x, rng: rng.integers(-9, 10, x.shape),
    "boolean": lambda x, rng: x > 0,
}


def draw(interval: tuple[Any, Any], shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Numbers in the interior of an interval of the ``domain`` facet; integers if its bounds are."""
    low, high = interval
    if isinstance(low, int) and isinstance(high, int):
        return rng.integers(low, high + 1, shape)
    if math.isfinite(low) and math.isfinite(high):
        return low + (high - low) * rng.uniform(0.05, 0.95, shape)
    if math.isfinite(low):
        return low + np.exp(0.7 * rng.normal(size=shape))
    if math.isfinite(high):
        return high - np.exp(0.7 * rng.normal(size=shape))
    return 1.5 * rng.normal(size=shape)


def cases(rule: Rule) -> list[Case]:
    """Every case that the rule's own facets describe."""
    rng = np.random.default_rng(sum(map(ord, rule.name)))
    if isinstance(rule, Elementwise):
        shapes: list[tuple[tuple[int, ...], ...]] = [((3, 4),) * rule.nin]
        if rule.nin > 1:
            shapes += [((3, 1), (1, 4), (4,))[: rule.nin], ((), (2,), ())[: rule.nin]]
        return [
            Case(
                tuple(np.asarray(draw(interval, shape, rng)) for interval, shape in zip(rule.domain, row, strict=True))
            )
            for row in shapes
        ]
    return [Case(tuple(argument(one, rng) for one in specs), tuple(params)) for specs, params in rule.points]
