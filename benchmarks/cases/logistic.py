"""Logistic regression: mean negative log-likelihood of labels -1 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.problem import Problem, random


def loss(w: Any, X: Any, y: Any) -> Any:
    """log(1 + exp(-y Xw)), averaged."""
    return np.mean(np.logaddexp(0.0, -y * (X @ w)))


def loss_torch(w: Any, X: Any, y: Any) -> Any:
    """The same with PyTorch."""
    import torch

    return torch.nn.functional.softplus(-y * (X @ w)).mean()


def by_hand(w: Any, X: Any, y: Any) -> Any:
    """The gradient as one writes it with NumPy."""
    return -((y / (1.0 + np.exp(y * (X @ w)))) @ X) / len(y)


C = """
#include <math.h>
double run(const double **in, double **out) {
    const double *w = in[0], *X = in[1], *y = in[2];
    double *g = out[0], f = 0.0;
    for (long j = 0; j < D; j++) g[j] = 0.0;
    for (long i = 0; i < N; i++) {
        const double *row = X + i * D;
        double z = 0.0;
        for (long j = 0; j < D; j++) z += row[j] * w[j];
        z *= y[i];
        double e = exp(-fabs(z)), s = z >= 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
        f += log1p(e) + (z < 0.0 ? -z : 0.0);
        double c = -y[i] * s / N;
        for (long j = 0; j < D; j++) g[j] += c * row[j];
    }
    return f / N;
}
"""


def made(n: int, d: int) -> Problem:
    """The problem with n rows of d columns."""
    rng = random()
    X = rng.normal(size=(n, d))
    y = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    return Problem(
        name=f"logistic {n:,} x {d}", function=loss, torch=loss_torch, by_hand=by_hand,
        arguments=(rng.normal(size=d), X, y), c=C, defines={"N": n, "D": d},
    )  # fmt: skip


PROBLEMS = [made(100, 5), made(10_000, 50), made(1_000_000, 20)]
