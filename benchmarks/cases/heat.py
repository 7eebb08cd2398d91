"""The residual of an implicit step of the heat equation on a grid of 512 x 512."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.problem import Problem, random

N = 512


def residual(u: Any, before: Any) -> Any:
    """Half the squares of u - before - dt * laplacian(u), inside."""
    inside = u[1:-1, 1:-1]
    laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * inside
    r = inside - before[1:-1, 1:-1] - 0.1 * laplacian
    return 0.5 * np.sum(r**2)


def residual_torch(u: Any, before: Any) -> Any:
    """The same with PyTorch."""
    inside = u[1:-1, 1:-1]
    laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * inside
    r = inside - before[1:-1, 1:-1] - 0.1 * laplacian
    return 0.5 * (r**2).sum()


C = """
#include <string.h>
static double r[N * N];
double run(const double **in, double **out) {
    const double *u = in[0], *v = in[1];
    double *g = out[0], f = 0.0;
    for (int i = 1; i < N - 1; i++)
        for (int j = 1; j < N - 1; j++) {
            long k = (long)i * N + j;
            r[k] = u[k] - v[k] - 0.1 * (u[k + N] + u[k - N] + u[k + 1] + u[k - 1] - 4.0 * u[k]);
            f += r[k] * r[k];
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            long k = (long)i * N + j;
            double s = 1.4 * r[k];
            if (i + 1 < N) s -= 0.1 * r[k + N];
            if (i > 0) s -= 0.1 * r[k - N];
            if (j + 1 < N) s -= 0.1 * r[k + 1];
            if (j > 0) s -= 0.1 * r[k - 1];
            g[k] = s;
        }
    return 0.5 * f;
}
"""

PROBLEMS = [
    Problem(
        name=f"heat equation {N} x {N}", function=residual, torch=residual_torch,
        arguments=(random().normal(size=(N, N)), random().normal(size=(N, N))), c=C, defines={"N": N},
    )
]  # fmt: skip
