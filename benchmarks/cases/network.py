"""A two-layer network, batch 128, 784-256-10, with softmax cross-entropy: loss and all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from cases.problem import Problem, random

B, I, H, O = 128, 784, 256, 10


def loss(W1: Any, b1: Any, W2: Any, b2: Any, X: Any, T: Any) -> Any:
    """T holds the labels, one of ten."""
    hidden = np.maximum(X @ W1 + b1, 0.0)
    z = hidden @ W2 + b2
    return np.mean(logsumexp(z, axis=1) - np.sum(z * T, axis=1))


def loss_torch(W1: Any, b1: Any, W2: Any, b2: Any, X: Any, T: Any) -> Any:
    """The same with PyTorch."""
    import torch

    z = torch.relu(X @ W1 + b1) @ W2 + b2
    return (torch.logsumexp(z, 1) - (z * T).sum(1)).mean()


def by_hand(W1: Any, b1: Any, W2: Any, b2: Any, X: Any, T: Any) -> Any:
    """The gradient as one writes it with NumPy."""
    a = X @ W1 + b1
    h = np.maximum(a, 0.0)
    z = h @ W2 + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dz = (p - T) / len(X)
    da = (dz @ W2.T) * (a > 0)
    return X.T @ da, da.sum(axis=0), h.T @ dz, dz.sum(axis=0)


C = """
#include <math.h>
#include <string.h>
static double h[B * H], dz[B * O], da[B * H];
double run(const double **in, double **out) {
    const double *W1 = in[0], *b1 = in[1], *W2 = in[2], *b2 = in[3], *X = in[4], *T = in[5];
    double *g1 = out[0], *c1 = out[1], *g2 = out[2], *c2 = out[3], f = 0.0;
    for (int r0 = 0; r0 < B; r0 += 4)
        for (int r = r0; r < r0 + 4; r++) memcpy(h + r * H, b1, H * sizeof(double));
    for (int r0 = 0; r0 < B; r0 += 4)
        for (int i = 0; i < I; i++) {
            const double *w = W1 + i * H;
            double x0 = X[r0 * I + i], x1 = X[(r0 + 1) * I + i], x2 = X[(r0 + 2) * I + i], x3 = X[(r0 + 3) * I + i];
            double *h0 = h + r0 * H, *h1 = h0 + H, *h2 = h1 + H, *h3 = h2 + H;
            for (int j = 0; j < H; j++) {
                h0[j] += x0 * w[j]; h1[j] += x1 * w[j]; h2[j] += x2 * w[j]; h3[j] += x3 * w[j];
            }
        }
    for (int k = 0; k < B * H; k++) h[k] = h[k] > 0.0 ? h[k] : 0.0;
    for (int r = 0; r < B; r++) {
        double z[O], top = -INFINITY, sum = 0.0, own = 0.0;
        for (int o = 0; o < O; o++) z[o] = b2[o];
        for (int j = 0; j < H; j++) for (int o = 0; o < O; o++) z[o] += h[r * H + j] * W2[j * O + o];
        for (int o = 0; o < O; o++) { top = z[o] > top ? z[o] : top; own += z[o] * T[r * O + o]; }
        for (int o = 0; o < O; o++) { z[o] = exp(z[o] - top); sum += z[o]; }
        f += top + log(sum) - own;
        for (int o = 0; o < O; o++) dz[r * O + o] = (z[o] / sum - T[r * O + o]) / B;
    }
    memset(g1, 0, sizeof(double) * I * H); memset(c1, 0, sizeof(double) * H);
    memset(g2, 0, sizeof(double) * H * O); memset(c2, 0, sizeof(double) * O);
    for (int r = 0; r < B; r++) {
        for (int o = 0; o < O; o++) c2[o] += dz[r * O + o];
        for (int j = 0; j < H; j++) {
            double s = 0.0, hj = h[r * H + j];
            for (int o = 0; o < O; o++) { g2[j * O + o] += hj * dz[r * O + o]; s += W2[j * O + o] * dz[r * O + o]; }
            da[r * H + j] = hj > 0.0 ? s : 0.0;
            c1[j] += da[r * H + j];
        }
    }
    for (int i = 0; i < I; i++)
        for (int r0 = 0; r0 < B; r0 += 4) {
            double x0 = X[r0 * I + i], x1 = X[(r0 + 1) * I + i], x2 = X[(r0 + 2) * I + i], x3 = X[(r0 + 3) * I + i];
            const double *d0 = da + r0 * H, *d1 = d0 + H, *d2 = d1 + H, *d3 = d2 + H;
            double *g = g1 + i * H;
            for (int j = 0; j < H; j++) g[j] += x0 * d0[j] + x1 * d1[j] + x2 * d2[j] + x3 * d3[j];
        }
    return f / B;
}
"""


def made() -> Problem:
    """The size of a first network for handwritten digits."""
    rng = random()
    return Problem(
        name=f"network {I}-{H}-{O}, batch {B}", function=loss, torch=loss_torch, by_hand=by_hand, wrt=(0, 1, 2, 3),
        arguments=(
            rng.normal(size=(I, H)) / 28, np.zeros(H), rng.normal(size=(H, O)) / 16, np.zeros(O),
            rng.random((B, I)), np.eye(O)[rng.integers(0, O, B)],
        ),
        c=C, defines={"B": B, "I": I, "H": H, "O": O},
    )  # fmt: skip


PROBLEMS = [made()]
