"""Energies of particles: gravity of n bodies (softened), and J. E. Lennard-Jones (1924)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.problem import Problem, random

N = 256


def gravity(x: Any, m: Any) -> Any:
    """Minus half the sum of m m' / distance."""
    d = x[:, None, :] - x[None, :, :]
    r2 = np.sum(d**2, axis=2) + 0.01
    return -0.5 * np.sum(m[:, None] * m[None, :] / np.sqrt(r2))


def gravity_torch(x: Any, m: Any) -> Any:
    """The same with PyTorch."""
    import torch

    r2 = ((x[:, None, :] - x[None, :, :]) ** 2).sum(2) + 0.01
    return -0.5 * (m[:, None] * m[None, :] / torch.sqrt(r2)).sum()


def lennard_jones(x: Any, i: Any, j: Any) -> Any:
    """Over the pairs i, j."""
    d = x[i] - x[j]
    s6 = 1.0 / np.sum(d**2, axis=1) ** 3
    return 4.0 * np.sum(s6 * s6 - s6)


def lennard_jones_torch(x: Any, i: Any, j: Any) -> Any:
    """The same with PyTorch."""
    s6 = 1.0 / ((x[i] - x[j]) ** 2).sum(1) ** 3
    return 4.0 * (s6 * s6 - s6).sum()


C_GRAVITY = """
#include <math.h>
double run(const double **in, double **out) {
    const double *x = in[0], *m = in[1];
    double *g = out[0], f = 0.0;
    for (int i = 0; i < N; i++) {
        double a = 0.0, b = 0.0, c = 0.0, e = 0.0;
        for (int j = 0; j < N; j++) {
            double dx = x[3 * i] - x[3 * j], dy = x[3 * i + 1] - x[3 * j + 1], dz = x[3 * i + 2] - x[3 * j + 2];
            double r2 = dx * dx + dy * dy + dz * dz + 0.01, s = m[j] / sqrt(r2), t = s / r2;
            e += s; a += t * dx; b += t * dy; c += t * dz;
        }
        f += m[i] * e;
        g[3 * i] = m[i] * a; g[3 * i + 1] = m[i] * b; g[3 * i + 2] = m[i] * c;
    }
    return -0.5 * f;
}
"""

C_LENNARD_JONES = """
#include <string.h>
#include <stdint.h>
double run(const double **in, double **out) {
    const double *x = in[0];
    const int64_t *I = (const int64_t *)in[1], *J = (const int64_t *)in[2];
    double *g = out[0], f = 0.0;
    memset(g, 0, sizeof(double) * 3 * N);
    for (long k = 0; k < M; k++) {
        long i = 3 * I[k], j = 3 * J[k];
        double dx = x[i] - x[j], dy = x[i + 1] - x[j + 1], dz = x[i + 2] - x[j + 2];
        double r = 1.0 / (dx * dx + dy * dy + dz * dz), s6 = r * r * r, c = 4.0 * (6.0 * s6 - 12.0 * s6 * s6) * r;
        f += s6 * s6 - s6;
        g[i] += c * dx; g[i + 1] += c * dy; g[i + 2] += c * dz;
        g[j] -= c * dx; g[j + 1] -= c * dy; g[j + 2] -= c * dz;
    }
    return 4.0 * f;
}
"""


def made() -> list[Problem]:
    """Both with 256 particles."""
    rng = random()
    grid = np.stack(np.meshgrid(*[np.arange(7.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:N]
    i, j = np.triu_indices(N, 1)
    return [
        Problem(
            name=f"n-body energy {N}", function=gravity, torch=gravity_torch,
            arguments=(rng.normal(size=(N, 3)), rng.random(N) + 0.5), c=C_GRAVITY, defines={"N": N},
        ),
        Problem(
            name=f"Lennard-Jones {N}", function=lennard_jones, torch=lennard_jones_torch,
            arguments=(1.1 * grid + 0.05 * rng.normal(size=grid.shape), i, j), c=C_LENNARD_JONES,
            defines={"N": N, "M": len(i)},
        ),
    ]  # fmt: skip


PROBLEMS = made()
