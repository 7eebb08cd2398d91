# ruff: noqa: ANN001, ANN201 - a script
"""Two overlapping peaks on a slope, fitted by SciPy's least_squares with ``jac=cr.jacobian(residuals)``."""

import numpy as np
from scipy.optimize import least_squares

import chainrule as cr


def model(theta, t):
    """Two Gaussian peaks (height, place, width each) on a straight line."""
    peaks = theta[:6].reshape(2, 3)
    total = theta[6] + theta[7] * t
    for height, place, width in peaks:
        total = total + height * np.exp(-(((t - place) / width) ** 2))
    return total


def residuals(theta, t, counts, error):
    """In units of the error."""
    return (model(theta, t) - counts) / error


def half_chi_squared(theta, t, counts, error):
    """What least_squares minimises."""
    return 0.5 * np.sum(residuals(theta, t, counts, error) ** 2)


TRUE = np.array([3.0, 4.0, 0.8, 2.0, 5.6, 0.6, 1.0, 0.1])


def data(n=120):
    """A spectrum with noise."""
    t = np.linspace(0.0, 10.0, n)
    return t, model(TRUE, t) + 0.1 * np.random.default_rng(2).normal(size=n), 0.1


def problem():
    """``(f, args)`` with the gradient to be tested."""
    return half_chi_squared, (np.array([2.0, 3.5, 1.0, 2.0, 6.0, 1.0, 0.5, 0.0]), *data())


def main():
    """Fit twice: with the exact Jacobian, and with SciPy's differences."""
    _, (theta0, *args) = problem()
    jacobian = cr.jacobian(residuals)
    exact = least_squares(residuals, theta0, jac=jacobian, args=args)
    differences = least_squares(residuals, theta0, args=args)
    spread = np.sqrt(np.diag(np.linalg.inv(exact.jac.T @ exact.jac)))
    gap = np.max(np.abs(jacobian(theta0, *args) - differences_of(residuals, theta0, args)))
    print(
        f"chi squared {2 * exact.cost:.2f} for {len(args[0])} points, {exact.nfev} evaluations, {exact.njev} Jacobians"
    )
    print(f"SciPy's own differences: {2 * differences.cost:.2f}; their Jacobian is off by {gap:.0e} at the start")
    names = ("height 1", "place 1", "width 1", "height 2", "place 2", "width 2", "offset", "slope")
    for name, value, error, true in zip(names, exact.x, spread, TRUE, strict=True):
        print(f"{name:<8} {value:+.3f} ± {error:.3f}   ({true:+.3f})")


def differences_of(f, x, args):
    """One-sided differences as least_squares makes them without a Jacobian."""
    steps = np.sqrt(np.finfo(float).eps) * np.where(x >= 0, 1.0, -1.0) * np.maximum(1.0, np.abs(x))
    return np.stack(
        [(f(x + h * e, *args) - f(x, *args)) / h for h, e in zip(steps, np.eye(len(x)), strict=True)], axis=1
    )


if __name__ == "__main__":
    main()
