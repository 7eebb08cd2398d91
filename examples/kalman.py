# ruff: noqa: ANN001, ANN201 - a script
"""A Kalman filter's likelihood: the noise of a moving object and of its observer, from positions alone."""

import numpy as np
from scipy.optimize import minimize

import chainrule as cr

DT = 0.5
F = np.array([[1.0, DT], [0.0, 1.0]])  # position and speed, one step on
H = np.array([[1.0, 0.0]])  # the position is seen
Q = np.array([[DT**3 / 3, DT**2 / 2], [DT**2 / 2, DT]])  # white noise of the speed


def negative_log_likelihood(theta, seen):
    """Theta holds the logarithms of the two standard deviations: of the motion, and of the observer. Kalman (1960)."""
    q, r = np.exp(2.0 * theta)
    m, P = np.zeros(2), 10.0 * np.eye(2)
    total = 0.0
    for y in seen:
        m, P = F @ m, F @ P @ F.T + q * Q
        S = H @ P @ H.T + r * np.eye(1)
        gain = np.linalg.solve(S, H @ P).T
        surprise = y - H @ m
        _, log_det = np.linalg.slogdet(2.0 * np.pi * S)
        total += 0.5 * (log_det + surprise @ np.linalg.solve(S, surprise))
        m, P = m + gain @ surprise, P - gain @ S @ gain.T
    return total


TRUE = np.log(np.array([0.5, 1.5]))


def data(n=120):
    """Positions as they are seen, shape (n, 1)."""
    rng = np.random.default_rng(4)
    q, r = np.exp(TRUE)
    state, seen = np.zeros(2), []
    for _ in range(n):
        state = F @ state + q * np.linalg.cholesky(Q) @ rng.normal(size=2)
        seen.append(H @ state + r * rng.normal(size=1))
    return np.array(seen)


def problem():
    """``(f, args)`` with the gradient to be tested."""
    return negative_log_likelihood, (np.array([0.3, -0.2]), data())


def main():
    """Estimate, with error bars from the curvature (differences of exact gradients)."""
    f, (theta0, seen) = problem()
    found = minimize(cr.value_and_grad(f), theta0, args=(seen,), jac=True, method="BFGS")
    gradient = cr.grad(f)
    h = 1e-4
    rows = [(gradient(found.x + h * e, seen) - gradient(found.x - h * e, seen)) / (2 * h) for e in np.eye(2)]
    spread = np.sqrt(np.diag(np.linalg.inv(np.array(rows))))
    print(f"-log likelihood {f(theta0, seen):.3f} -> {found.fun:.3f}: {found.nit} iterations, {found.njev} gradients")
    for name, v, s, t in zip(("motion", "observer"), found.x, spread, TRUE, strict=True):
        print(f"standard deviation of the {name}: {np.exp(v):.3f} (± {s:.0%}); the data were made with {np.exp(t):.3f}")


if __name__ == "__main__":
    main()
