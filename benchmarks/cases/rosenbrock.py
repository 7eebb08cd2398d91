"""Rosenbrock's function of 2, 10, 1e3 and 1e5 variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.problem import Problem, random


def rosenbrock(x: Any) -> Any:
    """H. H. Rosenbrock (1960)."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rosenbrock_torch(x: Any) -> Any:
    """The same with PyTorch."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def rosenbrock_casadi(x: Any) -> Any:
    """The same with CasADi."""
    import casadi

    return casadi.sumsqr(10.0 * (x[1:] - x[:-1] ** 2)) + casadi.sumsqr(1.0 - x[:-1])


def by_hand(x: Any) -> Any:
    """The gradient as one writes it with NumPy (it is scipy.optimize.rosen_der)."""
    inner, below, above = x[1:-1], x[:-2], x[2:]
    made = np.zeros_like(x)
    made[1:-1] = 200 * (inner - below**2) - 400 * (above - inner**2) * inner - 2 * (1 - inner)
    made[0] = -400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0])
    made[-1] = 200 * (x[-1] - x[-2] ** 2)
    return made


C = """
double run(const double **in, double **out) {
    const double *x = in[0];
    double *g = out[0], carry = 0.0, f = 0.0;
    for (long i = 0; i + 1 < N; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1.0 - x[i];
        f += 100.0 * a * a + b * b;
        g[i] = carry - 400.0 * a * x[i] - 2.0 * b;
        carry = 200.0 * a;
    }
    g[N - 1] = carry;
    return f;
}
"""

PROBLEMS = [
    Problem(
        name=f"Rosenbrock {n:,}", function=rosenbrock, torch=rosenbrock_torch, by_hand=by_hand,
        casadi=rosenbrock_casadi, arguments=(random().normal(size=n),), c=C, defines={"N": n},
    )
    for n in (2, 10, 1_000, 100_000)
]  # fmt: skip
