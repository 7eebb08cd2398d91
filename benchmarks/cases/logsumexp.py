"""The logarithm of a sum of a million exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.problem import Problem, random

N = 1_000_000


def log_sum_exp(x: Any) -> Any:
    """Safe from overflow, as one writes it."""
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def log_sum_exp_torch(x: Any) -> Any:
    """The same with PyTorch."""
    import torch

    top = x.max()
    return top + torch.log(torch.exp(x - top).sum())


def by_hand(x: Any) -> Any:
    """The gradient as one writes it with NumPy."""
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


C = """
#include <math.h>
double run(const double **in, double **out) {
    const double *x = in[0];
    double *g = out[0], top = x[0], sum = 0.0;
    for (long i = 1; i < N; i++) top = x[i] > top ? x[i] : top;
    for (long i = 0; i < N; i++) { g[i] = exp(x[i] - top); sum += g[i]; }
    for (long i = 0; i < N; i++) g[i] /= sum;
    return top + log(sum);
}
"""

PROBLEMS = [
    Problem(
        name=f"logsumexp {N:,}", function=log_sum_exp, torch=log_sum_exp_torch, by_hand=by_hand,
        arguments=(random().normal(size=N),), c=C, defines={"N": N},
    )
]  # fmt: skip
