# ruff: noqa: ANN001, ANN201 - a script
"""Foxes and rabbits: rates and a start fitted to a noisy record, through a Runge-Kutta loop with in-place writes."""

import numpy as np
from scipy.optimize import minimize

import chainrule as cr

STEPS, DT, EVERY = 80, 0.15, 4


def slope(state, rates):
    """Lotka (1925), Volterra (1926)."""
    birth, hunted, fed, death = rates
    rabbits, foxes = state
    out = np.empty(2)
    out[0] = birth * rabbits - hunted * rabbits * foxes
    out[1] = fed * rabbits * foxes - death * foxes
    return out


def simulate(rates, start):
    """The whole path, by the classical method of Runge and Kutta: shape (STEPS + 1, 2)."""
    path = np.zeros((STEPS + 1, 2))
    path[0] = start
    for n in range(STEPS):
        y = path[n]
        k1 = slope(y, rates)
        k2 = slope(y + 0.5 * DT * k1, rates)
        k3 = slope(y + 0.5 * DT * k2, rates)
        k4 = slope(y + DT * k3, rates)
        path[n + 1] = y
        path[n + 1] += DT / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return path


def misfit(theta, record):
    """Mean square of the logarithmic residuals; theta holds the logarithms of four rates and two starting numbers."""
    path = simulate(np.exp(theta[:4]), np.exp(theta[4:]))
    return np.mean((np.log(path[::EVERY]) - np.log(record)) ** 2)


TRUE = np.log(np.array([1.1, 0.4, 0.2, 0.6, 6.0, 3.0]))


def data():
    """The true path at every fourth step, with five per cent of noise."""
    path = simulate(np.exp(TRUE[:4]), np.exp(TRUE[4:]))[::EVERY]
    return path * np.exp(0.05 * np.random.default_rng(1).normal(size=path.shape))


def problem():
    """``(f, args)`` with the gradient to be tested."""
    return misfit, (TRUE + 0.15 * np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0]), data())


def main():
    """Fit."""
    f, (theta0, record) = problem()
    found = minimize(cr.value_and_grad(f), theta0, args=(record,), jac=True, method="BFGS", options={"maxiter": 12})
    print(f"root mean square residual {np.sqrt(f(theta0, record)):.3f} -> {np.sqrt(found.fun):.3f}, noise 0.05")
    print(f"{found.nit} iterations, {found.njev} gradients through {STEPS} steps of Runge and Kutta")
    names = ("birth", "hunted", "fed", "death", "rabbits", "foxes")
    print(
        ", ".join(f"{name} {np.exp(v):.3f} ({np.exp(t):.3g})" for name, v, t in zip(names, found.x, TRUE, strict=True))
    )


if __name__ == "__main__":
    main()
