"""Bundle adjustment: the squares of 100,000 reprojection residuals (cameras of nine numbers)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.problem import Problem, random

CAMERAS, POINTS, N = 100, 20_000, 100_000


def cross(a: Any, b: Any) -> Any:
    """The vector product of the columns."""
    return np.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]],
    )


def objective(cameras: Any, points: Any, camera: Any, point: Any, seen: Any) -> Any:
    """A camera: a rotation vector, a translation, a focal length, two of distortion. The data are by columns."""
    c = cameras[:, camera]
    X = points[:, point]
    w = c[:3]
    theta2 = np.sum(w * w, axis=0) + 1e-30
    theta = np.sqrt(theta2)
    turned = (
        np.cos(theta) * X
        + np.sin(theta) / theta * cross(w, X)
        + (1.0 - np.cos(theta)) / theta2 * np.sum(w * X, axis=0) * w
    )
    P = turned + c[3:6]
    p = -P[:2] / P[2]
    r2 = np.sum(p * p, axis=0)
    residual = c[6] * (1.0 + c[7] * r2 + c[8] * r2 * r2) * p - seen
    return 0.5 * np.sum(residual * residual)


def objective_torch(cameras: Any, points: Any, camera: Any, point: Any, seen: Any) -> Any:
    """The same with PyTorch."""
    import torch

    c = cameras[:, camera]
    X = points[:, point]
    w = c[:3]
    theta2 = (w * w).sum(0) + 1e-30
    theta = torch.sqrt(theta2)
    turned = (
        torch.cos(theta) * X
        + torch.sin(theta) / theta * torch.linalg.cross(w, X, dim=0)
        + (1.0 - torch.cos(theta)) / theta2 * (w * X).sum(0) * w
    )
    P = turned + c[3:6]
    p = -P[:2] / P[2]
    r2 = (p * p).sum(0)
    residual = c[6] * (1.0 + c[7] * r2 + c[8] * r2 * r2) * p - seen
    return 0.5 * (residual * residual).sum()


C = """
#include <math.h>
#include <string.h>
#include <stdint.h>
double run(const double **in, double **out) {
    const double *cam = in[0], *pts = in[1], *seen = in[4];
    const int64_t *ci = (const int64_t *)in[2], *pi = (const int64_t *)in[3];
    double *gc = out[0], *gp = out[1], f = 0.0;
    memset(gc, 0, sizeof(double) * 9 * M); memset(gp, 0, sizeof(double) * 3 * P);
    for (long i = 0; i < N; i++) {
        long k = ci[i], q = pi[i];
        double w[3], X[3], x[3], dw[3] = {0, 0, 0}, dX[3], dP[3];
        for (int a = 0; a < 3; a++) { w[a] = cam[a * M + k]; X[a] = pts[a * P + q]; }
        double t2 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2] + 1e-30, t = sqrt(t2), co = cos(t), si = sin(t);
        double A = si / t, Bc = (1.0 - co) / t2, d = w[0] * X[0] + w[1] * X[1] + w[2] * X[2];
        double cr[3] = {w[1] * X[2] - w[2] * X[1], w[2] * X[0] - w[0] * X[2], w[0] * X[1] - w[1] * X[0]};
        for (int a = 0; a < 3; a++) x[a] = co * X[a] + A * cr[a] + Bc * d * w[a] + cam[(3 + a) * M + k];
        double iz = 1.0 / x[2], px = -x[0] * iz, py = -x[1] * iz, r2 = px * px + py * py;
        double fo = cam[6 * M + k], k1 = cam[7 * M + k], k2 = cam[8 * M + k], s = 1.0 + k1 * r2 + k2 * r2 * r2;
        double rx = fo * s * px - seen[i], ry = fo * s * py - seen[N + i];
        f += rx * rx + ry * ry;
        double dot = rx * px + ry * py, ds = fo * dot, dr2 = ds * (k1 + 2.0 * k2 * r2);
        double dpx = rx * fo * s + 2.0 * px * dr2, dpy = ry * fo * s + 2.0 * py * dr2;
        gc[6 * M + k] += s * dot; gc[7 * M + k] += ds * r2; gc[8 * M + k] += ds * r2 * r2;
        dP[0] = -dpx * iz; dP[1] = -dpy * iz; dP[2] = -(dpx * px + dpy * py) * iz;
        double dco = 0, dA = 0, dB = 0, wd = 0;
        for (int a = 0; a < 3; a++) {
            gc[(3 + a) * M + k] += dP[a];
            dco += dP[a] * X[a]; dA += dP[a] * cr[a]; dB += dP[a] * d * w[a]; wd += dP[a] * w[a];
        }
        double dd = Bc * wd, u0 = A * dP[0], u1 = A * dP[1], u2 = A * dP[2];
        dw[0] = X[1] * u2 - X[2] * u1; dw[1] = X[2] * u0 - X[0] * u2; dw[2] = X[0] * u1 - X[1] * u0;
        dX[0] = u1 * w[2] - u2 * w[1]; dX[1] = u2 * w[0] - u0 * w[2]; dX[2] = u0 * w[1] - u1 * w[0];
        double dt = -si * dco + dA * (co / t - si / t2) + dB * si / t2, dt2 = -dB * Bc / t2 + dt / (2.0 * t);
        for (int a = 0; a < 3; a++) {
            gc[a * M + k] += dw[a] + dP[a] * Bc * d + dd * X[a] + 2.0 * w[a] * dt2;
            gp[a * P + q] += dX[a] + co * dP[a] + dd * w[a];
        }
    }
    return 0.5 * f;
}
"""


def made() -> Problem:
    """A hundred cameras that look at twenty thousand points."""
    rng = random()
    cameras = np.concatenate([
        0.3 * rng.normal(size=(3, CAMERAS)), 0.1 * rng.normal(size=(2, CAMERAS)), np.full((1, CAMERAS), -6.0),
        np.full((1, CAMERAS), 500.0), 0.01 * rng.normal(size=(2, CAMERAS)),
    ])  # fmt: skip
    camera, point = rng.integers(0, CAMERAS, N), rng.integers(0, POINTS, N)
    return Problem(
        name=f"bundle adjustment {N:,}", function=objective, torch=objective_torch, wrt=(0, 1),
        arguments=(cameras, rng.normal(size=(3, POINTS)), camera, point, 10 * rng.normal(size=(2, N))),
        c=C, defines={"N": N, "M": CAMERAS, "P": POINTS},
    )  # fmt: skip


PROBLEMS = [made()]
