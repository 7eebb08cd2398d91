"""A million European options by F. Black and M. Scholes (1973), and the sensitivities of their sum."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr

from cases.problem import Problem, random

N = 1_000_000


def value(S: Any, K: Any, T: Any, sigma: Any) -> Any:
    """The interest rate is 3 %."""
    root = sigma * np.sqrt(T)
    d1 = (np.log(S / K) + (0.03 + 0.5 * sigma**2) * T) / root
    d2 = d1 - root
    return np.sum(S * ndtr(d1) - K * np.exp(-0.03 * T) * ndtr(d2))


def value_torch(S: Any, K: Any, T: Any, sigma: Any) -> Any:
    """The same with PyTorch."""
    import torch

    root = sigma * torch.sqrt(T)
    d1 = (torch.log(S / K) + (0.03 + 0.5 * sigma**2) * T) / root
    d2 = d1 - root
    return (S * torch.special.ndtr(d1) - K * torch.exp(-0.03 * T) * torch.special.ndtr(d2)).sum()


C = """
#include <math.h>
double run(const double **in, double **out) {
    const double *S = in[0], *K = in[1], *T = in[2], *v = in[3];
    double *gS = out[0], *gK = out[1], *gT = out[2], *gv = out[3], f = 0.0;
    for (long i = 0; i < N; i++) {
        double st = sqrt(T[i]), root = v[i] * st, disc = exp(-0.03 * T[i]);
        double d1 = (log(S[i] / K[i]) + (0.03 + 0.5 * v[i] * v[i]) * T[i]) / root, d2 = d1 - root;
        double n1 = 0.5 * erfc(-d1 * M_SQRT1_2), n2 = 0.5 * erfc(-d2 * M_SQRT1_2);
        double density = 0.3989422804014327 * exp(-0.5 * d1 * d1);
        f += S[i] * n1 - K[i] * disc * n2;
        gS[i] = n1;
        gK[i] = -disc * n2;
        gT[i] = S[i] * density * v[i] / (2.0 * st) + 0.03 * K[i] * disc * n2;
        gv[i] = S[i] * density * st;
    }
    return f;
}
"""


def made() -> Problem:
    """Strikes around the price, up to two years."""
    rng = random()
    return Problem(
        name=f"Black-Scholes {N:,}", function=value, torch=value_torch, wrt=(0, 1, 2, 3),
        arguments=(
            rng.uniform(50, 150, N), rng.uniform(50, 150, N), rng.uniform(0.1, 2, N), rng.uniform(0.1, 0.6, N),
        ),
        c=C, defines={"N": N},
    )  # fmt: skip


PROBLEMS = [made()]
