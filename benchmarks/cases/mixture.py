"""Log-likelihood of a Gaussian mixture with diagonal covariances."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from cases.problem import Problem, random

N, K, D = 10_000, 8, 4


def likelihood(weights: Any, means: Any, scales: Any, x: Any) -> Any:
    """Weights by their logits, scales by their logarithms."""
    logs = weights - logsumexp(weights) - np.sum(scales, axis=1)
    z = (x[:, None, :] - means) * np.exp(-scales)
    return np.sum(logsumexp(logs - 0.5 * np.sum(z**2, axis=2), axis=1))


def likelihood_torch(weights: Any, means: Any, scales: Any, x: Any) -> Any:
    """The same with PyTorch."""
    import torch

    logs = weights - torch.logsumexp(weights, 0) - scales.sum(1)
    z = (x[:, None, :] - means) * torch.exp(-scales)
    return torch.logsumexp(logs - 0.5 * (z**2).sum(2), 1).sum()


C = """
#include <math.h>
double run(const double **in, double **out) {
    const double *w = in[0], *mu = in[1], *s = in[2], *x = in[3];
    double *gw = out[0], *gm = out[1], *gs = out[2], inv[K * D], logs[K], total[K], f = 0.0, m = w[0], norm = 0.0;
    for (int k = 1; k < K; k++) m = w[k] > m ? w[k] : m;
    for (int k = 0; k < K; k++) norm += exp(w[k] - m);
    norm = m + log(norm);
    for (int k = 0; k < K; k++) {
        logs[k] = w[k] - norm; total[k] = 0.0;
        for (int d = 0; d < D; d++) {
            inv[k * D + d] = exp(-s[k * D + d]); logs[k] -= s[k * D + d];
            gm[k * D + d] = gs[k * D + d] = 0.0;
        }
    }
    for (long i = 0; i < N; i++) {
        double z[K * D], a[K], top = -INFINITY, sum = 0.0;
        for (int k = 0; k < K; k++) {
            double q = 0.0;
            for (int d = 0; d < D; d++) {
                z[k * D + d] = (x[i * D + d] - mu[k * D + d]) * inv[k * D + d];
                q += z[k * D + d] * z[k * D + d];
            }
            a[k] = logs[k] - 0.5 * q;
            top = a[k] > top ? a[k] : top;
        }
        for (int k = 0; k < K; k++) { a[k] = exp(a[k] - top); sum += a[k]; }
        f += top + log(sum);
        for (int k = 0; k < K; k++) {
            double r = a[k] / sum;
            total[k] += r;
            for (int d = 0; d < D; d++) {
                gm[k * D + d] += r * z[k * D + d] * inv[k * D + d];
                gs[k * D + d] += r * (z[k * D + d] * z[k * D + d] - 1.0);
            }
        }
    }
    for (int k = 0; k < K; k++) gw[k] = total[k] - N * exp(w[k] - norm);
    return f;
}
"""


def made() -> Problem:
    """Ten thousand points, eight components, four dimensions."""
    rng = random()
    return Problem(
        name=f"Gaussian mixture {N:,} x {D}, {K}", function=likelihood, torch=likelihood_torch, wrt=(0, 1, 2),
        arguments=(rng.normal(size=K), rng.normal(size=(K, D)), 0.1 * rng.normal(size=(K, D)), rng.normal(size=(N, D))),
        c=C, defines={"N": N, "K": K, "D": D},
    )  # fmt: skip


PROBLEMS = [made()]
