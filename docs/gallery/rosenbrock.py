"""Rosenbrock's valley: a curved floor, the favourite obstacle course of minimisers."""

import numpy as np

TITLE = "Rosenbrock's valley"
ARGNUMS = (0,)
SOURCE = "H. H. Rosenbrock (1960); in n dimensions as in J. J. More, B. S. Garbow, K. E. Hillstrom (1981)"
TEXTBOOK = (
    (
        r"\frac{\partial f}{\partial x_i} = 200 \, (x_i - x_{i-1}^2)\,[i > 1]"
        r" - \left( 400 \, x_i (x_{i+1} - x_i^2) + 2 (1 - x_i) \right) [i < n]"
    ),
)


def valley(x):
    """Zero at (1, ..., 1), and nowhere less."""
    rise = x[1:] - x[:-1] ** 2
    off = 1.0 - x[:-1]
    return np.sum(100.0 * rise**2 + off**2)


def textbook(x):
    """Both terms of every entry, where they exist."""
    dx = np.zeros_like(x)
    dx[1:] += 200.0 * (x[1:] - x[:-1] ** 2)
    dx[:-1] -= 400.0 * x[:-1] * (x[1:] - x[:-1] ** 2) + 2.0 * (1.0 - x[:-1])
    return (dx,)


def problem():
    """``(f, args)``: five dimensions."""
    return valley, (np.array([-1.2, 1.0, 0.6, -0.4, 0.9]),)
