"""Random expression trees -> the same function for NumPy and for mpmath, and its derivative to 40 digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sin": (np.sin, mpmath.sin),
    "cos": (np.cos, mpmath.cos),
    "exp": (lambda a: np.exp(a / 2), lambda a: mpmath.exp(a / 2)),
    "log": (lambda a: np.log(1 + a * a), lambda a: mpmath.log(1 + a * a)),
    "tanh": (np.tanh, mpmath.tanh),
    "sqrt": (lambda a: np.sqrt(0.1 + a * a), lambda a: mpmath.sqrt(mpmath.mpf(0.1) + a * a)),
    "recip": (lambda a: 1 / (1.5 + a * a), lambda a: 1 / (mpmath.mpf(1.5) + a * a)),
    "atan": (np.arctan, mpmath.atan),
    "square": (lambda a: a * a, lambda a: a * a),
    "steep": (lambda a: np.sin(20 * a), lambda a: mpmath.sin(20 * a)),
    "bump": (lambda a: np.exp(-8 * a * a), lambda a: mpmath.exp(-8 * a * a)),
    "erfc": (lambda a: 1 - np.cos(a), lambda a: 1 - mpmath.cos(a)),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / (b * b + 0.5),
}


class Expression:
    """A tree with x and constants at its leaves; calling it with ``exact=True`` uses mpmath."""

    def __init__(self, rng: np.random.Generator, depth: int) -> None:
        self.kind = "x"
        self.parts: list[Expression] = []
        self.number = 0.0
        draw = rng.random()
        if depth == 0 or (draw < 0.1 and depth < 3):
            if rng.random() < 0.25:
                self.kind, self.number = "c", float(np.round(rng.uniform(-3, 3), 3))
        elif draw < 0.55:
            self.kind = str(rng.choice(sorted(UNARY)))
            self.parts = [Expression(rng, depth - 1)]
        else:
            self.kind = str(rng.choice(sorted(BINARY)))
            self.parts = [Expression(rng, depth - 1), Expression(rng, depth - 1)]

    def __call__(self, x: Any, exact: bool = False) -> Any:
        if self.kind == "x":
            return x
        if self.kind == "c":
            return mpmath.mpf(self.number) if exact else self.number
        values = [part(x, exact) for part in self.parts]
        if self.kind in BINARY:
            return BINARY[self.kind](*values)
        return UNARY[self.kind][1 if exact else 0](*values)

    def has_x(self) -> bool:
        return self.kind == "x" or any(part.has_x() for part in self.parts)


def exact_derivative(tree: Expression, x: float) -> float:
    """A central difference with a step of 1e-20 in 60 digits: exact to 1e-39 relative to the third derivative."""
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -20
        return float((tree(mpmath.mpf(x) + h, True) - tree(mpmath.mpf(x) - h, True)) / (2 * h))
