"""Random programs of array steps with hand-written backward passes, and one random mutation of the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Step(NamedTuple):
    name: str
    forward: Callable[..., Any]
    backward: Callable[..., tuple[Any, ...]]  # (g, y, *inputs) -> one gradient for each input
    inputs: int


def _reduce(g: Any, like: Any) -> Any:
    while g.ndim > like.ndim:
        g = g.sum(axis=0)
    for axis, n in enumerate(like.shape):
        if n == 1 and g.shape[axis] != 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


def _softmax(a: Any) -> Any:
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


STEPS = [
    Step("sin", np.sin, lambda g, y, a: (g * np.cos(a),), 1),
    Step("tanh", np.tanh, lambda g, y, a: (g * (1 - y * y),), 1),
    Step("exp", lambda a: np.exp(0.3 * a), lambda g, y, a: (0.3 * g * y,), 1),
    Step("softplus", lambda a: np.logaddexp(0, a), lambda g, y, a: (g / (1 + np.exp(-a)),), 1),
    Step("sqrt", lambda a: np.sqrt(1 + a * a), lambda g, y, a: (g * a / y,), 1),
    Step("relu", lambda a: np.maximum(a, 0), lambda g, y, a: (g * (a > 0),), 1),
    Step("square", lambda a: a * a, lambda g, y, a: (2 * g * a,), 1),
    Step("softmax", _softmax, lambda g, y, a: (y * (g - (g * y).sum(-1, keepdims=True)),), 1),
    Step("cumsum", lambda a: np.cumsum(a, -1), lambda g, y, a: (np.cumsum(g[..., ::-1], -1)[..., ::-1],), 1),
    Step("roll", lambda a: np.roll(a, 1, -1), lambda g, y, a: (np.roll(g, -1, -1),), 1),
    Step("centre", lambda a: a - a.mean(-1, keepdims=True), lambda g, y, a: (g - g.mean(-1, keepdims=True),), 1),
    Step("add", lambda a, b: a + b, lambda g, y, a, b: (_reduce(g, a), _reduce(g, b)), 2),
    Step("mul", lambda a, b: a * b, lambda g, y, a, b: (_reduce(g * b, a), _reduce(g * a, b)), 2),
    Step("div", lambda a, b: a / (1 + b * b),
         lambda g, y, a, b: (_reduce(g / (1 + b * b), a), _reduce(-2 * g * a * b / (1 + b * b) ** 2, b)), 2),
]  # fmt: skip

MUTATIONS: list[tuple[str, Callable[[Any, np.random.Generator], Any]]] = [
    ("sign", lambda g, rng: -g),
    ("factor 2", lambda g, rng: 2 * g),
    ("half", lambda g, rng: g / 2),
    ("zero", lambda g, rng: 0 * g),
    ("one per mille", lambda g, rng: 1.001 * g),
    ("shift", lambda g, rng: np.roll(g, 1, -1)),
    ("reverse", lambda g, rng: g[..., ::-1]),
    ("one entry", lambda g, rng: g * (1 - (np.arange(g.size).reshape(g.shape) == rng.integers(g.size)) * 0.5)),
    ("offset", lambda g, rng: g + 1e-3 * np.sqrt(np.mean(g**2))),
    ("clipped", lambda g, rng: np.clip(g, -np.median(np.abs(g)), np.median(np.abs(g)))),
    ("positive part", lambda g, rng: np.maximum(g, 0)),
]


class Program:
    """Inputs (two arrays), a list of steps, and a weighted sum at the end."""

    def __init__(self, rng: np.random.Generator) -> None:
        rows, columns = int(rng.integers(2, 5)), int(rng.integers(2, 7))
        self.x = {"a": rng.standard_normal((rows, columns)), "b": rng.standard_normal((1, columns))}
        self.steps: list[tuple[Step, tuple[int, ...]]] = []
        for _ in range(int(rng.integers(3, 9))):
            step = STEPS[int(rng.integers(len(STEPS)))]
            known = 2 + len(self.steps)
            picks = [known - 1 if rng.random() < 0.7 else int(rng.integers(known)) for _ in range(step.inputs)]
            self.steps.append((step, tuple(picks)))
        self.weights = rng.standard_normal((rows, columns))
        self.mutated = -1
        self.mutation: Callable[[Any, np.random.Generator], Any] | None = None
        self.which = 0

    def values(self, x: dict[str, Any]) -> list[Any]:
        values = [x["a"], x["b"]]
        for step, picks in self.steps:
            values.append(step.forward(*(values[k] for k in picks)))
        return values

    def __call__(self, x: dict[str, Any]) -> Any:
        values = self.values(x)
        return np.sum(self.weights * values[-1]) + 0.3 * np.sum(values[0] * values[1])

    def grad(self, x: dict[str, Any]) -> dict[str, Any]:
        values = self.values(x)
        adjoints = [np.zeros_like(v) for v in values]
        adjoints[0] = 0.3 * np.broadcast_to(values[1], values[0].shape).copy()
        adjoints[1] = 0.3 * _reduce(values[0], values[1])
        adjoints[-1] = adjoints[-1] + _reduce(self.weights, values[-1])
        for k in range(len(self.steps) - 1, -1, -1):
            step, picks = self.steps[k]
            parts = list(step.backward(adjoints[k + 2], values[k + 2], *(values[i] for i in picks)))
            if k == self.mutated and self.mutation is not None:
                parts[self.which] = self.mutation(parts[self.which], np.random.default_rng(3))
            for i, part in zip(picks, parts, strict=True):
                adjoints[i] = adjoints[i] + part
        return {"a": adjoints[0], "b": adjoints[1]}

    def mutate(self, rng: np.random.Generator) -> bool:
        """One mutation of one backward step; False if it changes no entry of the gradient by a relative 1e-4."""
        right = self.grad(self.x)
        self.mutated = int(rng.integers(len(self.steps)))
        self.which = int(rng.integers(self.steps[self.mutated][0].inputs))
        self.mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))][1]
        wrong = self.grad(self.x)
        size = max(np.abs(part).max() for part in right.values())
        change = max(np.abs(wrong[k] - right[k]).max() for k in right)
        return bool(change > 1e-4 * size)
