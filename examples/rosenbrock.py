# ruff: noqa: ANN001, ANN201 - a script
"""Rosenbrock's valley in 50 dimensions: SciPy's minimisers with a gradient, with Hessian products, and without."""

import numpy as np
from scipy.optimize import minimize

import chainrule as cr


def rosenbrock(x):
    """A curved valley, flat along its floor, with the minimum 0 at (1, ..., 1). Rosenbrock (1960)."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def problem():
    """``(f, args)`` with the gradient to be tested."""
    return rosenbrock, (np.linspace(-1.2, 1.2, 50),)


def main():
    """Minimise, three times."""
    f, (x0,) = problem()
    runs = {
        "BFGS, differences by SciPy": {"method": "BFGS"},
        "BFGS, jac=cr.grad(f)": {"method": "BFGS", "jac": cr.grad(f)},
        "trust-krylov, hessp=cr.hvp": {
            "method": "trust-krylov",
            "jac": cr.grad(f),
            "hessp": lambda x, v: cr.hvp(f, (x,), (v,)),
        },
    }
    for name, how in runs.items():
        found = minimize(f, x0, options={"maxiter": 2000}, **how)
        print(
            f"{name:<28} f = {found.fun:.1e} after {found.nit} iterations, {found.nfev} evaluations of f, "
            f"{found.njev} gradients; largest |x - 1| = {np.max(np.abs(found.x - 1)):.0e}"
        )


if __name__ == "__main__":
    main()
