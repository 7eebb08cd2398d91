"""Python loops: 1000 steps of a number, and a recurrent network of 8 units over 200 steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.problem import Problem, random

STEPS, TIMES, UNITS = 1_000, 200, 8


def scalar(x: Any, p: Any) -> Any:
    """Explicit Euler for y' = p y - y^3."""
    y = x
    for _ in range(STEPS):
        y = y + 0.001 * (p * y - y * y * y)
    return y


def scalar_jax(x: Any, p: Any) -> Any:
    """The same as a user of JAX writes it."""
    import jax

    return jax.lax.fori_loop(0, STEPS, lambda _, y: y + 0.001 * (p * y - y * y * y), x)


def recurrent(W: Any, U: Any, b: Any, X: Any) -> Any:
    """The squares of the last state."""
    h = np.zeros(UNITS)
    for t in range(TIMES):
        h = np.tanh(W @ h + U @ X[t] + b)
    return np.sum(h**2)


def recurrent_torch(W: Any, U: Any, b: Any, X: Any) -> Any:
    """The same with PyTorch."""
    import torch

    h = torch.zeros(UNITS, dtype=X.dtype)
    for t in range(TIMES):
        h = torch.tanh(W @ h + U @ X[t] + b)
    return (h**2).sum()


def recurrent_jax(W: Any, U: Any, b: Any, X: Any) -> Any:
    """The same as a user of JAX writes it."""
    import jax

    def step(h: Any, x: Any) -> Any:
        return jax.numpy.tanh(W @ h + U @ x + b), None

    h, _ = jax.lax.scan(step, jax.numpy.zeros(UNITS), X)
    return (h**2).sum()


C_SCALAR = """
double run(const double **in, double **out) {
    double y[STEPS + 1], p = in[1][0], g = 1.0, gp = 0.0;
    y[0] = in[0][0];
    for (int i = 0; i < STEPS; i++) y[i + 1] = y[i] + 0.001 * (p * y[i] - y[i] * y[i] * y[i]);
    for (int i = STEPS - 1; i >= 0; i--) {
        gp += g * 0.001 * y[i];
        g *= 1.0 + 0.001 * (p - 3.0 * y[i] * y[i]);
    }
    out[0][0] = g; out[1][0] = gp;
    return y[STEPS];
}
"""

C_RECURRENT = """
#include <math.h>
#include <string.h>
double run(const double **in, double **out) {
    const double *W = in[0], *Q = in[1], *b = in[2], *X = in[3];
    double *gW = out[0], *gQ = out[1], *gb = out[2], h[(T + 1) * U] = {0}, g[U], f = 0.0;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < U; i++) {
            double s = b[i];
            for (int j = 0; j < U; j++) s += W[i * U + j] * h[t * U + j] + Q[i * U + j] * X[t * U + j];
            h[(t + 1) * U + i] = tanh(s);
        }
    memset(gW, 0, sizeof(double) * U * U); memset(gQ, 0, sizeof(double) * U * U); memset(gb, 0, sizeof(double) * U);
    for (int i = 0; i < U; i++) { f += h[T * U + i] * h[T * U + i]; g[i] = 2.0 * h[T * U + i]; }
    for (int t = T - 1; t >= 0; t--) {
        double da[U], below[U] = {0};
        for (int i = 0; i < U; i++) {
            double y = h[(t + 1) * U + i];
            da[i] = g[i] * (1.0 - y * y);
            gb[i] += da[i];
            for (int j = 0; j < U; j++) {
                gW[i * U + j] += da[i] * h[t * U + j];
                gQ[i * U + j] += da[i] * X[t * U + j];
                below[j] += W[i * U + j] * da[i];
            }
        }
        memcpy(g, below, sizeof g);
    }
    return f;
}
"""


def made() -> list[Problem]:
    """Both."""
    rng = random()
    return [
        Problem(
            name=f"scalar loop {STEPS:,}", function=scalar, torch=scalar, jax=scalar_jax, casadi=scalar, wrt=(0, 1),
            arguments=(0.4, 1.3), c=C_SCALAR, defines={"STEPS": STEPS},
        ),
        Problem(
            name=f"recurrent {UNITS} x {UNITS}, {TIMES}", function=recurrent, torch=recurrent_torch, jax=recurrent_jax,
            wrt=(0, 1, 2), arguments=(
                0.4 * rng.normal(size=(UNITS, UNITS)), 0.4 * rng.normal(size=(UNITS, UNITS)), rng.normal(size=UNITS),
                rng.normal(size=(TIMES, UNITS)),
            ), c=C_RECURRENT, defines={"U": UNITS, "T": TIMES},
        ),
    ]  # fmt: skip


PROBLEMS = made()
